"""TCP, HTTP and DNS probes against real servers: what they say, and by which link they leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import (
    DnsQuestion,
    HttpQuestion,
    ProbeKind,
    ProbeSettings,
    Question,
)
from bgphealth.probes.binding import Binding
from bgphealth.probes.dns import DnsProber
from bgphealth.probes.http import HttpProber
from bgphealth.probes.outcome import Outcome, Prober
from bgphealth.probes.tcp import TcpProber
from tests.support.neighbors import Neighbor, neighbors
from tests.support.netns import ip, isolated, sysctl
from tests.support.servers import DNS, HTTP, HTTPS, certificate, dns_answers, serve

pytestmark = pytest.mark.network

ROOT = Path(__file__).parents[2]
GET = HttpQuestion(
    tls=False, path="/", host=None, status=(200,), body=None, verify=True, min_valid_s=0.0
)
QUERY = DnsQuestion("plain.example", "A", "udp", "NOERROR", ())
DAY_S = 86400.0
BOTH = ("127.0.0.1", "::1")


def bound(source: str, interface: str | None = None) -> Binding:
    return Binding(interface, lambda: ip_address(source))


def http(target: str, port: int = HTTP, **question: object) -> ProbeSettings:
    asked: Question = replace(GET, tls=port == HTTPS, **question)  # type: ignore[arg-type]
    return ProbeSettings(ProbeKind.HTTP, ip_address(target), port, asked)


def dns(target: str, name: str = "plain.example", port: int = DNS, **q: object) -> ProbeSettings:
    asked: Question = replace(QUERY, name=name, **q)  # type: ignore[arg-type]
    return ProbeSettings(ProbeKind.DNS, ip_address(target), port, asked)


def tcp(target: str, port: int = HTTP) -> ProbeSettings:
    return ProbeSettings(ProbeKind.TCP, ip_address(target), port)


async def ask(prober: Prober, probe: ProbeSettings, timeout_s: float = 1.0) -> Outcome:
    answers: list[Outcome] = []
    prober.ask(probe, timeout_s, answers.append)
    async with asyncio.timeout(10):
        while not answers:
            await asyncio.sleep(0.002)
    await asyncio.sleep(0)
    (answer,) = answers  # Exactly once.
    return answer


async def failure(prober: Prober, probe: ProbeSettings, timeout_s: float = 1.0) -> str:
    outcome = await ask(prober, probe, timeout_s)
    assert outcome.verdict is Verdict.FAILED, outcome
    return outcome.detail


def probers(source: str, interface: str | None = None) -> dict[ProbeKind, Prober]:
    binding = bound(source, interface)
    return {
        ProbeKind.TCP: TcpProber(binding),
        ProbeKind.HTTP: HttpProber(binding),
        ProbeKind.DNS: DnsProber(binding),
    }


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- HTTP ----------------------------------------------------------------------------------------


@isolated
async def test_http_says_what_is_wrong() -> None:
    for address in BOTH:
        serve(address)
        prober = HttpProber(bound(address))
        outcome = await ask(prober, http(address, path="/health"))
        assert outcome.verdict is Verdict.OK, outcome
        assert outcome.rtt_s is not None
        assert 0 < outcome.rtt_s < 1
        assert await failure(prober, http(address, path="/status/503")) == (
            "status 503, expected 200"
        )
        either = http(address, path="/status/503", status=(200, 204))
        assert await failure(prober, either) == "status 503, expected 200 or 204"
        # A redirect is an answer like any other: where it leads is nobody's business here.
        assert await failure(prober, http(address, path="/redirect")) == "status 302, expected 200"
        moved = await ask(prober, http(address, path="/redirect", status=(302,)))
        assert moved.verdict is Verdict.OK
        assert (await failure(prober, http(address, path="/garbage"))).startswith("not HTTP: ")
        assert (await failure(prober, http(address, path="/close"))).startswith("not HTTP: ")
        hanging = await failure(prober, http(address, path="/hang"), 0.1)
        assert hanging == "no answer within 100 ms (waiting for the response)"
        hanging = await failure(prober, http(address, path="/hang-in-body"), 0.1)
        assert hanging == "no answer within 100 ms (reading the body)"
        assert await failure(prober, http(address, port=81)) == "Connection refused (connecting)"


@isolated
async def test_http_sends_the_host_and_matches_the_body() -> None:
    for address, shown in zip(BOTH, ("127.0.0.1", "[::1]"), strict=True):
        serve(address)
        prober = HttpProber(bound(address))
        body = re.escape(f"/a?b=c host={shown}:{HTTP} from={address}")
        assert (await ask(prober, http(address, path="/a?b=c", body=f"^{body}$"))).verdict is (
            Verdict.OK
        )
        named = http(address, path="/x", host="www.example", body=f"host=www.example:{HTTP} ")
        assert (await ask(prober, named)).verdict is Verdict.OK
        other = http(address, path="/x", body="host=www.example")
        assert await failure(prober, other) == "body does not match"
        german = http(address, path="/latin-1", body="^grün$")
        assert (await ask(prober, german)).verdict is Verdict.OK


@isolated
async def test_http_reads_64_kib_and_no_more() -> None:
    serve("127.0.0.1")
    prober = HttpProber(bound("127.0.0.1"))
    for size, verdict in ((65536 - 7, Verdict.OK), (65536, Verdict.FAILED)):
        probe = http("127.0.0.1", path=f"/big/{size}", body="the end")
        assert (await ask(prober, probe)).verdict is verdict
    assert (await ask(prober, http("127.0.0.1", path="/endless"))).verdict is Verdict.OK


@isolated
async def test_http_leaves_nothing_open() -> None:
    serve("127.0.0.1")
    prober = HttpProber(bound("127.0.0.1"))
    await ask(prober, http("127.0.0.1"))
    before = open_descriptors()
    for path in ("/", "/endless", "/garbage", "/hang", "/hang-in-body"):
        await ask(prober, http("127.0.0.1", path=path), 0.1)
        await ask(prober, http("127.0.0.1", path=path, port=81), 0.1)
    prober.ask(http("127.0.0.1", path="/hang"), 5.0, print)
    await asyncio.sleep(0.05)
    prober.close()
    async with asyncio.timeout(10):  # The servers' ends, which are in this process, hang for 3 s.
        while open_descriptors() > before:
            await asyncio.sleep(0.05)


@isolated
async def test_environment_and_proxies_do_not_matter() -> None:
    serve("127.0.0.1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ[name] = "http://127.0.0.1:9/"
    outcome = await ask(HttpProber(bound("127.0.0.1")), http("127.0.0.1"))
    assert outcome.verdict is Verdict.OK, outcome


@isolated
async def test_certificates() -> None:
    with tempfile.TemporaryDirectory() as directory:
        pem = certificate(Path(directory), "DNS:www.example", "IP:127.0.0.1", "IP:::1", days=3)
        os.environ["SSL_CERT_FILE"] = str(pem)  # Stands for the system's store.
        for address in BOTH:
            serve(address, pem)
            prober = HttpProber(bound(address))
            for host in (None, "www.example"):
                outcome = await ask(prober, http(address, HTTPS, host=host))
                assert outcome.verdict is Verdict.OK, outcome
            said = await failure(prober, http(address, HTTPS, host="mail.example"))
            assert said.startswith("certificate verify failed: Hostname mismatch")
            assert "mail.example" in said
            unchecked = http(address, HTTPS, host="mail.example", verify=False)
            assert (await ask(prober, unchecked)).verdict is Verdict.OK
            long_enough = http(address, HTTPS, min_valid_s=2 * DAY_S)
            assert (await ask(prober, long_enough)).verdict is Verdict.OK
            too_short = http(address, HTTPS, min_valid_s=14 * DAY_S)
            said = await failure(prober, too_short)
            assert said == "certificate expires in 2 days, 14 wanted"
            plain = replace(http(address, HTTPS), port=HTTP)
            assert (await failure(prober, plain)).startswith("TLS: ")


@isolated
async def test_a_certificate_that_nobody_vouches_for() -> None:
    with tempfile.TemporaryDirectory() as directory:
        serve("127.0.0.1", certificate(Path(directory), "IP:127.0.0.1"))
        said = await failure(HttpProber(bound("127.0.0.1")), http("127.0.0.1", HTTPS))
        assert said == "certificate verify failed: self-signed certificate"


# ---- DNS -----------------------------------------------------------------------------------------


@isolated
async def test_dns_says_what_is_wrong() -> None:
    for address in BOTH:
        serve(address)
        prober = DnsProber(bound(address))
        for transport in ("udp", "tcp"):
            outcome = await ask(prober, dns(address, transport=transport))
            assert outcome.verdict is Verdict.OK, outcome
            assert outcome.rtt_s is not None
            said = await failure(prober, dns(address, "servfail.example", transport=transport))
            assert said == "SERVFAIL, expected NOERROR"
            said = await failure(prober, dns(address, transport=transport, rcode="NXDOMAIN"))
            assert said == "NOERROR, expected NXDOMAIN"
            missing = dns(address, "nxdomain.example", transport=transport, rcode="NXDOMAIN")
            assert (await ask(prober, missing)).verdict is Verdict.OK
            said = await failure(prober, dns(address, "none.example", transport=transport), 0.1)
            assert said.startswith("no answer within 100 ms") or "closed the connection" in said
            said = await failure(prober, dns(address, port=54, transport=transport))
            assert said == "Connection refused"


@isolated
async def test_dns_answers() -> None:
    serve("127.0.0.1")
    prober = DnsProber(bound("127.0.0.1"))
    for rdtype, answers in (
        ("A", ("192.0.2.2",)),
        ("A", ("192.0.2.2", "192.0.2.1")),
        ("AAAA", ("2001:DB8:0::1",)),
        ("TXT", ('"a b"',)),
    ):
        outcome = await ask(prober, dns("127.0.0.1", rdtype=rdtype, answers=answers))
        assert outcome.verdict is Verdict.OK, outcome
    said = await failure(prober, dns("127.0.0.1", answers=("192.0.2.9",)))
    assert said == "answer 192.0.2.1, 192.0.2.2, expected 192.0.2.9"
    said = await failure(prober, dns("127.0.0.1", "empty.example", answers=("192.0.2.1",)))
    assert said == "no A record in the answer, expected 192.0.2.1"
    assert (await ask(prober, dns("127.0.0.1", "empty.example"))).verdict is Verdict.OK


@isolated
async def test_a_truncated_answer_is_an_answer_unless_records_are_wanted() -> None:
    serve("127.0.0.1")
    prober = DnsProber(bound("127.0.0.1"))
    assert (await ask(prober, dns("127.0.0.1", "truncated.example"))).verdict is Verdict.OK
    wanted = dns("127.0.0.1", "truncated.example", answers=("192.0.2.1",))
    assert await failure(prober, wanted) == "the answer is truncated; ask with transport: tcp"
    over_tcp = dns("127.0.0.1", "truncated.example", answers=("192.0.2.1",), transport="tcp")
    assert (await ask(prober, over_tcp)).verdict is Verdict.OK


@isolated
async def test_what_is_not_the_answer_does_not_count() -> None:
    for address in BOTH:
        serve(address)
        prober = DnsProber(bound(address))
        for transport in ("udp", "tcp"):
            outcome = await ask(prober, dns(address, "noise.example", transport=transport))
            assert outcome.verdict is Verdict.OK, outcome
            await failure(prober, dns(address, "only-noise.example", transport=transport), 0.2)


@isolated
async def test_only_the_server_itself_can_answer() -> None:
    """The right answer to the right port from another address, or another port, is not heard."""
    ip("addr", "add", "192.0.2.66/32", "dev", "lo")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", DNS))
    loop = asyncio.get_running_loop()
    server.settimeout(0)
    answers: list[Outcome] = []
    DnsProber(bound("127.0.0.1")).ask(dns("127.0.0.1"), 0.5, answers.append)
    wire, client = await loop.sock_recvfrom(server, 512)
    (right,) = dns_answers(wire)
    for foreign in (("192.0.2.66", DNS), ("127.0.0.1", DNS + 1)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(foreign)
            with contextlib.suppress(OSError):
                sock.sendto(right, client)
    await asyncio.sleep(0.1)
    assert answers == []
    server.sendto(right, client)
    await asyncio.sleep(0.1)
    assert [answer.verdict for answer in answers] == [Verdict.OK]


# ---- us ------------------------------------------------------------------------------------------


def every_kind(target: str) -> list[ProbeSettings]:
    return [tcp(target), http(target), dns(target), dns(target, transport="tcp")]


@isolated
async def test_what_we_lack_says_nothing_about_the_path() -> None:
    for probe in every_kind("127.0.0.1"):
        prober = probers("192.0.2.1")[probe.kind]
        lacking = Outcome(Verdict.UNKNOWN, "192.0.2.1 is not an address of this host")
        assert await ask(prober, probe) == lacking
        prober = probers("127.0.0.1", "eth9")[probe.kind]
        assert await ask(prober, probe) == Outcome(Verdict.UNKNOWN, "eth9 does not exist")
    for probe in every_kind("203.0.113.1"):
        outcome = await ask(probers("127.0.0.1")[probe.kind], probe)
        assert outcome.verdict is Verdict.UNKNOWN, outcome
    ip("addr", "add", "192.0.2.1/32", "dev", "lo")
    for probe in every_kind("203.0.113.1"):
        outcome = await ask(probers("192.0.2.1")[probe.kind], probe)
        assert outcome == Outcome(Verdict.UNKNOWN, "cannot connect: Network is unreachable")
    for route, why in (("unreachable", "No route to host"), ("blackhole", "Invalid argument")):
        ip("route", "replace", route, "203.0.113.0/24")
        for probe in every_kind("203.0.113.1"):
            outcome = await ask(probers("192.0.2.1")[probe.kind], probe)
            assert outcome == Outcome(Verdict.UNKNOWN, f"cannot connect: {why}")


@isolated
async def test_a_service_whose_address_is_not_here_fails() -> None:
    binding = bound("192.0.2.53")
    for prober, probe in (
        (HttpProber(binding, unbound=Verdict.FAILED), http("192.0.2.53")),
        (DnsProber(binding, unbound=Verdict.FAILED), dns("192.0.2.53")),
        (TcpProber(binding, unbound=Verdict.FAILED), tcp("192.0.2.53")),
    ):
        assert await failure(prober, probe) == "192.0.2.53 is not an address of this host"


@isolated
async def test_no_descriptors_left_is_unknown() -> None:
    serve("127.0.0.1")
    by_kind = probers("127.0.0.1")
    for probe in every_kind("127.0.0.1"):
        assert (await ask(by_kind[probe.kind], probe)).verdict is Verdict.OK
    taken = []
    with contextlib.suppress(OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 20,) * 2)
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    for probe in every_kind("127.0.0.1"):
        outcome = await ask(by_kind[probe.kind], probe)
        assert outcome == Outcome(Verdict.UNKNOWN, "no socket: Too many open files")


def block_the_loop(seconds: float) -> None:
    """Stand still as a stopped process would; the sleep is the fault, not a wait."""
    time.sleep(seconds)


@isolated
async def test_silence_while_we_were_stalled_is_unknown() -> None:
    serve("127.0.0.1")
    silent = [
        http("127.0.0.1", path="/hang"),
        dns("127.0.0.1", "none.example"),
    ]
    by_kind = probers("127.0.0.1")
    for probe in silent:
        assert (await ask(by_kind[probe.kind], probe, 0.1)).verdict is Verdict.FAILED
        answers: list[Outcome] = []
        by_kind[probe.kind].ask(probe, 0.1, answers.append)
        await asyncio.sleep(0.02)
        block_the_loop(0.5)
        async with asyncio.timeout(5):
            while not answers:
                await asyncio.sleep(0.01)
        assert answers[0].verdict is Verdict.UNKNOWN, answers
        assert "we were stalled for 0." in answers[0].detail


@isolated
async def test_an_answer_that_came_while_we_were_stalled_counts() -> None:
    """However long the stall and however many steps are still to be made after it."""
    serve("127.0.0.1")
    by_kind = probers("127.0.0.1")
    for timeout_s, stall_s in ((0.1, 0.15), (0.1, 0.5), (0.04, 0.06), (0.04, 0.5)):
        for probe in every_kind("127.0.0.1"):
            answers: list[Outcome] = []
            by_kind[probe.kind].ask(probe, timeout_s, answers.append)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            block_the_loop(stall_s)
            async with asyncio.timeout(5):
                while not answers:
                    await asyncio.sleep(0.01)
            assert answers[0].verdict is Verdict.OK, (probe, timeout_s, stall_s, answers)


@isolated
async def test_many_at_once() -> None:
    serve("127.0.0.1")
    by_kind = probers("127.0.0.1")
    probes = every_kind("127.0.0.1") * 25
    outcomes = await asyncio.gather(*(ask(by_kind[p.kind], p, 5.0) for p in probes))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.OK}, outcomes


# ---- the path ------------------------------------------------------------------------------------

TARGETS = ("198.51.100.9", "2001:db8:100::9")
SOURCES = ("10.0.2.1", "2001:db8:2::1")
PORTS = f"{{ {HTTP}, {HTTPS}, {DNS} }}"


def count(interface: str, port: str, enter: Sequence[str] = ()) -> None:
    """Count the packets of probes that come in by an interface."""
    rules = f"""
