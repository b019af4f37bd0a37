"""Look which addresses the host has; put on ``lo`` what is wanted there, and take ours away again.

What we add carries our mark (`netlink.PROTOCOL`), and only what carries it is taken away: after a
restart the mark still says whose it is, and a reboot forgets both. An address that somebody else
has added, on any interface, is theirs. A kernel that does not mark addresses (before Linux 5.18)
leaves all of them to others: nothing is ever taken away there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import Address
from bgphealth.fallback.netlink import Interface, Netlink

LOOPBACK = "lo"
"""Where addresses are added."""

AGAIN_S = 5.0
"""How long not to add an address again that somebody takes away each time."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, and what was done before that.

    `there` are all addresses that the host takes traffic for, `ours` those on ``lo`` with our mark.
    `failed` says for each address that could not be added or taken away, why not.
    """

    there: frozenset[Address]
    ours: frozenset[Address]
    added: tuple[Address, ...] = ()
    removed: tuple[Address, ...] = ()
    failed: Mapping[Address, str] = field(default_factory=dict)


class AddressKeeper:
    """Keeps the wanted addresses on the host, and tells what it saw.

    Args:
        seen: called after each look, must not block.
    """

    def __init__(self, seen: Callable[[Look], None]) -> None:
        self._seen = seen
        self._wanted: frozenset[Address] = frozenset()
        self._unwanted: frozenset[Address] = frozenset()
        self._added_at: dict[Address, float] = {}

    def want(self, wanted: frozenset[Address], unwanted: frozenset[Address]) -> None:
        """Have these from the next look on, and of those that are `unwanted` none of ours."""
        self._wanted, self._unwanted = wanted, unwanted

    async def look(self, interfaces: Mapping[str, Interface], netlink: Netlink) -> None:
        """Mend what is not as wanted, and tell what there is then.

        Raises:
            HostError: the kernel does not tell.
        """
        added, removed, failed = await self._mend(interfaces, netlink)
        if added or removed:
            # What was added counts when it is seen.
            interfaces = await netlink.interfaces()
        self._seen(Look(_there(interfaces), _ours(interfaces), added, removed, failed))

    async def _mend(
        self, interfaces: Mapping[str, Interface], netlink: Netlink
    ) -> tuple[tuple[Address, ...], tuple[Address, ...], Mapping[Address, str]]:
        """Add and delete; return what was added, what was deleted, and what failed and why."""
        here = interfaces.get(LOOPBACK)
        if here is None:
            return (), (), {}
        now, failed = time.monotonic(), {}
        added, removed = [], []
        held = _there(interfaces).union(address.ip for address in here.addresses)
        for address in self._wanted - held:
            if now - self._added_at.get(address, -inf) < AGAIN_S:
                continue
            try:
                if await netlink.add_address(address, here.index):
                    added.append(address)
                    self._added_at[address] = now
            except BgphealthError as error:
                failed[address] = str(error)
        for address in self._unwanted & _ours(interfaces):
            try:
                await netlink.delete_address(address, here.index)
            except BgphealthError as error:
                failed[address] = str(error)
            else:
                removed.append(address)
        return tuple(added), tuple(removed), failed


def _there(interfaces: Mapping[str, Interface]) -> frozenset[Address]:
    return frozenset(a.ip for it in interfaces.values() if it.enabled for a in it.addresses)


def _ours(interfaces: Mapping[str, Interface]) -> frozenset[Address]:
    here = interfaces.get(LOOPBACK)
    # With another prefix length it is none that we add.
    ours = () if here is None else here.ours
    return frozenset(a.ip for a in ours if a.network.prefixlen == a.max_prefixlen)
