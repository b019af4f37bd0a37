"""The addresses of services on this host: what was seen of them, and when one of ours may go.

A service's address must be on the host before the service is announced. So a prefix whose address
is known to be missing is not announced, whoever was to put the address there; the address is
wanted first, and the announcement follows when it is seen.

An address stays while its service is down or drained: checks ask it. It leaves when the file has no
use for it any more, and then last: the routes are withdrawn, that is acknowledged, those who heard
of it have the settle time to send their traffic elsewhere, and only then it may go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bgphealth.core.events import AddressesSeen, AddressWithdrawn
from bgphealth.core.settings import Address, AddressUse, Settings

LEAST_SETTLE_S = 1.0
"""The settle time is at least so long: a withdrawal takes that to get about, drained or not."""


@dataclass(frozen=True, slots=True)
class AddressChanged:
    """An address that matters is not on this host, or is again."""

    at: float
    address: Address
    there: bool


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """What shall be on the host from now on (`wanted`), and what need not be (`unwanted`).

    Of the latter only what is ours may be taken away.
    """

    at: float
    wanted: frozenset[Address]
    unwanted: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Addresses:
    """All that is known of addresses; one that is neither `there` nor `missing` was not seen yet.

    `settling` are those whose prefixes are withdrawn, and until when they stay; `unwanted` those
    that may go.
    """

    there: frozenset[Address] = frozenset()
    missing: frozenset[Address] = frozenset()
    settling: Mapping[Address, float] = field(default_factory=dict)
    unwanted: frozenset[Address] = frozenset()

    @property
    def next_at(self) -> float | None:
        """When `TimePassed` is needed next; None for never."""
        return min(self.settling.values(), default=None)


class Outcome(NamedTuple):
    """The addresses after an event, and what changed."""

    addresses: Addresses
    effects: tuple[AddressChanged | AddressesChanged, ...] = ()


def wanted(settings: Settings) -> frozenset[Address]:
    """Return what the file wants us to have on the host."""
    return frozenset(
        address
        for service in settings.services
        if service.address is AddressUse.ADD
        for address in service.addresses
    )


def looked_at(settings: Settings) -> frozenset[Address]:
    """Return the addresses that should be on the host, its own loopback included."""
    return frozenset(
        address for service in settings.services for address in service.expected_addresses
    )


def named(settings: Settings) -> frozenset[Address]:
    """Return the addresses of the host that the file has a use for, whatever that is."""
    services = (address for service in settings.services for address in service.addresses)
    sources = (path.probe_source for uplink in settings.uplinks for path in uplink.paths)
    return frozenset(a for a in (*services, *sources, *settings.host.source) if a is not None)


def seen(addresses: Addresses, event: AddressesSeen, settings: Settings) -> Outcome:
    """Return the addresses after a look at the host, which may be about another file as well."""
    after = replace(addresses, there=event.there, missing=event.missing)
    ours = looked_at(settings)
    gone = ours & event.missing - addresses.missing
    back = ours & event.there & addresses.missing
    return Outcome(after, (*_changed(event.at, gone), *_changed(event.at, back, there=True)))


def _changed(at: float, changed: Set[Address], *, there: bool = False) -> Iterator[AddressChanged]:
    # Sorted: the order of a set differs from run to run, and a replay must not.
    return (AddressChanged(at, address, there) for address in sorted(changed, key=str))


def withdrawn(addresses: Addresses, event: AddressWithdrawn, settings: Settings) -> Addresses:
    """Return the addresses when nothing is announced for one any more; one that is named stays."""
    if event.address in named(settings):
        return addresses
    until = event.at + max(settings.drain_settle_s, LEAST_SETTLE_S)
    return replace(addresses, settling={**addresses.settling, event.address: until})


def late(addresses: Addresses, at: float, settings: Settings) -> Outcome:
    """Return the addresses when it is so late: what has settled may go."""
    settled = {address for address, until in addresses.settling.items() if until <= at}
    if not settled:
        return Outcome(addresses)
    after = replace(
        addresses,
        settling={a: until for a, until in addresses.settling.items() if a not in settled},
        unwanted=addresses.unwanted | settled,
    )
    return Outcome(after, (AddressesChanged(at, wanted(settings), after.unwanted),))


def keep(addresses: Addresses, at: float, before: Settings, settings: Settings) -> Outcome:
    """Return the addresses under another file: what it names again stays."""
    stay = named(settings)
    after = replace(
        addresses,
        settling={a: until for a, until in addresses.settling.items() if a not in stay},
        unwanted=addresses.unwanted - stay,
    )
    want = wanted(settings)
    # What is still to be added is not missing for long.
    new = looked_at(settings) - looked_at(before) - want
    missing = tuple(_changed(at, new & addresses.missing))
    if (want, after.unwanted) == (wanted(before), addresses.unwanted):
        return Outcome(after, missing)
    return Outcome(after, (*missing, AddressesChanged(at, want, after.unwanted)))
