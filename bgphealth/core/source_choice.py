"""Which address the kernel takes for the source, and why not another: its own rules, once more.

IPv4 is ``inet_select_addr`` of the kernel: the first primary address of the device that is in the
subnet of the next hop, else its first one, else another device's. IPv6 is RFC 6724, section 5.
Nothing rests on these: they are believed where the kernel's own answer is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from bgphealth.core.lookup import HOST, LINK, Choosable, Held, Matched, Question, Taken
from bgphealth.core.settings import Address, Family
from bgphealth.core.truth import Leg

_LABELS = sorted(
    (
        (IPv6Network(prefix), label)
        for prefix, label in {
            "::1/128": 0,
            "::/0": 1,
            "2002::/16": 2,
            "::/96": 3,
            "::ffff:0:0/96": 4,
            "fc00::/7": 5,
            "2001::/32": 6,
            "2001:10::/28": 7,
            "fec0::/10": 11,
            "3ffe::/16": 12,
        }.items()
    ),
    key=lambda entry: -entry[0].prefixlen,
)
"""The kernel's labels (ip-addrlabel(8)) as it makes them."""

_LINK_LOCAL, _SITE_LOCAL, _GLOBAL = 2, 5, 14  # RFC 4291, section 2.7, and RFC 6724, 3.1.


