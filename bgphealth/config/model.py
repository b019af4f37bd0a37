"""The shape of the file, and every default there is.

Each field has a description and, where it helps, an example: both are part of the messages about
fields that are missing. What concerns more than one field is in `checks`.
"""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from bgphealth.config import fields
from bgphealth.config.asking import BeyondProbe, GatewayProbe, ServiceCheck
from bgphealth.config.fields import WrongValueError
from bgphealth.config.metrics import Metrics
from bgphealth.config.problems import shown
from bgphealth.config.section import Section
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.settings import (
    Address,
    AddressUse,
    AllDown,
    Export,
    Family,
    InjectorLoss,
    Mode,
    OnDown,
    Prefix,
    Readers,
    Threshold,
)

_Asn = Annotated[int, PlainValidator(fields.asn)]
_Duration = Annotated[float, PlainValidator(fields.duration(0.010, 3600.0, "from 10ms to 1h"))]
_Timeout = Annotated[float, PlainValidator(fields.duration(0.001, 10.0, "from 1ms to 10s"))]
_Suspect = Annotated[
    float | None,
    PlainValidator(fields.or_off(fields.duration(0.005, 3600.0, "at least 5ms, or off"))),
]
_InjectorLoss = Annotated[InjectorLoss, BeforeValidator(fields.choice(*InjectorLoss))]
_Reference = Annotated[str, PlainValidator(fields.reference)]
_Med = Annotated[int, PlainValidator(fields.integer(0, 4294967295))]
_Prepend = Annotated[int, PlainValidator(fields.integer(1, 10))]
_BfdInterval = Annotated[
    float,
    PlainValidator(fields.whole_milliseconds(fields.duration(0.010, 60.0, "from 10ms to 60s"))),
]
_Percentage = Annotated[float, PlainValidator(fields.percentage)]
_COUNT = fields.integer(1, 1000)
_PENALTY = fields.integer(1, 1_000_000)
_Minutes = Annotated[float, PlainValidator(fields.duration(1.0, 3600.0, "from 1s to 1h"))]
_Count = Annotated[int, PlainValidator(_COUNT)]


class PerFamily(Section):
    """One address per family."""

    ipv4: Annotated[IPv4Address | None, PlainValidator(fields.of_family(Family.IPV4))] = None
    ipv6: Annotated[IPv6Address | None, PlainValidator(fields.of_family(Family.IPV6))] = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.ipv4 is None and self.ipv6 is None:
            raise WrongValueError("needs an address: ipv4, ipv6 or both")
        return self

    def get(self, family: Family) -> Address | None:
        """Return the address of a family, or None."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that have an address, IPv4 first."""
        return tuple(family for family in Family if self.get(family) is not None)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses, IPv4 first."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a is not None)


def _one_or_both(value: object) -> object:
    """Let ``10.0.1.0`` stand for ``{ipv4: 10.0.1.0}``."""
    if isinstance(value, dict | PerFamily):
        return value
    if isinstance(value, list):
        raise WrongValueError("must be an address or {ipv4: ADDRESS, ipv6: ADDRESS}, not a list")
    address = fields.host_address(value)
    return {Family.of(address).value: str(address)}


def _neighbor(value: object) -> object:
    """Let ``unnumbered`` (None) stand for a neighbor that is found by its link-local address."""
    return None if value == "unnumbered" else _one_or_both(value)


_Addresses = Annotated[PerFamily, BeforeValidator(_one_or_both)]


class DiscardNextHop(PerFamily):
    """What service prefixes are announced with inside the host.

    192.0.0.8 is the IPv4 dummy address (RFC 7600), 100::1 lies in the discard prefix (RFC 6666).
    """

    ipv4: Annotated[IPv4Address, PlainValidator(fields.of_family(Family.IPV4))] = IPv4Address(
        "192.0.0.8"
    )
    ipv6: Annotated[IPv6Address, PlainValidator(fields.of_family(Family.IPV6))] = IPv6Address(
        "100::1"
    )


