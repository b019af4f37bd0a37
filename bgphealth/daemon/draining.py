"""Drain, undrain, and what is drained, as operators ask for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from bgphealth.core import last_path
from bgphealth.core.drain import Leg, exists
from bgphealth.core.events import Drained, Event, Undrained
from bgphealth.core.orders import Target, What
from bgphealth.core.settings import LOOPBACK
from bgphealth.core.state import State
from bgphealth.daemon.requests import Command, Kind, RefusalError, Request, iso, seconds, unknown


class Steering(Protocol):
    """What an operator's requests are made of."""

    @property
    def state(self) -> State:
        """The engine's state."""

    @property
    def now(self) -> float:
        """The clock of the events."""

    def post(self, event: Event) -> None:
        """Have the engine take an event, now."""

    async def keep_drains(self) -> bool:
        """Write down what is drained; return whether that was possible."""


def commands(steering: Steering) -> dict[str, Command]:
    """Return what can be asked for."""
    draining = _Draining(steering)
    of = frozenset({"what", "name"})
    return {
        "drain": Command(draining.drain, of | {"for_s", "force"}),
        "undrain": Command(draining.undrain, of),
        "drains": Command(draining.drains, changes=False),
    }


class _Draining:
    """Does it."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering

    async def drain(self, request: Request) -> dict[str, object]:
        """Take something out of use."""
        fields = request.fields
        target = self._target(fields)
        lasts_s = seconds("for_s", fields.get("for_s"), 1.0, "1 second")
        force = fields.get("force", False)
        if not isinstance(force, bool):
            raise RefusalError(Kind.BAD_REQUEST, "force must be true or false")
        if target.what is What.UPLINK and not force:
            self._refuse_last_path(target.name)
        now = self._steering.now
        until = None if lasts_s is None else now + lasts_s
        self._steering.post(Drained(now, *target, now, until, force))
        return await self._done(target)

    async def undrain(self, request: Request) -> dict[str, object]:
        """Take something into use again."""
        target = self._target(request.fields)
        orders = self._steering.state.drains.orders
        if target not in orders:
            by_host = target.what is What.SERVICE and Target(What.HOST) in orders
            hint = ": the host is, and it with it" if by_host else ""
            raise RefusalError(Kind.REFUSED, f"{target} is not drained{hint}")
        self._steering.post(Undrained(self._steering.now, *target))
        return await self._done(target)

    async def drains(self, _: Request) -> dict[str, object]:
        """Return what is drained."""
        return {"drains": listed(self._steering.state, self._steering.now)}

    async def _done(self, target: Target) -> dict[str, object]:
        kept = await self._steering.keep_drains()
        drains = listed(self._steering.state, self._steering.now)
        found = next((d for d in drains if (d["what"], d["name"]) == _json(target)), None)
        return {"drain": found, "kept": kept}

    def _target(self, fields: Mapping[str, object]) -> Target:
        what, name = fields.get("what"), fields.get("name", "")
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
            raise unknown(target.what, target.name, self._steering.state.settings)
        return target

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


def listed(state: State, now: float) -> list[dict[str, object]]:
    """Return what is drained, how far that is, and until when."""
    to_wall_s = time.time() - now
    found: list[dict[str, object]] = []
    for target, order in sorted(state.drains.orders.items()):
        settled_at = _settled_at(state, target)
        found.append(
            {
                "what": target.what.value,
                "name": target.name,
                "stage": _stage(state, target),
                "since": iso(order.since + to_wall_s),
                "until": None if order.until is None else iso(order.until + to_wall_s),
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


def _json(target: Target) -> tuple[str, str]:
    return target.what.value, target.name
