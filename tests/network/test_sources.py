"""Pins and policies on a real kernel, as sockets and the wire see them."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.config import load
from bgphealth.core.fallback_order import Rank
from bgphealth.core.settings import Family, Pin, Settings, SourcePolicy, SourceSettings
from bgphealth.fallback import leftovers, nftables
from bgphealth.fallback.netlink import Netlink
from tests.network.test_fallback_defaults import BASE, BOTH, ranked, two_links, watched
from tests.support.hosts import host, unnumbered_host
from tests.support.netns import ip, isolated
from tests.support.routers import routers
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

LOOPBACK = {"-4": "10.255.10.1", "-6": "2001:db8:10::1"}
PINNED = {"-4": "10.255.10.9", "-6": "2001:db8:10::9"}
LED = {"-4": "10.255.10.7", "-6": "2001:db8:10::7"}
PREFIX = {"-4": "203.0.113.0/24", "-6": "2001:db8:f00::/48"}
INSIDE = {"-4": "203.0.113.5", "-6": "2001:db8:f00::5"}
OUTSIDE = {"-4": "198.51.100.1", "-6": "2001:db8:100::1"}
TOR = {
    "-4": {1: "10.0.1.0", 2: "10.0.2.0"},
    "-6": {1: "2001:db8:1::", 2: "2001:db8:2::"},
}
OPTIONS = ("-4", "-6")
ALL_CARRY = ranked(tor1=Rank.CARRIES, tor2=Rank.CARRIES)
FIRST_IS_DOWN = ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES)
PINS = tuple(Pin(ip_network(PREFIX[o]), ip_address(PINNED[o])) for o in OPTIONS)


def policies(*, strict: bool = False) -> tuple[SourcePolicy, ...]:
    return tuple(SourcePolicy(ip_address(LED[o]), "tor1", strict) for o in OPTIONS)


def with_sources(pins: tuple[Pin, ...] = (), policies: tuple[SourcePolicy, ...] = ()) -> Settings:
    return replace(host(families=BOTH), sources=SourceSettings(pins, policies))


def two_uplinks() -> None:
    """Make two links, addresses on lo, and a default as BGP has it: over the second uplink."""
    two_links()
    for option in OPTIONS:
        for addresses in (LOOPBACK, PINNED, LED):
            have(addresses[option])
        # What is sent need not wait for neighbors that do not exist.
        for n, tor in TOR[option].items():
            ip("neigh", "add", tor, "lladdr", "02:00:00:00:00:09", "dev", f"eth{n}")
        ip(option, "route", "add", "default", "via", TOR[option][2], "src", LOOPBACK[option],
           "metric", "20", "proto", "bgp")  # fmt: skip


def have(address: str) -> None:
    length = ip_address(address).max_prefixlen
    ip("addr", "add", f"{address}/{length}", "dev", "lo", *(["nodad"] if length == 128 else []))


def udp(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def source_towards(target: str) -> str:
    """Return the source that a program gets that binds to nothing."""
    with udp(target) as sock:
        sock.connect((target, 9))
        return str(sock.getsockname()[0])


def left_through(target: str, source: str | None = None) -> int:
    """Return the number of the uplink at whose end a datagram arrives."""
    with ExitStack() as stack:
        ends: dict[int, socket.socket] = {}
        for n in (1, 2):
            ends[n] = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
            ends[n].bind((f"far{n}", 0x0003))  # ETH_P_ALL
        sock = stack.enter_context(udp(target))
        if source is not None:
            sock.bind((source, 0))
        marker = b"to " + target.encode()
        sock.sendto(marker, (target, 9))
        while True:
            readable, _, _ = select.select(list(ends.values()), [], [], 10)
            assert readable, f"nothing left towards {target}"
            for n, end in ends.items():
                if end in readable and marker in end.recv(2048):
                    return n


def routes(option: str) -> list[str]:
    return ip("-o", option, "route", "show", PREFIX[option]).splitlines()


def metrics(option: str) -> set[int]:
    return {int(line.split("metric ")[1].split()[0]) for line in routes(option)}


def are_at(option: str, places: set[int]) -> bool:
    return metrics(option) == places


def rules() -> list[str]:
    """Return the rules of policies."""
    lines = [line for option in OPTIONS for line in ip(option, "rule").splitlines()]
    return [line.partition("\t")[2] for line in lines if "proto 179" in line and "oif" not in line]


def led(option: str, *, strict: bool = False) -> list[str]:
    start = f"from {LED[option]}"
    forbid = [f"{start} unreachable proto 179"] if strict else []
    return [
        f"{start} lookup main suppress_prefixlength 0 proto 179",
        f"{start} lookup 17901 proto 179",
        *forbid,
    ]


BOTH_LED = led("-4") + led("-6")


@isolated
async def test_what_is_opened_towards_a_pinned_prefix_has_its_source_and_follows_the_verdicts() -> (
    None
):
    two_uplinks()
    seen = Seen(with_sources(PINS))
    async with watched(seen):
        for option in OPTIONS:
            assert source_towards(INSIDE[option]) == PINNED[option]
            assert source_towards(OUTSIDE[option]) == LOOPBACK[option]
            assert left_through(INSIDE[option]) == 1
            assert metrics(option) == {BASE + 1, BASE + 2}
        seen.watch.order(FIRST_IS_DOWN)
        for option in OPTIONS:
            await until(partial(are_at, option, {BASE + (2 << 16) + 1, BASE + 2}))
            assert left_through(INSIDE[option]) == 2
            assert source_towards(INSIDE[option]) == PINNED[option]
            # Who binds has chosen.
            assert left_through(INSIDE[option], LOOPBACK[option]) == 2
        # The next run of the program knows nothing yet, and moves nothing.
        again = Seen(with_sources(PINS))
        await again.watch.start()
        assert again.applied == []
        seen.watch.order(ALL_CARRY)
        for option in OPTIONS:
            await until(partial(are_at, option, {BASE + 1, BASE + 2}))
        assert not any(applied.failed or applied.unmet for applied in seen.applied)


@isolated
async def test_a_pin_moves_without_a_moment_without_it() -> None:
    two_uplinks()
    seen = Seen(with_sources(PINS))
    async with watched(seen):
        told = await asyncio.create_subprocess_exec(
            "ip", "monitor", "route", stdout=asyncio.subprocess.PIPE
        )
        assert told.stdout is not None
        await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
        seen.watch.order(FIRST_IS_DOWN)
        await until(lambda: all(BASE + (2 << 16) + 1 in metrics(o) for o in OPTIONS))
        await until(lambda: all(BASE + 1 not in metrics(o) for o in OPTIONS))
        told.terminate()
        said = (await told.stdout.read()).decode().splitlines()
        await told.wait()
        # The links' own addresses may become ready meanwhile.
        changes = [line for line in said if any(prefix in line for prefix in PREFIX.values())]
        assert len(changes) == 4, changes
        assert [line.startswith("Deleted") for line in changes] == [False, True] * 2


@isolated
async def test_pins_and_policies_come_back_and_nobody_elses_are_touched() -> None:
    two_uplinks()
    theirs = [
        ("-4", "rule", "add", "from", LED["-4"], "lookup", "100", "priority", "18175"),
        ("-4", "rule", "add", "from", LED["-4"], "to", PREFIX["-4"], "lookup", "100"),
        ("-6", "rule", "add", "from", LED["-6"], "unreachable", "priority", "19000"),
        ("-4", "route", "add", PREFIX["-4"], "via", TOR["-4"][2], "metric", "4278190080"),
        ("-6", "route", "add", "2001:db8:f00::/49", "via", TOR["-6"][2], "metric", str(BASE + 1)),
    ]
    for words in theirs:
        ip(*words)

    def others() -> list[str]:
        found = [ip(o, what, "show") for o in OPTIONS for what in ("rule", "route")]
        return [line for text in found for line in text.splitlines() if "proto 179" not in line]

    before = others()
    seen = Seen(with_sources(PINS, policies()))
    seen.watch.order(ALL_CARRY)
    async with watched(seen):
        assert rules() == BOTH_LED
        for option in OPTIONS:
            ip(option, "route", "flush", "table", "main", "proto", "179")
            ip(option, "rule", "del", "from", LED[option], "lookup", "17901")
        await until(lambda: all(metrics(o) >= {BASE + 1, BASE + 2} for o in OPTIONS))
        await until(lambda: sorted(rules()) == sorted(BOTH_LED))
        assert others() == before
        # What has the place of ours is reported, and back when that is gone.
        for option in OPTIONS:
            ip(option, "route", "replace", PREFIX[option], "via", TOR[option][2], "metric",
               str(BASE + 1), "proto", "static")  # fmt: skip
        await until(lambda: set(seen.applied[-1].unmet) == set(PINS))
        assert seen.applied[-1].unmet[PINS[0]] == (
            "somebody else's route has its metric: via 10.0.2.0 dev eth2, no src, proto static, "
            "metric 4261412865"
        )
        for option in OPTIONS:
            (line,) = [line for line in routes(option) if f"metric {BASE + 1} " in f"{line} "]
            assert "proto static" in line
            ip(option, "route", "del", PREFIX[option], "metric", str(BASE + 1), "proto", "static")
        await until(lambda: all(metrics(o) >= {BASE + 1, BASE + 2} for o in OPTIONS))
        assert others() == before
    await Seen(with_sources()).watch.start()
    assert rules() == []
    assert others() == before
    assert "proto 179" not in "".join(ip(o, "route", "show") for o in OPTIONS)


@isolated
async def test_without_its_source_a_pin_waits_and_the_default_serves() -> None:
    two_uplinks()
    seen = Seen(with_sources(PINS, policies()))
    seen.watch.order(ALL_CARRY)
    async with watched(seen):
        for option in OPTIONS:
            length = ip_address(PINNED[option]).max_prefixlen
            for addresses in (PINNED, LED):
                ip("addr", "del", f"{addresses[option]}/{length}", "dev", "lo")
        await until(lambda: rules() == [])
        for option in OPTIONS:
            await until(partial(are_at, option, set()))
            assert left_through(INSIDE[option]) == 2
            assert source_towards(INSIDE[option]) == LOOPBACK[option]
        await until(lambda: len(seen.applied[-1].unmet) == 4)
        assert {str(wish): why for wish, why in seen.applied[-1].unmet.items()} == {
            f"{what}from {address}{then}": f"{address} is not an address of this host"
            for option in OPTIONS
            for what, address, then in (
                (f"to {PREFIX[option]} ", PINNED[option], ""),
                ("", LED[option], " through tor1"),
            )
        }
        for option in OPTIONS:
            have(PINNED[option])
            have(LED[option])
        await until(lambda: rules() == BOTH_LED)
        for option in OPTIONS:
            await until(partial(are_at, option, {BASE + 1, BASE + 2}))
            assert source_towards(INSIDE[option]) == PINNED[option]


@isolated
async def test_what_has_the_source_of_a_policy_leaves_through_its_uplink_while_that_carries() -> (
    None
):
    two_uplinks()
    seen = Seen(with_sources(policies=policies()))
    async with watched(seen):
        # Without a verdict they stay as they are.
        assert rules() == []
        seen.watch.order(ALL_CARRY)
        await until(lambda: rules() == BOTH_LED)
        for option in OPTIONS:
            assert left_through(OUTSIDE[option], LED[option]) == 1
            assert left_through(OUTSIDE[option], LOOPBACK[option]) == 2
            assert left_through(OUTSIDE[option]) == 2
        again = Seen(with_sources(policies=policies()))
        await again.watch.start()
        assert again.applied == []
        assert rules() == BOTH_LED
        for rank in (Rank.DOWN, Rank.WORKS):
            seen.watch.order(ranked(tor1=rank, tor2=Rank.CARRIES))
            await until(lambda: rules() == [])
            for option in OPTIONS:
                assert left_through(OUTSIDE[option], LED[option]) == 2
            # The next run of the program does not lead anything to a dead uplink again.
            await Seen(with_sources(policies=policies())).watch.start()
            assert rules() == []
            seen.watch.order(ALL_CARRY)
            await until(lambda: rules() == BOTH_LED)


@isolated
async def test_what_the_main_table_knows_better_does_not_leave_through_the_uplink() -> None:
    two_uplinks()
    ip("link", "add", "lan", "type", "veth", "peer", "name", "inside")
    ip("link", "set", "lan", "up")
    ip("link", "set", "inside", "up")
    ip("addr", "add", "172.17.0.1/16", "dev", "lan")
    ip("addr", "add", "fd00:17::1/64", "dev", "lan", "nodad")
    seen = Seen(with_sources(policies=policies(strict=True)))
    seen.watch.order(ALL_CARRY)
    await seen.watch.start()
    for option, target in (("-4", "172.17.0.2"), ("-6", "fd00:17::2")):
        assert "dev lan" in ip("route", "get", target, "from", LED[option])
        assert "dev eth1" in ip("route", "get", OUTSIDE[option], "from", LED[option])
        # A socket that is bound to another uplink stays on that.
        bound = ip("route", "get", OUTSIDE[option], "from", LED[option], "oif", "eth2")
        assert f"via {TOR[option][2]} dev eth2" in bound


@isolated
async def test_a_strict_policy_lets_nothing_leave_another_way() -> None:
    two_uplinks()
    seen = Seen(with_sources(policies=policies(strict=True)))
    async with watched(seen):
        strict = led("-4", strict=True) + led("-6", strict=True)
        assert rules() == strict
        for option in OPTIONS:
            assert left_through(OUTSIDE[option], LED[option]) == 1
        seen.watch.order(FIRST_IS_DOWN)
        ip("link", "set", "eth1", "down")
        await until(lambda: seen.links["tor1"] is False)
        for option in OPTIONS:
            await until(partial(is_unreachable_from, LED[option], OUTSIDE[option]))
            assert left_through(OUTSIDE[option]) == 2
        assert rules() == strict
        # Another uplink for it.
        moved = tuple(replace(policy, uplink="tor2") for policy in policies(strict=True))
        other = Seen(with_sources(policies=moved))
        other.watch.order(FIRST_IS_DOWN)
        await other.watch.start()
        for option in OPTIONS:
            assert left_through(OUTSIDE[option], LED[option]) == 2


def is_unreachable_from(source: str, target: str) -> bool:
    with udp(target) as sock:
        sock.bind((source, 0))
        try:
            sock.connect((target, 9))
        except OSError:
            return True
    return False


@isolated
async def test_an_uplinks_own_address_leaves_through_it() -> None:
    two_uplinks()
    own = (SourcePolicy(None, "tor1", is_strict=False),)
    seen = Seen(with_sources(policies=own))
    seen.watch.order(ALL_CARRY)
    async with watched(seen):
        for option, address in (("-4", "10.0.1.1"), ("-6", "2001:db8:1::1")):
            assert left_through(OUTSIDE[option], address) == 1
        ip("addr", "del", "10.0.1.1/31", "dev", "eth1")
        ip("addr", "add", "10.0.1.3/29", "dev", "eth1")
        start = "from 10.0.1.3 lookup"
        await until(lambda: [r.startswith(start) for r in rules()] == [True, True, False, False])


@isolated
async def test_pins_go_over_unnumbered_links_as_well() -> None:
    with routers():
        for option in OPTIONS:
            have(PINNED[option])
        seen = Seen(replace(unnumbered_host(), sources=SourceSettings(PINS)))
        async with watched(seen, recheck_s=0.2):
            for option in OPTIONS:
                await until(partial(are_at, option, {BASE + 1, BASE + 2}))
                assert source_towards(INSIDE[option]) == PINNED[option]
            assert "via inet6 fe80::1 dev eth1" in ip("route", "show", PREFIX["-4"])


@isolated
async def test_what_left_the_file_is_removed() -> None:
    two_uplinks()
    before = with_sources(PINS, policies(strict=True))
    seen = Seen(before)
    await seen.watch.start()
    assert rules() != []
    # A family that no uplink has any more.
    only_v4 = replace(host(families=(Family.IPV4,)), sources=SourceSettings(PINS[:1]))
    async with Netlink() as netlink:
        await leftovers.remove(before, only_v4, netlink)
    assert rules() == led("-4", strict=True)
    await Seen(only_v4).watch.start()
    assert (rules(), routes("-6")) == ([], [])
    assert metrics("-4") == {BASE + 1, BASE + 2}
    await Seen(before).watch.start()
    nothing = replace(before, fallback=replace(before.fallback, enabled=False))
    async with Netlink() as netlink:
        done = await leftovers.remove(before, nothing, netlink)
    assert f"deleted ipv4 rule from {LED['-4']} unreachable" in done
    assert f"deleted pin {PREFIX['-4']} via 10.0.1.0 metric 4261412865" in done
    assert rules() == []
    assert "proto 179" not in "".join(ip(o, "route", "show", "table", "all") for o in OPTIONS)


FILE = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: 10.255.10.1}
uplinks:
  tor1: {interface: eth1, neighbor: 10.0.1.0, neighbor_asn: 65001}
  tor2: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002}
sources:
  pins: [{to: 203.0.113.0/24, from: 10.255.10.9}]
  policies:
    - {from: 10.255.10.7, uplink: tor1, strict: true}
    - {from: link, uplink: tor2}
"""


