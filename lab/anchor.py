"""The process that is one node: PID 1 in namespaces of its own.

``python -m lab.anchor`` is started by the namespace driver, never by hand. It makes a network,
mount, PID and UTS namespace, forks into them, tells the child's pid, and leaves; the child

1. waits for one line of JSON on stdin. End of file instead means that the driver died before it
   could write the child's name down: then nobody could ever end it, so it ends itself;
2. furnishes the node (mounts, hostname, sysctls) and answers ``{"ready": true}`` or
   ``{"error": "…"}``;
3. reaps whatever the node's daemons leave behind, until it is killed. With it the kernel kills
   everything in the PID namespace, and the network namespace goes with its last process.

Only the standard library: this process lives as long as the lab, once per node.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

_MS_RDONLY = 1
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_MOVE = 8192
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

PRIVATE_TREES = ("/etc", "/run", "/var/log", "/var/tmp", "/var/lib/frr")  # noqa: S108 - each a tmpfs
"""What each node has for itself; everything else of the file system is the host's."""

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        _raise("unshare")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(options)) != 0:
        _raise(f"mount {source} on {target}")


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def _furnish(order: Mapping[str, Any]) -> None:
    """Make the node out of its namespaces."""
    if str(Path("/proc/self/ns/net").readlink()) == order["outer_netns"]:
        raise RuntimeError("this is the host's own network namespace")
    with ExitStack() as stack:
        # The sources must be held open: the private trees are about to cover some of them.
        keep = [(_hold(stack, path), path, False) for path in order["keep"]]
        binds = [(_hold(stack, source), target, ro) for source, target, ro in order["binds"]]
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        _mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
        _mount("sysfs", "/sys", "sysfs", _MS_NOSUID_NODEV_NOEXEC)
        _cover_trees()
        _name_node(order["hostname"])
        for held, target, read_only in (*keep, *binds):
            _bind(held, target, read_only=read_only)
    for name, value in order["sysctls"].items():
        _set_sysctl(name, value)


def _hold(stack: ExitStack, path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _cover_trees() -> None:
    for tree in PRIVATE_TREES:
        if tree == "/etc" or not Path(tree).is_dir():
            continue
        _mount("tmpfs", tree, "tmpfs", 0, "mode=1777" if tree == "/var/tmp" else "mode=755")  # noqa: S108 - a tmpfs of the node's own
    # Daemons of the host's distribution expect its /etc: copy it before anything changes in it.
    staging = "/run/.etc"
    Path(staging).mkdir()
    _mount("tmpfs", staging, "tmpfs", 0, "mode=755")
    subprocess.run(["cp", "-a", "/etc/.", staging], check=True, stdin=subprocess.DEVNULL)
    _mount(staging, "/etc", None, _MS_MOVE)
    Path(staging).rmdir()
    Path("/run/lock").mkdir(mode=0o1777)


def _name_node(name: str) -> None:
    """Give the node its name, and let it know that name without asking anybody.

    There is no DNS in the lab. With the host's resolver a daemon that looks up its own name, as
    ExaBGP does when it starts, would wait ten seconds for an answer that cannot come.
    """
    socket.sethostname(name)
    hosts = f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"
    for file, text in (("/etc/hosts", hosts), ("/etc/resolv.conf", "")):
        Path(file).unlink(missing_ok=True)
        Path(file).write_text(text, encoding="utf-8")


def _bind(held: int, target: str, *, read_only: bool) -> None:
    source = f"/proc/self/fd/{held}"
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    _mount(source, target, None, _MS_BIND | _MS_REC)
    if read_only:
        _mount("none", target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _set_sysctl(name: str, value: str | int) -> None:
    try:
        Path("/proc/sys", *name.split(".")).write_text(f"{value}\n", encoding="ascii")
    except OSError as error:
        raise RuntimeError(f"sysctl {name}={value}: {error.strerror}") from error


def _reap_forever() -> None:
    while True:
        signal.sigwait({signal.SIGCHLD})
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _answer(message: Mapping[str, object]) -> None:
    print(json.dumps(message), flush=True)


def _live(streams: Sequence[int] = (0, 1, 2)) -> None:
    """Be PID 1."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    if not line:
        return
    try:
        _furnish(json.loads(line))
    except Exception as error:  # noqa: BLE001 - whatever it was, the driver must hear of it
        _answer({"error": str(error)})
        return
    # Blocked only now, so that no child of the furnishing inherits it; no child is left either.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    # The lab's own terminal and pipes must not be held open for as long as the node lives.
    _detach(streams)
    _reap_forever()


def _detach(streams: Sequence[int]) -> None:
    _answer({"ready": True})
    null = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(null, stream)
    os.close(null)
    os.chdir("/")


def main() -> None:
    """Fork into new namespaces, tell the child's pid as the driver sees it, and leave."""
    try:
        _unshare(_CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWPID | _CLONE_NEWNET)
    except OSError as error:
        _answer({"error": f"{error.strerror} (is CAP_SYS_ADMIN there?)"})
        return
    child = os.fork()
    if child:
        _answer({"pid": child})
        os._exit(0)
    _live()


if __name__ == "__main__":
    main()
