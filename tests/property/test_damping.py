"""Damping: a flapping path costs a bounded number of changes, and never the last path."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine
from bgphealth.core.damping import PENALTY, Penalty
from bgphealth.core.events import Event, LinkChanged, Started, Verdict
from bgphealth.core.settings import Damping
from bgphealth.core.state import DecisionChanged
from tests.support.hosts import RISE, host, round_of

levels = st.builds(
    Damping,
    half_life_s=st.floats(1, 100),
    suppress=st.integers(1000, 5000),
    reuse=st.integers(100, 900),
    max_suppress_s=st.floats(300, 3600),
).filter(lambda it: it.max_suppress_s > it.half_life_s * math.log2(it.suppress / it.reuse))
"""As the file may have them: what is suppressed has to come down in time."""


@given(levels, st.lists(st.floats(0, 200), min_size=1, max_size=50))
def test_it_decays_below_the_reuse_level_in_time(damping: Damping, waits: list[float]) -> None:
    at, penalty = 0.0, Penalty()
    for wait_s in waits:
        at += wait_s
        penalty = penalty.after_fall(at, damping)
        left_s = penalty.reuse_in_s(at, damping)
        assert left_s <= damping.max_suppress_s + 1e-6
        if penalty.suppressed:
            assert penalty.decayed(at + left_s * 0.99, damping).suppressed
        assert not penalty.decayed(at + left_s + 1e-3, damping).suppressed


@given(levels, st.lists(st.floats(0.1, 60), min_size=1, max_size=60))
def test_a_flapping_uplink_costs_a_bounded_number_of_changes(
    damping: Damping, waits: list[float]
) -> None:
    """While it is not suppressed the penalty is below the level, so it decays at most so fast."""
    settings = host(uplinks=2, damping=damping)
    state = engine.initial(settings)
    state, _ = engine.step(state, Started(0.0))
    tor1, tor2 = settings.uplinks
    at, falls = 0.0, 0
    for wait_s in [0.0, *waits]:
        at += wait_s
        flap = [LinkChanged(at, "tor2", up=False), LinkChanged(at, "tor2", up=True)] if at else []
        answers = [a for _ in range(RISE) for u in (tor1, tor2) for a in round_of(u, Verdict.OK)]
        events: list[Event] = [*flap, *(answer._replace(at=at) for answer in answers)]
        for event in events:
            state, effects = engine.step(state, event)
            falls += sum(
                isinstance(effect, DecisionChanged)
                and effect.key.path_id == tor2.number
                and effect.before is not None
                and effect.before.announcement is not None
                and effect.after.announcement is None
                for effect in effects
            )
    per_s = damping.suppress * math.log(2) / damping.half_life_s
    assert falls * PENALTY <= damping.suppress + PENALTY + at * per_s
