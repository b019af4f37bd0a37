"""Local mode: which uplink is in use, step by step."""

from __future__ import annotations

from dataclasses import replace

from bgphealth.core import engine
from bgphealth.core.decisions import default_key
from bgphealth.core.events import Drained, Event, Settled, Started, TimePassed, Verdict
from bgphealth.core.fallback_order import Rank, ranks
from bgphealth.core.health import PathKey
from bgphealth.core.orders import What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.core.state import State
from tests.support.hosts import FALL, RISE, host, round_of

OK, FAILED = Verdict.OK, Verdict.FAILED
V4 = Family.IPV4
STABLE_S = 60.0


def local(uplinks: int = 2) -> Settings:
    settings = host(uplinks, mode=Mode.LOCAL)
    return replace(settings, services=(), stable_for_s=STABLE_S, drain_settle_s=0.0, damping=None)


def asked(settings: Settings, at: float, verdict: Verdict, *numbers: int) -> list[Event]:
    times = RISE if verdict is OK else FALL
    chosen = [settings.uplinks[number - 1] for number in numbers]
    rounds = [e for _ in range(times) for uplink in chosen for e in round_of(uplink, verdict)]
    return [event._replace(at=at) for event in rounds]


def after(state: State, *events: Event | list[Event]) -> State:
    for each in events:
        for event in each if isinstance(each, list) else [each]:
            state, _ = engine.step(state, event)
    return state


def started(settings: Settings) -> State:
    return after(engine.initial(settings), Started(0.0))


def reasons(state: State) -> list[str]:
    numbers = [uplink.number for uplink in state.settings.uplinks]
    return [str(state.decisions[default_key(V4, number)].reason) for number in numbers]


def in_use(state: State) -> str | None:
    return state.preference.in_use.get(V4)


def test_the_first_verdict_of_a_preferred_one_is_waited_for() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 2))
    assert in_use(state) is None
    assert reasons(state) == ["init", "init"]
    # What the kernel has stays in place meanwhile.
    assert ranks(settings, engine.verdicts_of(state)) == {}
    state = after(state, asked(settings, 1.1, OK, 1))
    assert in_use(state) == "tor1"
    assert reasons(state) == ["path_up", "less_preferred"]


def test_a_start_does_not_wait_for_ever() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 2), Settled(3.0))
    assert in_use(state) == "tor2"
    # From now on it is a failback like any other.
    state = after(state, asked(settings, 10.0, OK, 1))
    assert reasons(state) == ["not_stable", "path_up"]
    assert state.next_at == 10.0 + STABLE_S
    state = after(state, TimePassed(10.0 + STABLE_S))
    assert in_use(state) == "tor1"


def test_a_break_begins_the_wait_anew() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2))
    state = after(state, asked(settings, 5.0, FAILED, 1))
    assert reasons(state) == ["path_down", "path_up"]
    state = after(state, asked(settings, 10.0, OK, 1), asked(settings, 60.0, FAILED, 1))
    assert state.next_at is None
    state = after(state, asked(settings, 65.0, OK, 1), TimePassed(10.0 + STABLE_S))
    assert in_use(state) == "tor2"
    assert in_use(after(state, TimePassed(65.0 + STABLE_S))) == "tor1"


def test_who_waits_is_used_at_once_when_the_one_in_use_fails() -> None:
    settings = local(3)
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2, 3))
    state = after(state, asked(settings, 5.0, FAILED, 1), asked(settings, 6.0, OK, 1))
    assert reasons(state) == ["not_stable", "path_up", "less_preferred"]
    assert in_use(after(state, asked(settings, 7.0, FAILED, 2))) == "tor1"


