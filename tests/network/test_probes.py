"""Probes on a real kernel: two links to one neighbor each, in a namespace of their own."""

from __future__ import annotations

import asyncio
import os
import socket
from ipaddress import ip_address

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Address, Family, ProbeKind, ProbeSettings
from bgphealth.probes.binding import Binding
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.outcome import Outcome, Prober
from bgphealth.probes.schedule import Every
from bgphealth.probes.tcp import TcpProber
from tests.support.netns import ip, isolated, sysctl

pytestmark = pytest.mark.network

ALLOWED = "0 2147483647"
NOBODY = 65534


def veth() -> None:
    """Make eth1 with 10.0.1.1 and its other end, far, which answers for 10.0.1.0."""
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far")
    for name in ("eth1", "far"):
        ip("link", "set", name, "up")
    ip("addr", "add", "10.0.1.1/31", "dev", "eth1")
    ip("addr", "add", "2001:db8:1::1/127", "dev", "eth1", "nodad")


def bound(source: str, interface: str | None = "eth1") -> Binding:
    return Binding(interface, lambda: ip_address(source))


def icmp(target: str) -> ProbeSettings:
    return ProbeSettings(ProbeKind.ICMP, ip_address(target))


async def ask(prober: Prober, probe: ProbeSettings, timeout_s: float = 0.2) -> Outcome:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    prober.ask(probe, timeout_s, answer.set_result)
    async with asyncio.timeout(10):
        return await answer


@isolated
async def test_loopback_answers_both_families_unprivileged() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    for family, address in ((Family.IPV4, "127.0.0.1"), (Family.IPV6, "::1")):
        prober = IcmpProber(family, bound(address, "lo"))
        outcome = await ask(prober, icmp(address))
        assert outcome.verdict is Verdict.OK, outcome
        assert outcome.rtt_s is not None
        assert 0 < outcome.rtt_s < 1
        assert prober._socket is not None  # noqa: SLF001
        assert not prober._socket.is_privileged  # noqa: SLF001
        prober.close()


@isolated
async def test_an_ordinary_user_can_probe_bound_to_a_device() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    assert (await ask(IcmpProber(Family.IPV4, bound("127.0.0.1", "lo")), icmp("127.0.0.1")))[0] is (
        Verdict.OK
    )


@isolated
async def test_without_permission_nothing_is_said_about_the_path() -> None:
    sysctl("net.ipv4.ping_group_range", "1 0")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    outcome = await ask(IcmpProber(Family.IPV4, bound("127.0.0.1", "lo")), icmp("127.0.0.1"))
    assert outcome.verdict is Verdict.UNKNOWN
    assert "ping_group_range" in outcome.detail


@isolated
async def test_raw_sockets_are_the_fallback() -> None:
    sysctl("net.ipv4.ping_group_range", "1 0")
    for family, address in ((Family.IPV4, "127.0.0.1"), (Family.IPV6, "::1")):
        outcome = await ask(IcmpProber(family, bound(address, "lo")), icmp(address))
        assert outcome.verdict is Verdict.OK, outcome


@isolated
async def test_silence_is_failed() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    veth()
    outcome = await ask(IcmpProber(Family.IPV4, bound("10.0.1.1")), icmp("10.0.1.0"))
    assert outcome == Outcome(Verdict.FAILED, "no answer within 200 ms")


@isolated
async def test_what_we_lack_is_unknown_and_heals_by_itself() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    sources: dict[str, Address | str] = {"now": "eth1 has no ipv4 address"}
    prober = IcmpProber(Family.IPV4, Binding("lo", lambda: sources["now"]))
    outcome = await ask(prober, icmp("127.0.0.1"))
    assert outcome == Outcome(Verdict.UNKNOWN, "eth1 has no ipv4 address")
    sources["now"] = ip_address("192.0.2.1")
    outcome = await ask(prober, icmp("127.0.0.1"))
    assert outcome == Outcome(Verdict.UNKNOWN, "192.0.2.1 is not an address of this host")
    sources["now"] = ip_address("127.0.0.1")
    assert (await ask(prober, icmp("127.0.0.1"))).verdict is Verdict.OK


@isolated
async def test_another_source_is_another_socket_and_the_same_one_is_not() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    sources = {"now": "127.0.0.1"}
    prober = IcmpProber(Family.IPV4, Binding("lo", lambda: ip_address(sources["now"])))
    assert (await ask(prober, icmp("127.0.0.1"))).verdict is Verdict.OK
    first = prober._socket  # noqa: SLF001
    assert first is not None
    assert (await ask(prober, icmp("127.0.0.1"))).verdict is Verdict.OK
    assert prober._socket is first  # noqa: SLF001
    sources["now"] = "127.0.0.2"
    assert (await ask(prober, icmp("127.0.0.1"))).verdict is Verdict.OK
    assert prober._socket is not first  # noqa: SLF001
    assert prober._socket is not None  # noqa: SLF001
    assert prober._socket.sock.getsockname()[0] == "127.0.0.2"  # noqa: SLF001
    prober.close()


@isolated
async def test_an_interface_that_is_not_there_is_unknown() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    prober = IcmpProber(Family.IPV4, bound("127.0.0.1", "eth9"))
    outcome = await ask(prober, icmp("127.0.0.1"))
    assert outcome == Outcome(Verdict.UNKNOWN, "eth9 does not exist")


