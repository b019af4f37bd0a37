"""BGP messages as a neighbor of ExaBGP reads them; whatever an RFC forbids is `MalformedError`.

Not ExaBGP's own decoder: that one would share the mistakes of the encoder that it is to judge.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, TypeAlias

from bgphealth.core.intents import Community, LargeCommunity
from bgphealth.core.settings import Address, Prefix

HEADER = 19
MARKER = b"\xff" * 16

UNICAST = 1
IPV4, IPV6 = 1, 2
"""AFIs."""
AS_SEQUENCE = 2


class Type(IntEnum):
    """Message types (RFC 4271, section 4.1)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4


class Attribute(IntEnum):
    """Path attributes (RFC 4271, 5; RFC 1997; RFC 4760; RFC 8092)."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MED = 4
    LOCAL_PREF = 5
    COMMUNITIES = 8
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    LARGE_COMMUNITIES = 32


class Route(NamedTuple):
    """What an Adj-RIB-In tells routes apart by (RFC 7911)."""

    prefix: Prefix
    path_id: int


class Path(NamedTuple):
    """The attributes that bgphealth chooses. Communities are a set on the wire."""

    next_hop: Address
    local_pref: int | None
    communities: frozenset[Community]
    large_communities: frozenset[LargeCommunity]
    med: int | None
    as_path: tuple[int, ...]


Table: TypeAlias = dict[Route, Path]


@dataclass(frozen=True)
class Update:
    """One UPDATE."""

    withdrawn: tuple[Route, ...]
    announced: dict[Route, Path]


class MalformedError(Exception):
    """The message is not as the RFCs say."""


def message(kind: Type, body: bytes = b"") -> bytes:
    """Return a whole message."""
    return MARKER + struct.pack("!HB", HEADER + len(body), kind) + body


def open_message(asn: int, router_id: IPv4Address, hold_time_s: int) -> bytes:
    """Return an OPEN with both families, 4-byte ASNs and ADD-PATH for receiving."""
    families = [struct.pack("!HBB", afi, 0, UNICAST) for afi in (IPV4, IPV6)]
    capabilities = [(1, family) for family in families]
    capabilities += [(65, struct.pack("!I", asn))]
    receive = b"\x01"
    capabilities += [(69, b"".join(f[:2] + f[3:] + receive for f in families))]
    parameter = b"".join(bytes([code, len(value)]) + value for code, value in capabilities)
    body = struct.pack("!BHH", 4, asn if asn <= 0xFFFF else 23456, hold_time_s)
    body += router_id.packed + bytes([len(parameter) + 2, 2, len(parameter)]) + parameter
    return message(Type.OPEN, body)


def decode_update(body: bytes) -> Update:
    """Return what an UPDATE says, on a session with ADD-PATH for both families."""
    withdrawn_bytes, rest = _sized(body)
    attribute_bytes, nlri = _sized(rest)
    attributes = dict(_attributes(attribute_bytes))
    withdrawn = [*_routes(withdrawn_bytes, IPV4)]
    if unreach := attributes.get(Attribute.MP_UNREACH_NLRI):
        afi, _safi = struct.unpack_from("!HB", unreach)
        withdrawn += _routes(unreach[3:], afi)
    announced: dict[Route, Path] = {}
    if nlri:
        announced |= _paths(attributes, attributes.get(Attribute.NEXT_HOP, b""), nlri, IPV4)
    if reach := attributes.get(Attribute.MP_REACH_NLRI):
        afi, _safi, length = struct.unpack_from("!HBB", reach)
        next_hop, nlri = reach[4 : 4 + length], reach[5 + length :]
        announced |= _paths(attributes, next_hop, nlri, afi)
    return Update(tuple(withdrawn), announced)


def _sized(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < 2 or len(data) < 2 + (length := int.from_bytes(data[:2])):
        raise MalformedError("a length goes beyond the message")
    return data[2 : 2 + length], data[2 + length :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        head = 4 if data[0] & 0x10 else 3  # Extended length.
        length = int.from_bytes(data[2:head])
        if len(data) < head + length:
            raise MalformedError(f"attribute {data[1]} goes beyond the attributes")
        yield data[1], data[head : head + length]
        data = data[head + length :]


def _routes(data: bytes, afi: int) -> Iterator[Route]:
    size = 4 if afi == IPV4 else 16
    while data:
        if len(data) < 5 or len(data) < 5 + (octets := (data[4] + 7) // 8):
            raise MalformedError("a prefix goes beyond the NLRI")
        address = data[5 : 5 + octets].ljust(size, b"\0")
        try:
            prefix: Prefix = (
                IPv4Network((address, data[4])) if afi == IPV4 else IPv6Network((address, data[4]))
            )
        except ValueError as error:
            raise MalformedError(f"not a prefix: {error}") from error
        yield Route(prefix, int.from_bytes(data[:4]))
        data = data[5 + octets :]


def _paths(attributes: dict[int, bytes], next_hop: bytes, nlri: bytes, afi: int) -> Table:
    if missing := {Attribute.ORIGIN, Attribute.AS_PATH} - attributes.keys():
        raise MalformedError(f"missing well-known attributes {missing}")
    # An IPv6 next hop can be two, the global one first (RFC 2545, 3). Nobody agreed on RFC 8950.
    if len(next_hop) not in ((4,) if afi == IPV4 else (16, 32)):
        raise MalformedError(f"a next hop of {len(next_hop)} octets in AFI {afi}")
    hop = ip_address(next_hop[:16])
    communities = attributes.get(Attribute.COMMUNITIES, b"")
    large = attributes.get(Attribute.LARGE_COMMUNITIES, b"")
    path = Path(
        hop,
        _number(attributes.get(Attribute.LOCAL_PREF)),
        frozenset(Community(*pair) for pair in struct.iter_unpack("!HH", communities)),
        frozenset(LargeCommunity(*three) for three in struct.iter_unpack("!III", large)),
        _number(attributes.get(Attribute.MED)),
        _as_path(attributes[Attribute.AS_PATH]),
    )
    return dict.fromkeys(_routes(nlri, afi), path)


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value)


def _as_path(value: bytes) -> tuple[int, ...]:
    """Return the one AS_SEQUENCE of an AS path, of 4-byte ASNs (RFC 6793); nothing else is ours."""
    if not value:
        return ()
    if value[0] != AS_SEQUENCE or len(value) != 2 + 4 * value[1]:
        raise MalformedError(f"not one AS_SEQUENCE: {value.hex()}")
    return struct.unpack(f"!{value[1]}I", value[2:])