table inet seen {{
  chain incoming {{
    type filter hook input priority 0;
    iifname {interface} udp {port} {PORTS} counter
    iifname {interface} tcp {port} {PORTS} counter
  }}
}}
"""
    subprocess.run([*enter, "nft", "-f", "-"], check=True, input=rules, text=True)


def counted(enter: Sequence[str] = ()) -> int:
    """Return how many they were."""
    listed = subprocess.run(
        [*enter, "nft", "list", "ruleset"], check=True, capture_output=True, text=True
    )
    return sum(int(packets) for packets in re.findall(r"counter packets (\d+)", listed.stdout))


@contextlib.contextmanager
def two_uplinks() -> Iterator[list[Neighbor]]:
    """Two ToRs that both lead to the same servers; the main table knows only the first one."""
    with tempfile.TemporaryDirectory() as directory, neighbors(2) as tors:
        pem = certificate(Path(directory), *(f"IP:{target}" for target in TARGETS))
        os.environ["SSL_CERT_FILE"] = str(pem)
        running = []
        for tor in tors:
            n = tor.number
            ip("addr", "add", f"2001:db8:{n}::1/127", "dev", f"eth{n}", "nodad")
            tor.ip("addr", "add", f"2001:db8:{n}::/127", "dev", "eth0", "nodad")
            for target, length in zip(TARGETS, (32, 128), strict=True):
                nodad = ["nodad"] if length == 128 else []
                tor.ip("addr", "add", f"{target}/{length}", "dev", "lo", *nodad)
            # What uplink 2 sends through uplink 1 would find its way back, and be believed.
            tor.ip("route", "replace", "default", "via", f"10.0.{n}.1")
            tor.ip("-6", "route", "replace", "default", "via", f"2001:db8:{n}::1")
            count("eth0", "dport", tor.enter)
            server = subprocess.Popen(
                [*tor.enter, sys.executable, "-m", "tests.support.servers", pem, *TARGETS],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            running.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for family, via in (("-4", f"10.0.{n}.0"), ("-6", f"2001:db8:{n}::")):
                ip(family, "route", "add", "default", "via", via, "table", f"{17900 + n}")
                ip(family, "rule", "add", "oif", f"eth{n}", "lookup", f"{17900 + n}")
        count("eth1", "sport")
        ip("route", "add", "default", "via", "10.0.1.0")
        ip("-6", "route", "add", "default", "via", "2001:db8:1::")
        for name in ("all", "eth1", "eth2"):
            sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")
        try:
            yield tors
        finally:
            for server in running:
                server.kill()
                server.wait()
                if server.stdout is not None:
                    server.stdout.close()


@isolated
async def test_a_probe_of_uplink_2_never_touches_uplink_1() -> None:
    with two_uplinks() as (one, two):
        for target, source in zip(TARGETS, SOURCES, strict=True):
            for probe in (*every_kind(target), http(target, HTTPS)):
                before = counted(one.enter), counted(two.enter), counted()
                outcome = await ask(probers(source, "eth2")[probe.kind], probe, 3.0)
                assert outcome.verdict is Verdict.OK, (probe, outcome)
                assert (counted(one.enter), counted()) == (before[0], before[2]), probe
                assert counted(two.enter) > before[1], probe
                # Without the device it goes where the main table says: the counters count.
                outcome = await ask(probers(source)[probe.kind], probe, 3.0)
                assert counted(one.enter) > before[0], (probe, outcome)


@isolated
async def test_uplink_1_does_not_answer_for_uplink_2() -> None:
    with two_uplinks() as (one, two):
        for target, length in zip(TARGETS, (32, 128), strict=True):
            two.ip("addr", "del", f"{target}/{length}", "dev", "lo")
        for target, source in zip(TARGETS, SOURCES, strict=True):
            for probe in (*every_kind(target), http(target, HTTPS)):
                before = counted(one.enter)
                await failure(probers(source, "eth2")[probe.kind], probe, 0.3)
                assert counted(one.enter) == before, probe
                other = source.replace("10.0.2.", "10.0.1.").replace(":2::", ":1::")
                outcome = await ask(probers(other, "eth1")[probe.kind], probe, 3.0)
                assert outcome.verdict is Verdict.OK, outcome


@isolated
async def test_httpx_by_itself_would_leave_through_uplink_1() -> None:
    """Its socket options come after the connection: the reason for a connection of ours."""
    with two_uplinks() as (one, _):
        transport = httpx.AsyncHTTPTransport(
            local_address="10.0.2.1",
            socket_options=[(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth2\0")],
            trust_env=False,
        )
        before = counted(one.enter)
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(1), transport:
                request = httpx.Request("GET", f"http://{TARGETS[0]}:{HTTP}/")
                await (await transport.handle_async_request(request)).aread()
        assert counted(one.enter) > before


@isolated
async def test_a_tor_that_knows_no_way_is_a_failure() -> None:
    """It says "network unreachable", as our own kernel does when it is we who know no way."""
    with two_uplinks() as (_, two):
        two.ip("route", "del", "default")
        two.ip("-6", "route", "del", "default")
        for knob in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            two.run("sh", "-c", f"echo 1 > /proc/sys/net/{knob}")
        for target, source in (("192.0.2.77", SOURCES[0]), ("2001:db8:77::1", SOURCES[1])):
            for probe in every_kind(target):
                said = await failure(probers(source, "eth2")[probe.kind], probe, 2.0)
                # To UDP over IPv4 the kernel does not pass it on.
                assert "unreachable" in said or probe == dns(target), (probe, said)
