"""What to look at next when a probe is not ok: commands to type, and what they would show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgphealth.core.events import Verdict
from bgphealth.core.settings import (
    DnsQuestion,
    ExecQuestion,
    Family,
    HttpQuestion,
    ProbeKind,
    ProbeSettings,
    Role,
)

if TYPE_CHECKING:
    from bgphealth.daemon.once import Asked, PathFacts
    from bgphealth.fallback.missing import Missing


@dataclass(frozen=True, slots=True)
class Context:
    """What else is known when a probe fails. `gateway_ok`: no gateway probe of it failed."""

    gateway_ok: bool = True


def hints(asked: Asked, context: Context) -> list[str]:
    """Return what to look at, the likeliest first; nothing for a probe that is ok."""
    if asked.verdict is Verdict.OK:
        return []
    found = [*_general(asked)]
    if found:
        return found
    if isinstance(asked.subject, str):
        return list(_of_service(asked, asked.subject))
    return list(_of_path(asked, asked.subject, context))


def is_permission(detail: str) -> bool:
    """Return whether a probe could not be asked because we may not."""
    return any(sign in detail for sign in _NOT_PERMITTED)


def mend_tables(missing: Missing) -> str:
    """Return how the uplink's table and rule come into place."""
    if missing.others:
        return "start or reload bgphealth with this file, or set fallback.table to free numbers"
    return "start bgphealth, or add it: bgphealth probe --tables"


_NOT_PERMITTED = ("ping_group_range", "no permission", "CAP_NET_RAW", "CAP_NET_ADMIN")

_GENERAL = (
    (
        "ping_group_range",
        "sysctl -w net.ipv4.ping_group_range='0 2147483647', or CAP_NET_RAW for the unit",
    ),
    ("frrvty", "usermod -aG frrvty USER, or SupplementaryGroups=frrvty in the unit"),
    (
        "stalled",
        "this host was too busy to notice an answer: look at its load, then try again",
    ),
    ("vtysh is not installed", "FRR is not on this host, or its package has no vtysh"),
    (
        "is not running",
        "systemctl status frr; bgpd=yes and bfdd=yes in /etc/frr/daemons, as they are asked for",
    ),
    ("has no neighbor", "vtysh -c 'show bgp summary'; compare with bgphealth render frr"),
    (
        "has no peer",
        "vtysh -c 'show bfd peers brief'; the uplink needs bfd: true, frr.conf rendered after it",
    ),
    ("shut down in the configuration of this host", "vtysh -c 'show running-config'"),
    (
        "Operation not permitted",
        "a firewall of this host rejects what it sends: nft list ruleset (hook output)",
    ),
)
"""Part of a detail, and what to look at, whatever was asked."""


def _general(asked: Asked) -> Iterator[str]:
    for sign, hint in _GENERAL:
        if sign in asked.detail:
            yield hint


def _of_service(asked: Asked, service: str) -> Iterator[str]:
    probe = asked.probe
    if "is not an address of this host" in asked.detail:
        length = 32 if _is_ipv4(probe) else 128
        yield f"ip addr add {probe.target}/{length} dev lo: {service} cannot be served without it"
    elif probe.kind is ProbeKind.TCP:
        yield f"ss -ltnp 'sport = :{probe.port}': does {service} listen, and on {probe.target}?"
    else:
        yield _by_hand(probe, None)


def _of_path(asked: Asked, path: PathFacts, context: Context) -> Iterator[str]:
    """Return what to look at on a path: this end of the link, the link, the ToR, behind it."""
    probe = asked.probe
    if asked.verdict is Verdict.UNKNOWN:
        yield from _cannot_ask(asked, path)
    elif probe.kind.is_state:
        yield _state(probe, path)
    elif asked.role is Role.BEYOND and not context.gateway_ok:
        yield f"{path.path.uplink}'s gateway is not ok either: start there"
    elif not asked.detail.startswith("no answer"):
        if "refused" in asked.detail:
            yield f"{probe.target} was reached and refuses: is port {probe.port} the right one?"
        yield _by_hand(probe, path)
    elif asked.role is Role.GATEWAY:
        yield from _silent_gateway(probe, path)
    else:
        yield from _silent_beyond(probe, path)
    if not probe.kind.is_state:
        yield from _local_suspects(asked, path)


