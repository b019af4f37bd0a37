"""What every import ends in: our file, its BGP part from what the peer's files told of it."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

from bgphealth.config.problems import there_is_no
from bgphealth.config.writing import Flow, Noted, write
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import LOOPBACK, Family, Mode
from bgphealth.imports.better import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

FILL_IN = "FILL IN"
"""Stands where only a person knows what belongs there; no key takes it."""

LARGEST_16_BIT_ASN = 65534
_LONGEST_NAME = 31
_LONGEST_TIMEOUT_S = Decimal(10)
_INTERVALS_S = (Decimal("0.01"), Decimal(3600))
_MOST_IN_A_ROW = 1000


class Input(NamedTuple):
    """A file to import: how it is called in messages, and what is in it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A BGP session of the host, as some file describes it; None for what it does not say."""

    at: str
    address: Address
    asn: int | None = None
    local_address: Address | None = None
    interface: str | None = None
    description: str = ""
    has_password: bool = False
    ttl_security: bool = False


@dataclass(frozen=True, slots=True)
class Speaker:
    """The host as a BGP speaker."""

    asn: int | None = None
    router_id: IPv4Address | None = None
    peers: tuple[Peer, ...] = ()
    static: tuple[str, ...] = ()
    """What it announces besides, each with its place, in words."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the operator says beside the files."""

    mode: Mode | None = None
    sources: tuple[Address, ...] = ()
    interfaces: Mapping[Address, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A service: its keys but for `uplinks`, and the neighbors that it is for (None: all)."""

    name: str
    about: tuple[str, ...]
    keys: Mapping[str, object]
    prefixes: tuple[Prefix, ...]
    neighbors: frozenset[Address] | None = None


@dataclass(frozen=True, slots=True)
class _Uplink:
    name: str
    interface: str | None
    peers: tuple[Peer, ...]

    def of(self, family: Family) -> Peer | None:
        return next((peer for peer in self.peers if Family.of(peer.address) is family), None)


@dataclass(frozen=True, slots=True)
class Whole:
    """All that was found; `about` are paragraphs at the top of our file."""

    about: Sequence[str]
    mode: Mode
    speaker: Speaker
    services: Sequence[Draft]
    policy: Mapping[str, object]


def text(found: Whole, known: Known) -> str:
    """Return our file.

    Raises:
        ConfigurationError: The operator knows the interface of a neighbor that there is not.
    """
    addresses = {str(peer.address): peer.address for peer in found.speaker.peers}
    for address in known.interfaces:
        if address not in addresses.values():
            raise ConfigurationError(f"--interface: {there_is_no(str(address), addresses)}")
    uplinks = _uplinks(found.speaker, known)
    families = [
        f for f in Family if any(Family.of(p) is f for s in found.services for p in s.prefixes)
    ]
    document: dict[str, object] = {
        "version": 1,
        "mode": Noted(found.mode.value, above=_MODES[found.mode]),
        "host": _host(found.mode, found.speaker, known, _carried(uplinks, families)),
        "uplinks": _uplinks_section(found.mode, found.speaker.asn, uplinks, families),
        "paths": Noted({"gateway": [Flow({"icmp": "neighbor"})]}, above=_PATHS),
        "services": {each.name: _service(each, uplinks) for each in found.services},
        "policy": found.policy,
    }
    if not found.services:
        del document["services"]
    head = [*found.about, *(f"NOT IMPORTED: {each}" for each in found.speaker.static)]
    if found.speaker.static:
        head.append("What is announced all the time is a service without checks.")
    if FILL_IN in write(document):
        head.append(
            f'Wherever it says "{FILL_IN}", the files imported did not say it, or not so that '
            "it can be here; "
            "`bgphealth check` names each such line."
        )
    return write(document, head)


_MODES = {
    Mode.DIRECT: "ExaBGP goes on speaking to the routers itself, without FRR on this host.",
    Mode.FRR: (
        "The host's own FRR speaks to the routers, and takes what is announced from ExaBGP on "
        "the same host. New: the host's default follows the same verdicts. `mode: direct` does "
        "without FRR, and leaves the default alone."
    ),
}
_PATHS = (
    (
        "New: each router is asked as well, and what is announced leaves one that does not answer "
        "(never the last one). It must answer echo requests, as `bgphealth probe` tells; if it "
        "does not:"
    ),
    "  - {link: carrier}",
    "Add `beyond` to see a router whose own uplinks are dead.",
)


# ---- the host and its uplinks --------------------------------------------------------------------


def _carried(uplinks: Sequence[_Uplink], families: Collection[Family]) -> list[Family]:
    """Return the families that the uplinks have, or need for the services."""
    return [f for f in Family if f in families or any(uplink.of(f) for uplink in uplinks)]


def _host(
    mode: Mode, speaker: Speaker, known: Known, carried: Sequence[Family]
) -> dict[str, object]:
    by_family = {Family.of(source): str(source) for source in known.sources}
    needed = carried if mode is Mode.FRR else []
    texts = {f.value: by_family.get(f, FILL_IN) for f in Family if f in by_family or f in needed}
    source = Flow(texts) if len(texts) > 1 else next(iter(texts.values()), FILL_IN)
    host: dict[str, object] = {
        "asn": speaker.asn or FILL_IN,
        "router_id": str(speaker.router_id or FILL_IN),
        "source": Noted(
            source,
            above=(
                "The host loopback: an address of this host alone, on lo, no anycast address and "
                "not that of a link. New: it is announced to each router as well, as a /32 or /128."
            ),
        ),
    }
    if mode is Mode.FRR and (speaker.asn or 0) > LARGEST_16_BIT_ASN:
        host["community_asn"] = Noted(
            FILL_IN, beside="1 to 65534: the AS number does not fit into a community"
        )
    return host


def _uplinks(speaker: Speaker, known: Known) -> list[_Uplink]:
    """Return an uplink per router: its IPv4 and its IPv6 session belong together."""
    outside = [peer for peer in speaker.peers if not peer.address.is_loopback]
    interfaces = {p.address: known.interfaces.get(p.address, p.interface) for p in outside}
    groups: dict[object, list[Peer]] = {}
    for peer in outside:
        groups.setdefault(_router(peer, outside, interfaces), []).append(peer)
    uplinks: list[_Uplink] = []
    for peers in groups.values():
        for each in _one_per_family(peers):
            taken = {uplink.name for uplink in uplinks}
            wanted = slug(each[0].description)
            is_name = wanted and wanted == each[0].description
            name = wanted if is_name else f"tor{len(uplinks) + 1}"
            interface = next(filter(None, (interfaces[p.address] for p in each)), None)
            uplinks.append(_Uplink(unique(name, taken), interface, each))
    return uplinks


def _router(peer: Peer, peers: Sequence[Peer], interfaces: Mapping[Address, str | None]) -> object:
    """Return what two sessions with one router share: the AS, if nobody else has it, or the link.

    Interfaces that are known to differ tell two routers of one AS apart.
    """
    of_asn = [other for other in peers if other.asn == peer.asn]
    families = {Family.of(other.address) for other in of_asn}
    links = {interfaces[other.address] for other in of_asn} - {None}
    if peer.asn is not None and len(families) == len(of_asn) and len(links) <= 1:
        return peer.asn
    return interfaces[peer.address] or peer.address


def _one_per_family(peers: Sequence[Peer]) -> list[tuple[Peer, ...]]:
    """Keep sessions of one family apart, whatever else they share."""
    if len({Family.of(peer.address) for peer in peers}) == len(peers):
        return [tuple(peers)]
    return [(peer,) for peer in peers]


def _uplinks_section(
    mode: Mode, asn: int | None, uplinks: Sequence[_Uplink], families: Sequence[Family]
) -> object:
    if not uplinks:
        return Noted(
            {"tor1": _unknown_uplink(mode, families)},
            above="One for each router that this host speaks BGP with.",
        )
    above = []
    if mode is Mode.DIRECT:
        above.append(
            "A session for each address, with a hold time of 9 s; IPv4 prefixes over the IPv4 one, "
            "IPv6 prefixes over the IPv6 one. Nothing else of a neighbor's settings is taken over."
        )
    if any(peer.asn == asn for uplink in uplinks for peer in uplink.peers if peer.asn):
        above.append(
            "iBGP: some have the host's own AS. bgphealth speaks eBGP with routers; the host needs "
            "an AS number of its own."
        )
    interfaces = [uplink.interface for uplink in uplinks if uplink.interface]
    locals_ = [p.local_address for u in uplinks for p in u.peers if p.local_address]
    if len(set(interfaces)) < len(interfaces) or len(set(locals_)) < len(locals_):
        above.append(
            "Several of these use the same interface or local address. To bgphealth an uplink is a "
            "link: it cannot probe two routers apart over one. Keep one of them."
        )
    missing = {f for f in families if not any(uplink.of(f) for uplink in uplinks)}
    return Noted({u.name: _uplink(mode, u, missing) for u in uplinks}, above=above)


def _unknown_uplink(mode: Mode, families: Sequence[Family]) -> dict[str, object]:
    addresses: object = FILL_IN
    if len(families) > 1:
        addresses = Flow({family.value: FILL_IN for family in families})
    entry: dict[str, object] = {
        "interface": Noted(FILL_IN, beside="leads to the router"),
        "neighbor": Noted(addresses, beside="the router's address on that link"),
        "neighbor_asn": FILL_IN,
    }
    if mode is Mode.DIRECT:
        entry["probe_source"] = Noted(addresses, beside="this host's own address on that link")
    return entry


def _uplink(mode: Mode, uplink: _Uplink, missing: Collection[Family]) -> object:
    has = [family for family in Family if uplink.of(family) or family in missing]
    first = uplink.peers[0]
    entry: dict[str, object] = {
        "interface": uplink.interface or Noted(FILL_IN, beside="leads to the router"),
        "neighbor": _addresses({f: p.address if (p := uplink.of(f)) else None for f in has}),
        "neighbor_asn": first.asn or FILL_IN,
    }
    if mode is Mode.DIRECT:
        entry["probe_source"] = Noted(
            _addresses({f: p.local_address if (p := uplink.of(f)) else None for f in has}),
            beside="this host's own address on that link",
        )
    if any(peer.has_password for peer in uplink.peers):
        entry["password_file"] = Noted(
            f"/etc/bgphealth/{uplink.name}.password",
            beside="write the password there, one line, mode 600",
        )
    if any(peer.ttl_security for peer in uplink.peers):
        entry["ttl_security"] = True
    return Noted(entry, beside=", ".join(peer.at for peer in uplink.peers))


def _addresses(of: Mapping[Family, Address | None]) -> object:
    texts = {family.value: str(address or FILL_IN) for family, address in of.items()}
    return Flow(texts) if len(texts) > 1 else next(iter(texts.values()))


# ---- services ------------------------------------------------------------------------------------


def _service(service: Draft, uplinks: Sequence[_Uplink]) -> object:
    keys = dict(service.keys)
    if service.neighbors is not None:
        names = [
            uplink.name
            for uplink in uplinks
            if any(peer.address in service.neighbors for peer in uplink.peers)
        ]
        if len(names) < len(uplinks) or not names:
            keys["uplinks"] = names or [FILL_IN]
    return Noted(keys, above=service.about)


# ---- words and numbers ---------------------------------------------------------------------------


def slug(text: str) -> str:
    """Return a name as our file takes it, as near to a text as possible; empty if there is none."""
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).lstrip("0123456789_-").rstrip("-")
    return plain[:_LONGEST_NAME].rstrip("-")


def unique(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken, and is nobody's by rule."""
    base = name if name not in {"", LOOPBACK} else "service"
    if base not in taken:
        return base
    numbered = (f"{base[: _LONGEST_NAME - 5]}-{number}" for number in itertools.count(2))
    return next(each for each in numbered if each not in taken)


def better(command: str) -> list[str]:
    """Return what is said above a check that could be one of our own kinds."""
    found = suggestion(command)
    if found is None:
        return []
    return ["Better, without a process each time, if this is what it asks:", f"  - {found}"]


def duration(seconds: Decimal) -> str:
    """Return a number of seconds as a duration of ours."""
    exact = seconds.quantize(Decimal("0.000001"))
    return f"{exact.normalize():f}s"


def _was(seconds: Decimal) -> str:
    return f"{float(seconds):g}s"  # It may be of any size.


def interval(seconds: Decimal, said: str) -> Noted:
    """Return an interval within our range; `said` is the option that it comes from."""
    lowest, highest = _INTERVALS_S
    inside = min(max(seconds, lowest), highest)
    if inside == seconds:
        return Noted(duration(seconds), beside=said)
    bound = "at least 10ms" if seconds < lowest else "at most 1h"
    return Noted(duration(inside), beside=f"{said}: was {_was(seconds)}; here {bound}")


def timeout(seconds: Decimal, every: Decimal, said: str) -> Noted:
    """Return a timeout within our range, for checks that are run `every` so often."""
    if seconds > _LONGEST_TIMEOUT_S:
        return too_long(f"{said}: was {_was(seconds)}")
    inside = max(seconds, Decimal("0.001"))
    beside = said if inside == seconds else f"{said}: was {_was(seconds)}; here at least 1ms"
    if inside <= every:
        return Noted(duration(inside), beside=beside)
    at_once = math.ceil(inside / max(every, _INTERVALS_S[0]))
    return Noted(
        duration(inside),
        beside=beside,
        above=(
            f"Longer than the interval: runs that hang overlap, up to {at_once} at a time, where "
            "they waited for each other before; a check that hangs is down sooner."
        ),
    )


def too_long(said: str) -> Noted:
    """Return a place to mend: a check may need longer than we wait at most."""
    return Noted(
        FILL_IN,
        beside=f"{said}; here at most {duration(_LONGEST_TIMEOUT_S)}",
        above=(
            "A check that takes longer would always be down. If this one does not: how long it may "
            "take."
        ),
    )


def count(number: int, said: str) -> Noted:
    """Return a number of answers in a row within our range."""
    inside = min(max(number, 1), _MOST_IN_A_ROW)
    return Noted(
        inside, beside=said if inside == number else f"{said}: was {number}; here from 1 to 1000"
    )
