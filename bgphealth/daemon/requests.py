"""What a request to a running program is, what is answered, and why it may not be done.

Requests and answers are plain dictionaries, as they come from and go to the control socket. Nothing
that is asked for is believed: each field is looked at, and what is wrong with it is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

from bgphealth.core.settings import LOOPBACK, Settings
from bgphealth.daemon.protocol import Kind

__all__ = [
    "Answer",
    "Command",
    "Kind",
    "RefusalError",
    "Request",
    "Stream",
    "iso",
    "seconds",
    "shown",
    "unknown",
]

LONGEST_NAME = 64
LONGEST_S = 366 * 86400.0
"""The longest time that can be asked for."""


class RefusalError(Exception):
    """A request is not done; the message is for the operator."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Request(NamedTuple):
    """What is asked for (without `version` and `command`), and in words by whom."""

    fields: Mapping[str, object]
    by: str


class Stream(NamedTuple):
    """An answer that goes on: a first line, and more until the client or the program goes."""

    first: Mapping[str, object]
    lines: AsyncIterator[Mapping[str, object]]


Answer: TypeAlias = Mapping[str, object] | Stream


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that can be asked for.

    Args:
        answer: does it, and returns what came of it; raises `RefusalError` where it is not done.
        fields: what a request may have, each looked at by `answer`.
        changes: whether anything is another one afterwards. Those who may only read may not ask
            for it, and the audit log has it.
    """

    answer: Callable[[Request], Awaitable[Answer]]
    fields: frozenset[str] = frozenset()
    changes: bool = True


def unknown(what: str, name: str, settings: Settings, *more: str) -> RefusalError:
    """Return the refusal of a name that the file has not; `what` is uplink, service or thing.

    `more` is what else can be asked about, in words.
    """
    uplinks = [uplink.name for uplink in settings.uplinks] if what != "service" else []
    services = [service.name for service in settings.services] if what != "uplink" else []
    # The host loopback is not for drains.
    names = [name for name in (*uplinks, *services) if what == "thing" or name != LOOPBACK]
    close = get_close_matches(name[:LONGEST_NAME], [*names, *more], n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    known = [*names[:_MOST_NAMES], *more]
    there = f" (there is {', '.join(known)})" if known else ""
    return RefusalError(Kind.UNKNOWN_NAME, f"there is no {what} {shown(name)}{guess}{there}")


_MOST_NAMES = 50


def shown(value: object) -> str:
    """Return what was asked for as it may stand in a message."""
    return repr(value if not isinstance(value, str) else value[:LONGEST_NAME])[:LONGEST_NAME]


def seconds(field: str, value: object, least_s: float, least: str) -> float | None:
    """Return a field that is a number of seconds, from `least_s`, in words `least`, to 366 days.

    Raises:
        RefusalError: it is something else. None is the same as no field.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusalError(Kind.BAD_REQUEST, f"{field} must be a number of seconds")
    if not least_s <= value <= LONGEST_S:
        raise RefusalError(Kind.BAD_REQUEST, f"{field} must be from {least} to 366 days")
    return float(value)


def iso(at: float) -> str:
    """Return a time of day, in seconds since the epoch, as it stands in answers."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