@isolated
async def test_no_route_is_unknown_in_ipv6() -> None:
    """Bound to eth1, there is no way to a target beyond: that says nothing about the path.

    In IPv4 the kernel takes any target for a neighbor on the bound link, so `fallback` gives a
    path no source before its table is there.
    """
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    veth()
    prober = IcmpProber(Family.IPV6, bound("2001:db8:1::1"))
    outcome = await ask(prober, icmp("2001:db8:100::1"))
    assert outcome == Outcome(Verdict.UNKNOWN, "cannot send: Network is unreachable")


@isolated
async def test_a_device_that_comes_back_is_probed_again() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    veth()
    prober = IcmpProber(Family.IPV4, bound("10.0.1.1"))
    assert (await ask(prober, icmp("10.0.1.0"))).verdict is Verdict.FAILED
    ip("link", "del", "eth1")
    assert (await ask(prober, icmp("10.0.1.0"))).verdict is Verdict.UNKNOWN
    veth()
    assert (await ask(prober, icmp("10.0.1.0"))).verdict is Verdict.FAILED


@isolated
async def test_only_the_target_itself_can_answer() -> None:
    """A reply with our id and sequence from anybody else does not count."""
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    ip("addr", "add", "198.51.100.1/32", "dev", "lo")
    prober = IcmpProber(Family.IPV4, bound("127.0.0.1", "lo"))
    answers: list[Outcome] = []
    # No reply of its own: the target drops echo requests.
    sysctl("net.ipv4.icmp_echo_ignore_all", "1")
    prober.ask(icmp("127.0.0.1"), 0.3, answers.append)
    number, sequence = prober._id, prober._sequence  # noqa: SLF001
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind(("198.51.100.1", 0))
        raw.sendto(echo_reply(number, sequence), ("127.0.0.1", 0))
        await asyncio.sleep(0.1)
        assert answers == []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.bind(("127.0.0.1", 0))
        raw.sendto(echo_reply(number, sequence + 1), ("127.0.0.1", 0))
        raw.sendto(echo_reply(number, sequence)[:6], ("127.0.0.1", 0))
        await asyncio.sleep(0.1)
        assert answers == []
        raw.sendto(echo_reply(number, sequence), ("127.0.0.1", 0))
        await asyncio.sleep(0.05)
    assert [answer.verdict for answer in answers] == [Verdict.OK]


def echo_reply(number: int, sequence: int) -> bytes:
    words = [0x0000, 0x0000, number, sequence]
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    words[1] = ~total & 0xFFFF
    return b"".join(word.to_bytes(2, "big") for word in words)


@isolated
async def test_a_reply_that_came_while_we_were_stalled_counts() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    prober = IcmpProber(Family.IPV4, bound("127.0.0.1", "lo"))
    answers: list[Outcome] = []
    prober.ask(icmp("127.0.0.1"), 0.05, answers.append)
    block_the_loop(0.3)
    await asyncio.sleep(0.05)
    assert [answer.verdict for answer in answers] == [Verdict.OK]


@isolated
async def test_silence_while_we_were_stalled_is_unknown() -> None:
    sysctl("net.ipv4.ping_group_range", ALLOWED)
    veth()
    prober = IcmpProber(Family.IPV4, bound("10.0.1.1"))
    answers: list[Outcome] = []
    prober.ask(icmp("10.0.1.0"), 0.05, answers.append)
    block_the_loop(0.3)
    await asyncio.sleep(0.05)
    assert [answer.verdict for answer in answers] == [Verdict.UNKNOWN]
    assert "stalled" in answers[0].detail


def block_the_loop(seconds: float) -> None:
    """Stand still as a stopped process would; the sleep is the fault, not a wait."""
    import time  # noqa: PLC0415

    time.sleep(seconds)


@isolated
async def test_tcp_connects_is_refused_and_times_out() -> None:
    veth()
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    prober = TcpProber(bound("127.0.0.1", None))
    here = ip_address("127.0.0.1")
    assert (await ask(prober, ProbeSettings(ProbeKind.TCP, here, port))).verdict is Verdict.OK
    server.close()
    await server.wait_closed()
    outcome = await ask(prober, ProbeSettings(ProbeKind.TCP, here, port))
    assert outcome == Outcome(Verdict.FAILED, "Connection refused")
    silent = ProbeSettings(ProbeKind.TCP, ip_address("10.0.1.0"), 7)
    outcome = await ask(TcpProber(bound("10.0.1.1")), silent)
    assert outcome == Outcome(Verdict.FAILED, "no answer within 200 ms")


@isolated
async def test_a_check_of_an_address_that_is_not_here_fails() -> None:
    """It must not leave the host: another server of the same anycast address would answer."""
    check = ProbeSettings(ProbeKind.TCP, ip_address("192.0.2.53"), 53)
    prober = TcpProber(bound("192.0.2.53", None), unbound=Verdict.FAILED)
    outcome = await ask(prober, check)
    assert outcome == Outcome(Verdict.FAILED, "192.0.2.53 is not an address of this host")


@isolated
async def test_the_schedule_neither_drifts_nor_catches_up() -> None:
    loop = asyncio.get_running_loop()
    fired: list[float] = []
    begin = loop.time()
    every = Every(0.05, 0.0, lambda: fired.append(loop.time() - begin))
    await asyncio.sleep(0.2)
    block_the_loop(0.5)
    await asyncio.sleep(0.2)
    every.stop()
    await asyncio.sleep(0.1)
    late = [at % 0.05 for at in fired]
    assert all(min(lateness, 0.05 - lateness) < 0.025 for lateness in late[:3])
    # 0.9 s hold 18 ticks; those of the half second that we missed are left out, all but one.
    assert len(fired) <= 11
