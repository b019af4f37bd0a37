"""What the operator asked for, as plain frozen data.

`bgphealth.config` builds these from the file; everything else reads them. They hold no default
that a user could want to see: defaults live in the file's model, in one place.

Units: every duration is a float in seconds and its name ends in ``_s``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, TypeAlias

from bgphealth.core.communities import Community, LargeCommunity

LOOPBACK = "loopback"
"""The name of the service that the host loopback is."""

DEGRADED_COMMUNITY = 1000
"""How far an uplink's community for a degraded uplink is from the other one."""

DRAIN_COMMUNITY = 16384
"""How far an uplink's communities are from each other: twice while it is drained, and once more for
services that are down. So numbers and those of degraded uplinks must be below."""

POLICY_RULES = 16384
"""How far behind `fallback.rule_priority` the rules of policies are: behind the uplinks' own."""

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

    @property
    def default_prefix(self) -> Prefix:
        """The prefix of the family's default route."""
        return _DEFAULT_PREFIX[self]


_DEFAULT_PREFIX: dict[Family, Prefix] = {
    Family.IPV4: IPv4Network("0.0.0.0/0"),
    Family.IPV6: IPv6Network("::/0"),
}


class Mode(StrEnum):
    """Who speaks BGP with the ToRs, and who installs the default.

    `FRR` on this host does both, with what ExaBGP tells it. In `DIRECT` mode ExaBGP itself speaks
    to the ToRs; the default is the host's own affair. In `LOCAL` mode there is no BGP: of each
    family one uplink is in use, and its default is written over netlink.
    """

    FRR = "frr"
    DIRECT = "direct"
    LOCAL = "local"


class AllDown(StrEnum):
    """What to announce while no uplink is up (design: never make it worse)."""

    KEEP_LAST = "keep_last"
    KEEP_BEST = "keep_best"
    """Of the ones that carried last, those of which the most still works."""
    WITHDRAW = "withdraw"


class InjectorLoss(StrEnum):
    """What becomes of a service's prefixes when ExaBGP, the injector, is gone."""

    WITHDRAW = "withdraw"
    KEEP = "keep"
    """bgpd originates them as well, worse in every way, so that it matters only then."""


class AddressUse(StrEnum):
    """What is done about the address that a host prefix of a service is.

    Traffic to an address that this host does not have is refused: with `EXPECT` and `ADD` it is
    announced only while the address is there.
    """

    EXPECT = "expect"
    ADD = "add"
    """It is put on ``lo``, and taken away again after the withdrawal when the file loses it."""
    IGNORE = "ignore"
    """It lives elsewhere: behind this host, or in a local route of somebody else's."""


class OnDown(StrEnum):
    """What becomes of a service's prefixes while the service is down."""

    WITHDRAW = "withdraw"
    DEGRADE = "degrade"
    """They are announced all the same, as a last resort: anybody else's path is preferred."""
    GUARDED = "guarded"
    """The same, until another host is seen to have a healthy path to them."""


class Role(StrEnum):
    """What a path probe asks: is the ToR there, or is there a network behind it."""

    GATEWAY = "gateway"
    BEYOND = "beyond"


class ProbeKind(StrEnum):
    """How a probe asks."""

    ICMP = "icmp"
    TCP = "tcp"
    HTTP = "http"
    DNS = "dns"
    EXEC = "exec"
    BFD = "bfd"
    BGP = "bgp"
    LINK = "link"

    @property
    def is_state(self) -> bool:
        """Whether the answer is a state that somebody else counts already: it counts at once."""
        return self in _STATES


_STATES = frozenset({ProbeKind.BFD, ProbeKind.BGP, ProbeKind.LINK})


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """One GET request (RFC 9110) and the answer that is expected.

    `host` is the Host header and, with TLS, the name that is asked for and verified (RFC 6066);
    None means the target's address. `body` is a regular expression that must be found in the first
    64 KiB. `min_valid_s` is how long the certificate must still be valid, in seconds.
    """

    tls: bool
    path: str
    host: str | None
    status: tuple[int, ...]
    body: str | None
    verify: bool
    min_valid_s: float


