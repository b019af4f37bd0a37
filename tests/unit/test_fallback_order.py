"""In which order the fallback defaults shall serve."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bgphealth.core import engine
from bgphealth.core.events import Drained, Event, LinkChanged, Started, TimePassed, Verdict
from bgphealth.core.fallback_order import Rank, ranks
from bgphealth.core.orders import What
from bgphealth.core.settings import AllDown, Family, Mode, Settings
from bgphealth.core.state import State
from tests.support.hosts import FALL, RISE, WINDOW, WITH_BGP, host, round_of

OK, FAILED = Verdict.OK, Verdict.FAILED
CARRIES, WORKS, DOWN = Rank.CARRIES, Rank.WORKS, Rank.DOWN


def after(state: State, *events: Event) -> State:
    for event in events:
        state, _ = engine.step(state, event)
    return state


def asked(settings: Settings, verdict: Verdict, *uplinks: str, times: int) -> Iterable[Event]:
    named = [uplink for uplink in settings.uplinks if uplink.name in uplinks]
    return [e for _ in range(times) for uplink in named for e in round_of(uplink, verdict)]


def up(settings: Settings) -> State:
    names = [uplink.name for uplink in settings.uplinks]
    started = after(engine.initial(settings), Started(0.0))
    return after(started, *asked(settings, OK, *names, times=RISE))


def order(state: State, family: Family = Family.IPV4) -> dict[str, Rank]:
    found = ranks(state.settings, engine.verdicts_of(state))
    return {path.uplink: rank for path, rank in found.items() if path.family is family}


@pytest.mark.parametrize("mode", WITH_BGP)
def test_who_is_down_comes_last(mode: Mode) -> None:
    settings = host(3, (Family.IPV4, Family.IPV6), mode=mode)
    state = up(settings)
    assert order(state) == dict.fromkeys(("tor1", "tor2", "tor3"), CARRIES)
    state = after(state, *asked(settings, FAILED, "tor1", times=FALL))
    for family in Family:
        assert order(state, family) == {"tor1": DOWN, "tor2": CARRIES, "tor3": CARRIES}
    back = after(state, *asked(settings, OK, "tor1", times=RISE))
    assert set(order(back).values()) == {CARRIES}


def test_who_is_degraded_comes_after_the_clean_ones_and_first_without_them() -> None:
    settings = host(3)
    state = up(settings)
    lossy = [
        event
        for n in range(WINDOW)
        for event in asked(settings, FAILED if n % 2 else OK, "tor1", times=1)
    ]
    state = after(state, *lossy)
    assert order(state) == {"tor1": WORKS, "tor2": CARRIES, "tor3": CARRIES}
    state = after(state, *(LinkChanged(1.0, name, up=False) for name in ("tor2", "tor3")))
    assert order(state) == {"tor1": CARRIES, "tor2": DOWN, "tor3": DOWN}


def test_without_a_verdict_nothing_is_said() -> None:
    settings = host()
    state = after(engine.initial(settings), Started(0.0))
    assert order(state) == {}
    state = after(state, *asked(settings, OK, "tor2", times=RISE))
    assert order(state) == {"tor2": CARRIES}


@pytest.mark.parametrize(
    ("all_down", "last"), [(AllDown.KEEP_LAST, CARRIES), (AllDown.WITHDRAW, DOWN)]
)
def test_while_none_works_the_last_one_stays_first(all_down: AllDown, last: Rank) -> None:
    settings = host(all_down=all_down)
    state = after(
        up(settings), LinkChanged(1.0, "tor1", up=False), LinkChanged(2.0, "tor2", up=False)
    )
    assert order(state) == {"tor1": DOWN, "tor2": last}


def test_a_drained_uplink_works_but_comes_after_the_others() -> None:
    settings = host()
    state = after(up(settings), Drained(1.0, What.UPLINK, "tor1", 1.0, None, forced=False))
    state = after(state, TimePassed(100.0))
    assert order(state) == {"tor1": WORKS, "tor2": CARRIES}
    state = after(state, LinkChanged(101.0, "tor2", up=False))
    # It carries again, for want of another.
    assert order(state) == {"tor1": CARRIES, "tor2": DOWN}
