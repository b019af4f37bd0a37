"""The eight bytes of an ICMP echo (RFC 792, RFC 4443), packed and read with every probe.

icmplib's packets do the same and more, but compute in Python what the kernel computes anyway.
"""

from __future__ import annotations

import struct

from bgphealth.core.settings import Family

REQUEST = {Family.IPV4: 8, Family.IPV6: 128}
REPLY = {Family.IPV4: 0, Family.IPV6: 129}

PAYLOAD = b"bgphealth"

_HEADER = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number."""


def request(kind: int, sequence: int) -> bytes:
    """Return a request for a datagram socket: identifier and checksum are the kernel's to fill."""
    return _HEADER.pack(kind, 0, 0, 0, sequence) + PAYLOAD


def sequence_of(packet: bytes, kind: int, number: int, offset: int = 0) -> int | None:
    """Return the sequence number of a reply, None of anything else.

    Args:
        packet: what was received, of any length.
        kind: the type of a reply.
        number: the identifier of our requests.
        offset: where the ICMP header begins.
    """
    if len(packet) < offset + _HEADER.size:
        return None
    found, _, _, identifier, sequence = _HEADER.unpack_from(packet, offset)
    return sequence if found == kind and identifier == number else None
