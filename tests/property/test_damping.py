from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core.damping import PENALTY, Penalty
from bgphealth.core.settings import Damping

DAMPING = Damping(half_life_s=30.0, suppress=2500.0, reuse=1000.0, max_suppress_s=300.0)

dampings = st.builds(
    lambda half_life_s, reuse, above, times: Damping(
        half_life_s, reuse + above, reuse, half_life_s * times
    ),
    st.floats(1, 3600),
    st.floats(1, 10_000),
    st.floats(1, 10_000),
    st.floats(0.1, 10),
)
gaps = st.lists(st.floats(0, 600), max_size=50)


def after(falls: list[float], damping: Damping) -> Penalty:
    penalty, at = Penalty(), 0.0
    for gap in falls:
        at += gap
        penalty = penalty.after_fall(at, damping)
    return penalty


def test_the_third_fall_in_a_row_suppresses_and_time_reuses() -> None:
    twice = after([10, 1], DAMPING)
    assert not twice.suppressed
    assert twice.reuse_in_s(11, DAMPING) == 0
    thrice = twice.after_fall(12, DAMPING)
    assert thrice.suppressed
    wait_s = thrice.reuse_in_s(12, DAMPING)
    assert 45 < wait_s < 48
    assert thrice.decayed(12 + wait_s - 0.1, DAMPING).suppressed
    assert not thrice.decayed(12 + wait_s + 0.1, DAMPING).suppressed


def test_seldom_falls_never_suppress() -> None:
    assert not after([60] * 100, DAMPING).suppressed


def test_after_reuse_the_next_fall_starts_from_what_is_left() -> None:
    penalty = after([1, 1, 1], DAMPING)
    at = 3 + penalty.reuse_in_s(3, DAMPING) + 0.1
    assert not penalty.after_fall(at, DAMPING).suppressed


@given(gaps, dampings)
def test_nothing_waits_longer_than_the_longest(falls: list[float], damping: Damping) -> None:
    wait_s = after(falls, damping).reuse_in_s(sum(falls), damping)
    assert 0 <= wait_s <= damping.max_suppress_s * 1.000001


@given(gaps, dampings, st.floats(0, 10_000))
def test_it_is_reused_when_it_was_said_to_be(
    falls: list[float], damping: Damping, later_s: float
) -> None:
    penalty, at = after(falls, damping), sum(falls)
    wait_s = penalty.reuse_in_s(at, damping)
    if abs(later_s - wait_s) > 1e-6 * max(1.0, wait_s):
        assert penalty.decayed(at + later_s, damping).suppressed == (later_s < wait_s)


@given(gaps, dampings, st.lists(st.floats(0, 100), max_size=10))
def test_it_does_not_matter_how_often_one_looks(
    falls: list[float], damping: Damping, looks: list[float]
) -> None:
    penalty, at = after(falls, damping), sum(falls)
    looked, now = penalty, at
    for gap in looks:
        now += gap
        looked = looked.decayed(now, damping)
    once = penalty.decayed(now, damping)
    assert abs(looked.value - once.value) <= 1e-6 * max(PENALTY, once.value)
