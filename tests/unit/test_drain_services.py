"""Drains and what services say of others: which uplinks they may use, how many, and whom they need.

The service is called choosy; it has no checks.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgphealth.core import engine, last_path
from bgphealth.core.drain import DrainSuspended, Leg
from bgphealth.core.events import (
    Event,
    LinkChanged,
    PathProbed,
    Settled,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement
from bgphealth.core.orders import Target, What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import AllDown, Export, Family, Mode, Role, Scope, Settings
from bgphealth.core.state import State
from tests.support.hosts import (
    CHECK_RISE,
    FALL,
    RISE,
    WINDOW,
    WITH_BGP,
    checked,
    host,
    round_of,
    service,
)
from tests.unit.test_drain import (
    DEFAULT,
    DNS,
    DNS_PREFIX,
    FAILED,
    HALF,
    OK,
    SETTLED,
    TOR1,
    TOR2,
    after,
    all_up,
    drained,
    feed,
    forced,
    reasons,
    rounds,
    told,
)

PREFIX = "192.0.2.7/32"
CHOOSY = Target(What.SERVICE, "choosy")
OWN = {"65000:100"}
ONLY_TOR1 = frozenset({"tor1"})


def with_choosy(settings: Settings, **given: object) -> Settings:
    mine = service("choosy", PREFIX, **given)  # type: ignore[arg-type]
    return replace(settings, services=(*settings.services, mine))


def route(state: State, to: int | None = None) -> Announcement | None:
    where = PREFIX if to is None else f"{PREFIX} to 10.0.{to}.0"
    return next((a for key, a in state.intents.items() if str(key) == where), None)


def degraded(settings: Settings, number: int) -> list[Event]:
    uplink = settings.uplinks[number - 1]
    answers = [event._replace(rtt_s=0.5) for event in round_of(uplink, OK)]
    return [*answers] * WINDOW


def test_a_service_keeps_its_communities_while_it_is_drained() -> None:
    before = all_up(with_choosy(host()))
    draining = after(before, drained(CHOOSY))
    assert told(draining)[PREFIX] == (100, {"65101:16385", "65101:16386", *OWN})
    was, now = route(before), route(draining)
    assert was is not None
    assert now is not None
    assert now.large_communities == was.large_communities != ()
    shut = after(draining, TimePassed(HALF))
    assert told(shut)[PREFIX] == (100, {"65101:32769", "65101:32770", *OWN})


def test_in_direct_mode_the_stage_prepends_once_more_than_the_service_itself() -> None:
    settings = with_choosy(host(mode=Mode.DIRECT), export=Export(prepend=2, med=50))
    before = all_up(settings)
    was = route(before, to=2)
    assert was is not None
    draining = route(after(before, drained(TOR2)), to=2)
    assert draining == replace(was, as_path=(65101,) * 4)
    shut = route(after(before, drained(TOR2), TimePassed(HALF)), to=2)
    assert shut is not None
    assert shut.as_path == (65101,) * 4
    assert {str(c) for c in shut.communities} == {"65535:0", *OWN}
    assert (shut.med, shut.large_communities) == (50, was.large_communities)
    assert route(after(before, drained(TOR2), TimePassed(SETTLED)), to=1) == route(before, to=1)


def test_an_uplink_that_is_drained_later_does_not_slow_a_service_down() -> None:
    state = after(all_up(host()), drained(DNS), TimePassed(HALF), drained(TOR2, at=HALF))
    assert told(state)[DNS_PREFIX] == (100, {"65101:32769", "65101:32770"})


def test_a_degraded_uplink_that_is_drained_prepends_once_more_than_it_did() -> None:
    worse = Export(prepend=3, med=1000)
    settings = with_choosy(host(), degraded=worse)
    before = after(all_up(settings), *degraded(settings, 2))
    assert told(before)[PREFIX] == (100, {"65101:1", "65101:1002", *OWN})
    draining = after(before, drained(TOR2))
    assert told(draining)[PREFIX] == (100, {"65101:1", "65101:17386", *OWN})
    assert told(draining)[DNS_PREFIX] == (100, {"65101:1"})
    shut = after(draining, TimePassed(HALF))
    assert told(shut)[PREFIX] == (100, {"65101:1", "65101:33770", *OWN})
    # Then it has nothing, degraded or not.
    gone = after(draining, TimePassed(SETTLED))
    assert told(gone)[PREFIX] == (100, {"65101:1", *OWN})
    assert DEFAULT[1] not in told(gone)

    direct = with_choosy(host(mode=Mode.DIRECT), degraded=worse)
    state = after(all_up(direct), *degraded(direct, 2), drained(TOR2))
    now = route(state, to=2)
    assert now is not None
    assert (now.as_path, now.med) == ((65101,) * 5, 1000)
    assert reasons(state)[f"{PREFIX} to 10.0.2.0"] is Reason.DRAINING
    gone = after(state, TimePassed(SETTLED))
    assert reasons(gone)[f"{PREFIX} to 10.0.2.0"] is Reason.DRAINED


def test_a_drained_service_goes_drained_over_a_degraded_uplink_as_well() -> None:
    settings = with_choosy(host(), degraded=Export(prepend=3))
    state = after(all_up(settings), *degraded(settings, 2), drained(CHOOSY))
    assert told(state)[PREFIX] == (100, {"65101:16385", "65101:17386", *OWN})


def test_what_requires_a_drained_service_goes_with_it() -> None:
    settings = with_choosy(host(), requires=("dns",))
    draining = after(all_up(settings), drained(DNS))
    assert told(draining)[PREFIX] == (100, {"65101:16385", "65101:16386", *OWN})
    assert reasons(draining)[PREFIX] is Reason.DRAINING
    shut = after(draining, TimePassed(HALF))
    assert told(shut)[PREFIX] == (100, {"65101:32769", "65101:32770", *OWN})
    gone = after(draining, TimePassed(SETTLED))
    assert PREFIX not in told(gone)
    assert reasons(gone)[PREFIX] is Reason.REQUIRED_SERVICE_DOWN
    # It comes back with it.
    back = after(gone, Undrained(200.0, *DNS))
    assert reasons(back)[PREFIX] is Reason.INIT
    assert PREFIX in told(after(back, *[checked(OK)] * CHECK_RISE))


def test_what_is_required_by_a_drained_service_stays() -> None:
    settings = with_choosy(host(), requires=("dns",))
    gone = after(all_up(settings), drained(CHOOSY), TimePassed(SETTLED))
    assert PREFIX not in told(gone)
    assert told(gone)[DNS_PREFIX] == (100, {"65101:1", "65101:2"})


@pytest.mark.parametrize("mode", WITH_BGP)
def test_a_service_that_needs_a_drained_uplink_for_its_minimum_goes_with_it(mode: Mode) -> None:
    settings = with_choosy(host(uplinks=3, mode=mode), min_uplinks=2)
    two = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    where = PREFIX if mode is Mode.FRR else f"{PREFIX} to 10.0.3.0"
    assert reasons(two)[where] is Reason.SERVICE_UP

    draining = after(two, drained(TOR2, at=200.0))
    assert reasons(draining)[where] is Reason.DRAINING
    if mode is Mode.FRR:
        assert told(draining)[PREFIX] == (100, {"65101:16386", "65101:16387", *OWN})
    else:
        found = route(draining, to=3)
        assert found is not None
        assert found.as_path == (65101, 65101)
    gone = after(draining, TimePassed(300.0))
    assert reasons(gone)[where] is Reason.TOO_FEW_UPLINKS
    back = after(gone, Undrained(400.0, *TOR2), *rounds(settings, OK, RISE, 2))
    assert reasons(back)[where] is Reason.SERVICE_UP


def test_a_service_goes_no_sooner_than_the_last_uplink_that_makes_its_minimum() -> None:
    settings = with_choosy(host(uplinks=3), min_uplinks=2)
    state = after(all_up(settings), drained(TOR1), TimePassed(HALF), drained(TOR2, at=HALF))
    # tor1 is shut down already; with tor2, which is not, there would be two for a while.
    assert told(state)[PREFIX] == (100, {"65101:32769", "65101:16386", "65101:16387", *OWN})


def test_an_uplink_without_a_verdict_may_make_the_minimum_unless_it_is_drained() -> None:
    settings = with_choosy(host(), min_uplinks=2)
    for since, reason in ((99.0, Reason.INIT), (0.0, Reason.TOO_FEW_UPLINKS)):
        state = after(
            engine.initial(settings),
            drained(TOR1, since=since),
            Started(100.0),
            *rounds(settings, OK, RISE, 2),
            Settled(103.0),
        )
        assert reasons(state)[PREFIX] is reason


def test_after_a_restart_in_direct_mode_what_still_settles_is_left_alone() -> None:
    settings = host(mode=Mode.DIRECT)
    first = [drained(TOR1), Started(100.0), *rounds(settings, OK, RISE, 1)]
    state = after(engine.initial(settings), *first)
    assert told(state) == {}
    assert set(reasons(state).values()) == {Reason.INIT}


def test_an_uplink_that_carries_while_its_drain_is_suspended_counts() -> None:
    settings = with_choosy(host(), min_uplinks=1)
    state = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    state = after(state, *rounds(settings, FAILED, FALL, 2))
    assert told(state)[PREFIX] == (100, {"65101:1", *OWN})


def test_an_uplink_is_the_last_healthy_path_of_a_service_that_no_other_may_carry() -> None:
    settings = with_choosy(host(), uplinks=ONLY_TOR1)
    state, only = all_up(settings), Scope(Family.IPV4, ONLY_TOR1)
    assert last_path.needs(state, "tor1") == (only,)
    assert last_path.services_of(only, settings) == ("choosy",)
    assert last_path.needs(state, "tor2") == ()
    # Drained before, the service does not need it.
    assert last_path.needs(after(state, drained(CHOOSY)), "tor1") == ()


def test_a_forced_drain_takes_the_only_uplink_of_a_service_after_the_settle_time() -> None:
    settings = with_choosy(host(), uplinks=ONLY_TOR1)
    draining = after(all_up(settings), forced(TOR1))
    assert told(draining)[PREFIX] == (100, {"65101:16385", *OWN})
    assert reasons(draining)[PREFIX] is Reason.DRAINING
    gone = after(draining, TimePassed(SETTLED))
    assert PREFIX not in told(gone)
    assert reasons(gone)[PREFIX] is Reason.DRAINED
    assert told(gone)[DNS_PREFIX] == (100, {"65101:2"})


def test_an_uplink_carries_only_those_again_that_no_other_may_carry() -> None:
    settings = with_choosy(host(uplinks=3), uplinks=frozenset({"tor1", "tor2"}))
    scope = Scope(Family.IPV4, frozenset({"tor1", "tor2"}))
    gone = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    needed, effects = feed(gone, rounds(settings, FAILED, FALL, 2))
    assert needed.drains.suspended == {Leg(scope, "tor1")}
    assert DrainSuspended(0.0, PathKey("tor1", Family.IPV4)) in effects
    assert told(needed)[PREFIX] == (100, {"65101:1", *OWN})
    assert reasons(needed)[PREFIX] is Reason.DRAIN_SUSPENDED
    # The others have tor3.
    assert told(needed)[DNS_PREFIX] == (100, {"65101:3"})
    assert DEFAULT[0] not in told(needed)
    # It settles once more for the one that it carried, and for no other.
    resumed = after(needed, *rounds(settings, OK, RISE, 2))
    assert told(resumed)[PREFIX] == (100, {"65101:16385", "65101:2", *OWN})
    assert told(resumed)[DNS_PREFIX] == (100, {"65101:2", "65101:3"})


def test_a_path_that_any_service_has_used_meanwhile_needs_no_new_verdict() -> None:
    settings = with_choosy(host(uplinks=3), uplinks=frozenset({"tor1", "tor2"}))
    needed = after(all_up(settings), drained(TOR1), TimePassed(SETTLED))
    needed = after(needed, *rounds(settings, FAILED, FALL, 2))
    back = after(needed, Undrained(200.0, *TOR1))
    assert back.path_verdicts[PathKey("tor1", Family.IPV4)].level is Level.UP
    assert told(back)[DNS_PREFIX] == (100, {"65101:1", "65101:3"})
    assert told(back)[PREFIX] == (100, {"65101:1", *OWN})


def part_of(events: list[Event], role: Role) -> list[Event]:
    return [e for e in events if isinstance(e, PathProbed) and e.role is role]


@pytest.mark.parametrize("all_down", AllDown)
def test_what_is_kept_is_never_drained(all_down: AllDown) -> None:
    settings = with_choosy(host(uplinks=3, all_down=all_down))
    state = after(all_up(settings), forced(TOR1), TimePassed(SETTLED))
    # tor2 has lost its link; tor1, and after it tor3, what is behind its ToR.
    beyond = part_of(rounds(settings, FAILED, FALL, 1, 3), Role.BEYOND)
    state = after(state, LinkChanged(0.0, "tor2", up=False), *beyond)
    kept = None if all_down is AllDown.WITHDRAW else (100, {"65101:3"})
    assert told(state).get(DNS_PREFIX) == kept
    assert state.last_usable[Scope(Family.IPV4)] == {"tor3"}


def test_what_is_kept_is_kept_no_more_once_it_is_drained() -> None:
    settings = host()
    state = after(all_up(settings), *rounds(settings, FAILED, FALL))
    assert told(state)[DNS_PREFIX] == (100, {"65101:1", "65101:2"})
    state = after(state, forced(TOR1))
    assert told(state)[DNS_PREFIX] == (100, {"65101:2"})


def test_what_was_suspended_settles_whatever_is_drained_already() -> None:
    settings = host(uplinks=3)
    state = after(all_up(settings), forced(TOR1), TimePassed(SETTLED), drained(TOR2, at=200.0))
    state = after(state, *degraded(settings, 2), TimePassed(300.0))
    state = after(state, *rounds(settings, FAILED, FALL, 3))
    assert reasons(state)[DNS_PREFIX] is Reason.DRAIN_SUSPENDED
    assert told(state)[DNS_PREFIX] == (100, {"65101:2"})
    # tor1 works better, but is away; so it is tor2 that is left, not nothing.
    state = after(state, forced(TOR2, at=400.0))
    assert told(state)[DNS_PREFIX] == (100, {"65101:16386", "65101:3"})


def test_keep_best_moves_to_a_better_one_but_never_to_a_drained_one() -> None:
    settings = host(uplinks=3, all_down=AllDown.KEEP_BEST)
    state = after(all_up(settings), forced(TOR1), TimePassed(SETTLED))
    state = after(state, *rounds(settings, FAILED, FALL))
    assert told(state)[DNS_PREFIX] == (100, {"65101:2", "65101:3"})
    # tor1 answers again, then tor3.
    gateways = part_of(rounds(settings, OK, RISE, 1), Role.GATEWAY)
    state = after(state, *gateways, Settled(1.0))
    assert told(state)[DNS_PREFIX] == (100, {"65101:2", "65101:3"})
    state = after(state, *part_of(rounds(settings, OK, RISE, 3), Role.GATEWAY))
    assert told(state)[DNS_PREFIX] == (100, {"65101:3"})


def test_a_service_that_is_edited_while_an_uplink_is_drained_goes_on_draining() -> None:
    settings = with_choosy(host(uplinks=3))
    draining = after(all_up(settings), drained(TOR1))
    narrow = with_choosy(host(uplinks=3), uplinks=frozenset({"tor1", "tor2"}))
    state, _ = reconfigure(draining, narrow, 101.0)
    assert told(state)[PREFIX] == (100, {"65101:16385", "65101:2", *OWN})
    gone = after(draining, TimePassed(SETTLED))
    state, _ = reconfigure(gone, narrow, 301.0)
    assert told(state)[PREFIX] == (100, {"65101:2", *OWN})
    # And one that only the drained uplink may carry is carried by it.
    only, _ = reconfigure(gone, with_choosy(host(uplinks=3), uplinks=ONLY_TOR1), 301.0)
    assert told(only)[PREFIX] == (100, {"65101:1", *OWN})
    assert only.next_at is None
    back, _ = reconfigure(only, settings, 302.0)
    assert told(back)[PREFIX] == (100, {"65101:2", "65101:3", *OWN})
    assert back.drains.suspended == frozenset()


def test_a_service_without_a_verdict_is_left_as_it_is_while_what_it_requires_drains() -> None:
    settings = with_choosy(host(), requires=("dns",))
    state = after(engine.initial(settings), drained(DNS), *rounds(settings, Verdict.OK, RISE))
    assert reasons(state)[PREFIX] is Reason.INIT
