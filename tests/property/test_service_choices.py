"""What a service may be carried by, how much of it must work, and what it requires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine, policy
from bgphealth.core.decisions import session_key
from bgphealth.core.events import Event, Started, Verdict
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Intents
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    DEGRADED_COMMUNITY,
    DRAIN_COMMUNITY,
    AllDown,
    Export,
    Family,
    Mode,
    Prefix,
    ServiceSettings,
    Settings,
)
from bgphealth.core.state import State
from tests.property.test_engine_properties import EITHER, bursts, hosts, states, working_paths
from tests.support.hosts import WINDOW, round_of, service

Run = tuple[Settings, list[Event]]


exports = st.builds(Export, st.integers(0, 10), st.none() | st.integers(0, 4294967295))


@st.composite
def slow(draw: st.DrawFn, settings: Settings) -> list[Event]:
    """Answers for as long as it takes to be degraded, or clean again."""
    uplink = draw(st.sampled_from(settings.uplinks))
    rtt_s = draw(st.sampled_from([0.001, 0.150]))
    answers = (event._replace(rtt_s=rtt_s) for event in round_of(uplink, Verdict.OK))
    return [*answers] * WINDOW


@st.composite
def choosy_hosts(draw: st.DrawFn, modes: Sequence[Mode] = EITHER) -> Settings:
    """A host with a service that has no checks, so that only paths and `dns` decide about it."""
    settings = draw(hosts(modes))
    names = [uplink.name for uplink in settings.uplinks]
    only = draw(st.none() | st.sets(st.sampled_from(names), min_size=1).map(frozenset))
    count = len(names) if only is None else len(only)
    choosy = service(
        "choosy",
        *(["192.0.2.7/32"] + ["2001:db8::7/128"] * (Family.IPV6 in settings.families)),
        uplinks=only,
        min_uplinks=draw(st.integers(0, count)),
        requires=draw(st.sampled_from([(), ("dns",)])),
        export=draw(exports),
        degraded=draw(st.none() | exports),
    )
    return replace(settings, services=(*settings.services, choosy))


@st.composite
def runs(draw: st.DrawFn) -> Run:
    settings = draw(choosy_hosts())
    found = draw(st.lists(bursts(settings) | slow(settings), max_size=25))
    return settings, [Started(0.0), *(event for burst in found for event in burst)]


def choosy(settings: Settings) -> ServiceSettings:
    return settings.services[-1]


def carrying(intents: Intents, settings: Settings, prefix: Prefix) -> set[str]:
    """Return the uplinks that a prefix is announced to, drained or not."""
    if settings.mode is Mode.DIRECT:
        return {
            uplink.name
            for uplink in settings.uplinks
            for path in uplink.paths
            if session_key(prefix, path) in intents
        }
    numbers = {u.number: u.name for u in settings.uplinks}
    return {
        numbers[c.value % DRAIN_COMMUNITY % DEGRADED_COMMUNITY] for key, a in intents.items()
        if key.prefix == prefix for c in a.communities if c.asn == settings.host.community_asn
    }  # fmt: skip


def carrying_as_degraded(intents: Intents, settings: Settings, prefix: Prefix) -> set[str]:
    """Return those of them that carry it as a worse path."""
    numbers = {u.number: u.name for u in settings.uplinks}
    return {
        numbers[c.value % DRAIN_COMMUNITY - DEGRADED_COMMUNITY] for key, a in intents.items()
        if key.prefix == prefix for c in a.communities
        if c.asn == settings.host.community_asn
        and c.value % DRAIN_COMMUNITY > DEGRADED_COMMUNITY
    }  # fmt: skip


def at(state: State, family: Family, level: Level) -> set[str]:
    return {
        key.uplink
        for key, verdict in state.path_verdicts.items()
        if key.family is family and verdict.level is level
    } & allowed(state.settings)


def allowed(settings: Settings) -> set[str]:
    only = choosy(settings).uplinks
    return {uplink.name for uplink in settings.uplinks if only is None or uplink.name in only}


@given(runs())
def test_it_goes_to_no_other_uplink_and_to_no_dead_one_while_one_works(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for prefix in choosy(settings).prefixes:
            carriers = carrying(state.intents, settings, prefix)
            assert carriers <= allowed(settings)
            working = working_paths(state, Family.of(prefix)) & allowed(settings)
            if working:
                assert carriers <= working


@given(runs())
def test_it_is_announced_over_nothing_less_than_its_minimum(run: Run) -> None:
    settings, events = run
    minimum = choosy(settings).min_uplinks
    for _, _, state in states(settings, events):
        for prefix in choosy(settings).prefixes:
            levels = [
                verdict.level
                for key, verdict in state.path_verdicts.items()
                if key.family is Family.of(prefix) and key.uplink in allowed(settings)
            ]
            enough = levels.count(Level.UP) + levels.count(Level.DEGRADED) >= max(1, minimum)
            awaits = Level.INIT in levels and not state.settled
            if carrying(state.intents, settings, prefix):
                assert enough or not minimum
            else:
                assert not enough or awaits or choosy(settings).requires


@given(runs())
def test_it_is_announced_only_while_what_it_requires_is_up(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for prefix in choosy(settings).prefixes:
            if carrying(state.intents, settings, prefix):
                assert all(
                    state.service_verdicts[name].level is Level.UP
                    for name in choosy(settings).requires
                )


@given(runs())
def test_a_service_that_waits_for_a_verdict_is_left_as_it_is(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        waits = choosy(settings).requires and state.service_verdicts["dns"].level is Level.INIT
        for key in policy.owned(settings) if waits else ():
            if key.prefix in choosy(settings).prefixes:
                assert state.decisions[key].reason is Reason.INIT
                assert key in policy.undecided(state.decisions)


@given(runs())
def test_what_keeps_never_takes_the_last_uplink_away(run: Run) -> None:
    settings, events = run
    if settings.all_down is AllDown.WITHDRAW or choosy(settings).min_uplinks:
        return
    for before, _, after in states(settings, events):
        if any(state.service_verdicts["dns"].level is not Level.UP for state in (before, after)):
            continue
        for prefix in choosy(settings).prefixes:
            if carrying(before.intents, settings, prefix):
                assert carrying(after.intents, settings, prefix)


@given(runs())
def test_every_degraded_uplink_carries_it_as_a_worse_path_if_that_is_asked_for(run: Run) -> None:
    settings, events = run
    asked = choosy(settings).degraded_export is not None
    for _, _, state in states(settings, events):
        for prefix in choosy(settings).prefixes:
            carriers = carrying(state.intents, settings, prefix)
            clean, degraded = (
                at(state, Family.of(prefix), level) for level in (Level.UP, Level.DEGRADED)
            )
            if not carriers or not clean | degraded:
                continue
            assert clean <= carriers
            assert degraded <= carriers if asked else degraded & carriers in (set(), carriers)
            if settings.mode is Mode.FRR:
                as_degraded = carrying_as_degraded(state.intents, settings, prefix)
                assert as_degraded == (degraded if asked else set())


@given(runs())
def test_what_a_tor_is_told_is_what_the_file_says(run: Run) -> None:
    settings, events = run
    mine = choosy(settings)
    for _, _, state in states(settings, events):
        degraded = {f: at(state, f, Level.DEGRADED) for f in settings.families}
        for key, route in state.intents.items():
            if key.prefix not in mine.prefixes:
                assert (route.large_communities, route.med, route.as_path) == ((), None, ())
                continue
            assert set(mine.communities) <= set(route.communities)
            assert route.large_communities == mine.large_communities
            if settings.mode is Mode.FRR:
                assert (route.med, route.as_path) == (None, ())
                continue
            family = Family.of(key.prefix)
            (uplink,) = (
                u.name for u in settings.uplinks for p in u.paths if p.neighbor == key.neighbor
            )
            worse = uplink in degraded[family] and mine.degraded_export is not None
            export = (mine.degraded_export or mine.export) if worse else mine.export
            assert route.med == export.med
            assert len(route.as_path) == (export.prepend + 1 if export.prepend else 0)


@given(runs())
def test_others_are_announced_as_if_it_were_not_there(run: Run) -> None:
    settings, events = run
    without = replace(settings, services=settings.services[:-1])
    here, there = engine.initial(settings), engine.initial(without)
    for event in events:
        here, there = engine.step(here, event)[0], engine.step(there, event)[0]
    others = policy.owned(without)
    assert {k: d for k, d in here.decisions.items() if k in others} == there.decisions
