"""Run a test in a network namespace of its own, which goes away with the test's process.

Whatever writes addresses, routes or rules in a test does it here, never in the host's namespace.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_NAMESPACE = Path("/proc/self/ns/net")


def isolated(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Make a coroutine function a test that runs in a child, in a fresh network namespace."""

    @functools.wraps(test)
    def run() -> None:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(read)
                _enter_new_namespace()
                asyncio.run(_coroutine(test))
                status = 0
            except BaseException:  # noqa: BLE001 - the parent raises it
                os.write(write, traceback.format_exc().encode()[-60_000:])
            finally:
                os._exit(status)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            failure = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        assert status == 0, failure

    # pytest must see a plain function, not the coroutine function that it wraps.
    del run.__wrapped__
    return run


def ip(*arguments: str) -> str:
    """Run ip(8) in the current namespace, which must not be the host's."""
    assert _NAMESPACE.readlink() != Path(f"/proc/{os.getppid()}/ns/net").readlink()
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def sysctl(name: str, value: str) -> None:
    """Set a sysctl of the current network namespace."""
    Path("/proc/sys", *name.split(".")).write_text(value)


async def _coroutine(test: Callable[[], Awaitable[None]]) -> None:
    await test()


def _enter_new_namespace() -> None:
    before = _NAMESPACE.readlink()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if _NAMESPACE.readlink() == before:
        sys.exit("still in the namespace of the tests")
    ip("link", "set", "lo", "up")
