"""Remember which MPTCP endpoints are ours: they carry no mark, and outlive the program."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from ipaddress import ip_address
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bgphealth.daemon.kept import Kept, enclosed, entries_of
from bgphealth.fallback.mptcp import Endpoint

_DO = (
    "give the user of the unit that directory (StateDirectory=bgphealth, or $STATE_DIRECTORY); "
    "without it, endpoints that leave the file while bgphealth is away stay"
)


class EndpointMemory(Kept[Set[Endpoint]]):
    """The endpoints that are ours, in a file."""

    def __init__(self, file: Path, log: FilteringBoundLogger) -> None:
        super().__init__(file, log, encode, decode, _DO)

    def load(self) -> frozenset[Endpoint]:
        """Return what an earlier run left; nothing, with a warning, if that makes no sense."""
        return frozenset(self.load_or(frozenset()))

    async def keep(self, endpoints: Set[Endpoint]) -> None:
        """Write them down."""
        # A slow disk must not stop the probes.
        await asyncio.to_thread(self.save, endpoints)


def encode(endpoints: Set[Endpoint]) -> str:
    """Return the endpoints as JSON."""
    entries = [
        {"id": each.number, "address": str(each.address), "interface": each.interface}
        for each in sorted(endpoints, key=lambda endpoint: endpoint.number)
    ]
    return enclosed("endpoints", entries)


def decode(raw: bytes) -> frozenset[Endpoint]:
    """Return the endpoints of a file, all of them or none.

    Raises:
        ValueError: it is not such a file, or one of its endpoints is none; the text says why.
    """
    return frozenset(_endpoint(entry) for entry in entries_of(raw, "endpoints"))


def _endpoint(entry: object) -> Endpoint:
    match entry:
        case {"id": int(number), "address": str(address), "interface": int(interface)}:
            return Endpoint(number, ip_address(address), interface)
        case _:
            raise ValueError("an entry of it is no endpoint")
