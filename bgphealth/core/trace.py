"""Events as plain data: what went into the engine, so that it can go in again.

An event is a mapping of its fields to what JSON has, with the kind of event under ``is``:
``{"is": "link_changed", "at": 7.25, "uplink": "tor1", "up": false}``. Kinds and fields come from
the classes in `events`, so a new event needs nothing here while its fields are of types that are
known here. Fields that have their default are left out. A probe is written in the file's own words;
those that read alike are numbered (``… #2``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import partial
from ipaddress import ip_address, ip_network
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, cast, get_args, get_type_hints

from bgphealth.core.events import Event
from bgphealth.core.settings import Address, Prefix, ProbeSettings, Settings

VERSION = 1
"""Of the form of a trace: a new kind of event does not change it, a changed one does."""

HEADER = "bgphealth_trace"
"""The first key of the line that a run begins with; its value is the version."""

RECONFIGURED = "reconfigured"
"""What stands under ``is`` where the configuration changed; no event, but between two of them."""

Plain: TypeAlias = bool | float | int | str | list[str] | None
"""What a field is written as."""

_NAMES = {"uplink": "uplinks", "service": "services"}
"""Fields that hold a name from the file, and where it is there."""


class NotInFileError(ValueError):
    """An event is about something that the file does not name; nothing is wrong with the event."""


class _Field(NamedTuple):
    """How one field is written and read."""

    write: Callable[[Any], Plain]
    read: Callable[[object], object]


class _Kind(NamedTuple):
    """One kind of event."""

    make: Callable[..., Event]
    fields: Mapping[str, _Field]
    defaults: Mapping[str, object]


class Codec:
    """Writes and reads the events of one file."""

    def __init__(self, settings: Settings) -> None:
        self._probes = _named(settings)
        self._texts = {probe: text for text, probe in self._probes.items()}
        self._names = {
            field: {each.name for each in getattr(settings, where)}
            for field, where in _NAMES.items()
        }
        classes = get_args(Event)
        self._words = {each: _word(each) for each in classes}
        self._kinds = {self._words[each]: self._kind(each) for each in classes}

    def encode(self, event: Event) -> dict[str, Plain]:
        """Return an event as plain data.

        Raises:
            NotInFileError: it is about a probe that the file does not have.
        """
        word = self._words[type(event)]
        kind = self._kinds[word]
        values = {name: getattr(event, name) for name in kind.fields}
        written = {
            name: kind.fields[name].write(value)
            for name, value in values.items()
            if name not in kind.defaults or kind.defaults[name] != value
        }
        return {"is": word, **written}

    def decode(self, record: Mapping[str, object]) -> Event:
        """Return the event that a mapping stands for.

        Raises:
            NotInFileError: it names an uplink, a service or a probe that the file does not have.
            ValueError: it is no event; the text says why.
        """
        word = record.get("is")
        kind = self._kinds.get(word) if isinstance(word, str) else None
        if kind is None:
            raise ValueError(f"is: must be one of {', '.join(self._kinds)}, not {word!r}")
        if unknown := sorted(record.keys() - kind.fields.keys() - {"is"}):
            raise ValueError(f"{unknown[0]}: {word} has no such field")
        if absent := sorted(kind.fields.keys() - kind.defaults.keys() - record.keys()):
            raise ValueError(f"{absent[0]}: is missing")
        values: dict[str, object] = {}
        for name, field in kind.fields.items():
            if name not in record:
                continue
            try:
                values[name] = field.read(record[name])
            except NotInFileError:
                raise
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        for name, known in self._names.items():
            if name in values and values[name] not in known:
                raise NotInFileError(f"no {name} {values[name]!r}")
        return kind.make(**values)

    def _kind(self, event: type[Event]) -> _Kind:
        hints = {name: t for name, t in get_type_hints(event).items() if not name.startswith("_")}
        return _Kind(event, {n: self._field(t) for n, t in hints.items()}, dict(_defaults(event)))

    def _field(self, of: object) -> _Field:
        if NoneType in (inner := get_args(of)):
            (given,) = (each for each in inner if each is not NoneType)
            field = self._field(given)
            return _Field(
                lambda value: None if value is None else field.write(value),
                lambda value: None if value is None else field.read(value),
            )
        if of is ProbeSettings:
            return _Field(self._text_of, self._probe)
        if isinstance(of, type) and issubclass(of, StrEnum):
            return _Field(str, partial(_member, of))
        return _PLAIN[of]

    def _text_of(self, probe: ProbeSettings) -> str:
        if probe not in self._texts:
            raise NotInFileError(f"no probe {probe}")
        return self._texts[probe]

    def _probe(self, value: object) -> ProbeSettings:
        text = _text(value)
        if text not in self._probes:
            raise NotInFileError(f"no probe {text!r}")
        return self._probes[text]


def _word(event: type) -> str:
    """Return ``path_probed`` for PathProbed."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def _defaults(event: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - a class of either kind
    if is_dataclass(event):
        yield from ((f.name, f.default) for f in fields(event) if f.default is not MISSING)
    else:
        yield from event._field_defaults.items()


def _named(settings: Settings) -> dict[str, ProbeSettings]:
    of_paths = (
        probe
        for uplink in settings.uplinks
        for path in uplink.paths
        for probe in (*path.gateway, *path.beyond)
    )
    of_services = (check for service in settings.services for check in service.checks)
    named: dict[str, ProbeSettings] = {}
    for probe in dict.fromkeys((*of_paths, *of_services)):
        text, number = str(probe), 1
        while text in named:
            number += 1
            text = f"{probe} #{number}"
        named[text] = probe
    return named


def _member(of: type[StrEnum], value: object) -> StrEnum:
    try:
        return of(_text(value))
    except ValueError:
        raise ValueError(f"must be {' or '.join(of)}, not {value!r}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}")  # noqa: TRY004 - a value of the file
    return value


def _number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            if isfinite(value):
                return float(value)
    raise ValueError(f"must be a number, not {value!r}")


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")  # noqa: TRY004 - as above
    return value


def _address(value: object) -> Address:
    return ip_address(_text(value))


def _addresses(value: object) -> frozenset[Address]:
    return frozenset(ip_address(word) for word in _text(value).split())


def _in_order(addresses: frozenset[Address]) -> str:
    """Return addresses as one text, with spaces between them."""
    return " ".join(sorted(map(str, addresses)))


def _as_it_is(value: object) -> Plain:
    return cast("Plain", value)


def _prefixes(value: object) -> tuple[Prefix, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of prefixes, not {value!r}")  # noqa: TRY004 - as above
    return tuple(ip_network(_text(each)) for each in value)


_PLAIN: dict[object, _Field] = {
    tuple[Prefix, ...]: _Field(lambda prefixes: [str(each) for each in prefixes], _prefixes),
    float: _Field(_as_it_is, _number),
    str: _Field(_as_it_is, _text),
    bool: _Field(_as_it_is, _boolean),
    Address: _Field(str, _address),
    frozenset[Address]: _Field(_in_order, _addresses),
}
