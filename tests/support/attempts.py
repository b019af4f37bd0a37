"""What a program in the sandbox of a unit can do: run in it, it prints a JSON object of booleans.

Only the standard library; it is copied to where it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ANYBODY = Path(sys.argv[0]).parent
"""Outside of everything of the unit's; everybody may write to it."""

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
_PTRACE_TRACEME = 0
_GIVEN = 1 << 12 | 1 << 13  # CAP_NET_ADMIN and CAP_NET_RAW
_ADDR_NO_RANDOMIZE = 0x0040000
_OWN = Path(os.environ["STATE_DIRECTORY"], "own")


def _can(function: Callable[..., int], *arguments: int) -> bool:
    """Call a function of libc in a process that is not needed afterwards."""
    child = os.fork()
    if child == 0:
        os._exit(function(*arguments) < 0)
    return os.waitpid(child, 0)[1] == 0


def _umask() -> bool:
    written = _OWN.with_name("written")
    written.touch()
    return bool(written.stat().st_mode & 0o077)


def _set_user_id() -> None:
    _OWN.touch()
    _OWN.chmod(0o4755)


def _writable_code() -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, mmap.PAGESIZE, prot=protection).close()


def _packets() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def _as_root(field: str) -> int:
    """Return what the kernel says of a program that is root's, and set-user-ID; in hexadecimal."""
    done = subprocess.run([ANYBODY / "su-cat", "/proc/self/status"], capture_output=True, text=True)
    fields = dict(line.split(":", 1) for line in done.stdout.splitlines())
    return int(fields[field].split()[1 if field == "Uid" else 0], 16)


def _forwarding() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write elsewhere": (ANYBODY / "written").touch,
    "read home directories": lambda: Path("/home/secret").read_text(),
    "read others' temporary files": lambda: Path("/tmp/secret").read_text(),  # noqa: S108
    "listen to all packets": _packets,
    "write sysctls": _forwarding,
    "have a namespace": lambda: _can(_libc.unshare, _CLONE_NEWUSER),
    "trace": lambda: _can(_libc.ptrace, _PTRACE_TRACEME, 0, 0, 0),
    "be nicer": lambda: os.nice(1),
    "write code": _writable_code,
    "see others' processes": lambda: Path("/proc/1/status").read_text(),
    "have another personality": lambda: _can(_libc.personality, _ADDR_NO_RANDOMIZE),
    "give away its identity": _set_user_id,
    "become root": lambda: _as_root("Uid") == 0,
    "gain capabilities": lambda: _as_root("CapEff") & ~_GIVEN,
    "find devices": lambda: Path("/dev/kmsg").stat(),
    "let others read what it writes": _umask,
    "leave a core": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1],
    "write control groups": lambda: not os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY,
    "see the IPC of others": lambda: os.readlink("/proc/self/ns/ipc") == os.environ["IPC"],
    "write its state": lambda: (_OWN.parent / "state").touch(),
    "write routes": lambda: subprocess.run(
        ["ip", "route", "add", "unreachable", "203.0.113.0/24"], check=True
    ),
}


def main() -> None:
    """Try everything; what raises nothing and returns nothing or something true is possible."""
    done: dict[str, bool] = {}
    for name, attempt in ATTEMPTS.items():
        done[name] = False
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            result = attempt()
            done[name] = result is None or bool(result)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
