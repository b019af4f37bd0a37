"""The running program: whether it runs, and what the kernel lets it do."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.core.errors import HostError, PermissionDeniedError
from bgphealth.core.settings import AddressUse, ProbeKind
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.words import sysctl
from bgphealth.fallback import view

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings

NOT_RUNNING = Kind(
    "not_running",
    Severity.NOTE,
    "bgphealth does not run with this file",
    "nothing is probed or steered; what it may do once it runs is judged by what this command "
    "could be given at most",
)
NO_NET_ADMIN = Kind(
    "no_net_admin",
    Severity.ERROR,
    "bgphealth has no CAP_NET_ADMIN",
    "it cannot write the uplinks' tables and rules, the fallback defaults, or addresses",
)
NO_ICMP = Kind(
    "no_icmp",
    Severity.ERROR,
    "bgphealth may not send ICMP echo requests",
    "`icmp` probes are `unknown`, so that the paths never get a verdict",
)

KINDS = (NOT_RUNNING, NO_NET_ADMIN, NO_ICMP)

_CAP_NET_ADMIN, _CAP_NET_RAW = 12, 13  # capability.h
_CREDENTIALS = struct.Struct("3i")
_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """What a process may do: its capabilities (as bits), and all its groups."""

    pid: int
    capabilities: int
    groups: frozenset[int]

    def has(self, capability: int) -> bool:
        """Return whether it has a capability, by its number."""
        return bool(self.capabilities >> capability & 1)


async def findings(settings: Settings, *, control_socket: Path) -> list[Finding]:
    """Return what the running program lacks, or what none could have here when none runs.

    Raises:
        HostError: the kernel does not tell.
        PermissionDeniedError: the control socket is not for this user.
    """
    pid = _listener(control_socket)
    found = []
    if pid is None:
        found.append(NOT_RUNNING.found(control_socket, "nothing listens there"))
    return [*found, *judge(settings, _read(pid), view.sysctl("ipv4/ping_group_range"))]


def judge(settings: Settings, process: Process, ping_group_range: str | None) -> Iterator[Finding]:
    """Yield what a process with this file lacks."""
    subject = f"process {process.pid}"
    adds = any(service.address is AddressUse.ADD for service in settings.services)
    if (settings.fallback.enabled or adds) and not process.has(_CAP_NET_ADMIN):
        yield NO_NET_ADMIN.found(
            subject,
            "its capabilities are without CAP_NET_ADMIN",
            "in the unit: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW (bgphealth render systemd)",
        )
    if ping_group_range is None or not _pings(settings) or process.has(_CAP_NET_RAW):
        return
    lowest, highest = map(int, ping_group_range.split())
    if not any(lowest <= group <= highest for group in process.groups):
        listed = ", ".join(map(str, sorted(process.groups)))
        yield NO_ICMP.found(
            subject,
            f"net.ipv4.ping_group_range is {lowest} {highest}, its groups are {listed}, and it has "
            "no CAP_NET_RAW",
            sysctl({"ipv4/ping_group_range": "0 2147483647"}),
        )


def _pings(settings: Settings) -> bool:
    paths = [path for uplink in settings.uplinks for path in uplink.paths]
    probes = [probe for path in paths for probe in (*path.gateway, *path.beyond)]
    checks = [check for service in settings.services for check in service.checks]
    return any(probe.kind is ProbeKind.ICMP for probe in (*probes, *checks))


def user(control_socket: Path) -> int | None:
    """Return the number of the user that the running program runs as, None when none runs.

    Raises:
        HostError: the kernel does not tell.
        PermissionDeniedError: the control socket is not for this user.
    """
    pid = _listener(control_socket)
    try:
        return None if pid is None else Path(f"/proc/{pid}").stat().st_uid
    except OSError as error:
        raise HostError(f"/proc/{pid}: {error.strerror}") from error


def _listener(path: Path) -> int | None:
    """Return the process that listens on a socket, None for none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise PermissionDeniedError(f"{path} is not for this user") from None
        except OSError as error:
            raise HostError(f"{path}: {error.strerror or 'no answer in time'}") from error
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def _read(pid: int | None) -> Process:
    """Read what proc(5) says of a process; None for one like this, with all it could be given."""
    where = Path("/proc", "self" if pid is None else str(pid), "status")
    fields: dict[str, str] = {}
    try:
        for line in where.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields[name] = value
    except OSError as error:
        raise HostError(f"{where}: {error.strerror}") from error
    # The second one is the effective group, which counts; proc(5).
    groups = {int(fields["Gid"].split()[1]), *map(int, fields["Groups"].split())}
    capabilities = fields["CapBnd" if pid is None else "CapEff"]
    return Process(int(fields["Pid"]), int(capabilities, 16), frozenset(groups))
