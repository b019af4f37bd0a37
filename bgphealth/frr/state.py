"""FRR's own view of its sessions, as ``vtysh -c "show ... json"`` prints it.

What FRR says is checked before it is believed. That it cannot be asked is an expected outcome: a
value that says so in words, made in one place.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from bgphealth.core.settings import Address

_DIRECTORY = Path("/var/run/frr")
_TIMEOUT_S = 2.0
_OUTPUT_LIMIT = 4 << 20
"""Bytes. A BGP neighbor takes some 3,000."""

_MS = 1e-3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Session:
    """One session of FRR, BGP or BFD.

    `address` is None for a BGP neighbor that is an interface and has shown no address yet;
    `interface` is None where FRR names none. `state` is FRR's own word and `reason` its last reset
    reason (BGP) or its diagnostic (BFD). `for_s` is since when, in seconds ago. `is_shut` means
    that somebody shut the session down in the configuration of this host.
    """

    address: Address | None
    interface: str | None
    state: str
    is_up: bool
    is_shut: bool
    for_s: float | None
    reason: str


Sessions: TypeAlias = tuple[Session, ...] | str
"""All sessions of one daemon, or in words why they are not known."""


class Vtysh:
    """Asks FRR's daemons.

    Args:
        directory: where the daemons' sockets are, if not where FRR was built to have them.
        timeout_s: how long to wait for a whole answer.
        program: vtysh.
    """

    def __init__(
        self,
        directory: Path | None = None,
        timeout_s: float = _TIMEOUT_S,
        program: str = "vtysh",
    ) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._program = program

    async def bgp_neighbors(self) -> Sessions:
        """Return the BGP neighbors of the default VRF."""
        return await self.ask("bgpd", ["show bgp neighbors json"], parse_bgp_neighbors)

    async def bfd_peers(self) -> Sessions:
        """Return the BFD peers of the default VRF."""
        return await self.ask("bfdd", ["show bfd peers json"], parse_bfd_peers)

    async def ask(
        self,
        daemon: str,
        commands: Sequence[str],
        parse: Callable[[bytes], _T],
        pager: str = "",
    ) -> _T | str:
        """Ask and parse. Every way in which that can fail ends here, in words.

        `parse` takes what all commands printed, one after the other, and raises `UnreadableError`.
        `pager` is a program that vtysh prints through, none if empty.
        """
        try:
            return parse(await self._show(daemon, commands, pager))
        except TimeoutError:
            return f"{daemon} did not answer {self._program} within {self._timeout_s:g} s"
        except FileNotFoundError:
            return f"{self._program} is not installed"
        except OSError as error:
            return f"cannot run {self._program}: {error.strerror}"
        except UnreadableError as error:
            return f"{daemon}: {error}"
        except _RefusedError as error:
            return self._why_refused(daemon, str(error))

    async def _show(self, daemon: str, commands: Sequence[str], pager: str) -> bytes:
        """Return what vtysh prints. Only `daemon` is asked: another that hangs is no matter."""
        where = () if self._directory is None else ("--vty_socket", str(self._directory))
        asked = (word for command in commands for word in ("-c", command))
        process = await asyncio.create_subprocess_exec(
            *(self._program, *where, "-d", daemon, *asked),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={**os.environ, "VTYSH_PAGER": pager},
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                stdout, stderr = await asyncio.gather(
                    _read(process, process.stdout), _read(process, process.stderr)
                )
                status = await process.wait()
        finally:
            await _end(process)
        if len(stdout) > _OUTPUT_LIMIT:
            raise UnreadableError(f"more than {_OUTPUT_LIMIT >> 20} MiB of output")
        if status != 0:
            raise _RefusedError(_last_line(stderr or stdout))
        return stdout

    def _why_refused(self, daemon: str, said: str) -> str:
        """Say why a daemon could not be asked; vtysh says the same whatever the reason."""
        path = (self._directory or _DIRECTORY) / f"{daemon}.vty"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
                probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return f"{daemon} is not running (nobody listens on {path})"
        except PermissionError:
            return f"no permission for {path}: our user must be in FRR's group frrvty"
        except OSError:
            pass  # Not what vtysh stumbled over.
        return f"{daemon} does not answer {self._program}: {said}"


class _RefusedError(Exception):
    """vtysh got no answer from the daemon; the message is what it said."""


class UnreadableError(Exception):
    """The answer is not what we know how to read; the message says where."""


def parse_bgp_neighbors(output: bytes) -> tuple[Session, ...]:
    """Parse ``show bgp neighbors json``: an object per neighbor, by address or interface name."""
    return bgp_sessions(_json(output))


def bgp_sessions(neighbors: object) -> tuple[Session, ...]:
    """Return the sessions of a parsed ``show bgp neighbors json``.

    Raises:
        UnreadableError: this is something else.
    """
    if not isinstance(neighbors, dict):
        raise UnreadableError("the neighbors are not an object")
    # What is not an object is about the instance, not a neighbor.
    return tuple(
        _bgp_neighbor(name, said) for name, said in neighbors.items() if isinstance(said, dict)
    )


def parse_bfd_peers(output: bytes) -> tuple[Session, ...]:
    """Parse ``show bfd peers json``: a list of objects."""
    peers = _json(output)
    if not isinstance(peers, list):
        raise UnreadableError("the peers are not a list")
    return tuple(_bfd_peer(said) for said in peers if _is_in_default_vrf(said))


def _bgp_neighbor(name: str, said: dict[str, Any]) -> Session:
    address = _address(name)
    interface = None
    if address is None:
        interface, address = name, _address(said.get("bgpNeighborAddr"))
    state = _text(said, "bgpState", f"neighbor {name}")
    is_up = state == "Established"
    since_ms = said.get("bgpTimerUpMsec" if is_up else "lastResetTimerMsecs")
    return Session(
        address=address,
        interface=interface,
        state=state,
        is_up=is_up,
        is_shut=said.get("adminShutDown") is True,
        for_s=since_ms * _MS if isinstance(since_ms, int | float) else None,
        reason=", ".join(
            part
            for part in (said.get("lastResetDueTo"), said.get("lastNotificationReason"))
            if isinstance(part, str)
        ),
    )


def _bfd_peer(said: dict[str, Any]) -> Session:
    peer = _text(said, "peer", "a peer")
    state = _text(said, "status", f"peer {peer}")
    interface, diagnostic = said.get("interface"), said.get("diagnostic")
    since_s = said.get("uptime" if state == "up" else "downtime")
    return Session(
        address=_address(peer),
        interface=interface if isinstance(interface, str) else None,
        state=state,
        is_up=state == "up",
        is_shut=state == "shutdown",
        for_s=float(since_s) if isinstance(since_s, int | float) else None,
        # "ok" is what FRR calls No Diagnostic (RFC 5880, section 4.1).
        reason=diagnostic if isinstance(diagnostic, str) and diagnostic != "ok" else "",
    )


def _is_in_default_vrf(said: object) -> bool:
    if not isinstance(said, dict):
        raise UnreadableError("a peer is not an object")
    return bool(said.get("vrf", "default") == "default")


def _json(output: bytes) -> object:
    try:
        parsed: object = json.loads(output)
    except ValueError:
        said = output[:80].decode("utf-8", "replace").strip()
        raise UnreadableError(f"this is not JSON: {said!r}") from None
    return parsed


def _text(said: dict[str, Any], key: str, of: str) -> str:
    value = said.get(key)
    if not isinstance(value, str):
        raise UnreadableError(f"{of} has no {key}")
    return value


def _address(text: object) -> Address | None:
    with suppress(ValueError):
        return ip_address(text) if isinstance(text, str) else None
    return None


async def _read(process: Process, stream: asyncio.StreamReader | None) -> bytes:
    """Return what a program writes; one that writes more than the limit is ended."""
    output = bytearray()
    while stream is not None and (part := await stream.read(65536)):
        if len(output) <= _OUTPUT_LIMIT:
            output += part
        else:
            _kill(process)
    return bytes(output)


async def _end(process: Process) -> None:
    """End a program and what it started."""
    if process.returncode is None:
        _kill(process)
        # asyncio counts a process as ended when its pipes are at their ends, too, and a pipe that
        # nobody reads never is.
        await asyncio.gather(_read(process, process.stdout), _read(process, process.stderr))
        await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
