"""What an operator can ask of a running program, and what is answered.

Requests and answers are plain dictionaries, as they come from and go to the control socket. Nothing
that is asked for is believed: each field is looked at, and what is wrong with it is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Protocol

from bgphealth.core import last_path
from bgphealth.core.drain import Leg, exists
from bgphealth.core.events import Drained, Event, Undrained
from bgphealth.core.orders import Target, What
from bgphealth.core.settings import LOOPBACK
from bgphealth.core.state import State
from bgphealth.daemon import snapshot
from bgphealth.daemon.protocol import Kind

LONGEST_S = 366 * 86400.0
"""The longest drain that ends by itself."""

_LONGEST_NAME = 64


class RefusalError(Exception):
    """A request is not done; the message is for the operator."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Steering(Protocol):
    """What an operator's requests are made of."""

    @property
    def state(self) -> State:
        """The engine's state."""

    @property
    def now(self) -> float:
        """The clock of the events."""

    @property
    def known(self) -> snapshot.Known:
        """All that is known now."""

    def post(self, event: Event) -> None:
        """Have the engine take an event, now."""

    async def keep_drains(self) -> bool:
        """Write down what is drained; return whether that was possible."""


class Operator:
    """Answers requests about one program."""

    def __init__(self, steering: Steering, file: str = "") -> None:
        self._steering = steering
        self._file = file

    async def answer(self, request: Mapping[str, object]) -> dict[str, object]:
        """Do what is asked for, and return what came of it.

        Raises:
            RefusalError: it is not done.
        """
        match request.get("command"):
            case "drain":
                return await self._drain(request)
            case "undrain":
                return await self._undrain(request)
            case "drains":
                _only(request, ())
                return {"drains": self._list()}
            case "status":
                _only(request, ())
                now, drains = self._steering.known, self._list()
                return {"status": await snapshot.of(now, self._file, drains)}
            case command:
                known = "drain, undrain, drains, status"
                raise RefusalError(
                    Kind.BAD_REQUEST, f"there is no command {_shown(command)} ({known})"
                )

    async def _drain(self, request: Mapping[str, object]) -> dict[str, object]:
        _only(request, ("what", "name", "for_s", "force"))
        target, lasts_s = self._target(request), _duration(request.get("for_s"))
        force = request.get("force", False)
        if not isinstance(force, bool):
            raise RefusalError(Kind.BAD_REQUEST, "force must be true or false")
        if target.what is What.UPLINK and not force:
            self._refuse_last_path(target.name)
        now = self._steering.now
        until = None if lasts_s is None else now + lasts_s
        self._steering.post(Drained(now, *target, now, until, force))
        return await self._done(target)

    async def _undrain(self, request: Mapping[str, object]) -> dict[str, object]:
        _only(request, ("what", "name"))
        target = self._target(request)
        orders = self._steering.state.drains.orders
        if target not in orders:
            by_host = target.what is What.SERVICE and Target(What.HOST) in orders
            hint = ": the host is, and it with it" if by_host else ""
            raise RefusalError(Kind.REFUSED, f"{target} is not drained{hint}")
        self._steering.post(Undrained(self._steering.now, *target))
        return await self._done(target)

    async def _done(self, target: Target) -> dict[str, object]:
        kept = await self._steering.keep_drains()
        drains = self._list()
        found = next((d for d in drains if (d["what"], d["name"]) == _json(target)), None)
        return {"drain": found, "kept": kept}

    def _target(self, request: Mapping[str, object]) -> Target:
        what, name = request.get("what"), request.get("name", "")
        if not isinstance(what, str) or what not in set(What):
            raise RefusalError(Kind.BAD_REQUEST, f"what must be one of {', '.join(What)}")
        if not isinstance(name, str) or (what == What.HOST and name):
            raise RefusalError(Kind.BAD_REQUEST, "name must be a text, and the host has none")
        target = Target(What(what), name)
        if target == Target(What.SERVICE, LOOPBACK):
            raise RefusalError(
                Kind.REFUSED,
                "the host loopback is not drained: replies to what the host sends need it",
            )
        if not exists(target, self._steering.state.settings):
            raise RefusalError(Kind.UNKNOWN_NAME, self._unknown(target))
        return target

    def _unknown(self, target: Target) -> str:
        settings = self._steering.state.settings
        things = settings.uplinks if target.what is What.UPLINK else settings.services
        names = [thing.name for thing in things if thing.name != LOOPBACK]
        close = get_close_matches(target.name[:_LONGEST_NAME], names, n=1)
        guess = f"; did you mean {close[0]}?" if close else ""
        there = f" (there is {', '.join(names)})" if names else ""
        return f"there is no {target.what} {_shown(target.name)}{guess}{there}"

    def _refuse_last_path(self, uplink: str) -> None:
        if needed := last_path.needs(self._steering.state, uplink):
            settings = self._steering.state.settings
            whole = [scope.family for scope in needed if scope.only is None]
            narrow = (n for scope in needed for n in last_path.services_of(scope, settings))
            services = [f"the service {name}" for name in dict.fromkeys(narrow)]
            whose = "this host" if whole else "it"
            raise RefusalError(
                Kind.REFUSED,
                f"no other uplink is known to work for {' and '.join(whole or services)}: without "
                f"{uplink} {whose} would have no healthy path (--force drains it all the same)",
            )

    def _list(self) -> list[dict[str, object]]:
        state, now = self._steering.state, self._steering.now
        to_wall_s = time.time() - now
        found: list[dict[str, object]] = []
        for target, order in sorted(state.drains.orders.items()):
            settled_at = _settled_at(state, target)
            found.append(
                {
                    "what": target.what.value,
                    "name": target.name,
                    "stage": _stage(state, target),
                    "since": _iso(order.since + to_wall_s),
                    "until": None if order.until is None else _iso(order.until + to_wall_s),
                    "forced": order.forced,
                    "settles_in_s": None if settled_at is None else round(settled_at - now, 3),
                }
            )
        return found


def _stage(state: State, target: Target) -> str:
    """Return how far a drain has gone; one that is needed for anything is suspended."""
    legs = state.drains.suspended if target.what is What.UPLINK else ()
    if any(leg.uplink == target.name for leg in legs):
        return "suspended"
    return "drained" if _settled_at(state, target) is None else "draining"


def _settled_at(state: State, target: Target) -> float | None:
    """Return when the last of what is drained with it has settled; None when it has."""
    settling = state.drains.settling.items()
    match target.what:
        case What.UPLINK:
            mine = [s for t, s in settling if isinstance(t, Leg) and t.uplink == target.name]
        case What.SERVICE:
            mine = [s for t, s in settling if t == target.name]
        case What.HOST:
            mine = [s for t, s in settling if isinstance(t, str)]
    return max((one.settled_at for one in mine), default=None)


def _duration(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusalError(Kind.BAD_REQUEST, "for_s must be a number of seconds")
    if not 1 <= value <= LONGEST_S:
        raise RefusalError(Kind.BAD_REQUEST, "for_s must be from 1 second to 366 days")
    return float(value)


def _only(request: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse what this version does not know: it could be what the request is about."""
    for key in request:
        if key not in {"version", "command", *allowed}:
            raise RefusalError(Kind.BAD_REQUEST, f"{_shown(key)} is not known here")


def _json(target: Target) -> tuple[str, str]:
    return target.what.value, target.name


def _shown(value: object) -> str:
    return repr(value if not isinstance(value, str) else value[:_LONGEST_NAME])[:_LONGEST_NAME]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
