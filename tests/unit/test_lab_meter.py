from __future__ import annotations

import subprocess
from typing import Any

import pytest

from lab import dual_tor, meter, topology
from lab.errors import TimedOutError
from lab.meter import Flow, Meter, summary
from lab.namespaces import NamespaceDriver

INTERVAL = 0.01


def flow(answers: str, times: list[float] | None = None) -> Flow:
    regular = [10.0 + INTERVAL * i for i in range(len(answers))]
    return Flow("ipv4", "192.0.2.1", 1024, regular if times is None else times, answers)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("11111", 0.0),
        ("11011", 0.01),
        ("10001", 0.03),
        ("1010001011", 0.03),
        ("00011", 0.03),
        ("11000", 0.03),
        ("00000", 0.05),
        ("", 0.0),
    ],
)
def test_outage_is_the_longest_time_without_an_answer(answers: str, expected: float) -> None:
    assert flow(answers).outage_s(INTERVAL) == pytest.approx(expected)


def test_outage_counts_time_and_not_datagrams() -> None:
    # The sender was late by a second between the two lost ones.
    late = flow("1001", [0.0, 0.01, 1.01, 1.02])

    assert late.outage_s(INTERVAL) == pytest.approx(1.01)
    assert late.lost == 2


def test_a_late_sender_is_no_outage() -> None:
    assert flow("111", [0.0, 0.01, 5.0]).outage_s(INTERVAL) == 0.0


def test_gaps_have_their_places() -> None:
    found = flow("1100110").gaps(INTERVAL)

    assert [start for start, _ in found] == pytest.approx([10.02, 10.06])
    assert [end for _, end in found] == pytest.approx([10.04, 10.07])


def test_summary_takes_the_worst_flow() -> None:
    found = summary([flow("1111"), flow("1001"), flow("1011")], INTERVAL)

    assert found == {"sent": 12, "lost": 3, "outage_s": 0.02, "flows": 3, "flows_hit": 2}


class Deaf(NamespaceDriver):
    """Starts senders that begin, and never have a result."""

    def __init__(self) -> None:
        super().__init__(topology.load(topology.find(dual_tor.NAME)))
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "[]", "")

    def popen(self, *_: object, **__: object) -> subprocess.Popen[str]:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.started.append(subprocess.Popen(["sh", "-c", "echo; exec sleep 60"], **pipes))
        return self.started[-1]


def test_a_sender_without_a_result_is_said_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_RESULT_TIMEOUT_S", 0.1)
    driver = Deaf()
    senders = Meter(driver)
    senders.start()

    with pytest.raises(TimedOutError, match="the sender of direction 'in' has no result"):
        senders.stop()
    senders.abandon()

    assert [process.returncode for process in driver.started] == [-9, -9]
