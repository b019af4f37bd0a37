from __future__ import annotations

import struct

import pytest

from bgphealth.core.settings import Family
from bgphealth.probes import echo

NUMBER, SEQUENCE = 0x1234, 0xFFFE
REPLY = echo.REPLY[Family.IPV4]


def reply(kind: int = REPLY, number: int = NUMBER, sequence: int = SEQUENCE) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0xBEEF, number, sequence) + echo.PAYLOAD


@pytest.mark.parametrize(("family", "kind"), [(Family.IPV4, 8), (Family.IPV6, 128)])
def test_a_request_has_type_and_sequence_number(family: Family, kind: int) -> None:
    packet = echo.request(echo.REQUEST[family], SEQUENCE)
    assert packet == bytes([kind, 0, 0, 0, 0, 0, 0xFF, 0xFE]) + echo.PAYLOAD


@pytest.mark.parametrize(("family", "kind"), [(Family.IPV4, 0), (Family.IPV6, 129)])
def test_a_reply_has_our_identifier(family: Family, kind: int) -> None:
    assert echo.sequence_of(reply(kind), echo.REPLY[family], NUMBER) == SEQUENCE


def test_a_raw_socket_has_an_ip_header_in_front() -> None:
    packet = b"\x45" + bytes(19) + reply()
    assert echo.sequence_of(packet, REPLY, NUMBER, 20) == SEQUENCE
    assert echo.sequence_of(packet[:27], REPLY, NUMBER, 20) is None


@pytest.mark.parametrize("length", range(8))
def test_a_truncated_packet_is_no_reply(length: int) -> None:
    assert echo.sequence_of(reply()[:length], REPLY, NUMBER) is None
    assert echo.sequence_of(reply()[:8], REPLY, NUMBER) == SEQUENCE


def test_another_type_or_identifier_is_no_reply() -> None:
    assert echo.sequence_of(reply(kind=8), REPLY, NUMBER) is None
    assert echo.sequence_of(reply(number=NUMBER + 1), REPLY, NUMBER) is None
