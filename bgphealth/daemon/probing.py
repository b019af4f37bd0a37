"""Turn the file's probes and checks into a schedule, and their answers into events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from operator import itemgetter

from bgphealth.core.events import Event, PathProbed, PathProbeOverdue, ServiceChecked
from bgphealth.core.health import PathKey
from bgphealth.core.settings import ProbeKind, Settings
from bgphealth.daemon.questions import (
    REAL,
    KernelView,
    PathQuestion,
    Questions,
    ServiceQuestion,
)
from bgphealth.probes.alarm import Alarm
from bgphealth.probes.outcome import Answer, Outcome
from bgphealth.probes.schedule import Every

_CHEAP = {ProbeKind.ICMP, ProbeKind.TCP}
"""Kinds that may be asked many times a second, and whose answers are quick on a good path."""

_CLOCK_TICK_S = 0.001


class Probing:
    """All probes and checks of one file, asked again and again. Needs a running event loop.

    Args:
        settings: the file.
        kernel: what is known of the kernel now.
        post: called with each event, must not block.
        questions_by: who makes the questions and their probers.
    """

    def __init__(
        self,
        settings: Settings,
        kernel: KernelView,
        post: Callable[[Event], None],
        questions_by: Questions = REAL,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._post = post
        self._paths: dict[PathKey, list[Every]] = {}
        self._slow: list[Every] = []
        timing, patience_s = settings.path_timing, settings.suspect_interval_s
        # A time-out that comes first makes the same point.
        late_is_early = patience_s is not None and patience_s < timing.timeout_s
        self._patience_s = patience_s if late_is_early else None
        self._unanswered: dict[int, tuple[PathQuestion, float]] = {}
        self._overdue = Alarm(self._look_overdue)
        questions = list(questions_by.of_paths(settings, kernel))
        checks = list(questions_by.of_services(settings))
        self._probers = [*(q.prober for q in questions), *(q.prober for q in checks)]
        self._timeout_s = timing.timeout_s
        interval_s = timing.interval_s
        for number, question in enumerate(_in_turn(questions)):
            # Spread evenly over the interval: no bursts.
            phase_s = interval_s * number / len(questions)
            is_cheap = question.probe.probe.kind in _CHEAP
            answered = partial(self._answered, question)
            patience_s = self._patience_s if is_cheap else None
            every = Every(interval_s, phase_s, partial(self._ask, question, answered, patience_s))
            if is_cheap:
                self._paths.setdefault(question.path, []).append(every)
            else:
                self._slow.append(every)
        self._checks = [
            Every(
                check.service.timing.interval_s,
                check.service.timing.interval_s * number / len(checks),
                partial(self._check, check),
            )
            for number, check in enumerate(checks)
        ]

    def pace(self, path: PathKey, *, suspect: bool) -> None:
        """Ask the cheap probes of a path now and every `suspect_interval_s`, or normally again."""
        interval_s = self._settings.suspect_interval_s
        for every in self._paths.get(path, ()):
            if suspect and interval_s is not None:
                every.hurry(interval_s)
            else:
                every.relax()

    def close(self) -> None:
        """Stop asking and free the sockets."""
        paths = (every for path in self._paths.values() for every in path)
        for every in (*self._checks, *self._slow, *paths):
            every.stop()
        self._overdue.stop()
        for prober in self._probers:
            prober.close()

    def _ask(self, question: PathQuestion, answered: Answer, patience_s: float | None) -> None:
        if patience_s is not None:
            now = self._loop.time()
            self._overdue.by(now + patience_s, now, earliest=not self._unanswered)
            self._unanswered.setdefault(id(question), (question, now))
        question.prober.ask(question.probe.probe, self._timeout_s, answered)

    def _answered(self, question: PathQuestion, outcome: Outcome) -> None:
        self._unanswered.pop(id(question), None)
        path, (role, probe) = question.path, question.probe
        verdict, detail, rtt_s = outcome
        at = self._loop.time()
        self._post(PathProbed(at, path.uplink, path.family, role, probe, verdict, detail, rtt_s))

    def _look_overdue(self) -> None:
        """Post what has been unanswered for long enough, and look again for the rest."""
        assert self._patience_s is not None  # noqa: S101 - for the type checker
        now = self._loop.time()
        # A timer may come a clock tick early.
        long_ago = now - self._patience_s + _CLOCK_TICK_S
        overdue = [question for question, at in self._unanswered.values() if at <= long_ago]
        for question in overdue:
            del self._unanswered[id(question)]
            path, (role, probe) = question.path, question.probe
            self._post(PathProbeOverdue(now, path.uplink, path.family, role, probe))
        if self._unanswered:
            earliest = min(at for _, at in self._unanswered.values())
            self._overdue.by(earliest + self._patience_s, now, earliest=True)

    def _check(self, question: ServiceQuestion) -> None:
        answer = partial(self._checked, question)
        question.prober.ask(question.check, question.service.timing.timeout_s, answer)

    def _checked(self, question: ServiceQuestion, outcome: Outcome) -> None:
        at, name = self._loop.time(), question.service.name
        self._post(ServiceChecked(at, name, question.check, outcome.verdict, outcome.detail))


def _in_turn(questions: list[PathQuestion]) -> list[PathQuestion]:
    """Order questions so that those of one path are far apart: a dead path is seen the sooner."""
    place: Counter[PathKey] = Counter()
    turns: list[tuple[int, PathQuestion]] = []
    for question in questions:
        turns.append((place[question.path], question))
        place[question.path] += 1
    return [question for _, question in sorted(turns, key=itemgetter(0))]
