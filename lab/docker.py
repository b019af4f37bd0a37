"""Finds Docker, or runs a daemon of the lab's own where none answers.

A daemon that answers is used as it is. Ours runs in network and mount namespaces of its own, with
an ``/etc`` and a ``/run`` of its own: neither it nor containerlab, which must run beside it, can
write to the host's links, rules and files. It has no network. It needs root, keeps its images in
``.containerlab/docker``, and runs until `down`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from lab.errors import LabError, NotPermittedError, TimedOutError, UnavailableError
from lab.namespaces import netns_of
from lab.processes import ProcessName
from lab.state import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACE: Final = Path(__file__).resolve().parent.parent / ".containerlab"
"""What belongs to this clone: containerlab, the images of our daemon, its log."""

_STATE: Final = PLACE / "dockerd.json"
_LOG: Final = PLACE / "dockerd.log"
_DAEMON: Final = Path(__file__).with_name("dockerd.sh")
_SOCKET: Final = "unix:///run/docker.sock"
"""In the mount namespace of our daemon."""

_ANSWER_TIMEOUT_S: Final = 10.0
_TIMEOUT_S: Final = 60.0
"""For its start, and for its end."""
_REMOVE_TIMEOUT_S: Final = 300.0
"""For all containers, on a machine that is busy."""


def beside() -> list[str]:
    """Return the prefix of a command that runs beside Docker; one is started if need be.

    Empty where a daemon of the user's answers.

    Raises:
        UnavailableError: Docker is not installed, or our daemon does not start.
        NotPermittedError: None answers, and one of our own needs root.
    """
    if found := _ours():
        return _enter(found)
    return [] if _answers([]) else _enter(_start())


def environment() -> dict[str, str]:
    """Return what docker and containerlab need in their environment."""
    # Whether there is a newer containerlab is no business of the lab's.
    found = {"PATH": path(), "CLAB_VERSION_CHECK": "disable"}
    return {**found, "DOCKER_HOST": _SOCKET} if _ours() else found


def answers() -> bool:
    """Return whether a daemon answers, the user's or ours; none is started."""
    return _ours() is not None or _answers([])


def run(
    *command: str, stdin: IO[bytes] | int = subprocess.DEVNULL, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command beside Docker to its end, and return its output.

    Raises:
        LabError: There is no Docker; see `beside`.
        TimedOutError: It did not end.
    """
    return _run(beside(), command, stdin, timeout_s)


def _run(
    prefix: Sequence[str],
    command: Sequence[str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    timeout_s: float = _TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*prefix, *command],
            env={**os.environ, **environment()},
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise TimedOutError(f"'{' '.join(command)}' still ran after {timeout_s:g} s") from None


def down() -> bool:
    """End our daemon and all its containers; return whether it ran.

    Raises:
        LabError: It did not end.
    """
    if not _STATE.exists():
        return False  # nor is anything made here
    with _lock():
        found = _ours()
        if found is None:
            return False
        prefix = _enter(found)
        with contextlib.suppress(TimedOutError):  # what it did not remove ends with it
            if containers := _run(prefix, ["docker", "ps", "--all", "--quiet"]).stdout.split():
                remove = ["docker", "rm", "--force", "--volumes", *containers]
                _run(prefix, remove, timeout_s=_REMOVE_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)  # it ends its containerd first
        deadline = time.monotonic() + _TIMEOUT_S
        while found.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not found.kill():
            raise LabError(f"dockerd, process {found.pid}, does not end; {_STATE} is kept")
        _STATE.unlink()
        return True


def path() -> str:
    """Return where programs are looked for, first a containerlab that was built, for need."""
    return f"{PLACE}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _enter(daemon: ProcessName) -> list[str]:
    if netns_of(daemon.pid) == netns_of("self"):
        raise NotPermittedError("the lab's Docker daemon is in the host's own network namespace")
    here = Path.cwd()
    there = Path(f"/proc/{daemon.pid}/root", *here.parts[1:])
    directory = here if there.is_dir() else Path("/")
    return ["nsenter", "-t", str(daemon.pid), "-m", "-n", f"--wdns={directory}"]


def _answers(prefix: Sequence[str]) -> bool:
    if shutil.which("docker", path=path()) is None:
        raise UnavailableError("Docker is not installed (lab/setup.sh containerlab installs it)")
    try:
        asked = subprocess.run(
            [*prefix, "docker", "version", "--format", "{{.Server.Version}}"],
            env={**os.environ, **environment()},
            capture_output=True,
            check=False,
            timeout=_ANSWER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _start() -> ProcessName:
    if os.geteuid() != 0:
        raise NotPermittedError("no Docker daemon answers, and one of the lab's own needs root")
    if shutil.which("dockerd", path=path()) is None:
        raise UnavailableError("dockerd is not installed (lab/setup.sh containerlab installs it)")
    with _lock():
        if found := _ours():
            return found
        # By a shell, so that it is no child of this command, which it outlives.
        command = ("setsid", "unshare", "--mount", "--net", str(_DAEMON), str(PLACE))
        shell = subprocess.run(
            [
                "sh",
                "-c",
                '"$@" </dev/null >"$LOG" 2>&1 & echo $!',
                "sh",
                *command,
                netns_of("self"),
            ],
            env={**os.environ, "PATH": path(), "LOG": str(_LOG)},
            capture_output=True,
            text=True,
            check=True,
        )
        try:
            daemon = ProcessName.of(int(shell.stdout))
        except ProcessLookupError:
            raise UnavailableError(_did_not_start()) from None
        _STATE.write_text(json.dumps({"boot": boot_id(), **asdict(daemon)}), encoding="utf-8")
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline and daemon.is_alive():
            if netns_of(daemon.pid) != netns_of("self") and _answers(_enter(daemon)):
                return daemon
            time.sleep(0.1)
        daemon.kill()
        _STATE.unlink()
    raise UnavailableError(_did_not_start())


def _did_not_start() -> str:
    last = _LOG.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    return "\n".join(["no Docker daemon answers, and one of the lab's own did not start:", *last])


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ours() -> ProcessName | None:
    """Return our daemon, if it runs."""
    try:
        data = json.loads(_STATE.read_text(encoding="utf-8"))
        boot, found = data.pop("boot"), ProcessName(**data)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{_STATE} is not what the lab wrote: {error!r}") from None
    return found if boot == boot_id() and found.is_alive() else None
