"""From a scenario file and the configuration that it plays on to a `Scenario`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from pydantic import ValidationError

from bgphealth.config import document
from bgphealth.config.explain import explain
from bgphealth.config.fields import WrongValueError
from bgphealth.config.load import check_document, load, problems_of
from bgphealth.config.problems import InvalidFileError, KeyPath, Problem, shown
from bgphealth.config.scenario import SERVICES, UPLINKS, Expect, ScenarioFile, time
from bgphealth.config.scenario import Step as FileStep
from bgphealth.config.scenario_expect import (
    expected,
    misfits,
    paths_named,
    services_named,
    uplinks_named,
)
from bgphealth.core.drain import exists
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.events import Verdict
from bgphealth.core.health import PathProbe
from bgphealth.core.orders import Target
from bgphealth.core.scenario import (
    GOOD_RTT_S,
    AddressStep,
    Answers,
    Asked,
    AskedPath,
    AskedService,
    Behaviour,
    Drain,
    Expectation,
    Link,
    Others,
    Scenario,
    Step,
    Undrain,
)
from bgphealth.core.settings import Address, OnDown, ProbeSettings, Role, Settings

if TYPE_CHECKING:
    from bgphealth.config.document import Document

_Entry = TypeVar("_Entry", FileStep, Expect)

_Happens: TypeAlias = Answers | Link | AddressStep

_AFTER_S = 5.0
"""How long it goes on after the last thing that the file says."""


def load_scenario(path: Path, instead: Path | None, otherwise: Path) -> Scenario:
    """Read and check a scenario, and the configuration that it plays on.

    Args:
        path: the scenario.
        instead: the configuration to take instead of the scenario's own, if any.
        otherwise: the configuration for a scenario that has none.

    Raises:
        InvalidFileError: One of the files is wrong; the error lists every problem.
        ConfigurationError: There is no such file, or it cannot be read.
        PermissionDeniedError: A file may not be read.
    """
    read = document.read(path, needs="scenario, about and config")
    if "scenario" not in read.data:
        raise InvalidFileError([read.problem((), "is no scenario: one has scenario: 1 at the top")])
    found: list[tuple[KeyPath, str]] = []
    problems: list[Problem] = []
    settings: Settings | None = None
    try:
        config, settings = _configuration(read, path, instead, otherwise)
    except InvalidFileError as error:
        problems += error.problems
    file: ScenarioFile | None = None
    try:
        file = ScenarioFile.model_validate(read.data, context=_context(settings))
    except ValidationError as error:
        found += explain(error, ScenarioFile)
    if settings is None:
        raise InvalidFileError(sorted({*problems, *problems_of(read, found)}))
    builder = _Builder(read, settings)
    steps = [
        step for n, given in builder.valid(FileStep, "steps") for step in builder.steps(n, given)
    ]
    expectations = [
        each for n, given in builder.valid(Expect, "expect") for each in builder.expected(n, given)
    ]
    problems = problems_of(read, [*found, *builder.found])
    if file is None or problems:
        raise InvalidFileError(problems)
    last = max([*(step.at for step in steps), *(e.at for e in expectations)], default=0.0)
    return Scenario(
        about=file.about,
        config=config,
        settings=settings,
        seed=file.seed,
        end=last + _AFTER_S if file.end is None else file.end,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        expectations=tuple(sorted(expectations, key=lambda expectation: expectation.at)),
    )


def _context(settings: Settings | None) -> dict[str, list[str]]:
    """Return the names that a scenario may use, if that is known."""
    if settings is None:
        return {}
    return {
        UPLINKS: [uplink.name for uplink in settings.uplinks],
        SERVICES: [service.name for service in settings.services],
    }


def _configuration(
    read: Document, path: Path, instead: Path | None, otherwise: Path
) -> tuple[str, Settings]:
    """Return the name of the configuration and what it says."""
    given = read.data.get("config")
    if instead is not None:
        return str(instead), load(instead)
    if isinstance(given, dict):
        return read.file, check_document(read.part("config"))
    file = path.parent / given if isinstance(given, str) else otherwise
    try:
        return str(file), load(file)
    except InvalidFileError:
        raise
    except ConfigurationError as error:
        message = str(error)
        if "config" not in read.data:
            message += "; name another configuration here (config: FILE), or give one with -c"
        raise InvalidFileError([read.problem(("config",), message)]) from None


class _Subject(NamedTuple):
    """What a step happens to: in words, its links, what is asked of it, and its addresses."""

    said: str
    uplinks: tuple[str, ...]
    asked: tuple[Asked, ...]
    addresses: tuple[Address, ...]


class _Builder:
    """Builds what the file says about one configuration, and collects what does not fit it."""

    def __init__(self, read: Document, settings: Settings) -> None:
        self._read = read
        self._settings = settings
        self._end = inf
        with suppress(WrongValueError, KeyError):
            self._end = time(read.data["end"])
        self.found: list[tuple[KeyPath, str]] = []

    def valid(self, model: type[_Entry], key: str) -> Iterator[tuple[int, _Entry]]:
        """Yield the entries of a list with their places; what is wrong in itself is left out.

        One by one: a wrong entry must not hide what is wrong with the others.
        """
        given = self._read.data.get(key)
        for index, value in enumerate(given if isinstance(given, list) else []):
            with suppress(ValidationError):
                yield index, model.model_validate(value, context=_context(self._settings))

    def steps(self, index: int, given: FileStep) -> Iterator[Step]:
        """Return the steps that one of the file amounts to."""
        where: KeyPath = ("steps", index)
        self._require_before_end(where, given.at)
        if (target := given.drain or given.undrain) is not None:
            yield self._ordered(where, given, target)
            return
        if given.others is not None:
            yield self._seen(where, given, given.others)
            return
        subject = self._subject(where, given)
        changes = tuple(_changes(given, subject))
        what = f"{subject.said}: {_in_words(given)}"
        if given.flap is None:
            yield Step(given.at, what, changes)
            return
        every, lasts = given.flap.every, given.flap.for_
        healed = tuple(_healed(change) for change in changes)
        yield Step(given.at, f"{what}, and back, every {every:g} s for {lasts:g} s", changes)
        times = round(lasts / every)
        for number in range(times):
            begin = given.at + number * every
            if number:
                yield Step(begin, "", changes)
            said = f"{subject.said}: no longer" if number == times - 1 else ""
            yield Step(begin + every / 2, said, healed)

    def _seen(self, where: KeyPath, given: FileStep, others: str) -> Step:
        services = services_named(self._settings, given.service)
        for service in services:
            if service.on_down is not OnDown.GUARDED:
                message = f"nobody looks for others: {service.name} is not on_down: guarded"
                self.found.append(((*where, "others"), message))
        prefixes = tuple(prefix for service in services for prefix in service.prefixes)
        said = f"{' and '.join(service.name for service in services)}: others {others}"
        return Step(given.at, said, (Others(prefixes, _OTHERS[others]),))

    def _ordered(self, where: KeyPath, given: FileStep, target: Target) -> Step:
        key = "undrain" if given.drain is None else "drain"
        if not exists(target, self._settings):
            message = f"the configuration has no {target} that could be drained"
            self.found.append(((*where, key), message))
        if given.drain is None:
            return Step(given.at, f"undrain {target}", (Undrain(target),))
        words = [f"drain {target}"]
        words += [f"for {given.for_:g} s"] if given.for_ is not None else []
        words += ["by force"] if given.force else []
        return Step(given.at, " ".join(words), (Drain(target, given.for_, given.force),))

    def expected(self, index: int, given: Expect) -> Iterator[Expectation]:
        """Return what one entry of the file expects."""
        where: KeyPath = ("expect", index)
        self._require_before_end(where, given.at)
        self.found += [((*where, *key), why) for key, why in misfits(self._settings, given)]
        line = self._read.line_of(where)
        for each in expected(self._settings, given):
            yield Expectation(given.at, line, each)

    def _require_before_end(self, where: KeyPath, at: float) -> None:
        if at > self._end:
            self.found.append(((*where, "at"), f"is after the end, which is at {self._end:g} s"))

    def _subject(self, where: KeyPath, given: FileStep) -> _Subject:
        asked: list[Asked] = []
        uplinks = uplinks_named(self._settings, given.uplink)
        services = services_named(self._settings, given.service)
        for named in paths_named(self._settings, given.uplink, given.family):
            roles = ((Role.GATEWAY, named.path.gateway), (Role.BEYOND, named.path.beyond))
            asked += (AskedPath(named.key, PathProbe(r, p)) for r, probes in roles for p in probes)
        for service in services:
            asked += (AskedService(service.name, check) for check in service.checks)
        there = asked
        if given.only is not None:
            asked = [each for each in there if _is_called(_probe_of(each), given.only)]
        for name in ("gateway", "beyond", "probes", "checks", "loss", "rtt"):
            if getattr(given, name) is not None and not _of_role(asked, name):
                message = "the configuration asks nothing there that this could happen to"
                if given.only is not None:
                    known = dict.fromkeys(str(_probe_of(each)) for each in _of_role(there, name))
                    message = f"nothing there is called {shown(given.only)}"
                    message += f"; there are {', '.join(known)}" if known else ""
                self.found.append(((*where, name), message))
        addresses = tuple(address for s in services for address in s.expected_addresses)
        if given.address is not None and not addresses:
            message = "the configuration looks at no address of it"
            self.found.append(((*where, "address"), message))
        said = " and ".join([*(u.name for u in uplinks), *(s.name for s in services)])
        said += f" {given.family}" if given.family else ""
        names = tuple(uplink.name for uplink in uplinks)
        return _Subject(said, names, tuple(asked), addresses)


_OTHERS = {"healthy": Verdict.OK, "gone": Verdict.FAILED, "unknown": Verdict.UNKNOWN}


def _probe_of(asked: Asked) -> ProbeSettings:
    return asked.probe.probe if isinstance(asked, AskedPath) else asked.check


def _is_called(probe: ProbeSettings, name: str) -> bool:
    """Tell whether a probe is meant: by its kind, its target, or in the file's own words."""
    return name in (str(probe), str(probe.kind), str(probe.target))


