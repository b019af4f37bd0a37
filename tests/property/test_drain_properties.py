"""Drains among everything else that can happen: what holds without them holds with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine, last_path, policy
from bgphealth.core.drain import DrainEnded, Leg, Stage
from bgphealth.core.events import Drained, Event, PathProbed, Started, TimePassed, Undrained
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import Target, What
from bgphealth.core.policy_services import GRACEFUL_SHUTDOWN, OFFSETS
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    AllDown,
    Family,
    Mode,
    Prefix,
    ServiceSettings,
    Settings,
    UplinkSettings,
)
from bgphealth.core.state import ServiceChanged, State
from tests.property import test_engine_properties as of_engine
from tests.property import test_service_choices as of_choices
from tests.property.test_engine_properties import EITHER, FRR, bursts, defaults, states
from tests.property.test_service_choices import carrying, choosy, choosy_hosts, slow

Run = tuple[Settings, list[Event]]
DIRECT = (Mode.DIRECT,)


def targets(settings: Settings) -> st.SearchStrategy[Target]:
    uplinks = st.sampled_from(settings.uplinks).map(lambda u: Target(What.UPLINK, u.name))
    services = st.sampled_from(["dns", "choosy"]).map(lambda name: Target(What.SERVICE, name))
    return st.one_of(uplinks, uplinks, uplinks, services, st.just(_HOST))


_HOST = Target(What.HOST)


@st.composite
def orders(draw: st.DrawFn, settings: Settings, *, may_force: bool) -> list[Event]:
    target = draw(targets(settings))
    what = draw(st.sampled_from(["drain", "drain", "undrain", "time"]))
    if what == "undrain":
        return [Undrained(0.0, *target)]
    if what == "time":
        return [TimePassed(draw(st.sampled_from([0.0, 1.0, 15.0, 100.0])))]
    lasts_s = draw(st.sampled_from([None, 5.0, 50.0]))
    forced = may_force and draw(st.booleans())
    return [Drained(0.0, *target, 0.0, lasts_s, forced)]


def timed(events: Sequence[Event]) -> list[Event]:
    """Give each event its time, one after the other; `TimePassed` says how much passed."""
    now, found = 0.0, list[Event]()
    for event in events:
        now += event.at + 0.01 if isinstance(event, TimePassed) else 0.01
        if isinstance(event, Drained):
            until = None if event.until is None else now + event.until
            found.append(replace(event, at=now, since=now, until=until))
        elif isinstance(event, PathProbed):
            found.append(event._replace(at=now))
        else:
            found.append(replace(event, at=now))
    return found


@st.composite
def runs(
    draw: st.DrawFn, modes: Sequence[Mode] = EITHER, *, may_force: bool = True
) -> tuple[Settings, list[Event]]:
    settings = draw(choosy_hosts(modes))
    some = st.one_of(bursts(settings), slow(settings), orders(settings, may_force=may_force))
    chosen = draw(st.lists(some, max_size=25))
    return settings, timed([Started(0.0), *(event for burst in chosen for event in burst)])


def legs(state: State) -> Iterator[Leg]:
    for scope in state.settings.scopes:
        for uplink in state.settings.uplinks:
            if uplink.name in scope and PathKey(uplink.name, scope.family) in state.paths:
                yield Leg(scope, uplink.name)


def gone(state: State) -> set[Leg]:
    """Return the legs that must carry nothing any more."""
    drained = {leg for leg in legs(state) if state.drains.stage(leg) is Stage.DRAINED}
    return drained - state.drains.suspended


def may_carry(state: State, leg: Leg) -> bool:
    """Tell whether an uplink works, and no drain forbids it to."""
    order = state.drains.uplinks.get(leg.uplink)
    return state.path_verdicts[leg.path].level.works and not (order and order.forced)


def is_away(state: State, service: ServiceSettings) -> bool:
    """Tell whether a service is down or drained, or one that it requires."""
    return any(
        state.service_verdicts[name].level is not Level.UP or state.drains.stage(name)
        for name in (service.name, *service.requires)
    )


def undecided(state: State, prefix: Prefix) -> bool:
    return prefix in {key.prefix for key in policy.undecided(state.decisions)}


def is_refused(state: State, event: Event) -> bool:
    """Tell whether an operator who asks for it is refused."""
    match event:
        case Drained(what=What.UPLINK, name=uplink):
            return bool(last_path.needs(state, uplink))
        case _:
            return False


def allowed_states(settings: Settings, events: list[Event]) -> Iterator[tuple[State, State]]:
    """Return the states before and after each event that nobody refuses."""
    before = engine.initial(settings)
    for event in events:
        if is_refused(before, event):
            continue
        after, _ = engine.step(before, event)
        yield before, after
        before = after


@pytest.mark.parametrize(
    "holds",
    [
        of_engine.test_replay_is_deterministic,
        of_engine.test_the_effects_tell_the_whole_story,
        of_engine.test_a_dead_service_is_never_announced,
        of_engine.test_a_backup_in_bgpd_comes_out_only_where_nothing_is_known,
        of_engine.test_every_owned_route_has_a_decision_with_a_reason,
        of_engine.test_a_path_is_held_only_while_the_others_do_the_same,
        of_choices.test_it_is_announced_only_while_what_it_requires_is_up,
    ],
)
@given(runs())
def test_what_holds_without_drains_holds_with_them(holds: Callable[[Run], None], run: Run) -> None:
    holds.hypothesis.inner_test(run)  # type: ignore[attr-defined]


@given(runs(), st.data())
def test_reconcile_reaches_the_wanted_set(run: Run, data: st.DataObject) -> None:
    test = of_engine.test_reconcile_reaches_the_wanted_set_and_is_empty_there
    test.hypothesis.inner_test(run, data)  # type: ignore[attr-defined]


@given(runs())
def test_a_drain_is_known_to_whoever_follows_the_effects(run: Run) -> None:
    settings, events = run
    state = engine.initial(settings)
    services = {name: verdict.level for name, verdict in state.service_verdicts.items()}
    for event in events:
        state, effects = engine.step(state, event)
        for effect in effects:
            if isinstance(effect, ServiceChanged):
                services[effect.service] = effect.after.level
        assert services == {name: v.level for name, v in state.service_verdicts.items()}


@given(runs())
def test_what_is_drained_is_announced_by_nothing(run: Run) -> None:
    settings, events = run
    uplinks = {uplink.name: uplink for uplink in settings.uplinks}
    for _, _, state in states(settings, events):
        for service in settings.services:
            for prefix in service.prefixes:
                carriers = carrying(state.intents, settings, prefix)
                if state.drains.stage(service.name) is Stage.DRAINED:
                    assert not carriers
                scope = service.scope(Family.of(prefix))
                assert not carriers & {leg.uplink for leg in gone(state) if leg.scope == scope}
        for leg in gone(state):
            if leg.scope.only is None and settings.mode is Mode.FRR:
                number = uplinks[leg.uplink].number
                assert number not in {
                    key.path_id for key in defaults(state.intents, leg.scope.family)
                }


@given(runs())
def test_what_requires_a_drained_service_is_not_announced(run: Run) -> None:
    settings, events = run
    mine = choosy(settings)
    for _, _, state in states(settings, events):
        if any(state.drains.stage(name) is Stage.DRAINED for name in mine.requires):
            for prefix in mine.prefixes:
                assert not carrying(state.intents, settings, prefix)


@given(runs())
def test_it_is_announced_over_nothing_less_than_its_minimum(run: Run) -> None:
    settings, events = run
    mine = choosy(settings)
    counts = (Level.UP, Level.DEGRADED)
    for _, _, state in states(settings, events):
        for prefix in mine.prefixes:
            scope = mine.scope(Family.of(prefix))
            # While nothing else may carry it, it goes with the last ones that settle.
            left = {
                leg
                for leg in set(legs(state)) - gone(state)
                if leg.scope == scope and state.path_verdicts[leg.path].level in counts
            }
            settling = {leg for leg in left if leg in state.drains.settling}
            if carrying(state.intents, settings, prefix) and left != settling:
                assert len(left) >= mine.min_uplinks


@given(runs())
def test_it_goes_to_no_other_uplink_and_to_no_dead_one_while_one_works(run: Run) -> None:
    settings, events = run
    mine = choosy(settings)
    for _, _, state in states(settings, events):
        for prefix in mine.prefixes:
            scope = mine.scope(Family.of(prefix))
            carriers = carrying(state.intents, settings, prefix)
            assert carriers <= of_choices.allowed(settings)
            mine_legs = [leg for leg in legs(state) if leg.scope == scope]
            if any(may_carry(state, leg) for leg in mine_legs):
                works = {k.uplink for k in mine_legs if state.path_verdicts[k.path].level.works}
                assert carriers <= works


@given(runs())
def test_an_undrained_host_is_as_if_it_had_never_been_drained(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        if not state.drains.orders:
            assert state.drains == engine.initial(settings).drains
            assert state.next_at is None


@given(runs(FRR))
def test_never_without_a_path_while_one_works_that_may_be_used(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for family in settings.families:
            mine = [
                leg for leg in legs(state) if (leg.scope.family, leg.scope.only) == (family, None)
            ]
            if any(state.path_verdicts[leg.path].level is Level.INIT for leg in mine):
                continue  # It is left as it is.
            if any(may_carry(state, leg) for leg in mine):
                assert defaults(state.intents, family)


@given(runs(may_force=False))
def test_without_force_the_last_path_is_never_taken_away(run: Run) -> None:
    settings, events = run
    if settings.all_down is AllDown.WITHDRAW:
        return
    for before, after in allowed_states(settings, events):
        for family in settings.families if settings.mode is Mode.FRR else ():
            if defaults(before.intents, family):
                waits = policy.undecided(after.decisions)
                assert defaults(after.intents, family) or waits
        for service in settings.services:
            if is_away(before, service) or is_away(after, service) or service.min_uplinks:
                continue
            for prefix in service.prefixes:
                if carrying(before.intents, settings, prefix):
                    carried = carrying(after.intents, settings, prefix)
                    assert carried or undecided(after, prefix)


@given(runs())
def test_nothing_is_left_at_once_for_being_drained(run: Run) -> None:
    """What works goes on until the settle time is over, with all that depends on it."""
    settings, events = run
    for before, event, after in states(settings, events):
        if not isinstance(event, Drained):
            continue
        for service in settings.services:
            for prefix in service.prefixes:
                carried = {
                    uplink
                    for uplink in carrying(before.intents, settings, prefix)
                    if before.path_verdicts[PathKey(uplink, Family.of(prefix))].level.works
                }
                still = carrying(after.intents, settings, prefix)
                assert carried <= still or undecided(after, prefix)


@given(runs(FRR))
def test_both_directions_go_the_same_ways(run: Run) -> None:
    settings, events = run
    low = OFFSETS[Stage.PREPENDED]
    for _, _, state in states(settings, events):
        for service in settings.services[:-1]:
            for key, announcement in state.intents.items():
                if key.prefix not in service.prefixes or announcement.is_quiet:
                    continue
                table = defaults(state.intents, Family.of(key.prefix))
                injected = {k.path_id: d.local_pref or 0 for k, d in table.items()}
                best = max(injected.values())
                going = {n for n, p in injected.items() if p == policy.DRAINING_LOCAL_PREF}
                in_use = {n for n, p in injected.items() if p == best} - going
                said = {c.value % low: c.value // low for c in announcement.communities}
                assert set(said) == in_use | going
                # 0 is as usual; what is drained, or belongs to a drained service, is not.
                drained = state.drains.stage(service.name)
                assert {n for n, by in said.items() if by} == (set(said) if drained else going)


def uplink_of(settings: Settings, key: RouteKey) -> UplinkSettings:
    (found,) = (u for u in settings.uplinks for p in u.paths if p.neighbor == key.neighbor)
    return found


@given(runs(DIRECT))
def test_what_a_tor_is_told_is_what_the_file_says_and_how_far_it_is_drained(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for key, route in state.intents.items():
            (service,) = (s for s in settings.services if key.prefix in s.prefixes)
            uplink = uplink_of(settings, key)
            path = PathKey(uplink.name, Family.of(key.prefix))
            is_degraded = state.path_verdicts[path].level is Level.DEGRADED
            worse = service.degraded_export if is_degraded else None
            export = worse or service.export
            draining = state.decisions[key].reason is Reason.DRAINING
            shut = GRACEFUL_SHUTDOWN in route.communities
            assert draining or not shut
            assert set(route.communities) - {GRACEFUL_SHUTDOWN} == set(service.communities)
            assert route.large_communities == service.large_communities
            assert route.med == export.med
            assert len(route.as_path) == (n + 1 if (n := export.prepend + draining) else 0)
            if state.drains.stage(service.name):
                assert draining
            if Leg(service.scope(path.family), uplink.name) in state.drains.settling:
                assert draining


@given(runs(FRR))
def test_in_the_host_a_service_keeps_what_the_file_says(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for service in settings.services:
            for key, route in state.intents.items():
                if key.prefix in service.prefixes and not route.is_quiet:
                    others = {c for c in route.communities if c.asn != settings.host.community_asn}
                    assert others == set(service.communities)
                    assert route.large_communities == service.large_communities
                    assert (route.med, route.as_path) == (None, ())
                    # One community for each ToR: an export entry each.
                    steering = len(route.communities) - len(others)
                    assert steering == len(carrying(state.intents, settings, key.prefix))


@given(runs())
def test_others_are_drained_as_if_it_were_not_there(run: Run) -> None:
    """Until a drain ends: a path that it has used all the time needs no new verdict."""
    settings, events = run
    without = replace(settings, services=settings.services[:-1])
    here, there = engine.initial(settings), engine.initial(without)
    others = policy.owned(without)
    for event in events:
        here, effects = engine.step(here, event)
        there, _ = engine.step(there, event)
        if any(isinstance(effect, DrainEnded) for effect in effects):
            return
        assert {k: d for k, d in here.decisions.items() if k in others} == there.decisions


@given(runs())
def test_time_moves_on(run: Run) -> None:
    """Whoever waits for `next_at` and says so is not told to wait for the same time again."""
    settings, events = run
    for _, _, state in states(settings, events):
        at = state.next_at
        for _ in range(20):
            if at is None:
                break
            state, _ = engine.step(state, TimePassed(at))  # noqa: PLW2901 - a look ahead
            assert state.next_at is None or state.next_at > at
            at = state.next_at
        assert at is None