class Host(Section):
    """The host's own identity in BGP."""

    asn: _Asn = Field(description="the host's AS number", examples=["65101"])
    router_id: Annotated[IPv4Address, PlainValidator(fields.router_id)] = Field(
        description="the host's BGP identifier", examples=["10.255.10.1"]
    )
    source: _Addresses = Field(
        description="the host's own loopback, the source address of what it sends",
        examples=["{ipv4: 10.255.10.1, ipv6: 2001:db8:10::1}"],
    )
    community_asn: Annotated[int, PlainValidator(fields.integer(1, 65534))] | None = None
    """High half of the steering communities (RFC 1997, which reserves 0 and 65535)."""
    discard_next_hop: DiscardNextHop = DiscardNextHop()
    injector: Annotated[IPv4Address, PlainValidator(fields.injector)] = IPv4Address("127.0.0.2")
    on_injector_loss: _InjectorLoss = InjectorLoss.KEEP
    """Of the host loopback: without it no reply to what the host sends would come back."""


class Uplink(Section):
    """The link to one ToR."""

    interface: Annotated[str, PlainValidator(fields.interface)] = Field(
        description="the interface that leads to the ToR", examples=["eth1"]
    )
    neighbor: Annotated[PerFamily | None, BeforeValidator(_neighbor)] = Field(
        description="the ToR's BGP address on the link, or unnumbered", examples=["10.0.1.0"]
    )
    neighbor_asn: Annotated[int | None, PlainValidator(fields.asn_or_external)] = Field(
        description="the ToR's AS number, or external", examples=["65001"]
    )
    number: Annotated[int, PlainValidator(fields.integer(1, 16383))] | None = None
    """A quarter of what a community has room for: two more are for draining."""
    next_hop: _Addresses | None = None
    probe_source: _Addresses | None = None
    password_file: Annotated[str, PlainValidator(fields.absolute_path)] | None = None
    """Holds the password of the sessions (RFC 2385). Only `bgphealth render` reads it."""
    ttl_security: Annotated[bool, PlainValidator(fields.boolean)] = False
    """RFC 5082: send with TTL 255 and take nothing less, so that only the link can reach us."""
    bfd: Annotated[bool | str, PlainValidator(fields.boolean_or_reference)] = False
    """The name of a profile; true for one that says nothing."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families of the link; an unnumbered one has those of its other addresses."""
        if self.neighbor is not None:
            return self.neighbor.families
        given = {f for a in (self.next_hop, self.probe_source) if a for f in a.families}
        return tuple(family for family in Family if family in given)


class BfdProfile(Section):
    """What a BFD session (RFC 5880) is told; the ranges are FRR's, and so are the defaults."""

    detect_multiplier: Annotated[int, PlainValidator(fields.integer(2, 255))] = 3
    receive_interval: _BfdInterval = 0.3
    transmit_interval: _BfdInterval = 0.3
    passive_mode: Annotated[bool, PlainValidator(fields.boolean)] = False


class Beyond(Section):
    """Probes of what lies behind the ToR: `need` of them, in each family, must answer."""

    need: _Count = 1
    of: Annotated[
        list[BeyondProbe],
        Field(min_length=1, description="the probes", examples=["[{icmp: 198.51.100.1}]"]),
    ]


class LossLevels(Section):
    """When loss begins to matter and when it ceases to; without `leave` half of `enter`."""

    enter: _Percentage = 0.10
    leave: _Percentage | None = None

    @property
    def threshold(self) -> Threshold:
        """Return both levels, as ratios."""
        return Threshold(self.enter, self.enter / 2 if self.leave is None else self.leave)


class LatencyLevels(Section):
    """The same for the round-trip time."""

    enter: _Timeout = Field(
        description="the mean round-trip time from which a path counts as degraded",
        examples=["100ms"],
    )
    leave: _Timeout | None = None

    @property
    def threshold(self) -> Threshold:
        """Return both levels, in seconds."""
        return Threshold(self.enter, self.enter / 2 if self.leave is None else self.leave)


class Degraded(Section):
    """When a path that is up counts as degraded."""

    window: _Minutes = 10.0
    loss: LossLevels = LossLevels()
    latency: LatencyLevels | None = None


