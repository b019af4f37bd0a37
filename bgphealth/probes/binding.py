"""Bind sockets to a path: the device out and back, and the source that the fabric returns to.

A probe of one uplink that leaves through another one says nothing, and says it convincingly.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bgphealth.core.settings import Address

Source: TypeAlias = Callable[[], Address | str]
"""Returns the source address to use now, or in words why there is none."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a path's probes leave. `interface` is None for checks of local services."""

    interface: str | None
    source: Source


class CannotBindError(Exception):
    """There is no socket to ask with; the message says why. Never leaves this room."""


def bind(sock: socket.socket, interface: str | None, source: Address) -> None:
    """Bind a socket to the device and to the source, and prove that the kernel took it.

    Raises:
        CannotBindError: the kernel refused, or did something else.
    """
    try:
        if interface is not None:
            # The device first: a link-local source has no meaning without it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind((str(source), 0))
    except OSError as error:
        raise CannotBindError(_in_words(error, interface, source)) from None
    if interface is not None:
        # SO_BINDTODEVICE is accepted and ignored by some sandboxes.
        taken = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0")
        if taken != interface.encode():
            raise CannotBindError(f"the kernel did not bind the socket to {interface}")


def _in_words(error: OSError, interface: str | None, source: Address) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{source} is not an address of this host"
    if error.errno == errno.ENODEV:
        return f"{interface} does not exist"
    where = f"{source} on {interface}" if interface else str(source)
    return f"cannot bind to {where}: {error.strerror}"
