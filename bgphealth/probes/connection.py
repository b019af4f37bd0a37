"""Connected sockets on a path, for every kind of probe that speaks TCP or UDP.

The socket is bound before the first packet leaves, which is why it is made here: asyncio, httpx
and dnspython connect first and would set the device on a socket whose SYN left by the main table.

An error that `connect` or `send` returns at once is our own (no route, no permission, no ports):
it says nothing about the path. The same error later came in from outside, in an ICMP message or a
RST: a ToR that has lost its routes answers with "network unreachable", and that is a failure.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct

from bgphealth.core.settings import Address, Family, ProbeSettings
from bgphealth.probes.attempt import CannotAskError
from bgphealth.probes.binding import Binding, CannotBindError, bind

_CANNOT_ASK = {
    errno.EACCES,
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EAGAIN,
    errno.EHOSTUNREACH,
    errno.EINVAL,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENODEV,
    errno.ENOMEM,
    errno.EPERM,
}
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); not in Python's socket module.
_TCP_INFO_RTT = struct.Struct("=68xI")  # struct tcp_info: tcpi_rtt, in µs.


def open_socket(probe: ProbeSettings, binding: Binding, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that is bound and, for UDP, connected, so that only the target is heard.

    Raises:
        CannotBindError: there is no source address, or the kernel refused it.
        CannotAskError: something else of ours is missing.
    """
    target = _target(probe)
    source = binding.source()
    if isinstance(source, str):
        raise CannotBindError(source)
    family = socket.AF_INET if Family.of(target) is Family.IPV4 else socket.AF_INET6
    try:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise CannotAskError(f"no socket: {error.strerror}") from None
    try:
        if kind is socket.SOCK_STREAM:
            # The port is chosen on connecting: one in TIME_WAIT serves other targets.
            sock.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        bind(sock, binding.interface, source)
        if kind is socket.SOCK_DGRAM:
            _begin(sock, target, probe.port)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(sock: socket.socket, probe: ProbeSettings) -> None:
    """Make the TCP connection.

    Raises:
        CannotAskError: the kernel would not even try.
        OSError: the target, or somebody on the way, refused.
    """
    if not _begin(sock, _target(probe), probe.port):
        await _writable(sock)
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))


def handshake_s(sock: socket.socket) -> float | None:
    """Return the round-trip time as the kernel measured it: our own lateness is not in it."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT.size)
    if len(info) < _TCP_INFO_RTT.size:
        return None
    (rtt_us,) = _TCP_INFO_RTT.unpack(info)
    return rtt_us / 1e6 if rtt_us else None


def in_words(error: OSError) -> str:
    """Return what an error means; asyncio puts its own words into strerror."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def cannot_ask(error: OSError) -> bool:
    """Tell whether an error of a call of ours that sends says nothing about the path."""
    return error.errno in _CANNOT_ASK


def _target(probe: ProbeSettings) -> Address:
    if probe.target is None:
        raise CannotAskError("there is no target")
    return probe.target


def _begin(sock: socket.socket, target: Address, port: int | None) -> bool:
    """Begin to connect; return whether it is done already."""
    try:
        sock.connect((str(target), port or 0))
    except BlockingIOError:
        return False
    except OSError as error:
        if cannot_ask(error):
            raise CannotAskError(f"cannot connect: {in_words(error)}") from None
        raise
    return True


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock.fileno(), is_ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock.fileno())