class FlapDamping(Section):
    """How falls count against a path or a service (RFC 2439); each costs 1,000."""

    half_life: _Minutes = 60.0
    suppress: Annotated[int | None, PlainValidator(fields.or_off(_PENALTY))] = 2500
    """None for off."""
    reuse: Annotated[int, PlainValidator(_PENALTY)] = 750
    max_suppress: _Minutes = 300.0


def _of_neighbor() -> list[GatewayProbe]:
    return [GatewayProbe.model_validate({"icmp": "neighbor"})]


class Paths(Section):
    """How the uplinks are probed; the same for each of them."""

    interval: _Duration = 0.2
    timeout: _Timeout = 0.2
    fall: _Count = 3
    rise: _Count = 10
    suspect_interval: _Suspect = 0.025
    """None for off. When it is not given, it is off where the interval is as short already."""
    gateway: list[GatewayProbe] = Field(default_factory=_of_neighbor)
    beyond: Beyond | None = None
    degraded: Degraded = Degraded()
    damping: FlapDamping = FlapDamping()


class Attributes(Section):
    """What the routes of a service carry to every ToR."""

    communities: list[Annotated[Community, PlainValidator(fields.community)]] = Field(
        default_factory=list
    )
    large_communities: list[Annotated[LargeCommunity, PlainValidator(fields.large_community)]] = (
        Field(default_factory=list)
    )
    med: _Med | None = None
    prepend: _Prepend | None = None


class OnDegraded(Section):
    """What is said otherwise over a degraded uplink, so that others are preferred."""

    med: _Med | None = None
    prepend: _Prepend | None = None


def _on_degraded(value: object) -> object:
    """Let ``withdraw`` stand for None: not over a degraded uplink while there is a clean one."""
    if value == "withdraw":
        return None
    if not isinstance(value, dict | OnDegraded) or not value:
        raise WrongValueError(
            "must be withdraw, or what makes the path worse: {prepend: 3}, {med: 1000} or both, "
            f"not {shown(value) if value else 'nothing'}"
        )
    return value


class Service(Section):
    """What is announced while as many of its checks pass as it needs."""

    prefixes: Annotated[
        list[Annotated[Prefix, PlainValidator(fields.prefix)]],
        Field(min_length=1, description="what it announces", examples=["[192.0.2.53/32]"]),
    ]
    checks: list[ServiceCheck] = Field(default_factory=list)
    need: Annotated[
        int | Literal["all", "any"], PlainValidator(fields.or_word(_COUNT, "all", "any"))
    ] = "all"
    interval: _Duration = 1.0
    timeout: _Timeout = 1.0
    fall: _Count = 3
    rise: _Count = 3
    damping: FlapDamping | None = None
    """Without it no fall counts: where nobody else has the service, waiting is no help."""
    on_down: Annotated[OnDown, BeforeValidator(fields.choice(*OnDown))] = OnDown.WITHDRAW
    on_injector_loss: _InjectorLoss = InjectorLoss.WITHDRAW
    address: Annotated[AddressUse, BeforeValidator(fields.choice(*AddressUse))] = AddressUse.EXPECT
    uplinks: Annotated[list[_Reference], Field(min_length=1)] | None = None
    """Those that may carry it; None for every one that has its family."""
    min_uplinks: Annotated[int, PlainValidator(fields.integer(1, 64))] | None = None
    """None: whatever `policy.all_down` says."""
    requires: list[_Reference] = Field(default_factory=list)
    announce: Attributes = Attributes()
    on_degraded: Annotated[OnDegraded | None, BeforeValidator(_on_degraded)] = None
    """None: withdraw."""

    @property
    def needed(self) -> int:
        """Return how many checks must pass."""
        match self.need:
            case "all":
                return len(self.checks)
            case "any":
                return min(1, len(self.checks))
            case number:
                return number

    @property
    def export(self) -> Export:
        """Return how it is announced to the ToR of a clean uplink."""
        return Export(self.announce.prepend or 0, self.announce.med)

    @property
    def degraded_export(self) -> Export | None:
        """Return how it is announced to the ToR of a degraded one; None: not at all."""
        given, normal = self.on_degraded, self.export
        if given is None:
            return None
        return Export(
            given.prepend or normal.prepend, normal.med if given.med is None else given.med
        )