@dataclass(frozen=True, slots=True)
class DnsQuestion:
    """One query (RFC 1035) and the answer that is expected.

    `transport` is ``udp`` or ``tcp``. `answers` must all be among the records; empty means that
    the `rcode` is all that counts.
    """

    name: str
    rdtype: str
    transport: str
    rcode: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExecQuestion:
    """A program and its arguments; never a shell. Exit status 0 is ok."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkQuestion:
    """What is asked of the interface: ``carrier`` or ``address``."""

    what: str


Question: TypeAlias = HttpQuestion | DnsQuestion | ExecQuestion | LinkQuestion


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """One thing to ask. `target` and `port` are None for kinds without one."""

    kind: ProbeKind
    target: Address | None = None
    port: int | None = None
    question: Question | None = None
    # Probes are looked up with every answer, and hashing an address is slow.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash once."""
        of = (self.kind, self.target, self.port, self.question)
        object.__setattr__(self, "_hash", hash(of))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[ProbeSettings], tuple[object, ...]]:
        # Hashes differ from process to process.
        return ProbeSettings, (self.kind, self.target, self.port, self.question)

    def __str__(self) -> str:
        """Return the probe in the file's own words: ``icmp 10.0.1.0``, ``tcp 192.0.2.53:53``."""
        match self.question:
            case HttpQuestion(tls=tls, path=path):
                return f"{'https' if tls else 'http'}://{self._host_and_port()}{path}"
            case DnsQuestion(name=name, rdtype=rdtype, transport=transport):
                return f"dns {name} {rdtype} at {self._host_and_port()} over {transport}"
            case ExecQuestion(command=command):
                return f"exec {' '.join(command)}"
            case LinkQuestion(what=what):
                return f"link {what}"
            case None if self.target is None:
                return f"{self.kind} neighbor"
            case None:
                return f"{self.kind} {self._host_and_port()}"

    def _host_and_port(self) -> str:
        if self.port is None or self.target is None:
            return str(self.target)
        is_v6 = Family.of(self.target) is Family.IPV6
        return f"[{self.target}]:{self.port}" if is_v6 else f"{self.target}:{self.port}"


@dataclass(frozen=True, slots=True)
class UplinkPath:
    """One address family of one uplink: the unit that is probed, judged and steered.

    `next_hop` is announced with the injected default; `neighbor` is the ToR's BGP address on the
    link, None on an unnumbered link, where it is a link-local address that nobody writes down.
    `probe_source` is the address that the fabric reaches through this uplink alone; None means the
    interface's own address on the neighbor's subnet, looked up at start. An unnumbered link has no
    such address: its paths always have a `probe_source`, and a `next_hop` that is the ToR's own.
    In direct mode `neighbor` and `probe_source` are the two ends of ExaBGP's session with the ToR,
    so that both are always there, and nobody uses the `next_hop`. In local mode `neighbor` is the
    gateway, and the `next_hop` as well; both are None where the gateway is learned.
    """

    family: Family
    neighbor: Address | None
    next_hop: Address | None
    probe_source: Address | None
    gateway: tuple[ProbeSettings, ...]
    beyond: tuple[ProbeSettings, ...]
    beyond_need: int


@dataclass(frozen=True, slots=True)
class Bfd:
    """What the BFD sessions of an uplink are told (RFC 5880, section 6.8).

    `profile` is the name of its profile, None for FRR's own defaults.
    """

    profile: str | None
    detect_multiplier: int
    receive_interval_s: float
    transmit_interval_s: float
    is_passive: bool


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """The link to one ToR.

    `number` (from 1) is its path identifier on the injector session (RFC 7911), the low half of
    its steering community, and its offset in the numbers of tables and rules. In local mode it is
    the priority as well: the lowest is preferred.
    `neighbor_asn` is None for "any external AS" (FRR's ``remote-as external``).
    `password_file` holds the password of its sessions (RFC 2385), None for none; with
    `ttl_security` they take packets from the link only (RFC 5082). `bfd` is None where bgpd does
    not watch them by BFD.
    """

    name: str
    number: int
    interface: str
    neighbor_asn: int | None
    paths: tuple[UplinkPath, ...]
    password_file: str | None
    ttl_security: bool
    bfd: Bfd | None = None

    @property
    def is_unnumbered(self) -> bool:
        """Return whether the link has no addresses of its own: one session carries all families."""
        return all(path.neighbor is None for path in self.paths)


@dataclass(frozen=True, slots=True)
class Timing:
    """How often to ask, how long to wait, and how many equal answers make a verdict."""

    interval_s: float
    timeout_s: float
    fall: int
    rise: int


class Threshold(NamedTuple):
    """Two levels, so that a value between them changes nothing: `enter` is the worse one."""

    enter: float
    leave: float


@dataclass(frozen=True, slots=True)
class Quality:
    """When a path that is up counts as degraded.

    `window` is the number of answers, per probe, that loss and latency are taken over. `loss` is a
    ratio from 0 to 1; `latency_s` is in seconds, None where latency does not matter.
    """

    window: int
    loss: Threshold
    latency_s: Threshold | None


class Damping(NamedTuple):
    """How falls count against what goes down often (RFC 2439, section 4.2).

    `suppress` and `reuse` are penalties; one fall costs 1,000. The penalty halves in `half_life_s`
    and never grows beyond what takes `max_suppress_s` to decay to `reuse`.
    """

    half_life_s: float
    suppress: float
    reuse: float
    max_suppress_s: float


class Scope(NamedTuple):
    """Who may carry something: the uplinks of a family, or `only` some of them."""

    family: Family
    only: frozenset[str] | None = None

    def __contains__(self, uplink: object) -> bool:
        return self.only is None or uplink in self.only


class Export(NamedTuple):
    """What makes a path worse for a ToR: how often our AS is prepended, and the MED, if any."""

    prepend: int = 0
    med: int | None = None


