"""Look at this host. Nothing is changed, and nothing is sent to anybody but FRR's sockets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from bgphealth.core.settings import Address, Family
from bgphealth.exabgp.configuration import Statement, statements
from bgphealth.fallback.netlink import Netlink
from bgphealth.frr import peers, setup
from bgphealth.frr.existing import existing
from bgphealth.frr.peers import Peer, Speaker
from bgphealth.frr.state import Vtysh
from bgphealth.survey.seen import Listening, Seen

EXABGP_CONF = Path("/etc/exabgp/exabgp.conf")

_SOCKETS = Path("/proc/self/net")
_LATE_S = 10.0
_BYTES_OF_IPV4 = 4
_OPTIONS = ("bfd", "password", "ttl-security")
_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
"""The state of a socket that takes what comes (linux/tcp_states.h); connected ones have others."""


async def look() -> Seen:
    """Return what this host is.

    Raises:
        HostError: the kernel does not tell.
    """
    async with Netlink() as netlink:
        interfaces = await netlink.interfaces()
        defaults = {family: tuple(await netlink.defaults(family)) for family in Family}
    vtysh = Vtysh(timeout_s=_LATE_S)
    bgpd = await peers.speaker(vtysh)
    daemon = await setup.daemon(vtysh, "bgpd")
    configuration = existing([] if isinstance(daemon, str) else [daemon.configuration])
    if isinstance(bgpd, Speaker):
        bgpd = Speaker(
            # Without a neighbor bgpd does not say.
            bgpd.asn or configuration.asn,
            bgpd.router_id,
            has_router_id=configuration.has_router_id,
            peers=tuple(
                replace(p, options=frozenset(o for o in _OPTIONS if configuration.has(p.name, o)))
                for p in bgpd.peers
            ),
        )
    exabgp = _exabgp()
    return Seen(
        interfaces=interfaces,
        defaults=defaults,
        bgpd=bgpd,
        exabgp=exabgp,
        listening=frozenset(listening(_SOCKETS)),
        unread=tuple(
            dict.fromkeys(
                why
                for why in (bgpd, daemon, exabgp)
                if isinstance(why, str) and "permission" in why.lower()
            )
        ),
    )


def listening(directory: Path) -> Iterator[Listening]:
    """Yield who waits for what comes from outside; ``/proc/net`` (proc(5)) is for everybody."""
    for name, state in _WAITING.items():
        with suppress(OSError):
            for line in (directory / name).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                address, _, port = words[1].partition(":")
                if words[3] == state:
                    yield Listening(name[:3], _kernel_address(address), int(port, 16))


def _kernel_address(text: str) -> Address:
    """Return an address as the kernel prints it: 32-bit words in the order of this machine."""
    step = -1 if sys.byteorder == "little" else 1
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::step] for at in range(0, len(text), 8))
    if len(raw) == _BYTES_OF_IPV4:
        return IPv4Address(raw)
    address = IPv6Address(raw)
    return address.ipv4_mapped or address


def _exabgp() -> Speaker | str:
    try:
        text = EXABGP_CONF.read_text(encoding="utf-8", errors="replace")
    except PermissionError:
        return f"no permission to read {EXABGP_CONF}"
    except OSError:
        return f"there is no {EXABGP_CONF}"
    return exabgp_speaker(text)


def exabgp_speaker(text: str) -> Speaker:
    """Return what an exabgp.conf says; templates and groups are not followed."""
    said: dict[str, dict[str, str]] = {}
    families: dict[str, set[Family]] = {}
    for statement in statements(text, described=True):
        if (name := _neighbor(statement)) is None:
            continue
        key, _, value = statement.text.partition(" ")
        said.setdefault(name, {})
        if len(statement.within) == 1:
            said[name][key] = value
        elif statement.within[-1] == "family":
            families.setdefault(name, set()).update(
                f for f in Family if statement.text == f"{f} unicast"
            )
    asns = [int(s["local-as"]) for s in said.values() if s.get("local-as", "").isdecimal()]
    ids = [s["router-id"] for s in said.values() if "router-id" in s]
    return Speaker(
        asn=asns[0] if asns else None,
        router_id=IPv4Address(ids[0]) if ids else None,
        peers=tuple(_exabgp_peer(name, s, families.get(name, set())) for name, s in said.items()),
        has_router_id=bool(ids),
    )


def _exabgp_peer(name: str, said: Mapping[str, str], families: set[Family]) -> Peer:
    address, asn = ip_address(name), said.get("peer-as", "")
    local = said.get("local-address")
    return Peer(
        name=name,
        address=address,
        local=ip_address(local) if local else None,
        asn=int(asn) if asn.isdecimal() else None,
        is_internal=asn == said.get("local-as"),
        is_up=None,
        families=frozenset(families or {Family.of(address)}),
        description=said.get("description", "").strip("\"'"),
        options=frozenset(
            option
            for option, is_there in (
                ("password", "md5-password" in said),
                ("ttl-security", said.get("incoming-ttl") == "255"),
            )
            if is_there
        ),
    )


def _neighbor(statement: Statement) -> str | None:
    word, _, name = (statement.within or ("",))[0].partition(" ")
    with suppress(ValueError):
        return str(ip_address(name)) if word == "neighbor" else None
    return None
