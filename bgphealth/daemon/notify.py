"""Tell the service manager how it goes: sd_notify(3), which is one datagram per message."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_LONGEST_STATUS = 500


class Notifier:
    """Speaks to the socket that ``$NOTIFY_SOCKET`` names, or to nobody.

    We are a child of the unit's main process: the unit must say ``NotifyAccess=all``, and
    ``$WATCHDOG_PID``, which names the main process, is not looked at.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract name is written with an @ (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if self._address and usec.isdecimal() else None
        """How often the watchdog must be fed at least, in seconds; None when there is none."""
        self._status = ""
        self._is_ready = False

    def ready(self) -> None:
        """Say, once, that the start is over."""
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in words how it goes, when that is news."""
        line = "".join(char if char.isprintable() else " " for char in text)[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        """Say that there is progress."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the file is being read again; `reloaded` must follow."""
        if self._is_ready:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Say that reloading is over, whatever came of it."""
        if self._is_ready:
            self._send("READY=1")

    def stopping(self) -> None:
        """Say that it ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # Nobody there, or nobody reading: steering goes on all the same.
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.setblocking(False)  # noqa: FBT003 - as the socket module has it
            sock.sendto(message.encode(), self._address)
