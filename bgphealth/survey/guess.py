"""The file that comes nearest to what a host was seen to be. Everything in it says where from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from bgphealth.config.writing import Flow, Noted
from bgphealth.core.settings import Address, Family
from bgphealth.frr.peers import Speaker
from bgphealth.survey import links, services
from bgphealth.survey.links import Uplink
from bgphealth.survey.seen import Seen
from bgphealth.survey.services import Loopback, Service

_ASN_OF_COMMUNITY = 65534
"""The largest one that fits into a community (RFC 1997)."""

_BEYOND = (
    (
        "What only you know: addresses in the network behind the ToRs or gateways. Without them "
        "an uplink whose router answers is taken for well, whatever is behind it. Two that do not "
        "share a fate, of each family:"
    ),
    "   beyond:",
    "     need: 1",
    '     of: [{icmp: 198.51.100.1}, {icmp: 198.51.100.2}, {icmp: "2001:db8:100::1"}]',
)

_HEAD = (
    "What `bgphealth init` has seen on this host, and a guess: read every line. What is not here "
    "has its default; `bgphealth check` prints what all of it amounts to."
)
_OWN = (
    "The host's own loopback: unique, and the source of everything that the host starts itself. "
    "Never an address that other hosts announce too."
)
_WHY = {
    "frr": "bgpd runs here, with neighbors on this host's links",
    "direct": "exabgp.conf has neighbors on this host's links, and bgpd has none",
}

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Guess:
    """A document for `bgphealth.config.writing`, or None; what is missing, what is doubtful."""

    document: Document | None
    head: tuple[str, ...]
    missing: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


def guess(seen: Seen) -> Guess:
    """Return the file, or what is missing for one."""
    if isinstance(seen.bgpd, Speaker):
        uplinks, others = links.bgp_uplinks(seen, seen.bgpd)
        if uplinks:
            return _with_bgp("frr", seen, seen.bgpd, uplinks, others)
    if isinstance(seen.exabgp, Speaker):
        uplinks, others = links.bgp_uplinks(seen, seen.exabgp)
        if uplinks:
            return _with_bgp("direct", seen, seen.exabgp, uplinks, others)
    return _local(seen)


def unread(seen: Seen) -> tuple[str, ...]:
    """Return what may not be read, and without which there is no guess: bgpd may be enough."""
    if isinstance(seen.bgpd, Speaker) and links.bgp_uplinks(seen, seen.bgpd)[0]:
        return tuple(why for why in seen.unread if why != seen.exabgp)
    return seen.unread


def _with_bgp(
    mode: str,
    seen: Seen,
    speaker: Speaker,
    uplinks: Sequence[Uplink],
    others: Sequence[str],
) -> Guess:
    is_frr = mode == "frr"
    unnumbered = [uplink for uplink in uplinks if uplink.peer.is_interface]
    probed = services.probe_sources(seen, unnumbered)
    missing: list[str] = []
    unfinished: list[str] = []
    doubtful = [f"left out: {other}" for other in others]
    entries: dict[str, object] = {}
    families: set[Family] = set()
    for uplink in uplinks:
        lacking, entry, carried = _uplink(uplink, probed, is_frr=is_frr)
        missing += lacking
        if carried:
            entries[uplink.name] = Noted(entry, above=[*_about(uplink), *lacking])
            families |= carried
        else:
            unfinished += [*_about(uplink), *lacking]
    router_id = speaker.router_id
    told = router_id if speaker.has_router_id else None
    own = {f: services.loopback(seen, f, told, probed.values()) for f in sorted(families)}
    missing += [
        f"host.source.{family}: which address on lo is this host's own? On lo: "
        f"{_words(a for a in services.addresses(seen) if Family.of(a) is family)}"
        f"{'' if told or family is Family.IPV6 else '; `bgp router-id` would tell'}"
        for family, found in own.items()
        if found is None
    ]
    if speaker.asn is None:
        missing.append("host.asn: no session says which AS this host is")
    if router_id is None:
        ipv4 = own.get(Family.IPV4)
        missing += ["host.router_id: nobody says what it is"] if ipv4 is None else []
    sources = {f: found for f, found in own.items() if found is not None}
    if speaker.asn is None or not entries or any(found is None for found in own.values()):
        return Guess(None, (_HEAD,), tuple(missing), tuple(doubtful))
    ipv4 = sources.get(Family.IPV4)
    if told is None and ipv4 is not None:
        router_id = IPv4Address(ipv4.address)  # One of its own choice may be an anycast address.
    host = _host(speaker, router_id or sources[Family.IPV4].address, sources, is_frr=is_frr)
    document: Document = {
        "version": 1,
        "mode": Noted(mode, _WHY[mode]),
        "host": Noted(host, above=[f"From {_speaker(mode)}, and the addresses on lo."]),
        "uplinks": Noted(entries, above=[*_left_out(others), *unfinished]),
        "paths": _paths(),
    }
    not_these = {*(found.address for found in sources.values()), *probed.values()}
    announced = {p for u in uplinks for peer in u.peers.values() for p in peer.hears}
    found, unknown = services.services(seen, not_these, announced)
    of_families = [s for s in found if any(Family.of(a) in families for a in s.addresses)]
    document |= _services(of_families, unknown, seen)
    doubtful += [
        f"host.source.{family}: {each.address} is a guess: {each.why}"
        for family, each in sources.items()
        if each.is_guess
    ]
    return Guess(document, (_HEAD,), tuple(missing), tuple(doubtful))


def _speaker(mode: str) -> str:
    return "bgpd" if mode == "frr" else "exabgp.conf"


def _host(
    speaker: Speaker,
    router_id: Address,
    sources: Mapping[Family, Loopback],
    *,
    is_frr: bool,
) -> Document:
    asn = speaker.asn or 0
    host: Document = {"asn": asn, "router_id": str(router_id)}
    if speaker.router_id not in (None, router_id):
        host["router_id"] = Noted(
            str(router_id), above=[f"bgpd was told none, and has taken {speaker.router_id}."]
        )
    if is_frr and asn > _ASN_OF_COMMUNITY:
        host["community_asn"] = Noted(
            min(max(asn & 0xFFFF, 1), _ASN_OF_COMMUNITY),
            above=[
                "A guess: any number of 16 bits which nobody else's communities here begin with."
            ],
        )
    host["source"] = Noted(
        Flow({str(family): str(found.address) for family, found in sources.items()}),
        above=[
            _OWN,
            *(
                f"{family}: {'a guess: ' if found.is_guess else ''}{found.why}."
                for family, found in sources.items()
            ),
        ],
    )
    return host


def _uplink(
    uplink: Uplink,
    probed: Mapping[tuple[str, Family], Address],
    *,
    is_frr: bool,
) -> tuple[list[str], Document, set[Family]]:
    """Return what is missing of an uplink, its entry, and the families that it carries."""
    peer = uplink.peer
    entry: Document = {"interface": uplink.interface}
    missing: list[str] = []
    if peer.is_interface:
        hops = {f: hop for f in uplink.peers if (hop := _next_hop(uplink, f)) is not None}
        own = {f: a for f in uplink.peers if (a := probed.get((uplink.name, f))) is not None}
        carried = {f for f in uplink.peers if f in hops and f in own}
        missing += [
            f"uplinks.{uplink.name}.{key}.{family}: {what}"
            for family in uplink.peers
            for key, there, what in (
                ("next_hop", hops, "the ToR's own loopback: it announces none to this host"),
                ("probe_source", own, "an address on lo that this ToR alone hears of"),
            )
            if family not in there
        ]
        entry["neighbor"] = "unnumbered"
        entry["neighbor_asn"] = peer.asn or "external"
        entry["next_hop"] = _by_family({f: hops[f] for f in sorted(carried)})
        entry["probe_source"] = _by_family({f: own[f] for f in sorted(carried)})
        return missing, entry, carried
    entry["neighbor"] = _by_family({f: p.address for f, p in uplink.peers.items()})
    if peer.asn is None and not is_frr:
        return [f"uplinks.{uplink.name}.neighbor_asn: which AS?"], entry, set()
    entry["neighbor_asn"] = peer.asn or "external"
    if not is_frr:
        ends = {f: p.local for f, p in uplink.peers.items() if p.local is not None}
        if set(ends) != set(uplink.peers):
            return [f"uplinks.{uplink.name}.probe_source: no local-address"], entry, set()
        entry["probe_source"] = _by_family(ends)
    options = {option for p in uplink.peers.values() for option in p.options}
    if "bfd" in options:
        entry["bfd"] = True
    if "ttl-security" in options:
        entry["ttl_security"] = True
    return missing, entry, set(uplink.peers)


def _next_hop(uplink: Uplink, family: Family) -> Address | None:
    peer = uplink.peers[family]
    own = sorted(p.network_address for p in peer.loopbacks if Family.of(p) is family)
    return peer.router_id if peer.router_id in own else next(iter(own), None)


def _by_family(addresses: Mapping[Family, Address | str | None]) -> Flow:
    return Flow({str(family): str(address) for family, address in addresses.items()})


def _about(uplink: Uplink) -> list[str]:
    names = " and ".join(dict.fromkeys(peer.name for peer in uplink.peers.values()))
    said = [f"Neighbor {names} {uplink.why}."]
    down = dict.fromkeys(peer.name for peer in uplink.peers.values() if peer.is_up is False)
    said += [f"With {name}, its session is down now." for name in down]
    if any("password" in peer.options for peer in uplink.peers.values()):
        said.append("The session has a password. Write it into a file that only root can read:")
        said.append(f"   password_file: /etc/bgphealth/{uplink.name}.password")
    return said


def _left_out(others: Sequence[str]) -> list[str]:
    return [f"Left out: {other}." for other in others]


def _paths() -> Noted:
    paths = {"gateway": Noted([Flow({"icmp": "neighbor"})], above=_BEYOND)}
    return Noted(paths, above=["Asked once per uplink; `bgphealth check` prints the timings."])


def _services(found: Sequence[Service], unknown: Sequence[Address], seen: Seen) -> Document:
    about = [f"On lo, and neither announced nor listened on: {_words(unknown)}."] if unknown else []
    listened = services.everywhere(seen)
    if listened:
        ports = ", ".join(map(str, listened))
        about.append(f"On all addresses somebody listens on TCP {ports}: not counted as a service.")
    if not found:
        return {}
    entries = {service.name: Noted(_service(service), above=_known(service)) for service in found}
    return {"services": Noted(entries, above=about)}


def _service(service: Service) -> Document:
    entry: Document = {"prefixes": [f"{a}/{a.max_prefixlen}" for a in service.addresses]}
    checks = [Flow({"tcp": _target(a, port)}) for a in service.addresses for port in service.tcp]
    return entry | ({"checks": checks} if checks else {})


def _known(service: Service) -> list[str]:
    said = [f"{kind} {port}" for kind, ports in (("TCP", service.tcp), ("UDP", service.udp))
            for port in ports]  # fmt: skip
    lines = [f"Listened on: {', '.join(said)}." if said else "Announced now; nobody listens on it."]
    if not service.tcp:
        lines.append("No check is known, so that it is always announced. One of yours:")
        lines.append("   checks: [{exec: [/usr/local/bin/check]}]")
    if 53 in service.udp:  # noqa: PLR2004 - RFC 1035
        target = _target(service.addresses[0], 53)
        lines.append("It answers DNS: a question says more than a connection.")
        lines.append(f'   checks: [{{dns: {{server: "{target}", name: example.net}}}}]')
    return lines


def _target(address: Address, port: int) -> str:
    return f"{address}:{port}" if Family.of(address) is Family.IPV4 else f"[{address}]:{port}"


def _local(seen: Seen) -> Guess:
    found = links.gateways(seen)
    if len(found) < 2:  # noqa: PLR2004 - there is nothing to choose from one
        return Guess(None, (_HEAD,), tuple(_too_little(seen, found)))
    entries = {
        uplink.name: Noted(
            {"interface": uplink.interface, "gateway": _by_family(uplink.gateways)},
            above=[f"{uplink.why}."],
        )
        for uplink in found
    }
    order = "The first one is preferred: the order is that of the metrics now."
    why = f"no BGP, and defaults through {len(found)} interfaces"
    return Guess(
        {
            "version": 1,
            "mode": Noted("local", why),
            "uplinks": Noted(entries, above=[order]),
            "paths": _paths(),
        },
        (_HEAD,),
    )


def _too_little(seen: Seen, found: Sequence[Uplink]) -> Iterator[str]:
    for mode, what, program in (("frr", seen.bgpd, "bgpd"), ("direct", seen.exabgp, "ExaBGP")):
        if isinstance(what, str):
            yield f"mode {mode}: {what}"
        elif not what.peers:
            yield f"mode {mode}: {program} has no neighbors"
        else:
            _, others = links.bgp_uplinks(seen, what)
            yield from (f"mode {mode}: {other}" for other in others)
    if routed := links.routed(seen):
        through = ", ".join(routed)
        yield f"mode local: the default through {through} is a routing daemon's: no gateway"
    if found:
        yield f"mode local: {found[0].interface} alone has a default, and two are needed"
    else:
        yield "mode local: no interface has a default with a gateway, and two are needed"


def _words(addresses: Sequence[Address] | Iterator[Address]) -> str:
    return ", ".join(map(str, addresses)) or "none"
