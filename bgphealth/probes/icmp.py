"""ICMP echo (RFC 792, RFC 4443): one socket per path, bound to its device and source.

icmplib gives the sockets; scheduling and matching are ours, because it opens a socket per ping,
takes any host's reply for the target's and reports a failed send as loss.

Our own lateness is no latency: round-trip times end with the kernel's receive timestamp, and a
reply that lies in the socket when we come to read it has come in time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from icmplib import ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError, SocketPermissionError
from icmplib.sockets import ICMPSocket

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Address, Family, ProbeSettings
from bgphealth.probes import echo
from bgphealth.probes.alarm import Alarm
from bgphealth.probes.binding import Binding, CannotBindError, Source, bind
from bgphealth.probes.outcome import Answer, Outcome, no_answer, unknown

_LARGEST_REPLY = 1024
_MOST_AT_ONCE = 512
"""More than a socket holds at a time: who floods it gets no more than its turn."""

_SO_TIMESTAMPNS = 35  # socket(7); not in Python's socket module. CLOCK_REALTIME, struct timespec.
_TIMESPEC = struct.Struct("@ll")
_IPV4_HEADER_LENGTH = 20
_CLOCK_TICK_S = 0.001
_CLOCK_STEP_S = 0.005
"""More than this between two clocks, and the wall clock was set meanwhile."""


_Ancillary: TypeAlias = tuple[int, int, bytes]


class _Pending(NamedTuple):
    """One request that is not answered yet; `deadline` is on the loop's clock."""

    target: str
    sent_at: float
    sent_wall_s: float
    timeout_s: float
    deadline: float
    answer: Answer


class IcmpProber:
    """Pings from one path. Needs a running event loop.

    Args:
        family: of the requests.
        binding: where they leave.
        neighbor: whom a probe without a target is for, or in words why there is nobody.
    """

    def __init__(self, family: Family, binding: Binding, neighbor: Source | None = None) -> None:
        self._family = family
        self._request, self._reply = echo.REQUEST[family], echo.REPLY[family]
        self._binding = binding
        self._neighbor = neighbor
        self._loop = asyncio.get_running_loop()
        self._socket: ICMPSocket | None = None
        self._bound_to: Address | None = None
        self._bound_to_index = 0
        self._id = 0
        self._sequence = 0
        self._header_at = 0
        self._destinations: dict[ProbeSettings, tuple[str, int]] = {}
        self._pending: dict[int, _Pending] = {}
        self._alarm = Alarm(self._expire)

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Send one echo request. See `Prober.ask`."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        try:
            destination = self._destinations.get(probe) or self._destination(probe)
            sock = self._ready_socket()
            if sock.is_privileged:
                packet = _raw_request(sock, self._id, sequence)
            else:
                packet = echo.request(self._request, sequence)
            sent_at, sent_wall_s = self._loop.time(), time.time()
            sock.sock.sendto(packet, destination)
        except CannotBindError as error:
            answer(unknown(str(error)))
            return
        except OSError as error:
            why = f"cannot send: {error.strerror}"
            # Only this request: others on the same socket may still be answered.
            if self._is_stale():
                self._close_socket(why)
            answer(unknown(why))
            return
        deadline = sent_at + timeout_s
        pending = _Pending(destination[0], sent_at, sent_wall_s, timeout_s, deadline, answer)
        self._alarm.by(deadline, sent_at, earliest=not self._pending)
        self._pending[sequence] = pending

    def close(self) -> None:
        """Close the socket and forget what is under way."""
        self._pending.clear()
        self._alarm.stop()
        self._close_socket("closed")

    def _destination(self, probe: ProbeSettings) -> tuple[str, int]:
        """Return where a probe goes, as the kernel writes it; there are few, and all come again."""
        if probe.target is not None:
            return self._destinations.setdefault(probe, (str(probe.target), 0))
        if self._neighbor is None:
            raise ValueError(f"{probe} has no target")
        # Not kept: another may take its place.
        neighbor = self._neighbor()
        if isinstance(neighbor, str):
            raise CannotBindError(neighbor)
        if Family.of(neighbor) is not self._family:
            raise CannotBindError(f"the gateway {neighbor} cannot be asked in {self._family}")
        # A link-local one is on the link that the socket is bound to.
        return str(neighbor), 0

    def _is_stale(self) -> bool:
        """Tell whether the socket's device went away; if it came back, it is another one."""
        try:
            return _index(self._binding) != self._bound_to_index
        except OSError:
            return True

    def _ready_socket(self) -> ICMPSocket:
        source = self._binding.source()
        if isinstance(source, str):
            self._close_socket(source)
            raise CannotBindError(source)
        # Nearly always the very same object, and comparing addresses is slow.
        if source is not self._bound_to or self._socket is None:
            if self._socket is None or source != self._bound_to:
                self._close_socket(f"the source changed to {source}")
                self._socket = self._open(source)
                self._bound_to_index = _index(self._binding)
            self._bound_to = source
        return self._socket

    def _open(self, source: Address) -> ICMPSocket:
        sock = _icmp_socket(self._family)
        try:
            bind(sock.sock, self._binding.interface, source)
        except CannotBindError:
            sock.close()
            raise
        sock.blocking = False
        sock.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # The kernel chooses the identifier of an unprivileged socket and lets only its replies in.
        self._id = os.getpid() & 0xFFFF if sock.is_privileged else sock.sock.getsockname()[1]
        is_raw_ipv4 = sock.is_privileged and self._family is Family.IPV4
        self._header_at = _IPV4_HEADER_LENGTH if is_raw_ipv4 else 0
        self._loop.add_reader(sock.sock.fileno(), self._readable)
        return sock

    def _close_socket(self, why: str) -> None:
        """Close the socket; what was asked through it cannot be answered any more."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.sock.fileno())
        self._socket.close()
        self._socket = self._bound_to = None
        asked, self._pending = self._pending, {}
        for pending in asked.values():
            pending.answer(unknown(why))

    def _readable(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            if self._socket is None:
                return
            try:
                packet, ancillary, _, sender = self._socket.sock.recvmsg(
                    _LARGEST_REPLY, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._close_socket(f"cannot receive: {error.strerror}")
                return
            self._match(packet, sender[0], ancillary)
            if not self._pending:
                return  # Nothing more is awaited: spare the read that would find nothing.

    def _match(self, packet: bytes, sender: str, ancillary: Iterable[_Ancillary]) -> None:
        """Answer the request that a packet is the reply to, if it is one."""
        assert self._socket is not None  # noqa: S101 - for the type checker
        sequence = echo.sequence_of(packet, self._reply, self._id, self._header_at)
        if sequence is None:
            return
        pending = self._pending.get(sequence)
        if pending is None or not _is_from(sender, pending.target):
            return
        if self._header_at and not _is_intact(self._socket, packet):
            return
        del self._pending[sequence]
        rtt_s = _round_trip_s(pending, _received_wall_s(ancillary), self._loop.time())
        pending.answer(Outcome(Verdict.OK, "", rtt_s))

    def _expire(self) -> None:
        # A reply that lay in the socket while the loop was late has been read by now: asyncio runs
        # what became readable before the timers that are due.
        now = self._loop.time()
        # A timer may come a clock tick early.
        due = [s for s, p in self._pending.items() if p.deadline <= now + _CLOCK_TICK_S]
        for pending in [self._pending.pop(sequence) for sequence in due]:
            late_s = now - pending.deadline
            if late_s > pending.timeout_s:
                pending.answer(unknown(f"we were stalled for {late_s:.1f} s"))
            else:
                pending.answer(no_answer(pending.timeout_s))
        if self._pending:
            earliest = min(pending.deadline for pending in self._pending.values())
            self._alarm.by(earliest, now, earliest=True)


def _index(binding: Binding) -> int:
    return socket.if_nametoindex(binding.interface) if binding.interface else 0


def _is_from(source: str, target: str) -> bool:
    return source == target or ip_address(source) == ip_address(target)


def _received_wall_s(ancillary: Iterable[_Ancillary]) -> float | None:
    """Return when the kernel received the packet, in seconds since the epoch, if it says so."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return float(seconds + nanoseconds / 1e9)
    return None


