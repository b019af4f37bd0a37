"""What the operator asked for, as plain frozen data.

`bgphealth.config` builds these from the file; everything else reads them. They hold no default
that a user could want to see: defaults live in the file's model, in one place.

Units: every duration is a float in seconds and its name ends in ``_s``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Prefix: TypeAlias = IPv4Network | IPv6Network


class Family(StrEnum):
    """The address families (AFI) that a path or a prefix can belong to."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @classmethod
    def of(cls, thing: Address | Prefix) -> Family:
        """Return the family of an address or a prefix."""
        return cls.IPV4 if isinstance(thing, IPv4Address | IPv4Network) else cls.IPV6


class AllDown(StrEnum):
    """What to announce while no uplink is up (design: never make it worse)."""

    KEEP_LAST = "keep_last"
    WITHDRAW = "withdraw"


class Role(StrEnum):
    """What a path probe asks: is the ToR there, or is there a network behind it."""

    GATEWAY = "gateway"
    BEYOND = "beyond"


class ProbeKind(StrEnum):
    """How a probe asks."""

    ICMP = "icmp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """One thing to ask, of one address. `port` is None for kinds without ports."""

    kind: ProbeKind
    target: Address
    port: int | None = None

    def __str__(self) -> str:
        """Return the probe in the file's own words: ``icmp 10.0.1.0``, ``tcp 192.0.2.53:53``."""
        if self.port is None:
            return f"{self.kind} {self.target}"
        host = f"[{self.target}]" if Family.of(self.target) is Family.IPV6 else str(self.target)
        return f"{self.kind} {host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UplinkPath:
    """One address family of one uplink: the unit that is probed, judged and steered.

    `next_hop` is announced with the injected default; `neighbor` is the ToR's BGP address on the
    link. `probe_source` is the address that the fabric reaches through this uplink alone; None
    means the interface's own address on the neighbor's subnet, looked up at start.
    """

    family: Family
    neighbor: Address
    next_hop: Address
    probe_source: Address | None
    gateway: tuple[ProbeSettings, ...]
    beyond: tuple[ProbeSettings, ...]
    beyond_need: int


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """The link to one ToR.

    `number` (from 1) is its path identifier on the injector session (RFC 7911), the low half of
    its steering community, and its offset in the numbers of tables and rules.
    `neighbor_asn` is None for "any external AS" (FRR's ``remote-as external``).
    """

    name: str
    number: int
    interface: str
    neighbor_asn: int | None
    paths: tuple[UplinkPath, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """How often to ask, how long to wait, and how many equal answers make a verdict."""

    interval_s: float
    timeout_s: float
    fall: int
    rise: int


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """A local service: its prefixes are announced while all of its checks pass.

    Without checks it is always up (the host loopback is such a service).
    """

    name: str
    prefixes: tuple[Prefix, ...]
    checks: tuple[ProbeSettings, ...]
    timing: Timing


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The host's own identity in BGP.

    `source` is the host loopback per family: unique, announced like a service without checks,
    and the preferred source of the defaults. `community_asn` is the high half of the steering
    communities (RFC 1997 leaves 16 bits for it). `discard_next_hop` is what service prefixes are
    announced with, never ``self``: over a session inside the host that is a martian and resets
    it again and again (RFC 6666 for IPv6, RFC 7600 for IPv4).
    """

    asn: int
    router_id: IPv4Address
    source: tuple[Address, ...]
    community_asn: int
    discard_next_hop: tuple[Address, ...]
    injector: IPv4Address

    def source_for(self, family: Family) -> Address | None:
        """Return the host loopback of that family, or None where the host has none."""
        return next((a for a in self.source if Family.of(a) is family), None)

    def discard_next_hop_for(self, family: Family) -> Address:
        """Return the discard next hop of that family."""
        return next(a for a in self.discard_next_hop if Family.of(a) is family)


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """What is written over netlink.

    Uplink n gets the table ``table + n`` and a rule with the priority ``rule_priority + n``.
    """

    enabled: bool
    table: int
    rule_priority: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file, validated. `path_timing` is the same for every path."""

    host: HostSettings
    uplinks: tuple[UplinkSettings, ...]
    path_timing: Timing
    services: tuple[ServiceSettings, ...]
    all_down: AllDown
    fallback: FallbackSettings

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that at least one uplink carries, IPv4 first."""
        carried = {path.family for uplink in self.uplinks for path in uplink.paths}
        return tuple(family for family in Family if family in carried)
