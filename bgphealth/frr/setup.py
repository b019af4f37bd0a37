"""How FRR is set up: its version, its running configuration, its neighbors in full."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from bgphealth.core.settings import Family
from bgphealth.frr.state import Session, UnreadableError, Vtysh, bgp_sessions

_VERSION = re.compile(r"^FRRouting (\d+)\.(\d+)\S*", re.MULTILINE)
_CAPABILITY = {Family.IPV4: "ipv4Unicast", Family.IPV6: "ipv6Unicast"}

Version: TypeAlias = tuple[int, int]

_MANAGER = "mgmtd"
_MANAGED_SINCE: Version = (9, 0)
"""From then on mgmtd has, and alone prints, what others are configured with: staticd's routes, and
in FRR 10 zebra's route-maps and next hop tracking as well."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One of FRR's daemons: its version and its running configuration."""

    version: Version
    configuration: str


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A BGP neighbor as bgpd has it; what was negotiated is empty while there is no session.

    `families` are those that both sides speak (RFC 4760), `many_paths` those in which it may send
    several paths for a prefix and `takes_many_paths` those in which bgpd asks for that (RFC 7911).
    `keeps_for_s` is how long bgpd keeps the neighbor's routes after the end of a session, in
    seconds; None where it does not (RFC 4724).
    """

    session: Session
    remote_as: int | None
    families: frozenset[Family]
    many_paths: frozenset[Family]
    takes_many_paths: frozenset[Family]
    keeps_for_s: float | None


async def daemon(vtysh: Vtysh, name: str) -> Daemon | str:
    """Return a daemon's version and configuration, or in words why they are not known."""
    # Without a pager vtysh of FRR 8.4 prints an empty configuration.
    commands = ["show version", "show running-config"]
    return await vtysh.ask(name, commands, partial(parse_daemon, name=name), pager="cat")


async def release(vtysh: Vtysh) -> str:
    """Return which FRR bgpd is of, ``8.4.4``; empty if it cannot be asked."""
    found = await vtysh.ask("bgpd", ["show version"], _parse_release)
    return "" if isinstance(found, str) else found[0].removeprefix("FRRouting ")


async def daemons(vtysh: Vtysh, names: Iterable[str]) -> Mapping[str, Daemon | str]:
    """Return several daemons, all asked at the same time.

    zebra's configuration has what mgmtd prints, too. Where FRR has an mgmtd, and it does not
    answer, it is one of them.
    """
    wanted = (*names, _MANAGER)
    found = await asyncio.gather(*(daemon(vtysh, name) for name in wanted))
    return managed(dict(zip(wanted, found, strict=True)))


def managed(found: Mapping[str, Daemon | str]) -> dict[str, Daemon | str]:
    """Return daemons, what mgmtd has with what zebra has; without mgmtd where FRR has none."""
    others = {name: each for name, each in found.items() if name != _MANAGER}
    zebra, manager = others.get("zebra"), found.get(_MANAGER)
    if isinstance(zebra, str) or zebra is None or zebra.version < _MANAGED_SINCE:
        return others
    if isinstance(manager, Daemon):
        both = f"{zebra.configuration}\n{manager.configuration}"
        return others | {"zebra": replace(zebra, configuration=both)}
    return others if manager is None else others | {_MANAGER: manager}


async def neighbors(vtysh: Vtysh) -> Mapping[str, Neighbor] | str:
    """Return the BGP neighbors of the default VRF, by address or interface."""
    return await vtysh.ask("bgpd", ["show bgp neighbors json"], parse_neighbors)


def _parse_release(output: bytes) -> re.Match[str]:
    found = _VERSION.search(output.decode("utf-8", "replace"))
    if found is None:
        raise UnreadableError("no version")
    return found


def parse_daemon(output: bytes, *, name: str) -> Daemon:
    """Parse ``show version`` and ``show running-config``, one after the other.

    Raises:
        UnreadableError: it is something else.
    """
    text = output.decode("utf-8", "replace")
    version = _VERSION.search(text)
    begin = text.find("Current configuration:")
    if version is None or begin < 0:
        raise UnreadableError(f"no version or no configuration of {name}")
    return Daemon((int(version[1]), int(version[2])), text[begin:])


def parse_neighbors(output: bytes) -> Mapping[str, Neighbor]:
    """Parse ``show bgp neighbors json``.

    Raises:
        UnreadableError: it is something else.
    """
    try:
        said: object = json.loads(output)
    except (ValueError, RecursionError):
        raise UnreadableError("the neighbors are not JSON") from None
    if not isinstance(said, dict):
        raise UnreadableError("the neighbors are not an object")
    sessions = bgp_sessions(said)
    named = [(name, each) for name, each in said.items() if isinstance(each, dict)]
    return {
        name: _neighbor(each, session)
        for (name, each), session in zip(named, sessions, strict=True)
    }


def _neighbor(said: dict[str, Any], session: Session) -> Neighbor:
    capabilities = _object(said, "neighborCapabilities")
    protocols = _object(capabilities, "multiprotocolExtensions")
    add_path = _object(capabilities, "addPath")
    remote_as = said.get("remoteAs")

    def families_with(capability: dict[str, Any], *words: str) -> frozenset[Family]:
        return frozenset(
            family
            for family, name in _CAPABILITY.items()
            if any(_object(capability, name).get(word) is True for word in words)
        )

    return Neighbor(
        session=session,
        remote_as=remote_as if isinstance(remote_as, int) else None,
        families=families_with(protocols, "advertisedAndReceived"),
        many_paths=families_with(add_path, "txReceived", "txAdvertisedAndReceived"),
        takes_many_paths=families_with(add_path, "rxAdvertised", "rxAdvertisedAndReceived"),
        keeps_for_s=_keeps_for_s(capabilities),
    )


def _keeps_for_s(capabilities: dict[str, Any]) -> float | None:
    """Return for how long: only families that the neighbor names are kept (RFC 4724, 3)."""
    time_ms = capabilities.get("gracefulRestartRemoteTimerMsecs")
    is_negotiated = capabilities.get("gracefulRestart") == "advertisedAndReceived"
    if not is_negotiated or not _object(capabilities, "addressFamiliesByPeer"):
        return None
    return time_ms / 1000 if isinstance(time_ms, int | float) else 0.0


def _object(said: dict[str, Any], key: str) -> dict[str, Any]:
    """Return what FRR says under a key: nothing, or a word, is an object without anything."""
    value = said.get(key)
    return value if isinstance(value, dict) else {}
