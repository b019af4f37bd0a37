"""Drains: what is announced while they last, when they end, and what they never take away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from bgphealth.core import engine, last_path, policy
from bgphealth.core.drain import (
    DrainEnded,
    DrainResumed,
    DrainStarted,
    DrainSuspended,
    Leg,
    Stage,
)
from bgphealth.core.events import (
    Drained,
    Event,
    LinkChanged,
    Settled,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.orders import Order, Target, What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import AllDown, Family, InjectorLoss, Mode, Scope, Settings
from bgphealth.core.state import Effect, IntentsChanged, PathChanged, State
from tests.support.hosts import (
    CHECK_RISE,
    FALL,
    RISE,
    SETTLE_S,
    WINDOW,
    checked,
    host,
    round_of,
)

OK, FAILED = Verdict.OK, Verdict.FAILED
BOTH = (Family.IPV4, Family.IPV6)
TOR1, TOR2 = (Target(What.UPLINK, f"tor{n}") for n in (1, 2))
DNS, HOST = Target(What.SERVICE, "dns"), Target(What.HOST)
V4_TOR1 = PathKey("tor1", Family.IPV4)
DEFAULT = ("0.0.0.0/0 path 1", "0.0.0.0/0 path 2")
DNS_PREFIX, LOOPBACK_PREFIX = "192.0.2.53/32", "10.255.10.1/32"
SETTLED = SETTLE_S + 100.0
HALF = SETTLE_S / 2 + 100.0


def feed(state: State, events: Iterable[Event]) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, new = engine.step(state, event)
        effects += new
    return state, effects


def after(state: State, *events: Event) -> State:
    return feed(state, events)[0]


def rounds(settings: Settings, verdict: Verdict, times: int, *uplinks: int) -> list[Event]:
    chosen = [u for u in settings.uplinks if not uplinks or u.number in uplinks]
    return [e for _ in range(times) for u in chosen for e in round_of(u, verdict)]


def all_up(settings: Settings) -> State:
    events = [*rounds(settings, OK, RISE), *[checked(OK)] * CHECK_RISE]
    return after(engine.initial(settings), Started(0.0), *events, Settled(0.0))


def drained(
    target: Target, at: float = 100.0, *, since: float | None = None, until: float | None = None
) -> Drained:
    return Drained(at, *target, at if since is None else since, until)


def forced(target: Target, at: float = 100.0) -> Drained:
    return Drained(at, *target, at, forced=True)


def told(state: State) -> dict[str, tuple[int | None, set[str]]]:
    return {
        str(key): (a.local_pref, {str(c) for c in a.communities})
        for key, a in state.intents.items()
    }


def reasons(state: State) -> dict[str, Reason]:
    return {str(key): decision.reason for key, decision in state.decisions.items()}


def test_a_service_is_prepended_then_shut_down_and_then_not_announced() -> None:
    before = all_up(host())
    draining, effects = feed(before, [drained(DNS)])
    # 1 and 2, raised by 16384: the route-map towards each ToR knows it.
    assert told(draining)[DNS_PREFIX] == (100, {"65101:16385", "65101:16386"})
    assert reasons(draining)[DNS_PREFIX] is Reason.DRAINING
    assert draining.next_at == HALF
    assert effects[0] == DrainStarted(100.0, DNS, Order(100.0))
    # All the rest is as it was.
    untouched = {key: told(before)[key] for key in (*DEFAULT, LOOPBACK_PREFIX)}
    assert told(draining).items() >= untouched.items()

    assert after(draining, TimePassed(HALF - 0.1)).intents == draining.intents
    shut = after(draining, TimePassed(HALF))
    assert told(shut)[DNS_PREFIX] == (100, {"65101:32769", "65101:32770"})
    assert shut.next_at == SETTLED

    gone = after(shut, TimePassed(SETTLED))
    assert told(gone) == untouched
    assert reasons(gone)[DNS_PREFIX] is Reason.DRAINED
    assert gone.next_at is None


def test_a_drained_service_with_an_origin_in_bgpd_is_announced_to_no_uplink() -> None:
    state = all_up(host(loss=InjectorLoss.KEEP))
    gone = after(state, drained(DNS), TimePassed(SETTLED))
    assert told(gone)[DNS_PREFIX] == (100, set())
    assert reasons(gone)[DNS_PREFIX] is Reason.DRAINED


def test_a_drained_service_stays_away_whatever_its_checks_say() -> None:
    gone = after(all_up(host()), drained(DNS), TimePassed(SETTLED))
    for verdict in (FAILED, OK):
        gone = after(gone, *[checked(verdict)] * CHECK_RISE)
        assert DNS_PREFIX not in told(gone)
        assert reasons(gone)[DNS_PREFIX] is Reason.DRAINED


def test_a_service_that_dies_while_it_drains_is_withdrawn_at_once() -> None:
    state = after(all_up(host()), drained(DNS), *[checked(FAILED)] * CHECK_RISE)
    assert DNS_PREFIX not in told(state)
    assert reasons(state)[DNS_PREFIX] is Reason.SERVICE_DOWN


def test_an_undrained_service_needs_its_rise_again() -> None:
    gone = after(all_up(host()), drained(DNS), TimePassed(SETTLED))
    back, effects = feed(gone, [Undrained(200.0, *DNS)])
    assert effects[0] == DrainEnded(200.0, DNS, Reason.UNDRAINED)
    assert back.service_verdicts["dns"].level is Level.INIT
    back = after(back, *[checked(OK)] * (CHECK_RISE - 1))
    assert DNS_PREFIX not in told(back)
    assert told(after(back, checked(OK)))[DNS_PREFIX] == (100, {"65101:1", "65101:2"})


def test_what_is_undrained_before_it_settled_has_never_been_away() -> None:
    before = all_up(host())
    for target in (DNS, TOR2, HOST):
        state = after(before, drained(target), Undrained(101.0, *target))
        assert state.intents == before.intents


def test_a_host_without_its_services_still_has_its_loopback_and_its_defaults() -> None:
    before = all_up(host())
    draining = after(before, drained(HOST))
    assert told(draining)[DNS_PREFIX] == (100, {"65101:16385", "65101:16386"})
    gone = after(draining, TimePassed(SETTLED))
    assert set(told(before)) - set(told(gone)) == {DNS_PREFIX}
    assert told(gone)[LOOPBACK_PREFIX] == told(before)[LOOPBACK_PREFIX]


def test_what_is_drained_twice_goes_as_fast_as_the_faster_one() -> None:
    state = after(all_up(host()), drained(TOR2), TimePassed(HALF), drained(DNS, at=HALF))
    assert told(state)[DNS_PREFIX] == (100, {"65101:16385", "65101:32770"})


def test_a_service_and_its_host_are_drained_one_by_one() -> None:
    gone = after(all_up(host()), drained(DNS), TimePassed(SETTLED), drained(HOST, at=200.0))
    # What is away does not come back to settle once more.
    assert DNS_PREFIX not in told(gone)
    gone = after(gone, Undrained(201.0, *DNS), *[checked(OK)] * CHECK_RISE)
    assert DNS_PREFIX not in told(gone)
    back = after(gone, Undrained(202.0, *HOST), *[checked(OK)] * CHECK_RISE)
    assert DNS_PREFIX in told(back)


def test_an_uplink_is_left_by_what_the_host_sends_and_by_what_comes_in() -> None:
    before = all_up(host())
    draining = after(before, drained(TOR2))
    assert told(draining) == {
        DEFAULT[0]: (100, set()),
        DEFAULT[1]: (policy.DRAINING_LOCAL_PREF, set()),
        DNS_PREFIX: (100, {"65101:1", "65101:16386"}),
        LOOPBACK_PREFIX: (100, {"65101:1", "65101:16386"}),
    }
    assert reasons(draining)[DEFAULT[1]] is Reason.DRAINING
    shut = after(draining, TimePassed(HALF))
    assert told(shut)[DNS_PREFIX] == (100, {"65101:1", "65101:32770"})
    assert told(shut)[DEFAULT[1]] == told(draining)[DEFAULT[1]]
    gone = after(draining, TimePassed(SETTLED))
    assert told(gone) == {
        DEFAULT[0]: (100, set()),
        DNS_PREFIX: (100, {"65101:1"}),
        LOOPBACK_PREFIX: (100, {"65101:1"}),
    }
    assert reasons(gone)[DEFAULT[1]] is Reason.DRAINED


def test_a_degraded_uplink_that_carries_no_service_gets_none_for_being_drained() -> None:
    settings = host()
    before = all_up(settings)
    (_, tor2) = settings.uplinks
    slow = [e._replace(rtt_s=0.5) for _ in range(WINDOW) for e in round_of(tor2, OK)]
    degraded = after(before, *slow)
    assert told(degraded)[DEFAULT[1]] == (policy.DEGRADED_LOCAL_PREF, set())
    state = after(degraded, drained(TOR2))
    assert set(told(state)) == {DEFAULT[0], DNS_PREFIX, LOOPBACK_PREFIX}
    assert told(state)[DNS_PREFIX] == (100, {"65101:1"})


def test_an_uplink_that_dies_while_it_drains_is_left_at_once() -> None:
    settings = host()
    state = after(all_up(settings), drained(TOR2), *rounds(settings, FAILED, FALL, 2))
    assert set(told(state)) == {DEFAULT[0], DNS_PREFIX, LOOPBACK_PREFIX}
    assert told(state)[DNS_PREFIX] == (100, {"65101:1"})


def paths(state: State) -> dict[str, tuple[int, ...]]:
    return {str(key): a.as_path for key, a in state.intents.items()}


def test_in_direct_mode_one_neighbor_is_told() -> None:
    draining = after(all_up(host(mode=Mode.DIRECT)), drained(TOR2))
    assert told(draining)["192.0.2.53/32 to 10.0.2.0"] == (None, set())
    assert paths(draining)["192.0.2.53/32 to 10.0.2.0"] == (65101, 65101)
    assert paths(draining)["192.0.2.53/32 to 10.0.1.0"] == ()
    shut = after(draining, TimePassed(HALF))
    assert told(shut)["192.0.2.53/32 to 10.0.1.0"] == (None, set())
    assert told(shut)["192.0.2.53/32 to 10.0.2.0"] == (None, {"65535:0"})
    assert paths(shut)["192.0.2.53/32 to 10.0.2.0"] == (65101, 65101)
    gone = after(draining, TimePassed(SETTLED))
    assert set(told(gone)) == {"192.0.2.53/32 to 10.0.1.0", "10.255.10.1/32 to 10.0.1.0"}
    assert reasons(gone)["192.0.2.53/32 to 10.0.2.0"] is Reason.DRAINED


def test_in_direct_mode_a_service_is_drained_at_every_neighbor() -> None:
    draining = after(all_up(host(mode=Mode.DIRECT)), drained(DNS), TimePassed(HALF))
    for neighbor in ("10.0.1.0", "10.0.2.0"):
        assert told(draining)[f"192.0.2.53/32 to {neighbor}"] == (None, {"65535:0"})
        assert told(draining)[f"10.255.10.1/32 to {neighbor}"] == (None, set())
    gone = after(draining, TimePassed(SETTLED))
    assert set(told(gone)) == {"10.255.10.1/32 to 10.0.1.0", "10.255.10.1/32 to 10.0.2.0"}


def test_an_undrained_uplink_needs_its_rise_again() -> None:
    settings = host()
    gone = after(all_up(settings), drained(TOR2), TimePassed(SETTLED))
    back, effects = feed(gone, [Undrained(200.0, *TOR2)])
    (changed,) = [e for e in effects if isinstance(e, PathChanged)]
    assert (changed.path.uplink, changed.after.level) == ("tor2", Level.INIT)
    back = after(back, *rounds(settings, OK, RISE - 1))
    assert DEFAULT[1] not in told(back)
    assert told(back)[DNS_PREFIX] == (100, {"65101:1"})
    back = after(back, *rounds(settings, OK, 1))
    assert told(back) == told(all_up(settings))


def test_an_undrained_uplink_whose_link_is_away_is_down() -> None:
    settings = host()
    gone = after(all_up(settings), drained(TOR2), TimePassed(SETTLED))
    gone = after(gone, LinkChanged(150.0, "tor2", up=False), Undrained(200.0, *TOR2))
    assert gone.path_verdicts[PathKey("tor2", Family.IPV4)].level is Level.DOWN


def test_a_drain_ends_by_itself() -> None:
    draining = after(all_up(host()), drained(DNS, until=130.0))
    gone = after(draining, TimePassed(SETTLED))
    assert gone.next_at == 130.0
    back, effects = feed(gone, [TimePassed(130.0)])
    assert effects[0] == DrainEnded(130.0, DNS, Reason.DRAIN_EXPIRED)
    assert (back.drains.orders, back.next_at) == ({}, None)
    assert DNS_PREFIX in told(after(back, *[checked(OK)] * CHECK_RISE))


def test_another_end_is_another_end_and_no_new_beginning() -> None:
    gone = after(all_up(host()), drained(DNS, until=130.0), TimePassed(SETTLED))
    later, effects = feed(gone, [drained(DNS, at=120.0, until=500.0)])
    assert later.drains.orders[DNS] == Order(since=100.0, until=500.0)
    assert [type(e) for e in effects] == [DrainStarted]
    assert later.intents == gone.intents
    assert feed(later, [drained(DNS, at=121.0, until=500.0)])[1] == []


def test_after_a_restart_a_drain_is_as_far_as_it_was() -> None:
    settings = host()
    for since, stage in ((99.0, Stage.PREPENDED), (94.0, Stage.SHUTDOWN), (0.0, Stage.DRAINED)):
        state = after(
            engine.initial(settings),
            drained(DNS, since=since),
            Started(100.0),
            *rounds(settings, OK, RISE),
            *[checked(OK)] * CHECK_RISE,
        )
        assert state.drains.stage("dns") is stage
        assert (DNS_PREFIX in told(state)) is (stage is not Stage.DRAINED)


def test_after_a_restart_what_ended_meanwhile_and_what_left_the_file_is_over() -> None:
    state, effects = feed(
        engine.initial(host()),
        [
            drained(DNS, since=0.0, until=99.0),
            drained(Target(What.UPLINK, "tor9"), since=0.0),
        ],
    )
    assert [(e.target.name, e.reason) for e in effects if isinstance(e, DrainEnded)] == [
        ("dns", Reason.DRAIN_EXPIRED),
        ("tor9", Reason.NOT_IN_FILE),
    ]
    assert state.drains.orders == {}


def test_after_a_restart_a_drained_uplink_is_left_alone_until_another_is_known_to_work() -> None:
    settings = host()
    state = after(
        engine.initial(settings),
        drained(TOR1, since=0.0),
        Started(0.0),
        *rounds(settings, OK, RISE, 1),
    )
    assert told(state) == {}
    assert reasons(state)[DEFAULT[0]] is Reason.INIT
    state = after(state, *rounds(settings, OK, RISE, 2))
    assert set(told(state)) == {DEFAULT[1], LOOPBACK_PREFIX}
    assert reasons(state)[DEFAULT[0]] is Reason.DRAINED


def test_after_a_restart_what_still_settles_is_left_alone_until_then_as_well() -> None:
    settings = host()
    state = after(
        engine.initial(settings),
        drained(TOR1),
        Started(100.0),
        *rounds(settings, OK, RISE, 1),
    )
    assert told(state) == {}
    assert set(reasons(state).values()) == {Reason.INIT}


def test_after_a_restart_a_needed_uplink_is_not_given_up_before_its_verdict() -> None:
    settings = host()
    state = after(
        engine.initial(settings),
        drained(TOR1, since=0.0),
        Started(100.0),
        *rounds(settings, FAILED, FALL, 2),
    )
    # What carries is ExaBGP's memory of it.
    assert {DEFAULT[0], LOOPBACK_PREFIX} <= {str(k) for k in policy.undecided(state.decisions)}
    state = after(state, *rounds(settings, OK, RISE, 1))
    assert told(state)[LOOPBACK_PREFIX] == (100, {"65101:1"})


@pytest.mark.parametrize("all_down", AllDown)
def test_a_drained_uplink_carries_again_while_no_other_works(all_down: AllDown) -> None:
    settings = host(all_down=all_down)
    before = all_up(settings)
    gone = after(before, drained(TOR1), TimePassed(SETTLED))
    needed, effects = feed(gone, rounds(settings, FAILED, FALL, 2))
    assert DrainSuspended(0.0, V4_TOR1) in effects
    assert told(needed) == {
        DEFAULT[0]: (100, set()),
        DNS_PREFIX: (100, {"65101:1"}),
        LOOPBACK_PREFIX: (100, {"65101:1"}),
    }
    assert reasons(needed)[DNS_PREFIX] is Reason.DRAIN_SUSPENDED

    # It settles again before it goes away again.
    resumed, effects = feed(needed, rounds(settings, OK, RISE, 2))
    assert DrainResumed(0.0, V4_TOR1) in effects
    assert told(resumed)[DNS_PREFIX] == (100, {"65101:16385", "65101:2"})
    assert told(after(resumed, TimePassed(SETTLE_S)))[DNS_PREFIX] == (100, {"65101:2"})


def test_a_suspended_drain_of_one_family_leaves_the_other_drained() -> None:
    settings = host(families=BOTH)
    gone = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    (_, tor2) = settings.uplinks
    v6 = [e for e in round_of(tor2, FAILED) if e.family is Family.IPV6]
    needed = after(gone, *v6 * FALL)
    assert needed.drains.suspended == {Leg(Scope(Family.IPV6), "tor1")}
    assert told(needed)["2001:db8::53/128"] == (100, {"65101:1"})
    assert told(needed)[DNS_PREFIX] == (100, {"65101:2"})


def test_an_uplink_that_is_undrained_while_it_is_needed_goes_on() -> None:
    settings = host()
    gone = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    needed = after(gone, *rounds(settings, FAILED, FALL, 2))
    back = after(needed, Undrained(200.0, *TOR1))
    assert back.intents == needed.intents
    assert reasons(back)[DNS_PREFIX] is Reason.SERVICE_UP
    assert back.drains == engine.initial(settings).drains


def test_a_forced_drain_does_not_end_for_need() -> None:
    settings = host()
    gone = after(all_up(settings), forced(TOR1), TimePassed(SETTLED))
    gone = after(gone, *rounds(settings, FAILED, FALL, 2))
    assert DEFAULT[0] not in told(gone)
    # The other one was used last, and is kept.
    assert told(gone)[DNS_PREFIX] == (100, {"65101:2"})
    assert reasons(gone)[DNS_PREFIX] is Reason.ALL_DOWN_KEEP_LAST


def test_a_forced_drain_takes_the_last_path_away_and_bgpd_does_not_bring_it_back() -> None:
    settings = host(uplinks=1, loss=InjectorLoss.KEEP)
    draining = after(all_up(settings), forced(TOR1))
    assert told(draining)[LOOPBACK_PREFIX] == (100, {"65101:16385"})
    gone = after(draining, TimePassed(SETTLED))
    assert told(gone) == {LOOPBACK_PREFIX: (100, set()), DNS_PREFIX: (100, set())}
    assert set(reasons(gone).values()) == {Reason.DRAINED}


def test_a_drained_uplink_is_never_the_last_usable_one() -> None:
    gone = after(all_up(host()), drained(TOR1), TimePassed(SETTLED))
    assert gone.last_usable == {Scope(Family.IPV4): {"tor2"}}


@pytest.mark.parametrize(
    ("events", "needed"),
    [
        ([], ()),
        (["2 down"], BOTH),
        (["2 down", "1 down"], BOTH),  # Kept, because it was usable last.
        (["1 down"], ()),
        (["2 drained"], BOTH),
    ],
)
def test_the_last_healthy_path_is_known(events: list[str], needed: tuple[Family, ...]) -> None:
    settings = host(families=BOTH)
    state = all_up(settings)
    for event in events:
        number, what = event.split()
        if what == "down":
            state = after(state, *rounds(settings, FAILED, FALL, int(number)))
        else:
            state = after(state, drained(TOR2))
    assert last_path.needs(state, "tor1") == tuple(map(Scope, needed))


def test_before_the_first_verdict_no_uplink_may_be_drained() -> None:
    assert last_path.needs(engine.initial(host()), "tor1") == (Scope(Family.IPV4),)


def test_a_reload_keeps_the_drains_of_what_is_still_there() -> None:
    settings = host(uplinks=3)
    gone = after(all_up(settings), drained(TOR1), drained(TOR2), drained(DNS), TimePassed(SETTLED))
    fewer = replace(settings, uplinks=settings.uplinks[1:], services=settings.services[:1])
    state, effects = reconfigure(gone, fewer, 300.0)
    assert set(state.drains.orders) == {TOR2}
    ended = [e for e in effects if isinstance(e, DrainEnded)]
    assert {(e.target, e.reason) for e in ended} == {
        (TOR1, Reason.NOT_IN_FILE),
        (DNS, Reason.NOT_IN_FILE),
    }
    assert told(state)[LOOPBACK_PREFIX] == (100, {"65101:3"})


def test_a_service_that_is_new_on_a_drained_host_waits_with_the_others() -> None:
    settings = host()
    gone = after(all_up(settings), drained(HOST), TimePassed(SETTLED))
    web = replace(settings.services[1], name="web", prefixes=settings.services[1].prefixes)
    renamed = replace(settings, services=(settings.services[0], web))
    state, _ = reconfigure(gone, renamed, 300.0)
    assert reasons(state)[DNS_PREFIX] is Reason.DRAINED


def test_undraining_what_is_not_drained_does_nothing() -> None:
    state = all_up(host())
    assert engine.step(state, Undrained(1.0, *TOR1)) == (state, ())
    assert engine.step(state, TimePassed(1.0)) == (state, ())


def test_without_a_settle_time_it_is_gone_at_once() -> None:
    gone = after(all_up(replace(host(), drain_settle_s=0.0)), drained(TOR2), drained(DNS))
    assert told(gone) == {DEFAULT[0]: (100, set()), LOOPBACK_PREFIX: (100, {"65101:1"})}


def test_intents_are_told_once_per_change() -> None:
    _, effects = feed(all_up(host()), [drained(TOR2)])
    assert len([e for e in effects if isinstance(e, IntentsChanged)]) == 1