NOT_WORSE = Export()


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """A local service: its prefixes are announced while `need` of its checks pass.

    Without checks it is always up (the host loopback is such a service), and `need` is 0.
    `on_injector_loss` is what bgpd makes of the prefixes without us, `on_down` what we make of them
    while the service, or one that it requires, is down.
    `uplinks` are those that may carry it, None for every one; it is announced only while
    `min_uplinks` of them work, 0 for whatever `all_down` says. `requires` are all the services that
    must be up as well, directly or through others.
    `address` is what is done about the addresses that its host prefixes are.
    `communities` and `large_communities` go to every ToR, as does what `export` says. A degraded
    uplink carries it as `degraded_export` says; None: not at all while a clean one does.
    """

    name: str
    prefixes: tuple[Prefix, ...]
    checks: tuple[ProbeSettings, ...]
    need: int
    timing: Timing
    damping: Damping | None
    on_injector_loss: InjectorLoss
    on_down: OnDown = OnDown.WITHDRAW
    uplinks: frozenset[str] | None = None
    min_uplinks: int = 0
    requires: tuple[str, ...] = ()
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    export: Export = NOT_WORSE
    degraded_export: Export | None = None
    address: AddressUse = AddressUse.EXPECT

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses that its host prefixes (/32, /128) are."""
        return tuple(
            prefix.network_address
            for prefix in self.prefixes
            if prefix.prefixlen == prefix.max_prefixlen
        )

    @property
    def expected_addresses(self) -> tuple[Address, ...]:
        """Return those of them that must be on this host; nobody looks at ignored ones."""
        return () if self.address is AddressUse.IGNORE else self.addresses

    def scope(self, family: Family) -> Scope:
        """Return which uplinks may carry its prefixes of a family."""
        return Scope(family, self.uplinks)


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


NO_BGP = HostSettings(0, IPv4Address(0), (), 0, (), IPv4Address(0))
"""The host in local mode, which speaks no BGP (AS 0: RFC 7607)."""


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """What is written over netlink.

    Uplink n gets the table ``table + n`` and a rule with the priority ``rule_priority + n``. With
    `defaults` each path has a fallback default in the main table as well. Its source is the one of
    its family in `source`; where there is none, the link's own address. With `mptcp` the address
    that each path is probed from is an endpoint of Multipath TCP.
    """

    enabled: bool
    table: int
    rule_priority: int
    defaults: bool = False
    source: tuple[Address, ...] = ()
    mptcp: bool = False

    def source_for(self, family: Family) -> Address | None:
        """Return the source of that family's fallback defaults; None for the link's own."""
        return next((a for a in self.source if Family.of(a) is family), None)


@dataclass(frozen=True, slots=True)
class Pin:
    """What is opened towards a prefix has this source, unless the program binds to another one."""

    to: Prefix
    source: Address

    def __str__(self) -> str:
        """Return the pin in words."""
        return f"to {self.to} from {self.source}"


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What has this source leaves through the uplink; None is the uplink's own address.

    While the uplink does not carry, it leaves as everything else does, or not at all where
    `is_strict`.
    """

    source: Address | None
    uplink: str
    is_strict: bool

    def __str__(self) -> str:
        """Return the policy in words."""
        whose = "its own address" if self.source is None else self.source
        return f"from {whose} through {self.uplink}{' or not at all' if self.is_strict else ''}"


Wish: TypeAlias = Pin | SourcePolicy


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which source what leaves has, and which way what has a source leaves."""

    pins: tuple[Pin, ...] = ()
    policies: tuple[SourcePolicy, ...] = ()


class Readers(StrEnum):
    """Who may read at the control socket: those who may give commands, or everybody."""

    GROUP = "group"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file, validated. What is said of paths is the same for every one of them.

    `suspect_interval_s` is the interval while a path that is up gives no answers; None for never
    faster than `path_timing` says. `damping` is None where falls do not count. `drain_settle_s` is
    how long what is drained is still announced, `guarded_settle_s` how long another host's healthy
    path must have been there before a guarded service is withdrawn. `control_socket` is where
    operators are listened to; None for the runtime directory. `control_group` is the group that
    may give commands beside root and the program's user, None for that user's own; `control_read`
    says who may read. `stable_for_s` is how long, in local
    mode, a more preferred path must have been up before it is used again; `flush_conntrack`: NATed
    connections of an uplink are deleted when it is left.
    """

    mode: Mode
    host: HostSettings
    uplinks: tuple[UplinkSettings, ...]
    path_timing: Timing
    suspect_interval_s: float | None
    quality: Quality
    damping: Damping | None
    services: tuple[ServiceSettings, ...]
    all_down: AllDown
    drain_settle_s: float
    guarded_settle_s: float
    fallback: FallbackSettings
    control_socket: str | None
    sources: SourceSettings = SourceSettings()
    stable_for_s: float = 0.0
    flush_conntrack: bool = False
    control_group: str | None = None
    control_read: Readers = Readers.GROUP

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that at least one uplink carries, IPv4 first."""
        carried = {path.family for uplink in self.uplinks for path in uplink.paths}
        return tuple(family for family in Family if family in carried)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Return each choice of uplinks that something is carried by, whole families first."""
        scopes = [Scope(family) for family in self.families]
        for service in self.services:
            scopes += [service.scope(Family.of(prefix)) for prefix in service.prefixes]
        return tuple(dict.fromkeys(scopes))
