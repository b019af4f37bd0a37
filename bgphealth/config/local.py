"""The file in local mode: the shape of what is other there, and what must hold in it.

There is no BGP, so whatever is about BGP is no key here; `explain` says so.
"""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from bgphealth.config import fields
from bgphealth.config.checks import Finding, Parts
from bgphealth.config.fields import WrongValueError
from bgphealth.config.metrics import Metrics
from bgphealth.config.model import Control, Fallback, Paths, Sources, Version
from bgphealth.config.section import Section
from bgphealth.config.uplinks import MOST_UPLINKS
from bgphealth.core.settings import Address, AllDown, Family, Mode, ProbeKind

_LEARNED: Literal["learned"] = "learned"

INSTEAD = {"neighbor": "gateway", "number": "priority"}
"""What is called otherwise here."""


def _gateway(family: Family) -> PlainValidator:
    of_family = fields.of_family(family)

    def parse(value: object) -> object:
        if value == _LEARNED:
            return value
        if isinstance(parsed := fields.address(value), IPv6Address) and parsed.is_link_local:
            raise WrongValueError(
                f"{value} is a link-local address: write learned, routers advertise theirs"
            )
        return of_family(value)

    return PlainValidator(parse)


class Gateway(Section):
    """The router at the other end of an uplink, per family: its address, or ``learned``."""

    ipv4: Annotated[IPv4Address | Literal["learned"] | None, _gateway(Family.IPV4)] = None
    ipv6: Annotated[IPv6Address | Literal["learned"] | None, _gateway(Family.IPV6)] = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.ipv4 is None and self.ipv6 is None:
            raise WrongValueError("needs an address or learned: ipv4, ipv6 or both")
        return self

    def get(self, family: Family) -> Address | None:
        """Return the address that is given for a family; None as well for one to be learned."""
        given = self.ipv4 if family is Family.IPV4 else self.ipv6
        return None if given == _LEARNED else given

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that the uplink carries, IPv4 first."""
        given = {Family.IPV4: self.ipv4, Family.IPV6: self.ipv6}
        return tuple(family for family in Family if given[family] is not None)


def _short(value: object) -> object:
    """Let ``192.0.2.1`` stand for ``{ipv4: 192.0.2.1}``, ``learned`` for both families."""
    if isinstance(value, dict | Gateway):
        return value
    if value == _LEARNED:
        return {family.value: _LEARNED for family in Family}
    if isinstance(value, list):
        raise WrongValueError("must be an address, learned, or {ipv4: …, ipv6: …}, not a list")
    address = fields.address(value)
    return {Family.of(address).value: str(address)}


class LocalUplink(Section):
    """A way out: an interface and the gateway behind it."""

    interface: Annotated[str, PlainValidator(fields.interface)] = Field(
        description="the interface that leads to the gateway", examples=["eth0"]
    )
    gateway: Annotated[Gateway, BeforeValidator(_short)] = Field(
        description="the router at the other end, or learned (from DHCP and router advertisements)",
        examples=["192.0.2.1"],
    )
    priority: Annotated[int, PlainValidator(fields.integer(1, MOST_UPLINKS))] | None = None
    """The lowest is preferred; None for its place in the file."""


class LocalPolicy(Section):
    """When the traffic goes back, and what is done while no uplink works."""

    all_down: Annotated[AllDown, BeforeValidator(fields.choice(AllDown.KEEP_LAST))] = (
        AllDown.KEEP_LAST
    )
    stable_for: Annotated[float, PlainValidator(fields.duration(0.0, 86400.0, "at most 1d"))] = 60.0
    """How long a more preferred uplink must have been up before it is used again."""
    flush_conntrack: Annotated[bool, PlainValidator(fields.boolean)] = False
    """Whether NATed connections of the uplink that is left are made to take another source."""


class LocalFile(Section):
    """The whole file in local mode."""

    version: Version = Field(description="the version of the file's format", examples=["1"])
    mode: Annotated[Mode, BeforeValidator(fields.choice(Mode.LOCAL))]
    uplinks: dict[Annotated[str, BeforeValidator(fields.name)], LocalUplink] = Field(
        min_length=1, description="the ways out, by name, the most preferred one first"
    )
    paths: Paths = Paths()
    policy: LocalPolicy = LocalPolicy()
    fallback: Fallback = Fallback()
    sources: Sources = Sources()
    control: Control = Control()
    metrics: Metrics | None = None


@dataclass(frozen=True, slots=True)
class LocalParts(Parts):
    """The sections that are right by themselves: there are no others, and the uplinks are these."""

    ways: dict[str, LocalUplink] = field(default_factory=dict)

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that the uplinks carry."""
        carried = {f for way in self.ways.values() for f in way.gateway.families}
        return tuple(family for family in Family if family in carried)

    @property
    def routers(self) -> Iterator[tuple[str, str, tuple[Address, ...]]]:
        """Yield the gateways that are written down."""
        for name, way in self.ways.items():
            yield name, "gateway", tuple(filter(None, map(way.gateway.get, way.gateway.families)))

    def families_of(self, uplink: str) -> tuple[Family, ...]:
        """Return the families that an uplink carries, none where that cannot be told."""
        return self.ways[uplink].gateway.families if uplink in self.ways else ()

    @property
    def number_of(self) -> dict[str, int]:
        """Return the priority of each uplink: its own, or its place in the file."""
        return {
            name: way.priority if way.priority is not None else place
            for place, (name, way) in enumerate(self.ways.items(), 1)
        }


def check(parts: LocalParts) -> Iterator[Finding]:
    """Say what is wrong between fields, and what cannot be done here."""
    yield from _uplinks(parts)
    if parts.fallback is not None:
        for key in ("enabled", "defaults"):
            if not getattr(parts.fallback, key):
                yield ("fallback", key), "must be true: in mode local the defaults are all there is"
    for index, gateway in enumerate(parts.paths.gateway if parts.paths else ()):
        if (kind := gateway.probe.kind) in (ProbeKind.BFD, ProbeKind.BGP):
            yield (
                ("paths", "gateway", index, kind.value),
                "asks the host's own FRR, which mode local does without; write {icmp: neighbor}",
            )


def _uplinks(parts: LocalParts) -> Iterator[Finding]:
    interfaces: dict[str, str] = {}
    for name, way in parts.ways.items():
        if (other := interfaces.setdefault(way.interface, name)) != name:
            yield (
                ("uplinks", name, "interface"),
                f"{way.interface} is {other}'s interface already",
            )
    if not parts.whole_uplinks:
        return
    if len(parts.ways) > MOST_UPLINKS:
        yield ("uplinks",), f"has {len(parts.ways)} uplinks; at most {MOST_UPLINKS} are possible"
    taken: dict[int, str] = {}
    for name, priority in parts.number_of.items():
        if (other := taken.setdefault(priority, name)) != name:
            yield (
                ("uplinks", name, "priority"),
                (
                    f"{priority} is {other}'s priority already; where none is given, it is the "
                    "place in the file"
                ),
            )
