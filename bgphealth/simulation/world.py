"""What a scenario's probes find: how each of them is answered now, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from random import Random

from bgphealth.core.addresses import looked_at
from bgphealth.core.events import AddressesSeen, Event, LinkChanged, Verdict
from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.scenario import (
    GOOD_RTT_S,
    AddressStep,
    Answers,
    Asked,
    AskedPath,
    AskedService,
    Behaviour,
    Link,
    Others,
    Scenario,
    Step,
)
from bgphealth.core.settings import (
    Address,
    Prefix,
    ProbeKind,
    ProbeSettings,
    Role,
    Settings,
)
from bgphealth.daemon.alternatives import Healthy
from bgphealth.daemon.questions import KernelView, PathQuestion, Questions, ServiceQuestion
from bgphealth.probes.outcome import Answer, Outcome, no_answer, unknown

_SOMEBODY = IPv4Address("192.0.2.1")


@dataclass(slots=True)
class _Found:
    """How one probe is answered now. `luck` decides what is lost: a seed of its own for each."""

    luck: Random
    answers: Answers


class World:
    """What is true around the host at the moment. Needs a running event loop."""

    def __init__(self, scenario: Scenario, post: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._post = post
        self._seed = scenario.seed
        self._found: dict[Asked, _Found] = {}
        self._down: set[str] = set()
        self._looked_at = looked_at(scenario.settings)
        self._missing: frozenset[Address] = frozenset()
        self._others: dict[Prefix, Verdict] = {}

    def happens(self, step: Step) -> None:
        """Take a step: from now on it is so. What an operator does is not of this world."""
        for change in step.changes:
            match change:
                case Answers():
                    for asked in change.asked:
                        found = self._of(asked)
                        found.answers = _over(found.answers, change)
                case Link(uplinks, up):
                    for uplink in uplinks:
                        self._link(uplink, up=up)
                case AddressStep(addresses, there):
                    missing = self._missing.difference(addresses)
                    self._addresses(missing if there else missing.union(addresses))
                case Others(prefixes, seen):
                    self._others |= dict.fromkeys(prefixes, seen)

    def _addresses(self, missing: frozenset[Address]) -> None:
        if missing != self._missing:
            self._missing = missing
            there = self._looked_at - missing
            self._post(AddressesSeen(self._loop.time(), there, missing))

    async def who_else(self, prefixes: tuple[Prefix, ...]) -> Healthy | str:
        """Return which hosts have a healthy path to each prefix; some host, if any."""
        seen = {prefix: self._others.get(prefix, Verdict.FAILED) for prefix in prefixes}
        if Verdict.UNKNOWN in seen.values():
            return "cannot be asked"
        some = frozenset({_SOMEBODY})
        return {p: some if word is Verdict.OK else frozenset() for p, word in seen.items()}

    def _link(self, uplink: str, *, up: bool) -> None:
        if (uplink in self._down) is up:
            (self._down.discard if up else self._down.add)(uplink)
            self._post(LinkChanged(self._loop.time(), uplink, up))

    def questions(self) -> Questions:
        """Return what makes the questions of a file, answered as this world has it."""
        return Questions(self._of_paths, self._of_services)

    def answer(self, asked: Asked, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Answer a probe that is asked now, when its time has come."""
        outcome, after_s = self._outcome(asked, probe, timeout_s)
        self._loop.call_later(after_s, answer, outcome)

    def _outcome(
        self, asked: Asked, probe: ProbeSettings, timeout_s: float
    ) -> tuple[Outcome, float]:
        """Return what comes back, and after how many seconds."""
        found = self._of(asked)
        behaviour = found.answers.behaviour
        loss, rtt_s = found.answers.loss or 0.0, found.answers.rtt_s or 0.0
        # Drawn for each probe, whatever comes of it: a step changes nothing but its own probes.
        is_lost = found.luck.random() < loss
        if behaviour is Behaviour.UNKNOWN:
            return unknown("cannot be asked"), 0.0
        if probe.kind.is_state:
            is_ok = behaviour is Behaviour.OK
            return Outcome(Verdict.OK) if is_ok else _failed(f"{probe.kind} is down"), 0.0
        if behaviour is Behaviour.FAILED or is_lost or rtt_s >= timeout_s:
            return no_answer(timeout_s), timeout_s
        if behaviour is Behaviour.REFUSED:
            return _failed("Connection refused"), rtt_s
        # The end of a program is no round trip.
        return Outcome(Verdict.OK, rtt_s=None if probe.kind is ProbeKind.EXEC else rtt_s), rtt_s

    def _of(self, asked: Asked) -> _Found:
        if asked not in self._found:
            luck = Random(f"{self._seed} {_in_words(asked)}")  # noqa: S311 - luck, not a secret
            self._found[asked] = _Found(luck, Answers((asked,), Behaviour.OK, 0.0, GOOD_RTT_S))
        return self._found[asked]

    def _of_paths(self, settings: Settings, _: KernelView) -> Iterator[PathQuestion]:
        for uplink in settings.uplinks:
            for path in uplink.paths:
                key = PathKey(uplink.name, path.family)
                for role, probes in ((Role.GATEWAY, path.gateway), (Role.BEYOND, path.beyond)):
                    for each in probes:
                        probe = PathProbe(role, each)
                        yield PathQuestion(key, probe, _Told(self, AskedPath(key, probe)))

    def _of_services(self, settings: Settings) -> Iterator[ServiceQuestion]:
        for service in settings.services:
            for check in service.checks:
                told = _Told(self, AskedService(service.name, check))
                yield ServiceQuestion(service, check, told)


@dataclass(frozen=True, slots=True)
class _Told:
    """A prober that asks the world instead of a network."""

    world: World
    asked: Asked

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Ask once."""
        self.world.answer(self.asked, probe, timeout_s, answer)

    def close(self) -> None:
        """There is nothing to free."""


def _failed(detail: str) -> Outcome:
    return Outcome(Verdict.FAILED, detail)


def _over(before: Answers, change: Answers) -> Answers:
    """Return the answers after a change, which leaves alone what it does not name."""
    given = {
        name: value
        for name in ("behaviour", "loss", "rtt_s")
        if (value := getattr(change, name)) is not None
    }
    return replace(before, **given)


def _in_words(asked: Asked) -> str:
    if isinstance(asked, AskedService):
        return f"{asked.service} {asked.check}"
    path, (role, probe) = asked
    return f"{path.uplink} {path.family} {role} {probe}"
