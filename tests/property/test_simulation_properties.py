"""Playing the same again gives the same: a scenario, and what was recorded of it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from bgphealth.core import engine, policy
from bgphealth.core.events import Event
from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.scenario import (
    Answers,
    Asked,
    AskedPath,
    AskedService,
    Behaviour,
    Link,
    Scenario,
    Step,
)
from bgphealth.core.settings import Role, Settings
from bgphealth.core.trace import Codec
from bgphealth.simulation.play import Happened, Moment, Played, play, replay
from tests.property.test_engine_properties import EITHER, hosts, runs
from tests.support.recordings import Listener

END_S = 12.0


def there_and_back(of: Settings, events: Iterable[Event]) -> list[Event]:
    """Write events to lines and read them again."""
    codec = Codec(of)
    lines = [json.dumps(codec.encode(event)) for event in events]
    return [codec.decode(json.loads(line)) for line in lines]


def decided(played: Played) -> list[Moment]:
    return [moment for moment in played.moments if not isinstance(moment, Happened)]


@given(runs())
def test_a_recorded_run_has_the_same_intents_after_each_event(
    run: tuple[Settings, list[Event]],
) -> None:
    of, events = run
    recorded = there_and_back(of, events)
    assert recorded == events
    state, then = engine.initial(of), engine.initial(of)
    for event, again in zip(events, recorded, strict=True):
        state, effects = engine.step(state, event)
        then, effects_again = engine.step(then, again)
        assert effects_again == effects
        assert then.intents == state.intents
    assert then == state
    assert replay(of, recorded).state.intents == state.intents


def asked_of(of: Settings) -> list[Asked]:
    paths = [
        AskedPath(PathKey(uplink.name, path.family), PathProbe(role, probe))
        for uplink in of.uplinks
        for path in uplink.paths
        for role, probes in ((Role.GATEWAY, path.gateway), (Role.BEYOND, path.beyond))
        for probe in probes
    ]
    return [*paths, *(AskedService(s.name, check) for s in of.services for check in s.checks)]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    of = draw(hosts(EITHER))
    names = st.lists(st.sampled_from([u.name for u in of.uplinks]), min_size=1, unique=True)
    link = st.builds(Link, uplinks=names.map(tuple), up=st.booleans())
    answers = st.builds(
        Answers,
        asked=st.lists(st.sampled_from(asked_of(of)), min_size=1, unique=True).map(tuple),
        behaviour=st.sampled_from([None, *Behaviour]),
        loss=st.sampled_from([None, 0.0, 0.3, 1.0]),
        rtt_s=st.sampled_from([None, 0.001, 0.15, 0.5]),
    )
    at = st.integers(0, 1000).map(lambda part: part * END_S / 1000)
    steps = st.lists(st.builds(Step, at=at, said=st.just("x"), changes=st.tuples(link | answers)))
    return Scenario(
        about="",
        config="",
        settings=of,
        seed=draw(st.integers(0, 9)),
        end=END_S,
        steps=tuple(sorted(draw(steps), key=lambda step: step.at)),
        expectations=(),
    )


@settings(max_examples=25)
@given(scenarios())
def test_a_scenario_plays_the_same_twice_and_as_it_was_recorded(scenario: Scenario) -> None:
    listener = Listener(scenario.settings)
    first = play(scenario, listener)
    second = play(scenario)
    assert second.moments == first.moments
    assert second.changes == first.changes
    again = replay(scenario.settings, there_and_back(scenario.settings, listener.events))
    assert decided(again) == decided(first)
    assert again.changes == first.changes
    assert again.state == first.state
    assert policy.intents(again.state.decisions) == first.state.intents
