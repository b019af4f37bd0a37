"""Turn the file's probes and checks into a schedule, and their answers into events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from bgphealth.core.events import Event, PathProbed, PathProbeOverdue, ServiceChecked
from bgphealth.core.health import PathKey
from bgphealth.core.settings import ProbeKind, ServiceSettings, Settings, UplinkSettings
from bgphealth.daemon.questions import (
    REAL,
    KernelView,
    PathQuestion,
    Questions,
    ServiceQuestion,
)
from bgphealth.probes.alarm import Alarm
from bgphealth.probes.outcome import Answer, Outcome, Prober
from bgphealth.probes.schedule import Every

_CHEAP = {ProbeKind.ICMP, ProbeKind.TCP}
"""Kinds that may be asked many times a second, and whose answers are quick on a good path."""

_CLOCK_TICK_S = 0.001


class Now(NamedTuple):
    """A probe or a check that can be asked beside its turn; `heard` gets the answer as well."""

    question: PathQuestion | ServiceQuestion
    ask: Callable[[Answer], None]


@dataclass(slots=True)
class _Group:
    """What is asked of one uplink or one service; `how` is all that depends on."""

    how: object
    probers: list[Prober] = field(default_factory=list)
    timers: list[Every] = field(default_factory=list)
    now: list[Now] = field(default_factory=list)
    is_over: bool = False

    def close(self) -> None:
        self.is_over = True
        for timer in self.timers:
            timer.stop()
        for prober in self.probers:
            prober.close()


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
        self._kernel = kernel
        self._post = post
        self._questions_by = questions_by
        self._paths: dict[PathKey, list[Every]] = {}
        self._uplinks: dict[str, _Group] = {}
        self._services: dict[str, _Group] = {}
        self._patience_s: float | None = None
        self._unanswered: dict[int, tuple[PathQuestion, float]] = {}
        self._overdue = Alarm(self._look_overdue)
        self.begin(settings)

    def leave(self, settings: Settings) -> frozenset[PathKey]:
        """Stop asking what another file does not ask, or asks otherwise; return those paths.

        Of that no answer comes any more, not even to what is under way. The rest goes on.
        """
        left: set[str] = set()
        for groups, hows in (
            (self._uplinks, {u.name: _how(u, settings) for u in settings.uplinks}),
            (self._services, {s.name: _how_checked(s) for s in settings.services}),
        ):
            for name in [n for n, group in groups.items() if hows.get(n) != group.how]:
                groups.pop(name).close()
                left |= {name} if groups is self._uplinks else set()
        for number, (question, _) in list(self._unanswered.items()):
            if question.path.uplink in left:
                del self._unanswered[number]
        paths = frozenset(path for path in self._paths if path.uplink in left)
        for path in paths:
            del self._paths[path]
        return paths

    def begin(self, settings: Settings) -> None:
        """Ask what a file asks and is not asked yet."""
        self._settings = settings
        timing, patience_s = settings.path_timing, settings.suspect_interval_s
        # A time-out that comes first makes the same point.
        late_is_early = patience_s is not None and patience_s < timing.timeout_s
        self._patience_s = patience_s if late_is_early else None
        self._timeout_s = timing.timeout_s
        uplinks = tuple(u for u in settings.uplinks if u.name not in self._uplinks)
        services = tuple(s for s in settings.services if s.name not in self._services)
        self._uplinks |= {u.name: _Group(_how(u, settings)) for u in uplinks}
        self._services |= {s.name: _Group(_how_checked(s)) for s in services}
        new = replace(settings, uplinks=uplinks, services=services)
        questions = list(self._questions_by.of_paths(new, self._kernel))
        checks = list(self._questions_by.of_services(new))
        for number, question in enumerate(_in_turn(questions)):
            # Spread evenly over the interval: no bursts.
            phase_s = timing.interval_s * number / len(questions)
            self._begin_path(question, timing.interval_s, phase_s)
        for number, check in enumerate(checks):
            interval_s = check.service.timing.interval_s
            every = Every(
                interval_s, interval_s * number / len(checks), partial(self._check, check)
            )
            group = self._services[check.service.name]
            group.timers.append(every)
            group.probers.append(check.prober)
            group.now.append(Now(check, partial(self._check_now, group, check)))

    def _begin_path(self, question: PathQuestion, interval_s: float, phase_s: float) -> None:
        is_cheap = question.probe.probe.kind in _CHEAP
        answered = partial(self._answered, question)
        patience_s = self._patience_s if is_cheap else None
        every = Every(interval_s, phase_s, partial(self._ask, question, answered, patience_s))
        if is_cheap:
            self._paths.setdefault(question.path, []).append(every)
        group = self._uplinks[question.path.uplink]
        group.timers.append(every)
        group.probers.append(question.prober)
        group.now.append(Now(question, partial(self._ask_now, group, question, patience_s)))

    def pace(self, path: PathKey, *, suspect: bool) -> None:
        """Ask the cheap probes of a path now and every `suspect_interval_s`, or normally again."""
        interval_s = self._settings.suspect_interval_s
        for every in self._paths.get(path, ()):
            if suspect and interval_s is not None:
                every.hurry(interval_s)
            else:
                every.relax()

    def now(self, thing: str | None) -> list[Now]:
        """Return what can be asked of an uplink or a service now, or of all there is."""
        return [
            each
            for groups in (self._uplinks, self._services)
            for name, group in groups.items()
            if thing in (None, name)
            for each in group.now
        ]

    def close(self) -> None:
        """Stop asking and free the sockets."""
        for group in (*self._uplinks.values(), *self._services.values()):
            group.close()
        self._overdue.stop()

    def _ask_now(
        self, group: _Group, question: PathQuestion, patience_s: float | None, heard: Answer
    ) -> None:
        """Ask beside the turn; the answer is one like all others."""

        def answered(outcome: Outcome) -> None:
            self._answered(question, outcome)
            heard(outcome)

        if not group.is_over:
            self._ask(question, answered, patience_s)

    def _check_now(self, group: _Group, question: ServiceQuestion, heard: Answer) -> None:
        def answered(outcome: Outcome) -> None:
            self._checked(question, outcome)
            heard(outcome)

        if not group.is_over:
            timeout_s = question.service.timing.timeout_s
            question.prober.ask(question.check, timeout_s, answered)

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
        if self._patience_s is None:
            return  # Of another file.
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


def _how(uplink: UplinkSettings, settings: Settings) -> object:
    """Return everything that the probes of an uplink depend on."""
    timing = settings.path_timing, settings.suspect_interval_s
    return uplink, timing, settings.fallback.table


def _how_checked(service: ServiceSettings) -> object:
    """Return everything that the checks of a service depend on."""
    return service.prefixes, service.checks, service.timing


def _in_turn(questions: list[PathQuestion]) -> list[PathQuestion]:
    """Order questions so that those of one path are far apart: a dead path is seen the sooner."""
    place: Counter[PathKey] = Counter()
    turns: list[tuple[int, PathQuestion]] = []
    for question in questions:
        turns.append((place[question.path], question))
        place[question.path] += 1
    return [question for _, question in sorted(turns, key=itemgetter(0))]
