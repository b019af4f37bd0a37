"""ICMP echo (RFC 792, RFC 4443): one socket per path, bound to its device and source.

icmplib gives the packets and the sockets; scheduling and matching are ours, because it opens a
socket per ping, takes any host's reply for the target's and reports a failed send as loss.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Pending:
    target: Address
    sent_at: float
    timeout_s: float
    answer: Answer
    timer: asyncio.TimerHandle


class IcmpProber:
    """Pings from one path. Needs a running event loop."""

    def __init__(self, family: Family, binding: Binding) -> None:
        self._family = family
        self._binding = binding
        self._loop = asyncio.get_running_loop()
        self._socket: ICMPSocket | None = None
        self._bound_to: Address | None = None
        self._id = 0
        self._sequence = 0
        self._pending: dict[int, _Pending] = {}

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Send one echo request. See `Prober.ask`."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        sequence = self._sequence
        try:
            sock = self._ready_socket()
            packet = _echo_request(sock, self._id, sequence)
            sent_at = self._loop.time()
            sock.sock.sendto(packet, (str(probe.target), 0))
        except CannotBindError as error:
            answer(unknown(str(error)))
            return
        except OSError as error:
            # A socket whose device went away stays broken when the device comes back.
            self._close_socket()
            answer(unknown(f"cannot send: {error.strerror}"))
            return
        timer = self._loop.call_later(timeout_s, self._expired, sequence)
        self._pending[sequence] = _Pending(probe.target, sent_at, timeout_s, answer, timer)

    def close(self) -> None:
        """Close the socket and forget what is under way."""
        for pending in self._pending.values():
            pending.timer.cancel()
        self._pending.clear()
        self._close_socket()

    def _ready_socket(self) -> ICMPSocket:
        source = self._binding.source()
        if isinstance(source, str):
            self._close_socket()
            raise CannotBindError(source)
        if self._socket is None or source != self._bound_to:
            self._close_socket()
            self._open(source)
        assert self._socket is not None  # noqa: S101 - for the type checker
        return self._socket

    def _open(self, source: Address) -> None:
        sock = _icmp_socket(self._family)
        try:
            bind(sock.sock, self._binding.interface, source)
        except CannotBindError:
            sock.close()
            raise
        sock.blocking = False
        # The kernel chooses the identifier of an unprivileged socket and lets only its replies in.
        self._id = os.getpid() & 0xFFFF if sock.is_privileged else sock.sock.getsockname()[1]
        self._loop.add_reader(sock.sock.fileno(), self._readable)
        self._socket, self._bound_to = sock, source

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.sock.fileno())
            self._socket.close()
            self._socket = self._bound_to = None

    def _readable(self) -> None:
        while self._socket is not None:
            try:
                packet, sender = self._socket.sock.recvfrom(1024)
            except BlockingIOError:
                return
            except OSError:
                self._close_socket()
                return
            reply = _parse(self._socket, packet, sender[0])
            if reply is not None:
                self._match(reply)

    def _match(self, reply: ICMPReply) -> None:
        if reply.type != _ECHO_REPLY[self._family] or reply.id != self._id:
            return
        pending = self._pending.get(reply.sequence)
        if pending is None or ip_address(reply.source) != pending.target:
            return
        del self._pending[reply.sequence]
        pending.timer.cancel()
        rtt_s = self._loop.time() - pending.sent_at
        pending.answer(Outcome(Verdict.OK, rtt_s=rtt_s))

    def _expired(self, sequence: int) -> None:
        # A reply that lay in the socket while the loop was late has been read by now: asyncio runs
        # what became readable before the timers that are due.
        pending = self._pending.pop(sequence)
        late_s = self._loop.time() - pending.sent_at - pending.timeout_s
        if late_s > pending.timeout_s:
            pending.answer(unknown(f"we were stalled for {late_s:.1f} s"))
        else:
            pending.answer(no_answer(pending.timeout_s))


# icmplib's public send() asks the resolver about every address and its receive() waits, so the two
# parts that we need of it are private ones; the dependency is held below its next major version.


def _echo_request(sock: ICMPSocket, number: int, sequence: int) -> bytes:
    packet: bytes = sock._create_packet(number, sequence, _PAYLOAD)  # noqa: SLF001
    return packet


def _parse(sock: ICMPSocket, packet: bytes, sender: str) -> ICMPReply | None:
    return sock._parse_reply(packet, sender, 0.0)  # noqa: SLF001


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
