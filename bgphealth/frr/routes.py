"""The routes that ExaBGP's session gave to bgpd, as ``show bgp ... json`` prints them.

Asked prefix by prefix: what ``show bgp ... neighbors ... routes json`` of FRR 8.4 prints has no
communities and no path identifiers, and the whole table can be long.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any

from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.core.truth import BgpPath, BgpRoute
from bgphealth.frr.state import Session, UnreadableError, Vtysh, bgp_sessions

_NAMED = {
    "internet": "0:0",
    "gracefulShutdown": "65535:0",
    "acceptown": "65535:1",
    "routeFilterTranslatedV4": "65535:2",
    "routeFilterV4": "65535:3",
    "routeFilterTranslatedV6": "65535:4",
    "routeFilterV6": "65535:5",
    "llgrStale": "65535:6",
    "noLlgr": "65535:7",
    "acceptownnexthop": "65535:8",
    "blackhole": "65535:666",
    "noExport": "65535:65281",
    "noAdvertise": "65535:65282",
    "localAs": "65535:65283",
    "noPeer": "65535:65284",
}
"""What FRR prints in JSON for the well-known communities (IANA)."""


@dataclass(frozen=True, slots=True)
class Injected:
    """The session with the injector, and the routes for the prefixes that were asked for."""

    session: Session
    routes: Mapping[Prefix, BgpRoute]


async def injected(vtysh: Vtysh, injector: Address, prefixes: Collection[Prefix]) -> Injected | str:
    """Return what bgpd has from the injector for these prefixes, or in words why not.

    All are asked for in one run of vtysh, which takes some 25 ms; a prefix is 1 to 5 KB of output,
    of which no more than 4 MiB are read.
    """
    return await vtysh.ask(
        "bgpd",
        [f"show bgp neighbors {injector} json", *map(question, prefixes)],
        partial(parse_injected, injector=injector, prefixes=prefixes),
    )


def parse_injected(output: bytes, *, injector: Address, prefixes: Collection[Prefix]) -> Injected:
    """Parse the neighbor and then each prefix, as vtysh printed them one after the other.

    Raises:
        UnreadableError: it is something else.
    """
    neighbor, *routes = objects(output)
    sessions = bgp_sessions(neighbor)
    session = next((session for session in sessions if session.address == injector), None)
    if session is None:
        raise UnreadableError(f"it has no neighbor {injector}")
    answers = answered(prefixes, routes)
    return Injected(session, {p: _route(p, said, injector) for p, said in answers.items()})


def question(prefix: Prefix) -> str:
    """Return the command that asks for a prefix; `answered` reads what comes of it."""
    return f"show bgp {Family.of(prefix)} unicast {prefix} json"


def answered(
    prefixes: Collection[Prefix], routes: Collection[dict[str, Any]]
) -> Mapping[Prefix, dict[str, Any]]:
    """Return the answer to each prefix that was asked for; an empty one is not in the table.

    Raises:
        UnreadableError: these are not the answers.
    """
    if len(routes) != len(prefixes):
        raise UnreadableError(f"{len(prefixes)} prefixes were asked for, {len(routes)} answered")
    answers = dict(zip(prefixes, routes, strict=True))
    for prefix, said in answers.items():
        if said and said.get("prefix") != str(prefix):
            raise UnreadableError(f"{prefix} was asked for, {said.get('prefix')!r} answered")
    return answers


def objects(output: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects that several commands printed one after the other.

    Raises:
        UnreadableError: it is something else.
    """
    # FRR 10.3 begins with an empty line what is advertised to nobody.
    text = output.decode("utf-8", "replace").strip()
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(text) or not found:
        try:
            said, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise UnreadableError(f"this is not JSON: {text[at : at + 80]!r}") from None
        if not isinstance(said, dict):
            raise UnreadableError("an answer is not an object")
        found.append(said)
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def _route(prefix: Prefix, said: dict[str, Any], injector: Address) -> BgpRoute:
    if not said:
        return BgpRoute()  # Not in the table.
    paths, best = [], BgpRoute().best
    for path in objects_at(said, "paths", f"{prefix}"):
        peer = _object(path, "peer", f"a path to {prefix}").get("peerId")
        if peer == str(injector):
            paths.append(_path(prefix, path))
        if _is_best(path):
            best = (
                f"best is next hop {' and '.join(str(a) for a in _next_hops(prefix, path))} "
                f"from {peer}, local preference {path.get('locPrf')}"
            )
    return BgpRoute(tuple(paths), best)


def _path(prefix: Prefix, said: dict[str, Any]) -> BgpPath:
    of = f"a path to {prefix}"
    path_id, local_pref = said.get("addpathRxId", 0), said.get("locPrf")
    if not isinstance(path_id, int) or not isinstance(local_pref, int | None):
        raise UnreadableError(f"{of} has no numbers for addpathRxId and locPrf")
    listed = []
    for kind in ("community", "largeCommunity"):
        communities = said.get(kind, {"list": []})
        of_kind = communities.get("list") if isinstance(communities, dict) else None
        if not isinstance(of_kind, list):
            raise UnreadableError(f"{of} has communities that are not a list")
        listed += of_kind
    return BgpPath(
        path_id=path_id,
        next_hops=_next_hops(prefix, said),
        local_pref=local_pref,
        communities=frozenset(_NAMED.get(str(each), str(each)) for each in listed),
        is_valid=said.get("valid") is True,
        is_selected=_is_best(said) or said.get("multipath") is True,
    )


def _is_best(path: dict[str, Any]) -> bool:
    best = path.get("bestpath")
    return isinstance(best, dict) and best.get("overall") is True


def _next_hops(prefix: Prefix, path: dict[str, Any]) -> tuple[Address, ...]:
    found = []
    for said in objects_at(path, "nexthops", f"a path to {prefix}"):
        with suppress(ValueError):
            found.append(ip_address(str(said.get("ip"))))
    if not found:
        raise UnreadableError(f"a path to {prefix} has no next hop")
    return tuple(found)


def _object(said: dict[str, Any], key: str, of: str) -> dict[str, Any]:
    value = said.get(key)
    if not isinstance(value, dict):
        raise UnreadableError(f"{of} has no {key}")
    return value


def objects_at(said: dict[str, Any], key: str, of: str) -> list[dict[str, Any]]:
    """Return a list of objects inside another one; `of` says what that is about.

    Raises:
        UnreadableError: it is something else.
    """
    value = said.get(key)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UnreadableError(f"{of} has no {key}")
    return value
