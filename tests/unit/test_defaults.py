"""That the kernel cannot be asked for its defaults is no reason to end."""

from __future__ import annotations

import errno
import os

import pytest

from bgphealth.core.settings import Address, Family
from bgphealth.fallback import defaults
from tests.support.hosts import host


async def test_without_a_socket_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was free while the defaults were read, and is not any more."""

    def no_socket(_: Address) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(defaults, "is_local", no_socket)
    why = await defaults.kernel_defaults(host(), Family.IPV4)
    assert why == "no socket: Too many open files"
