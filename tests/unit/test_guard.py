"""What becomes of a service that is down: withdrawn, degraded, guarded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgphealth.core import engine
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.damping import Penalty
from bgphealth.core.events import (
    AlternativesUnknown,
    Drained,
    Event,
    LinkChanged,
    ServiceChecked,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.guard import DEGRADED, HEALTHY, LAST_RESORT_PREPEND
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Intents
from bgphealth.core.orders import What
from bgphealth.core.policy_services import GRACEFUL_SHUTDOWN
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import (
    Damping,
    Export,
    InjectorLoss,
    Mode,
    OnDown,
    ServiceSettings,
    Settings,
)
from bgphealth.core.state import AlternativesWanted, IntentsChanged, State
from tests.support.guarded import (
    checks,
    dns,
    guarded,
    is_marked_healthy,
    played,
    prefix_of,
    running,
    seen,
)
from tests.support.hosts import CHECK, CHECK_FALL, RISE, checked, round_of

SETTLE_S = guarded().guarded_settle_s
LAST_RESORT = (Community(65101, 49153), Community(65101, 49154))
HOST_ID = int(guarded().host.router_id)


def down(settings: Settings, at: float = 0.0) -> State:
    return played(running(settings), *checks(Verdict.FAILED, at))


def reason(state: State) -> Reason:
    return next(d.reason for k, d in state.decisions.items() if k.prefix == prefix_of(state))


def changed(settings: Settings, **changes: object) -> Settings:
    """Return the host with another service dns."""
    loopback, service = settings.services
    other: ServiceSettings = replace(service, **changes)  # type: ignore[arg-type]
    return replace(settings, services=(loopback, other))


def withdrawn() -> State:
    state = down(guarded())
    state = played(state, seen(state, 1.0, healthy=True), seen(state, 1.0 + SETTLE_S, healthy=True))
    assert dns(state) is None
    return state


def test_it_is_marked_as_healthy_while_it_is_up() -> None:
    announced = dns(running(guarded()))
    assert announced is not None
    assert announced.communities == (Community(65101, 1), Community(65101, 2))
    assert announced.large_communities == (LargeCommunity(65101, HEALTHY, HOST_ID),)


@pytest.mark.parametrize("on_down", [OnDown.DEGRADE, OnDown.GUARDED])
def test_it_is_a_last_resort_at_first(on_down: OnDown) -> None:
    state = down(guarded(on_down=on_down))
    announced = dns(state)
    assert announced is not None
    assert announced.communities == LAST_RESORT
    assert announced.large_communities == (LargeCommunity(65101, DEGRADED, HOST_ID),)
    assert reason(state) is Reason.SERVICE_DOWN_DEGRADED


def test_a_service_that_is_not_asked_to_stay_has_no_mark_and_goes() -> None:
    settings = guarded(on_down=OnDown.WITHDRAW)
    up = dns(running(settings))
    assert up is not None
    assert up.large_communities == ()
    state = down(settings)
    assert (dns(state), reason(state)) == (None, Reason.SERVICE_DOWN)


def test_the_uplink_that_is_degraded_carries_it_as_a_worse_last_resort() -> None:
    settings = changed(guarded(), degraded_export=Export(prepend=3))
    slow = [e._replace(rtt_s=0.15) for e in round_of(settings.uplinks[0], Verdict.OK)] * 50
    state = played(down(settings), *slow)
    announced = dns(state)
    assert announced is not None
    assert announced.communities == (Community(65101, 1001 + 49152), LAST_RESORT[1])


def test_a_tor_without_frr_is_told_the_same() -> None:
    settings = changed(
        guarded(on_down=OnDown.DEGRADE, mode=Mode.DIRECT), export=Export(prepend=1, med=7)
    )
    up, state = dns(running(settings)), down(settings)
    assert up is not None
    assert up.large_communities == (LargeCommunity(65101, HEALTHY, HOST_ID),)
    announced = dns(state)
    assert announced is not None
    assert announced.as_path == (65101,) * (1 + 1 + LAST_RESORT_PREPEND)
    assert announced.communities == (GRACEFUL_SHUTDOWN,)
    assert announced.large_communities == (LargeCommunity(65101, DEGRADED, HOST_ID),)
    assert announced.med == 7
    assert reason(state) is Reason.SERVICE_DOWN_DEGRADED


def test_others_are_looked_for_only_while_it_is_down() -> None:
    state, effects = running(guarded()), list[AlternativesWanted]()
    for event in (*checks(Verdict.FAILED, 1.0), *checks(Verdict.OK, 2.0)):
        state, new = engine.step(state, event)
        effects += [each for each in new if isinstance(each, AlternativesWanted)]
    wanted = [(each.at, each.prefixes) for each in effects]
    assert wanted == [(1.0, (prefix_of(state),)), (2.0, ())]


def test_it_goes_when_another_has_been_there_for_long_enough() -> None:
    state = down(guarded())
    state = played(state, seen(state, 1.0, healthy=True))
    state = played(state, seen(state, 0.9 + SETTLE_S, healthy=True))
    assert (dns(state) is not None, reason(state)) == (True, Reason.SERVICE_DOWN_DEGRADED)
    state = played(state, seen(state, 1.0 + SETTLE_S, healthy=True))
    assert (dns(state), reason(state)) == (None, Reason.GUARDED_ALTERNATIVE)


def test_it_stays_when_the_other_is_gone_in_between() -> None:
    state = down(guarded())
    for at, healthy in ((1.0, True), (3.0, False), (4.0, True), (1.0 + SETTLE_S, True)):
        state = played(state, seen(state, at, healthy=healthy))
        assert dns(state) is not None


def test_it_stays_when_nobody_else_has_it_and_that_is_said_after_a_while() -> None:
    state = down(guarded())
    for at, why in ((1.0, Reason.SERVICE_DOWN_DEGRADED), (SETTLE_S, Reason.GUARDED_LAST_RESORT)):
        state = played(state, seen(state, at, healthy=False))
        assert (dns(state) is not None, reason(state)) == (True, why)


@pytest.mark.parametrize("why_not", ["gone", "unknown"])
def test_it_is_announced_again_as_soon_as_the_other_is_gone(why_not: str) -> None:
    state = withdrawn()
    gone = seen(state, 10.0, healthy=False)
    state = played(state, gone if why_not == "gone" else AlternativesUnknown(10.0, "no bgpd"))
    announced = dns(state)
    assert announced is not None
    assert announced.communities == LAST_RESORT
    assert reason(state) is Reason.GUARDED_LAST_RESORT


def test_it_is_announced_as_usual_when_it_is_up_again_and_nothing_is_remembered() -> None:
    state = played(withdrawn(), *checks(Verdict.OK, 20.0))
    assert is_marked_healthy(dns(state))
    state = played(state, *checks(Verdict.FAILED, 30.0))
    assert dns(state) is not None
    state = played(state, seen(state, 30.0, healthy=True))
    assert dns(state) is not None


def test_a_look_that_says_the_same_changes_nothing() -> None:
    state = withdrawn()
    assert engine.step(state, seen(state, 60.0, healthy=True)) == (state, ())


def test_what_was_under_way_when_it_came_up_is_nothing_to_it() -> None:
    state = running(guarded())
    assert engine.step(state, seen(state, 1.0, healthy=True)) == (state, ())
    assert engine.step(state, AlternativesUnknown(1.0, "x")) == (state, ())


def test_a_start_with_a_failing_check_never_says_healthy() -> None:
    settings = guarded()
    state, told = engine.initial(settings), list[Intents]()
    answers = [e for _ in range(RISE) for u in settings.uplinks for e in round_of(u, Verdict.OK)]
    events: list[Event] = [Started(0.0), *answers, *checks(Verdict.FAILED)]
    for event in events:
        state, effects = engine.step(state, event)
        told += [e.intents for e in effects if isinstance(e, IntentsChanged)]
    mine = [a for intents in told for k, a in intents.items() if k.prefix == prefix_of(state)]
    assert mine
    assert not any(is_marked_healthy(each) for each in mine)


def test_a_drain_withdraws_whatever_on_down_says() -> None:
    state = played(down(guarded()), Drained(1.0, What.SERVICE, "dns", 1.0))
    announced = dns(state)
    assert announced is not None
    # A last resort is worse than what is being drained.
    assert (announced.communities, reason(state)) == (LAST_RESORT, Reason.DRAINING)
    state = played(state, TimePassed(1.0 + state.settings.drain_settle_s))
    assert (dns(state), reason(state)) == (None, Reason.DRAINED)
    state = played(state, Undrained(20.0, What.SERVICE, "dns"), *checks(Verdict.FAILED, 21.0))
    assert dns(state) is not None


def test_what_is_about_to_go_is_no_alternative_for_others() -> None:
    up = running(guarded())
    assert is_marked_healthy(dns(up))
    draining = played(up, Drained(1.0, What.HOST, "", 1.0))
    assert dns(draining) is not None
    assert not is_marked_healthy(dns(draining))
    dark = played(up, *(LinkChanged(1.0, u.name, up=False) for u in up.settings.uplinks))
    assert dns(dark) is not None  # all_down: keep_last
    assert not is_marked_healthy(dns(dark))
    half = played(up, LinkChanged(1.0, "tor1", up=False))
    assert is_marked_healthy(dns(half))


def test_a_damped_service_stays_as_a_last_resort() -> None:
    damping = Damping(half_life_s=60.0, suppress=2500, reuse=750, max_suppress_s=300.0)
    up = running(changed(guarded(), damping=damping))
    penalties = {"dns": Penalty(2400.0, 0.0)}
    state = played(
        up._replace(service_penalties=penalties),
        *checks(Verdict.FAILED, 1.0),
        *checks(Verdict.OK, 2.0),
    )
    assert state.service_verdicts["dns"].level is Level.DAMPED
    announced = dns(state)
    assert announced is not None
    assert announced.communities == LAST_RESORT


@pytest.mark.parametrize("what", ["down", "drained"])
def test_what_it_requires_counts_as_its_own_but_for_a_drain(what: str) -> None:
    settings = changed(guarded(), requires=("api",))
    api = replace(
        settings.services[1], name="api", prefixes=(), requires=(), on_down=OnDown.DEGRADE
    )
    settings = replace(settings, services=(*settings.services, api))
    api_up = [ServiceChecked(0.0, "api", CHECK, Verdict.OK)] * 10
    state = played(running(settings), *api_up)
    assert is_marked_healthy(dns(state))
    if what == "down":
        state = played(state, *[ServiceChecked(1.0, "api", CHECK, Verdict.FAILED)] * CHECK_FALL)
        announced = dns(state)
        assert announced is not None
        assert announced.communities == LAST_RESORT
        assert state.guards.keys() == {prefix_of(state)}
    else:
        settled_at = 1.0 + settings.drain_settle_s
        state = played(state, Drained(1.0, What.SERVICE, "api", 1.0), TimePassed(settled_at))
        assert (dns(state), reason(state)) == (None, Reason.REQUIRED_SERVICE_DOWN)


def test_too_few_uplinks_are_no_affair_of_on_down() -> None:
    state = played(
        running(changed(guarded(), min_uplinks=2)),
        *checks(Verdict.FAILED),
        LinkChanged(1.0, "tor1", up=False),
    )
    assert (dns(state), reason(state)) == (None, Reason.TOO_FEW_UPLINKS)


def test_with_an_origin_of_bgpd_withdrawn_is_announced_to_nobody() -> None:
    state = down(changed(guarded(), on_injector_loss=InjectorLoss.KEEP))
    state = played(state, seen(state, 1.0, healthy=True), seen(state, 1.0 + SETTLE_S, healthy=True))
    (quiet,) = (a for k, a in state.intents.items() if k.prefix == prefix_of(state))
    assert (quiet.is_quiet, quiet.large_communities) == (True, ())
    assert reason(state) is Reason.GUARDED_ALTERNATIVE


def test_a_reload_that_is_about_something_else_keeps_it_away() -> None:
    state = withdrawn()
    other = replace(state.settings, drain_settle_s=1.0)
    state, effects = reconfigure(state, other, 20.0)
    assert (dns(state), effects) == (None, ())
    unguarded = changed(other, on_down=OnDown.DEGRADE)
    state, effects = reconfigure(state, unguarded, 21.0)
    assert dns(state) is not None
    assert AlternativesWanted(21.0, ()) in effects


def test_one_answer_is_not_enough() -> None:
    assert is_marked_healthy(dns(played(running(guarded()), checked(Verdict.FAILED))))
