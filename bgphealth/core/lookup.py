"""What the kernel said when it was asked for the way to a destination, as plain data.

A socket that is bound to no address asks twice. The first question has no source, and its answer
gives one. IPv4 (connect(2), TCP or UDP) then asks again with that source, and the second answer is
the way, so that a rule ``from`` counts there; IPv6 keeps the first answer for as long as no route
changes, and asks a second time at once only where the first answer is a refusal.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple, TypeAlias

from bgphealth.core.lookup_rules import Rule
from bgphealth.core.settings import Address, Family, Prefix
from bgphealth.core.truth import Leg

UNIVERSE, LINK, HOST = 0, 253, 254
"""Scopes of IPv4 routes and addresses (rtnetlink(7), RT_SCOPE): the smaller, the farther."""

_SCOPES = {200: "site", LINK: "link", HOST: "host"}

InterfaceAddress: TypeAlias = IPv4Interface | IPv6Interface


class Kind(StrEnum):
    """What a route does with packets (rtm_type), in the words of ip(8)."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"


@dataclass(frozen=True, slots=True)
class Question:
    """From where, and to where: `source` and `interface` as far as the socket is bound.

    `mark` is that of the socket (SO_MARK), 0 for none.
    """

    destination: Address
    source: Address | None = None
    interface: str | None = None
    mark: int = 0

    @property
    def family(self) -> Family:
        """The family of all that is asked for."""
        return Family.of(self.destination)


@dataclass(frozen=True, slots=True)
class Held:
    """An address that the host has, in the kernel's own order on its interface.

    `scope` is that of rtnetlink. `prefers_temporary` is its interface's ``use_tempaddr`` of 2 and
    more (RFC 8981), `has_only_own` its ``use_oif_addrs_only``.
    """

    address: InterfaceAddress
    interface: str
    scope: int = UNIVERSE
    is_secondary: bool = False
    is_tentative: bool = False
    is_deprecated: bool = False
    is_temporary: bool = False
    prefers_temporary: bool = False
    has_only_own: bool = False


@dataclass(frozen=True, slots=True)
class Hop:
    """One next hop of a route. One that is not `is_used` is dead to the kernel.

    `has_carrier` is False for one that the kernel may use all the same
    (``ignore_routes_with_linkdown`` is 0).
    """

    leg: Leg
    weight: int = 1
    is_used: bool = True
    has_carrier: bool = True

    def __str__(self) -> str:
        """Return it in the words of ip(8)."""
        down = "" if self.has_carrier else " linkdown"
        return f"{self.leg}{down if self.is_used else ' dead' + down}"