def written(directory: str, text: str) -> Path:
    file = Path(directory, "bgphealth.yaml")
    file.write_text(text)
    return file


@isolated
async def test_by_hand() -> None:
    two_uplinks()
    with tempfile.TemporaryDirectory() as directory:
        file = written(directory, FILE)

        def run(*arguments: str) -> tuple[int, str]:
            done = CliRunner().invoke(app, ["-c", str(file), "fallback", *arguments])
            return done.exit_code, done.output

        async def command(*arguments: str) -> tuple[int, str]:
            # It has an event loop of its own.
            return await asyncio.to_thread(run, *arguments)

        status, said = await command("show")
        assert status == 1
        pin = "pin to 203.0.113.0/24 from 10.255.10.9, tor1: 203.0.113.0/24 via 10.0.1.0 dev eth1"
        strict = "policy from 10.255.10.7 through tor1 or not at all"
        assert f"{pin} src 10.255.10.9 metric 4261412865: missing" in said
        assert f"{strict}: missing" in said
        waits = "policy from its own address through tor2: not there, as while its uplink does not "
        assert f"{waits}carry" in said
        status, said = await command("apply")
        assert status == 0
        assert "added pin 203.0.113.0/24 via 10.0.1.0 metric 4261412865" in said
        assert "added the ipv4 rule from 10.255.10.7 unreachable" in said
        assert await command("apply") == (0, "nothing to do\n")
        status, said = await command("show", "--json")
        found = json.loads(said)
        assert (status, found["as_wanted"]) == (0, True)
        assert [route["is_there"] for route in found["pins"]] == [True, True]
        assert found["policies"][0] == {
            "from": "10.255.10.7",
            "uplink": "tor1",
            "strict": True,
            "rules": [
                "from 10.255.10.7 lookup main suppress_prefixlength 0",
                "from 10.255.10.7 lookup 17901",
                "from 10.255.10.7 unreachable",
            ],
            "missing": [],
            "why_none": None,
        }
        assert source_towards(INSIDE["-4"]) == PINNED["-4"]
        written(directory, FILE.partition("sources:")[0])
        status, said = await command("show")
        assert status == 1
        assert "left over: ipv4 rule from 10.255.10.7 unreachable" in said
        assert "left over: 203.0.113.0/24 via 10.0.1.0 dev eth1 src 10.255.10.9" in said
        ip("rule", "add", "from", LED["-4"], "lookup", "100", "priority", "7")
        status, said = await command("flush")
        assert status == 0
        assert "deleted ipv4 rule from 10.255.10.7 lookup main suppress_prefixlength 0" in said
        assert "proto 179" not in ip("route", "show", "table", "all") + ip("rule")
        assert f"from {LED['-4']} lookup 100" in ip("rule")


