"""Local mode, whatever happens: who is in use, and when that changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine
from bgphealth.core.events import (
    Drained,
    Event,
    LinkChanged,
    PathProbed,
    Settled,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.fallback_order import Rank, ranks
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.orders import What
from bgphealth.core.reasons import About, Reason
from bgphealth.core.settings import Damping, Family, Mode, Settings
from bgphealth.core.state import State
from tests.support.hosts import FALL, RISE, host, round_of

STABLE_S = 60.0
DAMPING = Damping(half_life_s=10.0, suppress=1500, reuse=500, max_suppress_s=60.0)
UP = (Level.UP, Level.DAMPED)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Settings, list[Event]]:
    """Bursts of answers, links, drains and waits; time passes when the engine wants to know."""
    families = draw(st.sampled_from([(Family.IPV4,), (Family.IPV4, Family.IPV6)]))
    settings = host(draw(st.integers(1, 4)), families, mode=Mode.LOCAL)
    damping = draw(st.sampled_from([None, DAMPING]))
    settings = replace(
        settings, services=(), stable_for_s=STABLE_S, damping=damping, drain_settle_s=0.0
    )
    at = 0.0
    events: list[Event] = [Started(at)]
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from([0.0, 0.2, 20.0, 45.0]))
        uplink = draw(st.sampled_from(settings.uplinks))
        match draw(st.sampled_from(("up", "down", "down", "link", "drain", "undrain", "settled"))):
            case "up":
                burst = [e for _ in range(RISE) for e in round_of(uplink, Verdict.OK)]
                events += [event._replace(at=at) for event in burst]
            case "down":
                burst = [e for _ in range(FALL) for e in round_of(uplink, Verdict.FAILED)]
                events += [event._replace(at=at) for event in burst]
            case "link":
                events.append(LinkChanged(at, uplink.name, up=draw(st.booleans())))
            case "drain":
                forced = draw(st.booleans())
                events.append(Drained(at, What.UPLINK, uplink.name, at, None, forced))
            case "undrain":
                events.append(Undrained(at, What.UPLINK, uplink.name))
            case _:
                events.append(Settled(at))
    return settings, [*events, Settled(at + 200.0)]


def steps(settings: Settings, events: list[Event]) -> Iterator[tuple[float, State, State]]:
    """Feed the engine, and tell it how late it is as soon as it wants to know."""
    state = engine.initial(settings)
    for event in events:
        while (due := state.next_at) is not None and due < event.at:
            before, (state, _) = state, engine.step(state, TimePassed(due))
            yield due, before, state
        before, (state, _) = state, engine.step(state, event)
        yield event.at, before, state


def works(state: State, uplink: str, family: Family) -> bool:
    return state.path_verdicts[PathKey(uplink, family)].level.works


@dataclass
class Watch:
    """Since when each path has been up, and what was in use since when, seen from outside."""

    up_since: dict[PathKey, float] = field(default_factory=dict)
    moved_at: dict[Family, float] = field(default_factory=dict)

    def look(self, at: float, state: State) -> None:
        levels = {key: verdict.level for key, verdict in state.path_verdicts.items()}
        self.up_since = {
            key: self.up_since.get(key, at) for key, level in levels.items() if level in UP
        }


@given(runs())
def test_what_is_in_use_works_while_any_works(run: tuple[Settings, list[Event]]) -> None:
    for _, _, state in steps(*run):
        drained = state.drains.uplinks
        for family, name in state.preference.in_use.items():
            others = [u.name for u in state.settings.uplinks if u.name not in drained]
            if any(works(state, other, family) for other in others):
                assert works(state, name, family)
                assert name not in drained


@given(runs())
def test_it_changes_only_away_from_what_fails_or_to_what_is_stable(
    run: tuple[Settings, list[Event]],
) -> None:
    watch = Watch()
    for at, before, state in steps(*run):
        watch.look(at, state)
        for family, name in state.preference.in_use.items():
            was = before.preference.in_use.get(family)
            if was == name:
                continue
            level = state.path_verdicts[PathKey(was, family)].level if was else Level.DOWN
            new = state.path_verdicts[PathKey(name, family)].level
            order = None if was is None else state.drains.uplinks.get(was)
            # Drained by force is not used, even where nothing else works.
            is_forced = order is not None and order.forced
            assert was is None or is_forced or works(state, name, family)
            if was is not None and level is new and was not in state.drains.uplinks:
                # Nothing was wrong with it: the other one is preferred, and has been up.
                numbers = {u.name: u.number for u in state.settings.uplinks}
                assert numbers[name] < numbers[was]
                # Added, as the engine does: 80.6 - 20.6 is less than 60.
                assert at >= watch.up_since[PathKey(name, family)] + STABLE_S
                assert at >= watch.moved_at[family] + STABLE_S
            watch.moved_at[family] = at


@given(runs())
def test_a_preferred_one_is_not_forgotten(run: tuple[Settings, list[Event]]) -> None:
    """At the end of a long silence the most preferred one that is up is in use."""
    state = [state for _, _, state in steps(*run)][-1]
    for family in state.settings.families:
        up = [
            uplink.name
            for uplink in state.settings.uplinks
            if state.path_verdicts[PathKey(uplink.name, family)].level is Level.UP
            and uplink.name not in state.drains.uplinks
        ]
        if up:
            assert state.preference.in_use[family] == up[0]


@given(runs())
def test_nothing_changes_while_none_works(run: tuple[Settings, list[Event]]) -> None:
    for _, before, state in steps(*run):
        for family in state.settings.families:
            if not any(works(state, u.name, family) for u in state.settings.uplinks):
                was = before.preference.in_use.get(family)
                assert state.preference.in_use.get(family) == was


@given(runs())
def test_the_kernel_is_told_of_one_and_each_decision_has_a_reason_of_its_own(
    run: tuple[Settings, list[Event]],
) -> None:
    for _, _, state in steps(*run):
        found = ranks(state.settings, engine.verdicts_of(state))
        for family in state.settings.families:
            first = [k.uplink for k, r in found.items() if (k.family, r) == (family, Rank.CARRIES)]
            of_family = {k: d for k, d in state.decisions.items() if Family.of(k.prefix) is family}
            used = [d for d in of_family.values() if d.announcement is not None]
            assert len(first) <= 1
            assert len(used) <= 1
            if first:
                assert first == [state.preference.in_use[family]]
            assert len(of_family) == len(state.settings.uplinks)
        for decision in state.decisions.values():
            about = {meaning.about: meaning for meaning in decision.reason.meanings}
            outcome = about[About.DEFAULT].outcome
            in_use = decision.announcement is not None
            assert ("in use" if in_use else "spare") in outcome or (
                not in_use and "left" in outcome
            )
            assert in_use or decision.reason is not Reason.PATH_UP


@given(runs())
def test_the_same_events_give_the_same_decisions(run: tuple[Settings, list[Event]]) -> None:
    assert [s for _, _, s in steps(*run)] == [s for _, _, s in steps(*run)]


def test_an_answer_alone_asks_nobody() -> None:
    """What comes with every answer costs nothing more in this mode."""
    settings = replace(host(2, mode=Mode.LOCAL), services=(), stable_for_s=STABLE_S)
    state = engine.initial(settings)
    for uplink in settings.uplinks:
        for event in [e for _ in range(RISE) for e in round_of(uplink, Verdict.OK)]:
            state, _ = engine.step(state, event)
    (answer, *_) = round_of(settings.uplinks[0], Verdict.OK)
    assert isinstance(answer, PathProbed)
    after, effects = engine.step(state, answer)
    assert effects == ()
    assert after.preference is state.preference
