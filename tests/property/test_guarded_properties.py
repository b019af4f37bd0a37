"""Guarded services: withdrawn only for another one, and never everywhere at once."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine
from bgphealth.core.events import AlternativesSeen, AlternativesUnknown, Event, PathProbed, Verdict
from bgphealth.core.guard import LAST_RESORT_PREPEND
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Family, Mode, OnDown, Settings
from bgphealth.core.state import State
from tests.property.test_engine_properties import EITHER, FRR, bursts, hosts, states, working_paths
from tests.support.guarded import (
    checks,
    dns,
    guarded,
    is_marked_healthy,
    played,
    running,
    seen,
)

SETTLE_S = guarded().guarded_settle_s
HOSTS = ("10.255.10.1", "10.255.20.1")


class Action(NamedTuple):
    """What happens next, after a while: a check changes, or not; then who is down looks.

    `ages` are how old the news is that each is told, as a part of what it may be at most.
    """

    after_s: float
    who: int
    what: str
    ages: tuple[float, float]


ages = st.sampled_from([0.0, 0.5, 1.0])
actions = st.lists(
    st.builds(
        Action,
        st.sampled_from([0.1, 0.5, 1.0, 3.0]),
        st.integers(0, 1),
        st.sampled_from(["fail", "ok", "nothing", "unknown"]),
        st.tuples(ages, ages),
    ),
    min_size=4,
    max_size=25,
)


class Fabric:
    """Two servers, and what each is told of the other: what was so some time ago."""

    def __init__(self, slowest_s: float) -> None:
        self.hosts = [running(guarded(router_id)) for router_id in HOSTS]
        self.now = 0.0
        self._slowest_s = slowest_s
        self._told = [[(float("-inf"), is_marked_healthy(dns(host)))] for host in self.hosts]

    def happens(self, action: Action) -> None:
        self.now += action.after_s
        match action.what:
            case "unknown":
                self._post(action.who, AlternativesUnknown(self.now, "no answer"))
            case "fail" | "ok":
                verdict = Verdict.OK if action.what == "ok" else Verdict.FAILED
                self._post(action.who, *checks(verdict, self.now))
        for who in (action.who, 1 - action.who):
            self._look(who, self.now - action.ages[who] * self._slowest_s)

    def _look(self, who: int, as_of: float) -> None:
        healthy = [news for at, news in self._told[1 - who] if at <= as_of][-1]
        self._post(who, seen(self.hosts[who], self.now, healthy=healthy))

    def _post(self, who: int, *events: Event) -> None:
        self.hosts[who] = played(self.hosts[who], *events)
        self._told[who].append((self.now, is_marked_healthy(dns(self.hosts[who]))))

    def settles(self) -> None:
        """Let both look until all news has arrived, and for as long as anything could change."""
        for _ in range(int(2 * (self._slowest_s + SETTLE_S)) + 2):
            self.happens(Action(1.0, 0, "nothing", (0.0, 0.0)))

    @property
    def announced(self) -> list[bool]:
        return [dns(host) is not None for host in self.hosts]


@given(actions, st.sampled_from([1.0, SETTLE_S - 0.01]))
def test_two_never_withdraw_together_while_news_is_faster_than_they_wait(
    happening: list[Action], slowest_s: float
) -> None:
    fabric = Fabric(slowest_s)
    for action in happening:
        fabric.happens(action)
        assert any(fabric.announced)


@given(actions, st.sampled_from([0.0, 1.0, 3 * SETTLE_S]))
def test_in_the_end_somebody_announces_however_slow_news_is(
    happening: list[Action], slowest_s: float
) -> None:
    fabric = Fabric(slowest_s)
    for action in happening:
        fabric.happens(action)
    fabric.settles()
    assert any(fabric.announced)
    healthy = [is_marked_healthy(dns(host)) for host in fabric.hosts]
    if any(healthy):
        # Who is down has gone, in favour of the one who is not.
        assert fabric.announced == healthy
    else:
        assert fabric.announced == [True, True]


@st.composite
def runs(draw: st.DrawFn) -> tuple[State, list[Event]]:
    """Draw a host with a guarded service, and what happens to it: looks among all the rest."""
    settings = draw(hosts(FRR))
    loopback, service = settings.services
    service = replace(service, on_down=OnDown.GUARDED)
    settings = replace(settings, services=(loopback, service))
    prefixes = settings.services[1].prefixes
    some = st.sets(st.sampled_from(prefixes)).map(tuple)
    looks: st.SearchStrategy[Event] = st.builds(
        AlternativesSeen, st.just(0.0), st.just(prefixes), some
    ) | st.builds(AlternativesUnknown, st.just(0.0), st.just("no answer"))
    found: list[Event] = []
    for burst in draw(st.lists(bursts(settings) | looks.map(lambda look: [look] * 3), max_size=25)):
        found += burst
    return engine.initial(settings), found


def moved_to(event: Event, at: float) -> Event:
    """Return an event at another time."""
    return event._replace(at=at) if isinstance(event, PathProbed) else replace(event, at=at)


@given(runs(), st.sampled_from([0.1, 3.0]))
def test_it_is_away_for_being_down_only_while_somebody_else_was_there_last(
    run: tuple[State, list[Event]], step_s: float
) -> None:
    state, events = run
    words: dict[object, bool] = {}
    for number, event in enumerate(events):
        state, _ = engine.step(state, moved_to(event, number * step_s))
        match event:
            case AlternativesSeen(asked=asked, healthy=healthy):
                words |= {prefix: prefix in healthy for prefix in asked}
            case AlternativesUnknown():
                words.clear()
        service = state.settings.services[1]
        if state.service_verdicts["dns"].level is Level.UP:
            words.clear()
        for key, decision in state.decisions.items():
            if key.prefix not in service.prefixes or not state.guards:
                continue
            if decision.reason is Reason.GUARDED_ALTERNATIVE:
                assert decision.outward is None
                assert words[key.prefix]
            elif working_paths(state, Family.of(key.prefix)) and decision.reason is not Reason.INIT:
                assert decision.outward is not None
                assert not is_marked_healthy(decision.outward)


@st.composite
def degrading_runs(draw: st.DrawFn) -> tuple[Settings, list[Event]]:
    settings = draw(hosts(EITHER))
    loopback, service = settings.services
    service = replace(service, on_down=OnDown.DEGRADE)
    settings = replace(settings, services=(loopback, service))
    found = draw(st.lists(bursts(settings), max_size=25))
    return settings, [event for burst in found for event in burst]


@given(degrading_runs())
def test_what_degrades_is_somewhere_a_last_resort_while_an_uplink_works(
    run: tuple[Settings, list[Event]],
) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        if state.service_verdicts["dns"].level not in (Level.DOWN, Level.DAMPED):
            continue
        for prefix in settings.services[1].prefixes:
            mine = [d for key, d in state.decisions.items() if key.prefix == prefix]
            told = [decision.outward for decision in mine if decision.outward is not None]
            assert not any(is_marked_healthy(each) for each in told)
            if settings.mode is Mode.DIRECT:
                assert all(len(each.as_path) == 1 + LAST_RESORT_PREPEND for each in told)
            waits = Reason.INIT in {decision.reason for decision in mine}
            if working_paths(state, Family.of(prefix)) and not waits:
                assert told