NFT_FILE = FILE.partition("sources:")[0].replace("tor2: {interface: eth2", "# tor2: {interface:")


@isolated
async def test_source_nat_gives_the_hosts_source_to_what_carries_the_links() -> None:
    """A real flow: the far end of the link is another namespace, and its answers come back."""
    with routers(1) as (router,), tempfile.TemporaryDirectory() as directory:
        file = written(directory, NFT_FILE)
        done = CliRunner().invoke(
            app, ["-c", str(file), "render", "nftables", "--user", "daemon", "-o", directory]
        )
        assert done.exit_code == 0, done.output
        rendered = str(Path(directory, "bgphealth.nft"))
        ip("addr", "add", "10.0.1.1/31", "dev", "eth1")
        have(LOOPBACK["-4"])
        have(PINNED["-4"])
        ip("route", "add", "default", "via", "10.0.1.0")
        router.run("ip", "addr", "add", "10.0.1.0/31", "dev", "eth0")
        router.run("ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
        router.run("ip", "link", "set", "lo", "up")
        for address in (LOOPBACK["-4"], PINNED["-4"]):
            router.run("ip", "route", "add", address, "via", "10.0.1.1")
        with router.started(sys.executable, "-c", ECHO, "198.51.100.1", "10.0.1.0") as echo:
            assert echo.stdout is not None
            assert echo.stdout.readline() == "ready\n"
            assert seen_as("198.51.100.1") == "10.0.1.1"
            nft("add", "table", "inet", "theirs")
            nft("-c", "-f", rendered)
            for _ in range(2):
                nft("-f", rendered)
            assert nft("list", "ruleset").count("chain source") == 1
            assert "table inet theirs" in nft("list", "ruleset")
            assert seen_as("198.51.100.1") == LOOPBACK["-4"]
            # The neighbor, another source of this host, and the probes of bgphealth.
            assert seen_as("10.0.1.0") == "10.0.1.1"
            assert seen_as("198.51.100.1", PINNED["-4"]) == PINNED["-4"]
            assert seen_as("198.51.100.1", user=1) == "10.0.1.1"
            # A host without a source of its own: the uplink's address for whatever is not.
            settings = load(file)
            settings = replace(settings, host=replace(settings.host, source=()))
            written(directory, nftables.render(settings, file, "daemon"))
            nft("-f", str(file))
            assert seen_as("198.51.100.1", PINNED["-4"]) == "10.0.1.1"
            assert seen_as("198.51.100.1") == "10.0.1.1"


@isolated
async def test_a_connection_keeps_the_source_that_it_was_given_when_its_uplink_dies() -> None:
    two_uplinks()
    with tempfile.TemporaryDirectory() as directory:
        settings = load(written(directory, FILE.partition("sources:")[0]))
        text = nftables.render(settings, Path("any"), "daemon")
        nft("-f", str(written(directory, text)))
    ip("route", "replace", "default", "via", "10.0.1.0", "metric", "20", "proto", "bgp")
    with udp("198.51.100.1") as sock, ExitStack() as stack:
        sock.connect(("198.51.100.1", 9))
        assert sock.getsockname()[0] == "10.0.1.1"
        for n in (1, 2):
            end = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
            end.bind((f"far{n}", 0x0800))  # ETH_P_IP
            end.settimeout(10)
            ip("route", "replace", "default", "via", TOR["-4"][n], "metric", "20", "proto", "bgp")
            sock.send(b"still me")
            packet = end.recv(2048)
            assert packet.endswith(b"still me")
            assert packet[12:16] == ip_address(LOOPBACK["-4"]).packed


ECHO = """
import select, socket, sys
servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[1:]]
for server, address in zip(servers, sys.argv[1:]):
    server.bind((address, 7))
print("ready", flush=True)
while True:
    for server in select.select(servers, [], [])[0]:
        _, peer = server.recvfrom(64)
        server.sendto(peer[0].encode(), peer)
"""


def seen_as(target: str, source: str = "0.0.0.0", user: int = 0) -> str:  # noqa: S104 - no choice
    """Return which source the far end sees."""
    os.seteuid(user)
    with udp(target) as sock:
        os.seteuid(0)
        sock.settimeout(10)
        sock.bind((source, 0))
        sock.connect((target, 7))
        sock.send(b"who am I?")
        return sock.recv(64).decode()


def nft(*arguments: str) -> str:
    return subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True).stdout