def test_two_do_not_take_over_one_after_the_other() -> None:
    settings = local(3)
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2, 3))
    state = after(state, asked(settings, 5.0, FAILED, 1), asked(settings, 6.0, FAILED, 2))
    assert in_use(state) == "tor3"
    state = after(state, asked(settings, 100.0, OK, 2), asked(settings, 101.0, OK, 1))
    state = after(state, TimePassed(100.0 + STABLE_S))
    assert in_use(state) == "tor2"
    state = after(state, TimePassed(101.0 + STABLE_S))
    assert in_use(state) == "tor2"
    assert state.next_at == 100.0 + 2 * STABLE_S
    assert in_use(after(state, TimePassed(100.0 + 2 * STABLE_S))) == "tor1"


def test_none_takes_over_while_none_works_nor_when_all_come_back_together() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2))
    state = after(state, asked(settings, 5.0, FAILED, 1, 2))
    assert (in_use(state), reasons(state)[0]) == ("tor1", "all_down_shared_fate")
    # The second one has risen already, and the first one answers, too.
    (first,) = (uplink for uplink in settings.uplinks if uplink.name == "tor1")
    state = after(state, [event._replace(at=8.0) for event in round_of(first, OK)])
    state = after(state, asked(settings, 8.1, OK, 2))
    assert in_use(state) == "tor1"
    state = after(state, asked(settings, 8.2, OK, 1))
    assert (in_use(state), reasons(state)) == ("tor1", ["path_up", "less_preferred"])


def test_the_spare_one_takes_over_when_it_alone_comes_back() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2))
    state = after(state, asked(settings, 5.0, FAILED, 1, 2), asked(settings, 8.0, OK, 2))
    assert in_use(state) == "tor2"


def test_a_drained_one_is_used_only_when_no_other_works() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2))
    state = after(state, Drained(5.0, What.UPLINK, "tor1", 5.0, None, forced=False))
    assert reasons(state) == ["drained", "path_up"]
    state = after(state, asked(settings, 6.0, FAILED, 2))
    assert (in_use(state), reasons(state)[0]) == ("tor1", "drain_suspended")
    state = after(state, asked(settings, 7.0, OK, 2))
    assert in_use(state) == "tor2"


def test_a_drained_one_that_stood_in_stays_when_it_dies_too() -> None:
    settings = local()
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2))
    state = after(state, Drained(2.0, What.UPLINK, "tor2", 2.0, None, forced=False))
    state = after(state, asked(settings, 3.0, FAILED, 1))
    before = ranks(settings, engine.verdicts_of(state))
    assert in_use(state) == "tor2"
    state = after(state, asked(settings, 4.0, FAILED, 2))
    assert in_use(state) == "tor2"
    assert str(Reason.ALL_DOWN_KEEP_LAST) in reasons(state)[1]
    after_all = ranks(settings, engine.verdicts_of(state))
    assert after_all.get(PathKey("tor2", V4), before[PathKey("tor2", V4)]) is Rank.CARRIES


def test_one_that_is_drained_by_force_and_works_moves_nothing_between_dead_ones() -> None:
    settings = local(3)
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2, 3))
    drains = [
        Drained(5.0, What.UPLINK, "tor1", 5.0, None, forced=True),
        Drained(5.0, What.UPLINK, "tor2", 5.0, None, forced=False),
    ]
    state = after(state, *drains)
    assert in_use(state) == "tor3"
    state = after(state, asked(settings, 6.0, FAILED, 3))
    assert in_use(state) == "tor2"
    state = after(state, asked(settings, 7.0, FAILED, 2))
    assert in_use(state) == "tor2"


def test_a_reload_keeps_what_is_in_use() -> None:
    settings = local(3)
    state = after(started(settings), asked(settings, 1.0, OK, 1, 2, 3))
    state = after(state, asked(settings, 5.0, FAILED, 1))
    sooner = replace(settings, stable_for_s=5.0)
    state, _ = reconfigure(after(state, asked(settings, 10.0, OK, 1)), sooner, 12.0)
    assert (in_use(state), state.next_at) == ("tor2", 15.0)
    without, effects = reconfigure(state, replace(sooner, uplinks=sooner.uplinks[2:]), 13.0)
    assert in_use(without) == "tor3"
    assert any(getattr(e, "after", None) == (None, Reason.NOT_IN_FILE) for e in effects)
