"""Rules about uplinks: each can be told from the others, and what is its own is nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.config import fields
from bgphealth.config.fields import label
from bgphealth.config.problems import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import Uplink
    from bgphealth.core.settings import Address

MOST_UPLINKS = 64
"""FRR's own limit to ECMP (maximum-paths) where it was not built for more."""


def sessions(parts: Parts) -> Iterator[Finding]:
    """A ToR is another AS; what is said of a family needs a neighbor in it."""
    for name, uplink in parts.uplinks.items():
        if parts.host is not None and uplink.neighbor_asn == parts.host.asn:
            yield (
                ("uplinks", name, "neighbor_asn"),
                f"{uplink.neighbor_asn} is the host's own AS; the ToR needs another one (eBGP)",
            )
        if uplink.neighbor is None:
            if not parts.is_direct:
                yield from _unnumbered(name, uplink)
            continue
        for key, addresses in (
            ("next_hop", uplink.next_hop),
            ("probe_source", uplink.probe_source),
        ):
            for family in addresses.families if addresses else ():
                if family not in uplink.neighbor.families:
                    yield (
                        ("uplinks", name, key, family.value),
                        f"is {label(family)}, but the neighbor has no {label(family)} address",
                    )
    if len(parts.uplinks) > MOST_UPLINKS:
        yield ("uplinks",), f"has {len(parts.uplinks)} uplinks; at most {MOST_UPLINKS} are possible"


def _unnumbered(name: str, uplink: Uplink) -> Iterator[Finding]:
    """Without addresses on the link, these two are all that tells one ToR from another."""
    at = ("uplinks", name)
    for key, addresses, what in (
        (
            "next_hop",
            uplink.next_hop,
            "the ToR's own loopback, for example {ipv4: 10.255.0.1, ipv6: 2001:db8:ff::1}",
        ),
        (
            "probe_source",
            uplink.probe_source,
            (
                "an address on this host's lo that the fabric reaches through this uplink alone, "
                "for example {ipv4: 10.255.11.1, ipv6: 2001:db8:11:1::1}"
            ),
        ),
    ):
        if addresses is None:
            yield (*at, key), f"is required with neighbor: unnumbered: {what}"
            continue
        for family in uplink.families:
            if family not in addresses.families:
                yield (
                    (*at, key, family.value),
                    (
                        "is required: an unnumbered uplink needs next_hop and probe_source in each "
                        f"of its families, and has {label(family)}"
                    ),
                )
    if fields.SAFE_INTERFACE.fullmatch(uplink.interface) is None:
        yield (
            (*at, "interface"),
            (
                f"{shown(uplink.interface)} cannot name a BGP session in FRR; it must begin with a "
                "letter and go on with letters, digits and . _ - @"
            ),
        )


def numbers(parts: Parts) -> Iterator[Finding]:
    """Either no uplink has a number of its own, or each has another one."""
    given = {n: u.number for n, u in parts.uplinks.items() if u.number is not None}
    if given and parts.whole_uplinks:
        for name in parts.uplinks:
            if name not in given:
                yield (
                    ("uplinks", name, "number"),
                    f"is required: {next(iter(given))} has one, so that every uplink needs one",
                )
    first: dict[int, str] = {}
    for name, number in given.items():
        if number in first:
            yield ("uplinks", name, "number"), f"{number} is taken by {first[number]} already"
        first.setdefault(number, name)


def twice(parts: Parts) -> Iterator[Finding]:
    """Two uplinks that share one of these could not be told apart."""
    taken: dict[tuple[str, object], str] = {}
    for name, uplink in parts.uplinks.items():
        used: list[tuple[str, object]] = [("interface", uplink.interface)]
        for key, given in (
            ("neighbor", uplink.neighbor),
            ("next_hop", uplink.next_hop),
            ("probe_source", uplink.probe_source),
        ):
            used += [(key, address) for address in (given.addresses if given else ())]
        for key, thing in used:
            if (key, thing) in taken:
                yield ("uplinks", name, key), f"{thing} is {taken[key, thing]}'s {key} already"
            taken.setdefault((key, thing), name)


def own_addresses(parts: Parts) -> Iterator[Finding]:
    """What belongs to somebody else must not be ours, and what is ours not somebody else's."""
    ours: dict[Address, str] = {}
    if parts.host is not None:
        ours |= dict.fromkeys(parts.host.source.addresses, "the host's source (host.source)")
        ours |= dict.fromkeys(
            parts.discard_next_hops, "the discard next hop (host.discard_next_hop)"
        )
    theirs = {
        address: (name, key)
        for name, uplink in parts.uplinks.items()
        for key, given in (("next_hop", uplink.next_hop), ("neighbor", uplink.neighbor))
        for address in (given.addresses if given else ())
    }
    for name, uplink in parts.uplinks.items():
        for key, given in (
            ("neighbor", uplink.neighbor),
            ("next_hop", uplink.next_hop),
            ("probe_source", uplink.probe_source),
        ):
            for address in given.addresses if given else ():
                if address in ours:
                    yield ("uplinks", name, key), f"{address} is {ours[address]}"
                elif (service := parts.service_of(address)) is not None:
                    yield ("uplinks", name, key), f"{address} is inside a prefix of {service}"
                elif key == "probe_source" and address in theirs:
                    whose, what = theirs[address]
                    own = (whose, what) == (name, "neighbor")
                    is_what = "the neighbor's own address" if own else f"{whose}'s {what}"
                    yield ("uplinks", name, key), f"{address} is {is_what}"
