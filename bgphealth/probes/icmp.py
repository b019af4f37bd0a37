"""ICMP echo (RFC 792, RFC 4443): one socket per path, bound to its device and source.

icmplib gives the packets and the sockets; scheduling and matching are ours, because it opens a
socket per ping, takes any host's reply for the target's and reports a failed send as loss.

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
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from icmplib import ICMPReply, ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError, SocketPermissionError
from icmplib.sockets import ICMPSocket

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Address, Family, ProbeSettings
from bgphealth.probes.binding import Binding, CannotBindError, bind
from bgphealth.probes.outcome import Answer, Outcome, no_answer, unknown

_ECHO_REPLY = {Family.IPV4: 0, Family.IPV6: 129}
_PAYLOAD = b"bgphealth"
_LARGEST_REPLY = 1024

_SO_TIMESTAMPNS = 35  # socket(7); not in Python's socket module. CLOCK_REALTIME, struct timespec.
_TIMESPEC = struct.Struct("@ll")
_CLOCK_TICK_S = 0.001
_CLOCK_STEP_S = 0.005
"""More than this between two clocks, and the wall clock was set meanwhile."""


@dataclass(frozen=True, slots=True)
class _Pending:
    target: Address
    sent_at: float
    sent_wall_s: float
    timeout_s: float
    answer: Answer

    @property
    def deadline(self) -> float:
        """When it is too late for an answer, on the loop's clock."""
        return self.sent_at + self.timeout_s


class IcmpProber:
    """Pings from one path. Needs a running event loop."""

    def __init__(self, family: Family, binding: Binding) -> None:
        self._family = family
        self._binding = binding
        self._loop = asyncio.get_running_loop()
        self._socket: ICMPSocket | None = None
        self._bound_to: Address | None = None
        self._bound_to_index = 0
        self._id = 0
        self._sequence = 0
        self._pending: dict[int, _Pending] = {}
        # One timer for the earliest deadline: nearly all of them pass unneeded.
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Send one echo request. See `Prober.ask`."""
        if probe.target is None:
            raise ValueError(f"{probe} has no target")
        self._sequence = (self._sequence + 1) & 0xFFFF
        sequence = self._sequence
        try:
            sock = self._ready_socket()
            packet = _echo_request(sock, self._id, sequence)
            sent_at, sent_wall_s = self._loop.time(), time.time()
            sock.sock.sendto(packet, (_text(probe.target), 0))
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
        pending = _Pending(probe.target, sent_at, sent_wall_s, timeout_s, answer)
        self._pending[sequence] = pending
        if self._timer is None or pending.deadline < self._timer.when():
            self._wake_at(pending.deadline)

    def close(self) -> None:
        """Close the socket and forget what is under way."""
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._close_socket("closed")

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
        if self._socket is None or source != self._bound_to:
            self._close_socket(f"the source changed to {source}")
            self._socket = self._open(source)
            self._bound_to = source
            self._bound_to_index = _index(self._binding)
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
        while self._socket is not None:
            try:
                packet, ancillary, _, sender = self._socket.sock.recvmsg(
                    _LARGEST_REPLY, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._close_socket(f"cannot receive: {error.strerror}")
                return
            reply = _parse(self._socket, packet, sender[0])
            if reply is not None and _is_intact(self._socket, packet):
                self._match(reply, _received_wall_s(ancillary))
            if not self._pending:
                return  # Nothing more is awaited: spare the read that would find nothing.

    def _match(self, reply: ICMPReply, received_wall_s: float | None) -> None:
        if reply.type != _ECHO_REPLY[self._family] or reply.id != self._id:
            return
        pending = self._pending.get(reply.sequence)
        if pending is None or not _is_from(reply.source, pending.target):
            return
        del self._pending[reply.sequence]
        rtt_s = _round_trip_s(pending, received_wall_s, self._loop.time())
        pending.answer(Outcome(Verdict.OK, rtt_s=rtt_s))

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        # A reply that lay in the socket while the loop was late has been read by now: asyncio runs
        # what became readable before the timers that are due.
        self._timer = None
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
            self._wake_at(min(pending.deadline for pending in self._pending.values()))


def _index(binding: Binding) -> int:
    return socket.if_nametoindex(binding.interface) if binding.interface else 0


@cache
def _text(address: Address) -> str:
    """Return an address as the kernel writes it; the few that are probed are written once."""
    return str(address)


def _is_from(source: str, target: Address) -> bool:
    return source == _text(target) or ip_address(source) == target


def _received_wall_s(ancillary: Iterable[tuple[int, int, bytes]]) -> float | None:
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


def _echo_request(sock: ICMPSocket, number: int, sequence: int) -> bytes:
    packet: bytes = sock._create_packet(number, sequence, _PAYLOAD)  # noqa: SLF001
    return packet


def _parse(sock: ICMPSocket, packet: bytes, sender: str) -> ICMPReply | None:
    return sock._parse_reply(packet, sender, 0.0)  # noqa: SLF001


def _is_intact(sock: ICMPSocket, packet: bytes) -> bool:
    """Check the checksum where the kernel has not: raw IPv4 sockets get packets before it looks."""
    if not sock.is_privileged or isinstance(sock, ICMPv6Socket):
        return True
    header_length = (packet[0] & 0x0F) * 4
    # icmplib takes every IPv4 header for one without options.
    plain = header_length == sock._ICMP_HEADER_OFFSET  # noqa: SLF001
    return plain and bool(sock._checksum(packet[header_length:]) == 0)  # noqa: SLF001


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
