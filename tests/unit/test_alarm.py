from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bgphealth.probes.alarm import Alarm


@dataclass(eq=False)
class Timer:
    when: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """A loop whose time is told by the test. `made` counts the timers."""

    timers: list[Timer] = field(default_factory=list)
    made: int = 0

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self.made += 1
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def run_until(self, now: float) -> None:
        due = [t for t in self.timers if t.when <= now and not t.cancelled]
        self.timers = [t for t in self.timers if t not in due]
        for timer in due:
            timer.call()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_it_rings_once_at_the_earliest_deadline(loop: Loop) -> None:
    rung: list[int] = []
    alarm = Alarm(lambda: rung.append(1))
    alarm.by(10.0, 0.0, earliest=True)
    alarm.by(8.0, 1.0, earliest=False)
    alarm.by(12.0, 2.0, earliest=False)
    loop.run_until(7.9)
    assert not rung
    loop.run_until(8.0)
    assert rung == [1]
    loop.run_until(20.0)
    assert rung == [1]


def test_it_is_moved_when_nobody_awaits_the_earlier_deadline(loop: Loop) -> None:
    rung: list[int] = []
    alarm = Alarm(lambda: rung.append(1))
    for now in range(100):
        alarm.by(now + 10.0, now, earliest=True)
        loop.run_until(now + 0.9)
    assert not rung
    assert loop.made < 25
    loop.run_until(108.9)
    assert rung == [1]


def test_it_is_not_moved_while_an_earlier_deadline_is_awaited(loop: Loop) -> None:
    rung: list[int] = []
    alarm = Alarm(lambda: rung.append(1))
    alarm.by(10.0, 0.0, earliest=True)
    alarm.by(19.0, 9.0, earliest=False)
    loop.run_until(10.0)
    assert rung == [1]


def test_it_can_be_set_again_from_its_own_ring(loop: Loop) -> None:
    rung: list[int] = []

    def ring() -> None:
        rung.append(1)
        if len(rung) == 1:
            alarm.by(15.0, 10.0, earliest=False)

    alarm = Alarm(ring)
    alarm.by(10.0, 0.0, earliest=True)
    loop.run_until(10.0)
    loop.run_until(15.0)
    assert rung == [1, 1]


def test_a_stopped_one_does_not_ring(loop: Loop) -> None:
    rung: list[int] = []
    alarm = Alarm(lambda: rung.append(1))
    alarm.by(10.0, 0.0, earliest=True)
    alarm.stop()
    loop.run_until(20.0)
    assert not rung
