from __future__ import annotations

from bgphealth.core.events import Verdict
from bgphealth.core.hysteresis import Hysteresis, Level

OK, FAILED, UNKNOWN = Verdict.OK, Verdict.FAILED, Verdict.UNKNOWN


def levels(*verdicts: Verdict, rise: int = 3, fall: int = 2) -> list[Level]:
    state, seen = Hysteresis(), []
    for verdict in verdicts:
        state = state.after(verdict, rise=rise, fall=fall)
        seen.append(state.level)
    return seen


def test_init_rises_after_rise_answers() -> None:
    assert levels(OK, OK, OK) == [Level.INIT, Level.INIT, Level.UP]


def test_init_falls_after_fall_answers() -> None:
    assert levels(FAILED, FAILED) == [Level.INIT, Level.DOWN]


def test_an_answer_of_the_other_kind_starts_the_count_again() -> None:
    assert levels(OK, OK, FAILED, OK, OK)[-1] is Level.INIT
    assert levels(OK, OK, FAILED, OK, OK, OK)[-1] is Level.UP


def test_unknown_neither_counts_nor_interrupts() -> None:
    assert levels(*[UNKNOWN] * 50) == [Level.INIT] * 50
    assert levels(OK, OK, UNKNOWN, OK)[-1] is Level.UP
    assert levels(OK, OK, OK, FAILED, UNKNOWN, UNKNOWN, FAILED)[-2:] == [Level.UP, Level.DOWN]
