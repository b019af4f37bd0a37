from __future__ import annotations

import pytest

from bgphealth.core.events import PathProbed, Verdict
from bgphealth.core.health import ProbeHealth
from bgphealth.core.hysteresis import Hysteresis, Level
from bgphealth.core.quality import MIN_SAMPLES, Window, patient_fall
from bgphealth.core.settings import Family, ProbeKind, ProbeSettings, Role, Timing

OK, FAILED, UNKNOWN = Verdict.OK, Verdict.FAILED, Verdict.UNKNOWN


FALL = 3


def window(*verdicts: Verdict, size: int = 50) -> Window:
    seen = Window(size)
    for verdict in verdicts:
        seen = seen.after(verdict, 0.001, FALL)
    return seen


def test_too_few_answers_say_nothing() -> None:
    assert window(*[OK] * (MIN_SAMPLES - 1)).loss is None
    assert window(*[OK] * MIN_SAMPLES).loss == 0


def test_loss_is_what_was_lost_between_answers() -> None:
    assert window(*[FAILED, OK] * 20).loss == 0.5


def test_loss_is_sure_only_well_above_the_level() -> None:
    ten_percent = window(*[FAILED, *[OK] * 9] * 5)
    assert ten_percent.loss == 0.1
    assert ten_percent.sure_loss is not None
    assert 0.03 < ten_percent.sure_loss < 0.05
    thirty = window(*[FAILED, OK, OK, FAILED, OK, OK, FAILED, OK, OK, OK] * 5)
    assert thirty.loss == 0.3
    assert thirty.sure_loss is not None
    assert 0.15 < thirty.sure_loss < 0.2
    assert window(*[OK] * 50).sure_loss == pytest.approx(0)


def test_the_window_forgets() -> None:
    assert window(*[FAILED, OK] * 20, *[OK] * 50).loss == 0


def test_failures_in_a_row_are_set_aside_until_an_answer_comes() -> None:
    """They may be the beginning of an outage, which is no loss."""
    quiet = window(*[OK] * 30, *[FAILED] * 2)
    assert quiet.loss == 0
    assert quiet.after(OK, 0.001, FALL).loss == pytest.approx(2 / 33)


def test_an_outage_is_no_loss_and_starts_the_window_again() -> None:
    assert window(*[OK, FAILED] * 20, *[FAILED] * 100, OK).answers == (0.001,)
    assert window(*[FAILED] * 100, *[OK] * 30).loss == 0


def test_unknown_is_no_answer() -> None:
    before = window(*[OK] * 30)
    assert before.after(UNKNOWN, None, FALL) is before


def test_latency_is_the_mean_of_the_answers() -> None:
    seen = Window(50)
    for number in range(40):
        seen = seen.after(OK, 0.010 if number % 2 else 0.030, FALL)
    assert seen.latency_s == pytest.approx(0.020)


@pytest.mark.parametrize(
    ("loss", "fall"), [(None, 3), (0.0, 3), (0.02, 4), (0.10, 6), (0.30, 12), (0.9, 15), (1.0, 15)]
)
def test_a_lossy_probe_needs_more_failures_to_be_dead(loss: float | None, fall: int) -> None:
    assert patient_fall(3, loss) == fall


def test_what_leaves_the_window_is_forgotten() -> None:
    seen = window(FAILED, *[OK] * 49)
    assert (seen.lost, seen.answers[0], len(seen.answers)) == (1, None, 50)
    seen = seen.after(OK, 0.002, FALL)
    assert (seen.lost, len(seen.answers)) == (0, 50)
    assert seen.answers[-2:] == (0.001, 0.002)
    assert seen.latency_s == pytest.approx((49 * 0.001 + 0.002) / 50)


def test_a_probe_that_loses_answers_is_down_later_than_one_that_does_not() -> None:
    lost = PathProbed(
        1.0, "tor1", Family.IPV4, Role.BEYOND, ProbeSettings(ProbeKind.ICMP), FAILED, "no answer"
    )
    clean = ProbeHealth(window(*[OK] * 50), Hysteresis(Level.UP))
    lossy = ProbeHealth(window(*[FAILED, *[OK] * 4] * 10), Hysteresis(Level.UP))
    for _ in range(FALL):
        clean, lossy = (h.after(lost, Timing(0.2, 0.2, FALL, 2)) for h in (clean, lossy))
    assert (clean.level, lossy.level) == (Level.DOWN, Level.UP)
