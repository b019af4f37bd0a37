"""Packets that are not the answer: whatever comes, nothing counts and nothing breaks."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from ipaddress import ip_address

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Family, ProbeKind, ProbeSettings
from bgphealth.probes.binding import Binding
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.outcome import Outcome
from tests.support.netns import ip, isolated, sysctl

pytestmark = pytest.mark.network

PACKETS = 3_000
TARGET, STRANGER = "127.0.0.1", "198.51.100.1"


def checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_reply(number: int, sequence: int, *, kind: int = 0, payload: bytes = b"x" * 8) -> bytes:
    packet = struct.pack("!BBHHH", kind, 0, 0, number, sequence) + payload
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def wrong(  # noqa: PLR0911 - one for each way to be wrong
    rng: random.Random, number: int, sequence: int
) -> tuple[bytes, str]:
    """Return a packet that is nearly the answer, and the address that it comes from."""
    good = echo_reply(number, sequence, payload=rng.randbytes(rng.randrange(64)))
    match rng.choice(["id", "sequence", "stranger", "short", "checksum", "kind", "noise"]):
        case "id":
            return echo_reply((number + rng.randrange(1, 0xFFFF)) & 0xFFFF, sequence), TARGET
        case "sequence":
            return echo_reply(number, (sequence + rng.randrange(1, 0xFFFF)) & 0xFFFF), TARGET
        case "stranger":
            return good, STRANGER
        case "short":
            return good[: rng.randrange(2, 8)], TARGET
        case "checksum":
            flipped = struct.unpack("!H", good[2:4])[0] ^ rng.randrange(1, 0xFFFF)
            return good[:2] + struct.pack("!H", flipped) + good[4:], TARGET
        case "kind":
            return echo_reply(number, sequence, kind=rng.choice([3, 5, 8, 11, 13, 255])), TARGET
        case _:
            return rng.randbytes(rng.randrange(2, 600)), TARGET


async def bombard(group_range: str, *, privileged: bool) -> None:
    sysctl("net.ipv4.ping_group_range", group_range)
    sysctl("net.ipv4.icmp_echo_ignore_all", "1")
    ip("addr", "add", f"{STRANGER}/32", "dev", "lo")
    rng = random.Random(20)  # noqa: S311 - the same packets each time
    prober = IcmpProber(Family.IPV4, Binding("lo", lambda: ip_address(TARGET)))
    answers: list[Outcome] = []
    prober.ask(ProbeSettings(ProbeKind.ICMP, ip_address(TARGET)), 30.0, answers.append)
    assert prober._socket is not None  # noqa: SLF001
    assert prober._socket.is_privileged is privileged  # noqa: SLF001
    number, sequence = prober._id, prober._sequence  # noqa: SLF001
    senders = {}
    for address in (TARGET, STRANGER):
        senders[address] = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        senders[address].bind((address, 0))
    for _ in range(PACKETS):
        packet, source = wrong(rng, number, sequence)
        senders[source].sendto(packet, (TARGET, 0))
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert answers == []
    senders[TARGET].sendto(echo_reply(number, sequence), (TARGET, 0))
    await asyncio.sleep(0.1)
    assert [answer.verdict for answer in answers] == [Verdict.OK]
    for sender in senders.values():
        sender.close()
    prober.close()


@isolated
async def test_unprivileged_socket() -> None:
    await bombard("0 2147483647", privileged=False)


@isolated
async def test_raw_socket() -> None:
    """Here the kernel filters nothing, not even wrong checksums."""
    await bombard("1 0", privileged=True)
