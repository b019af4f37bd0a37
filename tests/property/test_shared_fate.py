"""Paths that fell together come up together, and no dead one is kept for that: with a clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine
from bgphealth.core.events import PathProbed, Started, Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.settings import AllDown, Family, Role, Settings
from bgphealth.core.state import State
from tests.support.hosts import RISE, host

V4 = Family.IPV4
DARK_AT, END = 10.0, 20.0
"""By then all paths are up; by then all is over."""


@dataclass(frozen=True)
class Run:
    """A host, when each of its probes is asked first, and when each path answers."""

    settings: Settings
    first_at: Mapping[tuple[str, Role, int], float]
    dark: Mapping[str, Sequence[tuple[float, float]]]

    def is_dark(self, uplink: str, at: float) -> bool:
        return any(begin <= at < end for begin, end in self.dark[uplink])

    def answers(self) -> list[PathProbed]:
        timing, found = self.settings.path_timing, []
        for uplink in self.settings.uplinks:
            (path,) = uplink.paths
            for role, probes in ((Role.GATEWAY, path.gateway), (Role.BEYOND, path.beyond)):
                for number, probe in enumerate(probes):
                    at = self.first_at[uplink.name, role, number]
                    while at < END:
                        lost = self.is_dark(uplink.name, at)
                        verdict = Verdict.FAILED if lost else Verdict.OK
                        answered_at = at + (timing.timeout_s if lost else 0.001)
                        found.append(PathProbed(answered_at, uplink.name, V4, role, probe, verdict))
                        at += timing.interval_s
        return sorted(found, key=lambda answer: answer.at)

    def states(self) -> Iterator[tuple[float, State]]:
        state, _ = engine.step(engine.initial(self.settings), Started(0.0))
        for answer in self.answers():
            state, _ = engine.step(state, answer)
            yield answer.at, state


@st.composite
def runs(
    draw: st.DrawFn,
    *,
    at_once: bool = False,
    most_changes: int = 5,
    all_down: AllDown = AllDown.KEEP_LAST,
) -> Run:
    """All go dark at once; they come back at once, or each when it likes, as often, or never."""
    settings = host(uplinks=draw(st.integers(2, 3)), all_down=all_down)
    moments = st.floats(0.0, settings.path_timing.interval_s, exclude_max=True)
    first_at = {
        (uplink.name, role, number): draw(moments)
        for uplink in settings.uplinks
        for role, count in ((Role.GATEWAY, 1), (Role.BEYOND, len(uplink.paths[0].beyond)))
        for number in range(count)
    }
    begin = DARK_AT + draw(moments)
    back = st.floats(begin + 1.5, begin + 4.0)
    common = draw(back)
    dark = {}
    for uplink in settings.uplinks:
        ends = st.just([common]) if at_once else st.lists(back, max_size=most_changes, unique=True)
        edges = [begin, *sorted(draw(ends))]
        edges += [END] * (len(edges) % 2)
        dark[uplink.name] = list(zip(edges[::2], edges[1::2], strict=True))
    return Run(settings, first_at, dark)


def announced(state: State) -> set[str]:
    numbers = {u.number: u.name for u in state.settings.uplinks}
    return {numbers[key.path_id] for key in state.intents if key.path_id}


def works(state: State) -> set[str]:
    return {key.uplink for key, verdict in state.path_verdicts.items() if verdict.level.works}


def all_of(state: State) -> set[str]:
    return {uplink.name for uplink in state.settings.uplinks}


@given(runs(at_once=True) | runs(at_once=True, all_down=AllDown.KEEP_BEST))
def test_what_fell_together_and_answers_again_at_once_is_never_withdrawn(run: Run) -> None:
    fell = False
    for at, state in run.states():
        fell = fell or not works(state)
        if at >= DARK_AT:
            assert announced(state) == all_of(state), at
    assert fell
    assert works(state) == all_of(state)


@given(runs())
def test_a_path_that_is_up_waits_only_for_those_that_carry_and_answer(run: Run) -> None:
    timing = run.settings.path_timing
    up_since: dict[str, float] = {}
    for at, state in run.states():
        judged = {key.uplink for key, health in state.paths.items() if health.judge().level.works}
        up_since = {uplink: up_since.get(uplink, at) for uplink in judged}
        if works(state) or not judged:
            continue
        assert at - min(up_since.values()) < timing.interval_s + timing.timeout_s
        assert judged < announced(state)
        for uplink in announced(state) - judged:
            assert state.paths[PathKey(uplink, V4)].is_answering


@given(runs(most_changes=1))
def test_no_dead_path_is_kept_for_the_sake_of_others(run: Run) -> None:
    """It is left as soon as another one has answered `rise` times, however many others answer."""
    back = [ends[-1][1] for ends in run.dark.values() if ends[-1][1] < END]
    dead = {uplink for uplink, ends in run.dark.items() if ends[-1][1] == END}
    for at, state in run.states():
        if back and at > min(back) + RISE * run.settings.path_timing.interval_s + 0.001:
            assert not announced(state) & dead, at


@given(runs(all_down=AllDown.WITHDRAW))
def test_where_nothing_is_kept_nothing_waits(run: Run) -> None:
    for _, state in run.states():
        for key, health in state.paths.items():
            if health.judge().level.works:
                assert state.path_verdicts[key].level.works