class Policy(Section):
    """What is decided where the verdicts alone do not say."""

    all_down: Annotated[AllDown, BeforeValidator(fields.choice(*AllDown))] = AllDown.KEEP_LAST
    drain_settle: Annotated[float, PlainValidator(fields.duration(0.0, 3600.0, "at most 1h"))] = (
        10.0
    )
    """How long what is drained is still announced: prepended, then with GRACEFUL_SHUTDOWN."""
    guarded_settle: _Minutes = 5.0
    """How long another host's healthy path must have been there before a guarded service goes.

    Longer than news takes through the fabric, or two hosts that fail together both withdraw.
    """


class Fallback(Section):
    """What is written over netlink: uplink n has table `table` + n, rule `rule_priority` + n.

    With `defaults` (in mode direct only where the file has it), a fallback default per uplink and
    family as well, from `source` or, without it, from the link's own address. With `mptcp`, the
    uplinks' addresses as endpoints of Multipath TCP.
    """

    enabled: Annotated[bool, PlainValidator(fields.boolean)] = True
    table: Annotated[int, PlainValidator(fields.integer(1, 4294967294))] = 17900
    rule_priority: Annotated[int, PlainValidator(fields.integer(1, 32764))] = 1790
    defaults: Annotated[bool, PlainValidator(fields.boolean)] = True
    source: _Addresses | None = None
    mptcp: Annotated[bool, PlainValidator(fields.boolean)] = False


class SourcePin(Section):
    """The source of what is opened towards a prefix."""

    to: Annotated[Prefix, PlainValidator(fields.destinations)] = Field(
        description="the destinations", examples=["203.0.113.0/24"]
    )
    source: Annotated[Address, PlainValidator(fields.host_address)] = Field(
        alias="from", description="an address of this host", examples=["10.255.10.9"]
    )


class SourceRule(Section):
    """The uplink through which what has a source leaves."""

    source: Annotated[Address | None, PlainValidator(fields.address_or_link)] = Field(
        alias="from",
        description="an address of this host, or link for the uplink's own",
        examples=["192.0.2.10"],
    )
    uplink: _Reference = Field(description="the uplink's name", examples=["tor1"])
    strict: Annotated[bool, PlainValidator(fields.boolean)] = False
    """Through that uplink or not at all; else as everything does while it carries nothing."""


class Sources(Section):
    """Which source what leaves has, and which way what has a source leaves."""

    pins: list[SourcePin] = Field(default_factory=list)
    policies: list[SourceRule] = Field(default_factory=list)


class Control(Section):
    """Where operators are listened to."""

    socket: Annotated[str, PlainValidator(fields.socket_path)] | None = None
    """None for the runtime directory, NAME.socket."""
    group: Annotated[str, PlainValidator(fields.group)] | None = None
    """None for that of the program's user."""
    read: Annotated[Readers, BeforeValidator(fields.choice(*Readers))] = Readers.GROUP
    """Who may read; commands are for root, the program's user and the group."""


def _version(value: object) -> int:
    if isinstance(value, bool) or value != 1:
        raise WrongValueError(
            f"must be 1, the one version of this file there is, not {shown(value)}"
        )
    return 1


Version = Annotated[Literal[1], PlainValidator(_version)]


class File(Section):
    """The whole file, but for local mode (`local`)."""

    version: Version = Field(description="the version of the file's format", examples=["1"])
    mode: Annotated[Mode, BeforeValidator(fields.choice(*Mode))] = Field(
        description="who speaks BGP and who installs the default", examples=["frr"]
    )
    host: Host = Field(description="the host's own identity in BGP")
    uplinks: dict[Annotated[str, BeforeValidator(fields.name)], Uplink] = Field(
        min_length=1, description="the links to the ToRs, by name"
    )
    bfd: dict[Annotated[str, BeforeValidator(fields.name)], BfdProfile] = Field(
        default_factory=dict
    )
    paths: Paths = Paths()
    services: dict[Annotated[str, BeforeValidator(fields.name)], Service] = Field(
        default_factory=dict
    )
    policy: Policy = Policy()
    fallback: Fallback = Fallback()
    sources: Sources = Sources()
    control: Control = Control()
    metrics: Metrics | None = None
