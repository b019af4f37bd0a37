"""The TCP connections of ExaBGP's sessions, as the kernel has them."""

from __future__ import annotations

import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from bgphealth.core.settings import Address

_ESTABLISHED = "01"  # tcp_states.h
_BGP_PORT = 179
_WORD = 8


class Connection(NamedTuple):
    """One to the BGP port of somebody else."""

    local: Address
    remote: Address


def connections(proc: Path = Path("/proc/self/net")) -> frozenset[Connection]:
    """Return the established connections from this network namespace to BGP speakers.

    Raises:
        OSError: the kernel does not tell.
    """
    found = set()
    for name in ("tcp", "tcp6"):
        text = ""
        with suppress(FileNotFoundError):  # A kernel without IPv6.
            text = (proc / name).read_text(encoding="ascii")
        for line in text.splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            address, _, port = remote.partition(":")
            if state == _ESTABLISHED and int(port, 16) == _BGP_PORT:
                found.add(Connection(_address(local.partition(":")[0]), _address(address)))
    return frozenset(found)


def _address(text: str) -> Address:
    """Read an address: words of 32 bits, each as a number in the host's byte order."""
    words = (text[at : at + _WORD] for at in range(0, len(text), _WORD))
    return ip_address(b"".join(int(w, 16).to_bytes(4, sys.byteorder) for w in words))
