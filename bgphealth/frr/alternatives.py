"""Who else announces a prefix: the marks of other hosts that bgpd has from the ToRs.

Asked prefix by prefix, like the injector's routes, and for the same reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from bgphealth.core.guard import HEALTHY
from bgphealth.core.settings import Prefix
from bgphealth.frr.routes import answered, objects, objects_at, question
from bgphealth.frr.state import Vtysh


async def alternatives(
    vtysh: Vtysh, prefixes: Collection[Prefix], neighbors: Set[str], router_id: IPv4Address
) -> Mapping[Prefix, frozenset[IPv4Address]] | str:
    """Return the hosts with a healthy path to each prefix, or in words why they are not known.

    Args:
        vtysh: whom to ask.
        prefixes: what to ask for, all in one run of vtysh.
        neighbors: whose word counts, by address or, on an unnumbered link, by interface.
        router_id: our own: a ToR tells us of our own announcement as well.
    """
    return await vtysh.ask(
        "bgpd",
        [question(prefix) for prefix in prefixes],
        partial(parse_alternatives, prefixes=prefixes, neighbors=neighbors, router_id=router_id),
    )


def parse_alternatives(
    output: bytes, *, prefixes: Collection[Prefix], neighbors: Set[str], router_id: IPv4Address
) -> Mapping[Prefix, frozenset[IPv4Address]]:
    """Parse the prefixes as vtysh printed them one after the other.

    Raises:
        UnreadableError: it is something else.
    """
    return {
        prefix: frozenset(_healthy_hosts(prefix, said, neighbors)) - {router_id}
        for prefix, said in answered(prefixes, objects(output)).items()
    }


def _healthy_hosts(prefix: Prefix, said: dict[str, Any], neighbors: Set[str]) -> set[IPv4Address]:
    if not said:
        return set()  # Not in the table.
    return {
        host
        for path in objects_at(said, "paths", f"{prefix}")
        if path.get("valid") is True and _is_from(path, neighbors)
        for host in _marks(path)
    }


def _is_from(path: dict[str, Any], neighbors: Set[str]) -> bool:
    peer = path.get("peer")
    return isinstance(peer, dict) and bool({peer.get("peerId"), peer.get("interface")} & neighbors)


def _marks(path: dict[str, Any]) -> set[IPv4Address]:
    """Return the hosts whose mark says healthy; what is not a mark is somebody else's affair."""
    large = path.get("largeCommunity")
    listed = large.get("list") if isinstance(large, dict) else None
    parts = [str(each).split(":") for each in listed] if isinstance(listed, list) else []
    return {
        IPv4Address(int(host))
        for _, state, host in (each for each in parts if len(each) == len(("asn", "state", "host")))
        if state == str(HEALTHY) and host.isdecimal() and int(host) < 1 << 32
    }
