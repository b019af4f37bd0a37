"""The uplinks' addresses as endpoints of Multipath TCP (RFC 8684): connections use them all.

The kernel opens a further subflow of a connection from each endpoint, bound to its interface; the
rule and the table of that uplink lead it the right way. Endpoints carry no mark, so those that we
make are written down, before they are made, and nothing else is ever deleted.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Set
from ipaddress import ip_address
from typing import Any, NamedTuple

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic.mptcp import AsyncMPTCP

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family, Settings
from bgphealth.fallback.netlink import Interface
from bgphealth.fallback.refusals import mapped

_LAST_ID = 255
"""Ours are counted from the end: the kernel gives others the next number after the highest one."""

SUBFLOW = 0x2  # MPTCP_PM_ADDR_FLAG_SUBFLOW (linux/mptcp.h)


class Endpoint(NamedTuple):
    """An endpoint as ``ip mptcp endpoint`` shows it; `interface` is an index, 0 for none."""

    number: int
    address: Address
    interface: int
    flags: int = SUBFLOW


def plan(
    settings: Settings, interfaces: Mapping[str, Interface], sources: Mapping[PathKey, Address]
) -> frozenset[Endpoint]:
    """Return the endpoints that there should be, given the address of each path."""
    wanted = set()
    for place, uplink in enumerate(settings.uplinks if settings.fallback.mptcp else ()):
        for path in uplink.paths:
            source = sources.get(PathKey(uplink.name, path.family))
            if source is not None and uplink.interface in interfaces:
                number = _LAST_ID - 2 * place - (path.family is Family.IPV6)
                wanted.add(Endpoint(number, source, interfaces[uplink.interface].index))
    return frozenset(wanted)


class EndpointKeeper:
    """Keeps the wanted endpoints in the kernel, and takes away those that are not wanted any more.

    Args:
        ours: those that an earlier run has made.
        remember: called before one is made, with all that are ours then.
    """

    def __init__(
        self, ours: Set[Endpoint], remember: Callable[[Set[Endpoint]], Awaitable[object]]
    ) -> None:
        self._ours = frozenset(ours)
        self._remember = remember

    async def look(self, wanted: Set[Endpoint]) -> list[str]:
        """Make ours equal to these, and return what was done, in words.

        Raises:
            HostError: the kernel has no MPTCP, or refuses: somebody else has that number.
            PermissionDeniedError: CAP_NET_ADMIN is missing.
        """
        if not wanted and not self._ours:
            return []
        with mapped("MPTCP endpoints", otherwise="set fallback.mptcp: false", unit="the unit"):
            async with AsyncMPTCP() as mptcp:
                await mptcp.setup_endpoint()
                return await self._mend(wanted, mptcp)

    async def _mend(self, wanted: Set[Endpoint], mptcp: AsyncMPTCP) -> list[str]:
        done: list[str] = []
        there = {_endpoint(message) async for message in await mptcp.endpoint("show")}
        for endpoint in sorted(there & self._ours - wanted, key=_number):
            await _send(mptcp, "del", endpoint)
            done.append(f"deleted the MPTCP endpoint {endpoint.address}")
        # One that somebody else has made of the same address does the same.
        theirs = {endpoint.address for endpoint in there - self._ours}
        new = {endpoint for endpoint in wanted - there if endpoint.address not in theirs}
        if self._ours != (ours := frozenset(wanted & self._ours | new)):
            self._ours = ours
            await self._remember(ours)
        refused: NetlinkError | None = None
        for endpoint in sorted(new, key=_number):
            try:
                await _send(mptcp, "add", endpoint)
            except NetlinkError as error:
                refused = refused or error
            else:
                done.append(f"added the MPTCP endpoint {endpoint.address}")
        if refused is not None:
            raise refused
        return done


def _number(endpoint: Endpoint) -> int:
    return endpoint.number


def _endpoint(message: Any) -> Endpoint:  # noqa: ANN401 - pyroute2 is not typed
    shown = message.get_attr("MPTCP_PM_ATTR_ADDR")
    prefix = "MPTCP_PM_ADDR_ATTR"
    address = shown.get_attr(f"{prefix}_ADDR4") or shown.get_attr(f"{prefix}_ADDR6")
    # pyroute2 takes it for an array of octets: 02:00:00:00.
    octets = bytes.fromhex((shown.get_attr(f"{prefix}_IF_IDX") or "00:00:00:00").replace(":", ""))
    return Endpoint(
        shown.get_attr(f"{prefix}_ID"),
        ip_address(address),
        int.from_bytes(octets, sys.byteorder),
        shown.get_attr(f"{prefix}_FLAGS") or 0,
    )


async def _send(mptcp: AsyncMPTCP, command: str, endpoint: Endpoint) -> None:
    is_v4 = Family.of(endpoint.address) is Family.IPV4
    request = {
        "family": socket.AF_INET if is_v4 else socket.AF_INET6,
        "addr4" if is_v4 else "addr6": str(endpoint.address),
        "id": endpoint.number,
        "flags": endpoint.flags,
        "if_idx": endpoint.interface.to_bytes(4, sys.byteorder),
    }
    async for _ in await mptcp.endpoint(command, **request):
        pass