class Way(NamedTuple):
    """What the choice depends on; `interface` is None where there is no route at all.

    `gateway` is None on the link. `scope` is that of an IPv4 route.
    """

    destination: Address
    interface: str | None
    gateway: Address | None
    scope: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The address, in words why it, and why not each of the others that the host has."""

    held: Held
    why: str
    others: tuple[tuple[Held, str], ...]


def choose(addresses: Iterable[Held], way: Way) -> Choice | None:
    """Return what the kernel chooses for a route without ``src``; None for nothing."""
    family = Family.of(way.destination)
    held = [each for each in addresses if Family.of(each.address.ip) is family]
    return _ipv4(held, way) if family is Family.IPV4 else _ipv6(held, way)


def choose_for(
    addresses: Iterable[Held], destination: Address, leg: Leg, route: Matched
) -> Choice | None:
    """Return what the kernel chooses for one next hop of a route without ``src``."""
    interface = leg.interface
    if route.nexthop_id is not None and Family.of(destination) is Family.IPV6 and route.hops:
        # A nexthop object has one device, which is its first next hop's.
        interface = route.hops[0].leg.interface
    return choose(addresses, Way(destination, interface, leg.gateway, route.scope))


def offers(addresses: Sequence[Held], question: Question, first: Taken) -> tuple[Choosable, ...]:
    """Return the sources and ways that a first answer may give, in the order of its next hops.

    Where what it gave is not explained, the others are not either: then it is all there is.
    """
    route, given = first.matched, question.source or first.source
    if route is None or route.source is not None or question.source is not None:
        return tuple(Choosable(given, leg) for leg in first.legs(question))
    found = []
    for leg in first.legs(question):
        choice = choose_for(addresses, question.destination, leg, route)
        found.append(Choosable(None if choice is None else choice.held.address.ip, leg))
    this = Choosable(given, first.leg)
    return tuple(found) if this in found else (this,)


# ---- IPv4 ----------------------------------------------------------------------------------------


def _ipv4(held: Sequence[Held], way: Way) -> Choice | None:
    # A next hop of the other family (RFC 8950) says nothing of IPv4 subnets.
    gateway = way.gateway if isinstance(way.gateway, IPv4Address) else None
    here = [h for h in held if h.interface == way.interface and _reaches(h, way)]
    fitting = [h for h in here if gateway is None or gateway in h.address.network]
    elsewhere = [h for h in held if h.scope != LINK and h.scope <= way.scope]
    elsewhere = [h for h in elsewhere if not h.is_secondary]
    taken = next(iter((*fitting, *here, *elsewhere)), None)
    if taken is None:
        return None
    if taken in fitting:
        where = "" if gateway is None else f" in the subnet of {gateway}"
        many = sum(h.interface == taken.interface for h in fitting) > 1
        why = f"the {'first ' if many else ''}primary address of {way.interface}{where}"
    elif taken in here:
        why = f"the first primary address of {way.interface}; none is in the subnet of {gateway}"
    else:
        why = f"{way.interface} has none that is fit; the first of the host's that is"

    def why_not(other: Held) -> str:
        if taken in here and other.interface != way.interface:
            return f"the route leaves on {way.interface}"
        if other.is_secondary:
            return "secondary: taken only where a route or a program names it"
        if not _reaches(other, way) or (taken in elsewhere and other not in elsewhere):
            return f"its scope ({_scope_in_words(other)}) is too narrow"
        if taken in fitting and other not in fitting:
            return f"not in the subnet of {gateway}"
        return f"listed after {taken.address.ip}: the first one is taken"

    return _choice(held, taken, why, why_not)


def _reaches(held: Held, way: Way) -> bool:
    return not held.is_secondary and min(held.scope, HOST) <= way.scope


def _scope_in_words(held: Held) -> str:
    return {LINK: "link", HOST: "host"}.get(held.scope, "global")


# ---- IPv6 ----------------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """One comparison of RFC 6724, section 5: what the kernel prefers has the higher `worth`."""

    name: str
    worth: Callable[[Held, Way], int]
    won: str
    lost: str


def _ipv6(held: Sequence[Held], way: Way) -> Choice | None:
    target = way.destination
    assert isinstance(target, IPv6Address)  # noqa: S101 - by its family
    near = target.is_multicast or _scope(target) <= _LINK_LOCAL
    only_own = near or any(h.has_only_own for h in held if h.interface == way.interface)
    candidates = [
        h
        for h in held
        if not h.is_tentative
        and (way.interface is None or not only_own or h.interface == way.interface)
    ]
    # The first of equals stays, as in the kernel.
    taken = max(candidates, key=lambda h: [rule.worth(h, way) for rule in _RULES], default=None)
    if taken is None:
        return None
    rivals = [h for h in candidates if h is not taken]
    decided = {id(h): _decided(taken, h, way) for h in rivals}
    rules = [rule for rule in decided.values() if rule is not None]
    if not rivals:
        why = "the only address that can be used"
    elif rules:
        last = max(rules, key=_RULES.index)
        why = f"RFC 6724, {last.name}: {_said(last.won, way)}"
    else:
        why = "as good as others, and the first in the kernel's list"

    def why_not(other: Held) -> str:
        if other.is_tentative:
            return "tentative: it may be another host's as well"
        if other not in candidates:
            return f"not on {way.interface}, and only its addresses are asked"
        rule = decided[id(other)]
        if rule is None:
            return f"as good, but {taken.address.ip} is before it in the kernel's list"
        return f"RFC 6724, {rule.name}: {_said(rule.lost, way)}"

    return _choice(held, taken, why, why_not)


def _decided(taken: Held, other: Held, way: Way) -> _Rule | None:
    return next((r for r in _RULES if r.worth(taken, way) != r.worth(other, way)), None)


def _said(text: str, way: Way) -> str:
    return text.format(interface=way.interface, destination=way.destination)


def _is_same(held: Held, way: Way) -> int:
    return held.address.ip == way.destination


def _fits_scope(held: Held, way: Way) -> int:
    own, wanted = _scope(held.address.ip), _scope(way.destination)
    return -own if own >= wanted else own - 128


def _is_preferred(held: Held, _: Way) -> int:
    return held.address.ip.is_loopback or not held.is_deprecated


def _is_outgoing(held: Held, way: Way) -> int:
    return way.interface in (None, held.interface)


def _has_label(held: Held, way: Way) -> int:
    return _label(held.address.ip) == _label(way.destination)


def _is_as_public(held: Held, _: Way) -> int:
    return held.is_temporary is held.prefers_temporary


def _common_bits(held: Held, way: Way) -> int:
    different = int(held.address.ip) ^ int(way.destination)
    return min(128 - different.bit_length(), held.address.network.prefixlen)


_RULES = (
    _Rule("rule 1", _is_same, "it is the destination itself", "it is not the destination itself"),
    _Rule(
        "rule 2",
        _fits_scope,
        "its scope fits {destination} best",
        "its scope does not fit {destination} as well",
    ),
    _Rule("rule 3", _is_preferred, "it is not deprecated", "it is deprecated"),
    _Rule(
        "rule 5", _is_outgoing, "it is on {interface}, where the route leaves", "not on {interface}"
    ),
    _Rule(
        "rule 6",
        _has_label,
        "it has the label of {destination}",
        "it has another label than {destination}",
    ),
    _Rule(
        "rule 7",
        _is_as_public,
        "temporary or not, as use_tempaddr wants it",
        "temporary or not, other than use_tempaddr wants it",
    ),
    _Rule(
        "rule 8",
        _common_bits,
        "it has the longest prefix in common with {destination}",
        "it has a shorter prefix in common with {destination}",
    ),
)


def _scope(address: Address) -> int:
    if address.is_link_local or address.is_loopback:
        return _LINK_LOCAL
    return _SITE_LOCAL if isinstance(address, IPv6Address) and address.is_site_local else _GLOBAL


def _label(address: Address) -> int:
    return next(label for prefix, label in _LABELS if address in prefix)


def _choice(held: Iterable[Held], taken: Held, why: str, why_not: Callable[[Held], str]) -> Choice:
    def rest() -> Iterator[tuple[Held, str]]:
        for other in held:
            if other is not taken:
                yield other, why_not(other)

    return Choice(taken, why, tuple(rest()))