def _round_trip_s(pending: _Pending, received_wall_s: float | None, now: float) -> float:
    """Return the round-trip time by the kernel's clock, unless that was set meanwhile."""
    seen_s = now - pending.sent_at
    if received_wall_s is None:
        return seen_s
    rtt_s = received_wall_s - pending.sent_wall_s
    return rtt_s if 0 <= rtt_s <= seen_s + _CLOCK_STEP_S else seen_s


# icmplib's public send() asks the resolver about every address and its receive() waits, so the two
# parts that we need of it are private ones; the dependency is held below its next major version.


def _raw_request(sock: ICMPSocket, number: int, sequence: int) -> bytes:
    packet: bytes = sock._create_packet(number, sequence, echo.PAYLOAD)  # noqa: SLF001
    return packet


def _is_intact(sock: ICMPSocket, packet: bytes) -> bool:
    """Check what the kernel has not: raw IPv4 sockets get packets before it looks."""
    # An IPv4 header with options is longer, and what was read behind it was no ICMP header.
    plain = (packet[0] & 0x0F) * 4 == _IPV4_HEADER_LENGTH
    return plain and bool(sock._checksum(packet[_IPV4_HEADER_LENGTH:]) == 0)  # noqa: SLF001


def _icmp_socket(family: Family) -> ICMPSocket:
    """Return an unbound ICMP socket: unprivileged where the host allows it, else raw."""
    kind = ICMPv4Socket if family is Family.IPV4 else ICMPv6Socket
    try:
        return kind(privileged=False)
    except SocketPermissionError:
        pass
    except ICMPLibError as error:
        raise CannotBindError(f"no ICMP socket: {error}") from None
    try:
        return kind(privileged=True)
    except ICMPLibError:
        raise CannotBindError(
            "no ICMP socket: the sysctl net.ipv4.ping_group_range does not include our group, "
            "and CAP_NET_RAW is missing"
        ) from None