@dataclass(frozen=True, slots=True)
class Matched:
    """A route of a table. `nexthop_id` is the nexthop object that it names, None for none."""

    table: int
    prefix: Prefix
    kind: Kind
    protocol: str
    metric: int = 0
    scope: int = UNIVERSE
    source: Address | None = None
    hops: tuple[Hop, ...] = ()
    nexthop_id: int | None = None

    @property
    def used(self) -> tuple[Hop, ...]:
        """The next hops that packets are given to."""
        return tuple(hop for hop in self.hops if hop.is_used)

    def used_by(self, question: Question) -> tuple[Hop, ...]:
        """Return those of them that a question may be answered with."""
        return tuple(hop for hop in self.used if question.interface in (None, hop.leg.interface))

    @property
    def is_default(self) -> bool:
        """Whether it is a default."""
        return self.prefix.prefixlen == 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The route as ip(8) prints it, a line for each of several next hops."""
        prefix = str(self.prefix)
        if self.is_default:
            prefix = "default"
        elif self.prefix.prefixlen == self.prefix.max_prefixlen:
            prefix = str(self.prefix.network_address)
        words = [prefix] if self.kind is Kind.UNICAST else [str(self.kind), prefix]
        if self.nexthop_id is not None:
            words.append(f"nhid {self.nexthop_id}")
        if len(self.hops) == 1:
            words.append(str(self.hops[0]))
        if self.protocol != "boot":  # What ip(8) adds, and does not show.
            words.append(f"proto {self.protocol}")
        if self.scope in _SCOPES:
            words.append(f"scope {_SCOPES[self.scope]}")
        if self.source is not None:
            words.append(f"src {self.source}")
        if self.metric:
            words.append(f"metric {self.metric}")
        several = self.hops if len(self.hops) > 1 else ()
        return (" ".join(words), *(f"nexthop {hop} weight {hop.weight}" for hop in several))


@dataclass(frozen=True, slots=True)
class Taken:
    """The kernel has a way: `leg` is the one that it gave this time, of the route `matched`.

    `matched` is None where the kernel has no route and takes the destination to be on the link.
    """

    leg: Leg
    source: Address | None
    matched: Matched | None

    def legs(self, question: Question) -> tuple[Leg, ...]:
        """Return the ways that such an answer may give, in the order of the route."""
        hops = () if self.matched is None else self.matched.used_by(question)
        return tuple(dict.fromkeys(hop.leg for hop in hops)) if len(hops) > 1 else (self.leg,)

    def is_same_route(self, other: Taken) -> bool:
        """Return whether two answers are of one route, whichever next hop each gave."""
        mine, theirs = self.matched, other.matched
        if mine is None or theirs is None:
            return mine is theirs and self.leg == other.leg
        # Each answer may begin with another of the next hops.
        return set(mine.hops) == set(theirs.hops) and (
            replace(mine, hops=()) == replace(theirs, hops=())
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """The kernel has none, and says so with an errno."""

    errno: int


Reply: TypeAlias = Taken | Refused


class Choosable(NamedTuple):
    """A way that a socket may get, and its source."""

    source: Address | None
    leg: Leg


@dataclass(frozen=True, slots=True)
class Looked:
    """All that was asked for one question.

    `first` is the answer to the question as it is, and `offered` the ways and sources that it
    may give, one for each of its next hops. `sources` are those of a socket that is bound to none,
    what it gave this time before all others, and `seconds` the answers with each of them.
    `refusing` are the routes that refuse and that throw, only looked for after a refusal.
    `hash_policy` is ``fib_multipath_hash_policy``; `strict_reverse_path` are the interfaces with a
    strict ``rp_filter`` (RFC 3704).
    """

    question: Question
    first: Reply
    offered: tuple[Choosable, ...] = ()
    sources: tuple[Address, ...] = ()
    seconds: tuple[Reply, ...] = ()
    addresses: tuple[Held, ...] = ()
    rules: tuple[Rule, ...] = ()
    refusing: tuple[Matched, ...] = ()
    hash_policy: int | None = None
    strict_reverse_path: frozenset[str] = frozenset()

    @property
    def is_second(self) -> bool:
        """Whether a socket that connects gets a second answer, and not the first."""
        keeps_first = self.question.family is Family.IPV6 and isinstance(self.first, Taken)
        return bool(self.seconds) and not keeps_first

    @property
    def reply(self) -> Reply:
        """What a socket gets that connects; where it may get several, what it got this time."""
        return self.seconds[0] if self.is_second else self.first

    @property
    def asked_with(self) -> Address | None:
        """The source in the question that `reply` answers."""
        return self.sources[0] if self.is_second else self.question.source

    @property
    def is_rerouted(self) -> bool:
        """Whether the source is that of one route, and the way that of another."""
        first, reply = self.first, self.reply
        if not isinstance(first, Taken) or not isinstance(reply, Taken):
            return False
        return self.is_second and not first.is_same_route(reply)

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether the source that is asked for is no address of this host."""
        return isinstance(self.first, Refused) and self.first.errno == errno.EADDRNOTAVAIL

    @property
    def source(self) -> Address | None:
        """The source of a socket that connects; None when it cannot."""
        if isinstance(self.reply, Refused):
            return None
        return self.question.source or next(iter(self.sources), None)

    @property
    def choices(self) -> tuple[Choosable, ...]:
        """Each way that a socket may get that connects, and its source."""
        if not self.is_second:
            return self.offered
        return tuple(
            Choosable(source, leg)
            for source, second in zip(self.sources, self.seconds, strict=True)
            if isinstance(second, Taken)
            for leg in second.legs(self.question)
        )