_ROLES = {"gateway": Role.GATEWAY, "beyond": Role.BEYOND}


def _of_role(asked: Sequence[Asked], name: str) -> tuple[Asked, ...]:
    role = _ROLES.get(name)
    return tuple(
        each
        for each in asked
        if role is None or (isinstance(each, AskedPath) and each.probe.role is role)
    )


def _changes(given: FileStep, subject: _Subject) -> Iterator[_Happens]:
    if given.all is not None:
        yield Answers(subject.asked, Behaviour.OK, 0.0, GOOD_RTT_S)
        if subject.uplinks:
            yield Link(subject.uplinks, up=True)
        if subject.addresses:
            yield AddressStep(subject.addresses, there=True)
    for name in ("gateway", "beyond", "probes", "checks"):
        behaviour: Behaviour | None = getattr(given, name)
        if behaviour is not None:
            yield Answers(_of_role(subject.asked, name), behaviour)
    if given.loss is not None or given.rtt is not None:
        yield Answers(subject.asked, loss=given.loss, rtt_s=given.rtt)
    if given.link is not None:
        yield Link(subject.uplinks, up=given.link == "up")
    if given.address is not None:
        yield AddressStep(subject.addresses, there=given.address == "there")


def _healed(change: _Happens) -> _Happens:
    if isinstance(change, Link):
        return replace(change, up=True)
    if isinstance(change, AddressStep):
        return replace(change, there=True)
    return Answers(
        change.asked,
        None if change.behaviour is None else Behaviour.OK,
        None if change.loss is None else 0.0,
        None if change.rtt_s is None else GOOD_RTT_S,
    )


def _in_words(given: FileStep) -> str:
    words = {
        "gateway": given.gateway,
        "beyond": given.beyond,
        "probes": given.probes,
        "checks": given.checks,
        "loss": None if given.loss is None else f"{given.loss * 100:g} %",
        "rtt": None if given.rtt is None else f"{given.rtt * 1000:g} ms",
        "link": given.link,
        "address": given.address,
        "all": given.all,
    }
    said = ", ".join(f"{name} {word}" for name, word in words.items() if word is not None)
    return f"{said} (only {given.only})" if given.only else said
