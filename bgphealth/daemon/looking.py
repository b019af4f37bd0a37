"""How a program stands, and why, as operators ask for it: `status`, `explain`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, Protocol, TypeAlias

from bgphealth.core import explain
from bgphealth.core.decisions import default_key
from bgphealth.core.explain import Lived, Moment, Steering
from bgphealth.core.health import PathKey
from bgphealth.core.intents import RouteKey
from bgphealth.core.settings import Family, Mode, Prefix
from bgphealth.core.truth import Drift
from bgphealth.daemon import snapshot
from bgphealth.daemon.draining import listed
from bgphealth.daemon.history import Since
from bgphealth.daemon.requests import Command, Kind, RefusalError, Request, unknown
from bgphealth.daemon.snapshot import Known
from bgphealth.daemon.snapshot_routes import Routes

_Json: TypeAlias = dict[str, Any]

_LONGEST_THING = 300

MOST_ROUTES = 50
"""So many routes of a service are explained with it: nobody reads more, and it takes time."""


class Seen(Protocol):
    """What can be looked at."""

    @property
    def known(self) -> Known:
        """All that is known now."""


def commands(program: Seen, file: str) -> dict[str, Command]:
    """Return what can be asked for about a program over a file."""
    looking = _Looking(program, file)
    return {
        "status": Command(looking.status, changes=False),
        "explain": Command(looking.explain, frozenset({"thing"}), changes=False),
    }


class _Looking:
    def __init__(self, program: Seen, file: str) -> None:
        self._program = program
        self._file = file

    async def status(self, _: Request) -> dict[str, object]:
        """Return the whole snapshot."""
        known = self._program.known
        drains = listed(known.state, known.now)
        return {"status": await snapshot.of(known, self._file, drains)}

    async def explain(self, request: Request) -> dict[str, object]:
        """Return what is called so, and for each why it is as it is."""
        thing = request.fields.get("thing")
        if not isinstance(thing, str) or not 0 < len(thing) <= _LONGEST_THING:
            raise RefusalError(Kind.BAD_REQUEST, "thing must be the name of something")
        known = self._program.known
        explaining = _Explaining(known)
        found = [each async for each in explaining.all(thing.strip())]
        if not found:
            prefixes = ("each prefix of a service",) if known.state.services else ()
            raise unknown("thing", thing, known.state.settings, "default", *prefixes)
        return {"explained": found}


class _Explaining:
    """Explains what is known at one moment; what all routes need is looked up once."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._moment = _moment(known)
        self._routes = Routes(known)
        self._steering = Steering.of(known.state.settings)
        self._drifts: defaultdict[RouteKey, list[Drift]] = defaultdict(list)
        for drift in () if known.truth is None else known.truth.drifts:
            self._drifts[drift.key].append(drift)

    async def all(self, thing: str) -> AsyncIterator[_Json]:
        """Yield an explanation of everything that is called so; others have their turn between."""
        for each in self._each(thing):
            yield each
            await asyncio.sleep(0)

    def _each(self, thing: str) -> Iterator[_Json]:
        state, settings = self._known.state, self._known.state.settings
        name, _, family = thing.replace(" ", "/").partition("/")
        for key in state.paths:
            if key.uplink == name and family in ("", key.family):
                yield self._path(key)
        if thing in state.services:
            yield self._service(thing)
        if thing == "default":
            families = set(settings.families)
        else:
            families = {f for f in settings.families if thing == str(f.default_prefix)}
        for each in settings.families:
            if each in families:
                yield self._default(each)
        if (prefix := _prefix(thing)) is not None:
            keys = [key for key in state.decisions if not key.path_id and prefix == key.prefix]
            if not keys and prefix.prefixlen == prefix.max_prefixlen:
                inside = prefix.network_address
                keys = [key for key in state.decisions if not key.path_id and inside in key.prefix]
            yield from (self._route(key) for key in keys)

    def _path(self, key: PathKey) -> _Json:
        known = self._known
        lived = _lived(known, known.times.paths.get(key), key)
        data = snapshot.path(known, key)
        sentences = [*explain.path(known.state, key, lived, self._moment)]
        sentences += [
            f"{probe['probe']} cannot be asked: {probe['unknown']}."
            for probe in data["probes"]
            if probe["unknown"]
        ]
        return {"kind": "path", "of": f"{key.uplink} {key.family}", "says": sentences, "data": data}

    def _service(self, name: str) -> _Json:
        known, state = self._known, self._known.state
        lived = _lived(known, known.times.services.get(name), name)
        sentences = [*explain.service(state, name, lived, self._moment)]
        of = set(state.services[name].settings.prefixes)
        keys = [key for key in state.decisions if key.prefix in of and not key.path_id]
        # Those that are not announced first: it is they that are asked about.
        keys.sort(key=lambda key: state.decisions[key].outward is not None)
        for key in keys[:MOST_ROUTES]:
            sentences += self._about_route(key)
        if (left_out := len(keys) - MOST_ROUTES) > 0:
            sentences.append(f"It has {left_out} routes more: ask about a prefix.")
        data = snapshot.service(known, name)
        return {"kind": "service", "of": name, "says": sentences, "data": data}

    def _route(self, key: RouteKey) -> _Json:
        data = self._routes.of(key)
        sentences = list(self._about_route(key))
        if (service := data["service"]) is not None:
            verdict = self._known.state.service_verdicts[service]
            sentences.append(f"It is of the service {service}, which is {verdict.level}.")
        return {"kind": "route", "of": str(key), "says": sentences, "data": data}

    def _default(self, family: Family) -> _Json:
        state = self._known.state
        sentences: list[str] = []
        if state.settings.mode is Mode.LOCAL:
            sentences += explain.in_use(state, family, self._moment)
        data = snapshot.default(self._known, family)
        if data["tier"] is not None:
            sentences.append(f"The kernel's {family} default is of the tier {data['tier']}.")
        for uplink in state.settings.uplinks:
            key = default_key(family, uplink.number)
            if key in state.decisions:
                verdict = state.path_verdicts[PathKey(uplink.name, family)]
                said = f"{uplink.name} is {verdict.level} ({verdict.reason}):"
                sentences.append(f"{said} {' '.join(self._about_route(key))}")
        if not sentences:
            sentences.append("The default is not steered by bgphealth in this mode.")
        return {"kind": "default", "of": family.value, "says": sentences, "data": data}

    def _about_route(self, key: RouteKey) -> Iterator[str]:
        yield from explain.route(self._known.state, key, self._steering, self._moment)
        data = self._routes.of(key)
        where = [f"{data[place]} {words}" for place, words in _PLACES if data[place] is not None]
        if where:
            yield f"It is {' and '.join(where)}."
        if data["decision"] == "announced":
            yield from self._lost_sessions(key)
        for drift in self._drifts.get(key, ()):
            hint = f"; {drift.hint}" if drift.hint else ""
            yield f"In {drift.where} it is {drift.state}: found {drift.found}{hint}."

    def _lost_sessions(self, key: RouteKey) -> Iterator[str]:
        """Say over which session what is announced does not arrive."""
        told = self._known.told
        for session in () if told is None else told.neighbors.values():
            is_its = key.neighbor is None or str(key.neighbor) == session.neighbor
            if session.state == "down" and is_its:
                yield (
                    f"It does not arrive: the session of ExaBGP with {session.neighbor} is down "
                    f"({session.reason})."
                )


_PLACES = (("exabgp", "by ExaBGP"), ("bgpd", "in bgpd"))


def _lived(known: Known, since: Since | None, of: PathKey | str) -> Lived:
    level = known.times.began if since is None else since.level
    return Lived(level, known.times.falls.get(of, 0))


def _moment(known: Known) -> Moment:
    def clock(at: float) -> str:
        return datetime.fromtimestamp(known.wall + at - known.now, UTC).strftime("%H:%M:%S UTC")

    return Moment(known.now, clock)


def _prefix(thing: str) -> Prefix | None:
    try:
        return ip_network(thing)
    except ValueError:
        return None