def _cannot_ask(asked: Asked, path: PathFacts) -> Iterator[str]:
    family = _family(path)
    if asked.probe.kind.is_state:
        yield _state(asked.probe, path)
    elif "nreachable" in asked.detail and path.missing is None:
        yield f"ip {family} route get {asked.probe.target} oif {path.interface}"
    elif isinstance(path.source, str) and "gateway is known" in path.source:
        yield (
            f"ip {family} route show default dev {path.interface}: whoever configures it makes "
            f"one, or uplinks.{path.path.uplink}.gateway says the address"
        )
    elif isinstance(path.source, str) and "router" in path.source:
        yield (
            f"ip -6 neigh show dev {path.interface}: 'router' marks the ToR; it must send router "
            "advertisements (FRR: no ipv6 nd suppress-ra)"
        )
    elif path.neighbor is None:
        yield f"ip {family} addr show dev lo: uplinks.{path.path.uplink}.probe_source must be there"
    elif isinstance(path.source, str) or "address" in asked.detail:
        yield (
            f"ip {family} addr show dev {path.interface}: it needs an address in the subnet of "
            f"{path.neighbor}, or uplinks.{path.path.uplink}.probe_source"
        )
    else:
        yield f"ip {family} addr show dev {path.interface}; ip {family} rule"


def _state(probe: ProbeSettings, path: PathFacts) -> str:
    if probe.kind is ProbeKind.BGP:
        whom = probe.target or path.interface
        return f"vtysh -c 'show bgp neighbors {whom}'; the ToR's log says its side"
    if probe.kind is ProbeKind.BFD:
        whom = f"peer {probe.target}" if probe.target else "peers brief"
        return f"vtysh -c 'show bfd {whom}'; is BFD on at the ToR as well?"
    return (
        f"ip -s addr show dev {path.interface}: carrier, errors, addresses; then the cable and "
        "the ToR's port"
    )


def _silent_gateway(probe: ProbeSettings, path: PathFacts) -> Iterator[str]:
    if path.neighbor is None:
        yield (
            f"vtysh -c 'show bgp neighbors {path.interface}': the ToR knows the way back to "
            f"{path.source} from this session alone"
        )
    # Over an unnumbered link IPv4, too, goes to the ToR's link-local address (RFC 5549).
    family, whom = ("-6", "the ToR") if path.neighbor is None else (_family(path), probe.target)
    yield (
        f"ip {family} neigh show dev {path.interface}: FAILED or INCOMPLETE means that "
        f"{whom} is not on this link: cable, port, VLAN, the ToR itself"
    )
    if probe.kind is ProbeKind.ICMP:
        yield "REACHABLE means that the ToR is there and does not answer ICMP: its policer or ACL"


def _silent_beyond(probe: ProbeSettings, path: PathFacts) -> Iterator[str]:
    yield f"ip {_family(path)} route get {probe.target}{_from(path)} oif {path.interface}"
    if not isinstance(path.source, str):
        yield (
            f"does {path.path.uplink} have a route back to {path.source}, and the network behind "
            "it by this uplink alone? A reply that comes in by another one is dropped here"
        )
    source = "" if isinstance(path.source, str) else f" -s {path.source}"
    yield f"traceroute {_family(path)} -n -i {path.interface}{source} {probe.target}"


def _local_suspects(asked: Asked, path: PathFacts) -> Iterator[str]:
    """Return what on this host makes a good path look bad."""
    if path.missing is not None:
        yield (
            "its table or rule is not in place: this may be the answer of another uplink, or of "
            f"none; {mend_tables(path.missing)}"
        )
    is_silent = asked.detail.startswith("no answer")
    if path.strict_reverse_path and asked.role is Role.BEYOND and is_silent:
        yield (
            f"rp_filter is strict on {path.interface}: the kernel drops replies while its own "
            f"default leads elsewhere; sysctl -w net/ipv4/conf/{path.interface}/rp_filter=2"
        )


def _by_hand(probe: ProbeSettings, path: PathFacts | None) -> str:
    """Return the command that asks the same by hand."""
    source = None if path is None or isinstance(path.source, str) else path.source
    match probe.question:
        case HttpQuestion(tls=tls, path=url_path, host=host):
            target = str(probe.target) if _is_ipv4(probe) else f"[{probe.target}]"
            scheme = "https" if tls else "http"
            name = host or target
            where = f"--connect-to ::{target}: " if host else ""
            bound = f"--interface {path.interface} " if path is not None else ""
            return f"curl -v {bound}{where}'{scheme}://{name}:{probe.port}{url_path}'"
        case DnsQuestion(name=name, rdtype=rdtype, transport=transport):
            bound = f" -b {source}" if source else ""
            tcp = " +tcp" if transport == "tcp" else ""
            return f"dig @{probe.target} -p {probe.port}{bound}{tcp} {name} {rdtype}"
        case ExecQuestion(command=command):
            return f"run it by hand, as the user that bgphealth runs as: {' '.join(command)}"
        case _:
            bound = f" -s {source}" if source else ""
            return f"nc -vz{bound} {probe.target} {probe.port}"


def _from(path: PathFacts) -> str:
    return "" if isinstance(path.source, str) else f" from {path.source}"


def _family(path: PathFacts) -> str:
    return "-4" if path.path.family is Family.IPV4 else "-6"


def _is_ipv4(probe: ProbeSettings) -> bool:
    return probe.target is not None and Family.of(probe.target) is Family.IPV4
