"""The last events of the log, kept in the program for whoever asks: `events`.

What is logged from `info` on is kept with the fields that it was logged with: so many events, and
so many bytes of them, the oldest go first. Whoever follows reads what is kept as well, at his own
pace: nothing is kept for one client, and one who is so slow that what he wants is gone is cut off.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from structlog.typing import EventDict

from bgphealth.core.intents import RouteKey
from bgphealth.core.settings import Settings
from bgphealth.core.state import State
from bgphealth.daemon.requests import (
    Answer,
    Command,
    Kind,
    RefusalError,
    Request,
    Stream,
    seconds,
    unknown,
)

MOST_EVENTS = 4000
MOST_BYTES = 4 * 1024 * 1024
MOST_ANSWERED = 1000
"""So many are answered at once."""

_LONGEST_BYTES = 16 * 1024
_LAST = 100
_WHOLE = ("uplink", "service", "neighbor", "address", "what", "user")
_LISTS = ("routes", "addresses", "uplinks", "files")


class Kept(NamedTuple):
    """One event: its running number, when it was (Unix time), its line, and what it is about.

    That is a name a line: thousands of sets would take megabytes.
    """

    number: int
    at: float
    about: str
    line: str

    def is_about(self, words: Set[str] | None) -> bool:
        """Tell whether it is about any of these; None for all there are."""
        return words is None or not words.isdisjoint(self.about.split("\n"))

    @property
    def size(self) -> int:
        """How much it takes of what may be kept."""
        return len(self.line) + len(self.about)


class Recent:
    """A processor for structlog that keeps what passes it. May be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._next = 0
        self._followers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        """Keep an event that is not for debugging."""
        if event["level"] != "debug":
            line = json.dumps(event, default=str)
            if len(line) > _LONGEST_BYTES:
                headline = {key: event[key] for key in ("timestamp", "level", "event")}
                line = json.dumps({**headline, "too_long": len(line)})
            with self._lock:
                self._keep(line, _short("\n".join(dict.fromkeys(_about(event)))))
        return event

    def all(self) -> list[Kept]:
        """Return what is kept, the oldest first."""
        with self._lock:
            return list(self._kept)

    def _first(self, number: int) -> Kept | None:
        """Return the first that is kept from this number on."""
        with self._lock:
            left_out = max(0, number - (self._next - len(self._kept)))
            return self._kept[left_out] if left_out < len(self._kept) else None

    async def follow(self, number: int) -> AsyncIterator[Kept]:
        """Yield what is kept from this number on, and what comes, for as long as that is kept.

        Raises:
            RefusalError: what is next is not kept any more.
        """
        new, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._lock:
            self._followers[new] = loop
        try:
            while True:
                new.clear()
                found = self._first(number)
                if found is None:
                    await new.wait()
                elif found.number > number:
                    missed = found.number - number
                    raise RefusalError(Kind.BUSY, f"too slow: {missed} events are gone")
                else:
                    # One after the other: while one is taken, others come and the oldest go.
                    number += 1
                    yield found
        finally:
            with self._lock:
                del self._followers[new]

    def _keep(self, line: str, about: str) -> None:
        kept = Kept(self._next, time.time(), about, line)
        self._kept.append(kept)
        self._next += 1
        self._bytes += kept.size
        while len(self._kept) > MOST_EVENTS or self._bytes > MOST_BYTES:
            self._bytes -= self._kept.popleft().size
        for new, loop in self._followers.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(new.set)


def commands(recent: Recent, state: Callable[[], State]) -> dict[str, Command]:
    """Return what can be asked for about what is kept."""
    fields = frozenset({"thing", "since_s", "last", "follow"})
    return {"events": Command(_Events(recent, state).answer, fields, changes=False)}


class _Events:
    def __init__(self, recent: Recent, state: Callable[[], State]) -> None:
        self._recent = recent
        self._state = state

    async def answer(self, request: Request) -> Answer:
        """Return the last events, and those that come where the client follows."""
        fields = request.fields
        follow = fields.get("follow", False)
        if not isinstance(follow, bool):
            raise RefusalError(Kind.BAD_REQUEST, "follow must be true or false")
        last = _last(fields.get("last", _LAST))
        since_s = seconds("since_s", fields.get("since_s"), 0.0, "0 seconds")
        kept = self._recent.all()
        words = self._words(fields.get("thing"), kept)
        since = 0.0 if since_s is None else time.time() - since_s
        found = [k for k in kept if k.at >= since and k.is_about(words)]
        first = {"events": [json.loads(k.line) for k in found[max(0, len(found) - last) :]]}
        if not follow:
            return first
        number = kept[-1].number + 1 if kept else 0
        return Stream(first, self._lines(number, words))

    async def _lines(
        self, number: int, words: frozenset[str] | None
    ) -> AsyncIterator[Mapping[str, object]]:
        async for kept in self._recent.follow(number):
            if kept.is_about(words):
                yield {"event": json.loads(kept.line)}

    def _words(self, thing: object, kept: Iterable[Kept]) -> frozenset[str] | None:
        """Return what stands in events about a thing; None for all of them."""
        if thing is None:
            return None
        if not isinstance(thing, str):
            raise RefusalError(Kind.BAD_REQUEST, "thing must be a text")
        settings = self._state().settings
        names = frozenset(_names(thing, settings))
        if not names and not any(k.is_about({thing}) for k in kept):
            raise unknown("thing", thing, settings)
        return names | {thing}


def _names(thing: str, settings: Settings) -> Iterator[str]:
    """Yield what an uplink or a service of the file is called in events."""
    for uplink in settings.uplinks:
        if uplink.name == thing:
            yield thing
            for path in uplink.paths:
                yield str(RouteKey(path.family.default_prefix, uplink.number))
                if path.neighbor is not None:
                    yield str(path.neighbor)
    for service in settings.services:
        if service.name == thing:
            yield thing
            for prefix in service.prefixes:
                yield str(prefix)
                yield str(prefix.network_address)


def _about(event: EventDict) -> Iterator[str]:
    """Yield what an event is about: names, prefixes and addresses in its fields."""
    for key in _WHOLE:
        if key in event:
            yield str(event[key])
    if (route := event.get("route")) is not None:
        # ``192.0.2.53/32 to 10.0.1.0``: the route itself, its prefix, and whom it is told.
        prefix, _, to = str(route).partition(" to ")
        yield from {str(route), prefix, prefix.partition(" ")[0], to} - {""}
    if (of := event.get("of")) is not None:
        yield str(of).rpartition(" ")[2]  # ``uplink tor1``
    if isinstance(asked := event.get("asked"), Mapping) and "name" in asked:
        yield str(asked["name"])
    for key, value in event.items():
        if isinstance(value, list) and (key in _LISTS or key.startswith(("uplinks_", "services_"))):
            yield from map(str, value)


def _short(about: str) -> str:
    """Return as many whole names as are kept."""
    if len(about) <= _LONGEST_BYTES:
        return about
    return about[: _LONGEST_BYTES + 1].rpartition("\n")[0]


def _last(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_ANSWERED:
        raise RefusalError(Kind.BAD_REQUEST, f"last must be a number from 0 to {MOST_ANSWERED}")
    return value
