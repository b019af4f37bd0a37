"""The fallback defaults on a real kernel, in a namespace of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.core.errors import PermissionDeniedError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.fallback import leftovers
from bgphealth.fallback import watch as watch_module
from bgphealth.fallback.netlink import Netlink
from tests.support.hosts import host, unnumbered_host
from tests.support.netns import ip, isolated, sysctl
from tests.support.routers import routers
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = Family.IPV4, Family.IPV6
BOTH = (V4, V6)
NOTHING = "fallback.enabled is false: nothing is wanted\n"
GOLDEN = Path(__file__).parents[1] / "golden"
BASE = 254 << 24
FIRST, SECOND = BASE + 1, BASE + 2
SPARE_FIRST, DOWN_FIRST = (1 << 16) + FIRST, (2 << 16) + FIRST


def two_links() -> None:
    for n in (1, 2):
        ip("link", "add", f"eth{n}", "type", "veth", "peer", "name", f"far{n}")
        for name in (f"eth{n}", f"far{n}"):
            ip("link", "set", name, "up")
        have_addresses(n)


def have_addresses(n: int) -> None:
    ip("addr", "replace", f"10.0.{n}.1/31", "dev", f"eth{n}")
    ip("addr", "replace", f"2001:db8:{n}::1/127", "dev", f"eth{n}", "nodad")


def with_defaults(settings: Settings, *source: str) -> Settings:
    given = tuple(ip_address(address) for address in source)
    return replace(settings, fallback=replace(settings.fallback, defaults=True, source=given))


def defaults(family: str = "-4") -> dict[int, str]:
    """Return the defaults of the main table by their metrics, as ip(8) shows them."""
    lines = ip("-o", family, "route", "show", "default").splitlines()
    return {int(line.split("metric ")[1].split()[0]): line.strip() for line in lines}


def leaves_through(interface: str, target: str) -> bool:
    return f"dev {interface}" in ip("route", "get", target)


def metrics() -> tuple[set[int], set[int]]:
    return set(defaults()), set(defaults("-6"))


@contextlib.asynccontextmanager
async def watched(seen: Seen, recheck_s: float = 60) -> AsyncIterator[None]:
    """Run the watch; it must hear of what happens, for it hardly looks by itself."""
    watch_module.RECHECK_S = recheck_s
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
    try:
        yield
    finally:
        task.cancel()


def write(file: Path, more: str = "") -> None:
    file.write_text((GOLDEN / "ipv4-only" / "bgphealth.yaml").read_text() + more)


def ranked(**ranks: Rank) -> Mapping[PathKey, Rank]:
    return {PathKey(name, family): rank for name, rank in ranks.items() for family in BOTH}


@isolated
async def test_each_uplink_has_a_default_of_last_resort() -> None:
    two_links()
    seen = Seen(with_defaults(host(families=BOTH)))
    await seen.watch.start()
    assert set(defaults()) == set(defaults("-6")) == {FIRST, SECOND}
    for n, place in enumerate((FIRST, SECOND), 1):
        four, six = defaults()[place], defaults("-6")[place]
        assert f"default via 10.0.{n}.0 dev eth{n} proto 179 src 10.0.{n}.1" in four
        assert f"default via 2001:db8:{n}:: dev eth{n} proto 179 src 2001:db8:{n}::1" in six
    # Once more changes nothing.
    seen.applied.clear()
    await seen.watch.start()
    assert seen.applied == []


@isolated
async def test_the_source_can_be_another_one() -> None:
    two_links()
    ip("addr", "add", "10.255.10.1/32", "dev", "lo")
    seen = Seen(with_defaults(host(families=BOTH), "10.255.10.1", "2001:db8:10::1"))
    await seen.watch.start()
    assert all("src 10.255.10.1" in line for line in defaults().values())
    assert defaults("-6") == {}
    assert {str(path): why for path, why in seen.applied[-1].unwritten.items()} == {
        str(PathKey(f"tor{n}", V6)): "2001:db8:10::1 is not an address of this host" for n in (1, 2)
    }
    # Probes have nothing to do with it.
    assert str(seen.sources.of(PathKey("tor1", V6))) == "2001:db8:1::1"


@isolated
async def test_on_unnumbered_links_they_go_to_the_link_local_address() -> None:
    with routers():
        seen = Seen(with_defaults(unnumbered_host()))
        async with watched(seen, recheck_s=0.2):
            await until(lambda: metrics() == ({FIRST, SECOND}, {FIRST, SECOND}))
        for n, place in enumerate((FIRST, SECOND), 1):
            assert (
                f"via inet6 fe80::{n} dev eth{n} proto 179 src 10.255.11.{n}" in defaults()[place]
            )
            six = defaults("-6")[place]
            assert f"via fe80::{n} dev eth{n} proto 179 src 2001:db8:11:{n}::1" in six


@isolated
async def test_the_order_follows_without_a_moment_without_a_default() -> None:
    two_links()
    seen = Seen(with_defaults(host(families=BOTH)))
    async with watched(seen):
        told = await asyncio.create_subprocess_exec(
            "ip", "monitor", "route", stdout=asyncio.subprocess.PIPE
        )
        assert told.stdout is not None
        await asyncio.sleep(0.2)  # As above.
        seen.watch.order(ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES))
        await until(lambda: metrics() == ({SECOND, DOWN_FIRST},) * 2)
        seen.watch.order(ranked(tor1=Rank.WORKS, tor2=Rank.CARRIES))
        await until(lambda: metrics() == ({SECOND, SPARE_FIRST},) * 2)
        seen.watch.order(ranked(tor1=Rank.CARRIES, tor2=Rank.CARRIES))
        await until(lambda: metrics() == ({FIRST, SECOND},) * 2)
        told.terminate()
        there = {"10.0.1.0": 1, "2001:db8:1::": 1}
        lines = (await told.stdout.read()).decode().splitlines()
        # The links' own addresses may come late.
        changes = [line for line in lines if "default" in line]
        await told.wait()
        assert len(changes) == 12
        for line in changes:
            gateway = line.partition(" via ")[2].split()[0]
            there[gateway] += -1 if line.startswith("Deleted") else 1
            assert there[gateway] > 0, changes


@isolated
async def test_who_has_no_verdict_stays_where_it_is() -> None:
    two_links()
    settings = with_defaults(host(families=BOTH))
    before = Seen(settings)
    before.watch.order(ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES))
    await before.watch.start()
    # The next run of the program knows nothing yet.
    await Seen(settings).watch.start()
    assert metrics() == ({SECOND, DOWN_FIRST},) * 2


@isolated
async def test_what_others_delete_or_replace_comes_back() -> None:
    two_links()
    seen = Seen(with_defaults(host(families=BOTH)))
    async with watched(seen):
        for family in ("-4", "-6"):
            ip(family, "route", "flush", "table", "main", "proto", "179")
        await until(lambda: metrics() == ({FIRST, SECOND},) * 2)
        theirs = {"-4": "10.0.2.0", "-6": "2001:db8:2::"}
        for family, via in theirs.items():
            ip(family, "route", "replace", "default", "via", via, "metric", str(FIRST))
        await until(lambda: len(seen.applied[-1].unwritten) == 2)
        why = seen.applied[-1].unwritten[PathKey("tor1", V4)]
        assert why == (
            "somebody else's default has its metric: via 10.0.2.0 dev eth2, no src, proto boot, "
            "metric 4261412865"
        )
        for family, via in theirs.items():
            assert f"default via {via} dev eth2" in defaults(family)[FIRST]
            assert "proto 179" not in defaults(family)[FIRST]
            ip(family, "route", "del", "default", "via", via, "metric", str(FIRST))
        await until(lambda: metrics() == ({FIRST, SECOND},) * 2)
        await until(lambda: all("proto 179" in line for line in defaults("-6").values()))
        # The rules and tables come back as fast.
        ip("rule", "del", "oif", "eth2", "lookup", "17902")
        ip("-6", "rule", "del", "oif", "eth2", "lookup", "17902")
        ip("route", "del", "default", "table", "17901")
        await until(lambda: "oif eth2" in ip("rule") and "oif eth2" in ip("-6", "rule"))
        await until(lambda: "default" in ip("route", "show", "table", "17901"))


@isolated
async def test_a_next_hop_that_is_joined_to_ours_is_not_taken_away() -> None:
    two_links()
    seen = Seen(with_defaults(host(families=BOTH)))
    async with watched(seen):
        ip("-6", "route", "append", "default", "via", "2001:db8:2::", "metric", str(FIRST))
        ip("-4", "route", "append", "default", "via", "10.0.2.0", "metric", str(FIRST))
        await until(lambda: PathKey("tor1", V6) in seen.applied[-1].unwritten)
        seen.watch.order(ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES))
        await until(lambda: DOWN_FIRST in defaults())
        await until(lambda: DOWN_FIRST in defaults("-6"))
        assert "via 2001:db8:2:: dev eth2" in ip("-6", "route", "show", "default")
        assert f"via 10.0.2.0 dev eth2 metric {FIRST}" in ip("route", "show", "default")


@isolated
async def test_another_gateway_takes_the_place_of_the_old_one() -> None:
    two_links()
    settings = with_defaults(host(families=BOTH))
    await Seen(settings).watch.start()
    ip("addr", "add", "10.0.1.2/24", "dev", "eth1")
    tor1, tor2 = settings.uplinks
    moved = replace(tor1, paths=(replace(tor1.paths[0], neighbor=ip_address("10.0.1.9")),))
    await Seen(replace(settings, uplinks=(moved, tor2))).watch.start()
    assert set(defaults()) == {FIRST, SECOND}
    assert "via 10.0.1.9 dev eth1 proto 179 src 10.0.1.2" in defaults()[FIRST]
    # A file in which they have each other's number.
    swapped = (replace(tor1, number=2), replace(tor2, number=1))
    await Seen(replace(settings, uplinks=swapped)).watch.start()
    assert metrics() == ({FIRST, SECOND},) * 2
    assert "dev eth2" in defaults()[FIRST]
    assert "dev eth1" in defaults("-6")[SECOND]


@isolated
async def test_a_link_that_goes_and_comes_has_its_default_again() -> None:
    two_links()
    seen = Seen(with_defaults(host(families=BOTH)))
    async with watched(seen):
        ip("link", "set", "far2", "down")
        await until(lambda: seen.links["tor2"] is False)
        seen.watch.order(ranked(tor1=Rank.CARRIES, tor2=Rank.DOWN))
        down = (2 << 16) + SECOND
        # Without a carrier it is no use, but it will be there when there is one again.
        await until(lambda: metrics() == ({FIRST, down},) * 2)
        ip("link", "set", "eth2", "down")
        await until(lambda: metrics() == ({FIRST},) * 2)
        assert seen.applied[-1].unwritten == {}
        ip("link", "set", "eth2", "up")
        ip("link", "set", "far2", "up")
        have_addresses(2)
        await until(lambda: metrics() == ({FIRST, down},) * 2)
        ip("addr", "del", "10.0.2.1/31", "dev", "eth2")
        await until(lambda: set(defaults()) == {FIRST})
        have_addresses(2)
        await until(lambda: metrics() == ({FIRST, down},) * 2)


@isolated
async def test_the_watch_ends_when_it_is_told_to_just_as_something_changes() -> None:
    two_links()
    seen = Seen(with_defaults(host()))
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it waits.
    seen.watch.order(ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES))
    task.cancel()
    await until(task.done)


@isolated
async def test_by_hand() -> None:
    two_links()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "bgphealth.yaml")
        write(file)

        def run(*arguments: str) -> tuple[int, str]:
            done = CliRunner().invoke(app, ["-c", str(file), "fallback", *arguments])
            return done.exit_code, done.output

        async def command(*arguments: str) -> tuple[int, str]:
            # It has an event loop of its own.
            return await asyncio.to_thread(run, *arguments)

        default = "0.0.0.0/0 via 10.0.1.0 dev eth1 src 10.0.1.1 metric 4261412865"
        status, said = await command("show")
        assert (status, said.splitlines()[0]) == (1, f"tor1 ipv4: {default}: missing")
        assert "no rule 'oif eth1 lookup 17901'" in said
        ip("route", "add", "default", "via", "10.0.2.0", "metric", str(SECOND), "proto", "static")
        status, said = await command("apply")
        assert status == 75
        assert "tor2 ipv4: somebody else's default has its metric" in said
        ip("route", "del", "default", "via", "10.0.2.0", "metric", str(SECOND))
        status, said = await command("apply", "--json")
        assert status == 0
        assert json.loads(said)["done"] == [
            "added fallback 0.0.0.0/0 via 10.0.2.0 metric 4261412866"
        ]
        assert await command("apply") == (0, "nothing to do\n")
        status, said = await command("show")
        assert (status, said.splitlines()[0]) == (0, f"tor1 ipv4: {default}: there")
        assert said.splitlines()[-1] == "tables and rules: as wanted"
        # One that the file does not want, beside somebody else's.
        ip("route", "add", "default", "via", "10.0.2.0", "metric", str(BASE + 7), "proto", "179")
        ip("route", "add", "default", "via", "10.0.2.0", "metric", str(BASE + 8), "proto", "42")
        status, said = await command("show", "--json")
        found = json.loads(said)
        assert (status, found["as_wanted"], found["schema_version"]) == (1, False, 1)
        assert [route["metric"] for route in found["others"]] == [BASE + 7]
        assert [entry["is_there"] for entry in found["defaults"]] == [True, True]
        status, said = await command("flush")
        assert status == 0
        assert set(defaults()) == {BASE + 8}
        assert "proto 179" not in ip("route", "show", "table", "all") + ip("rule")
        assert "lookup 1790" not in ip("rule")
        with patch.object(Netlink, "add_rule", side_effect=PermissionDeniedError("CAP_NET_ADMIN")):
            assert await command("apply") == (77, "CAP_NET_ADMIN\n")
        assert (await command("flush"))[0] == 0
        write(file, "fallback: {enabled: false}\n")
        assert (await command("apply"))[0] == 78
        assert await command("show") == (0, NOTHING)


@isolated
async def test_without_a_carrier_the_next_one_serves_where_the_sysctl_says_so() -> None:
    """As the how-to recommends, for when bgphealth is not there to put them in order."""
    two_links()
    await Seen(with_defaults(host(families=BOTH))).watch.start()
    ip("link", "set", "far1", "down")
    await until(lambda: "LOWER_UP" not in ip("link", "show", "eth1"))
    for family, target in (("ipv4", "198.51.100.1"), ("ipv6", "2001:db8:100::1")):
        assert leaves_through("eth1", target)
        sysctl(f"net.{family}.conf.eth1.ignore_routes_with_linkdown", "1")
        await until(partial(leaves_through, "eth2", target))


@isolated
async def test_an_uplink_that_leaves_the_file_loses_its_own() -> None:
    two_links()
    ip("route", "add", "default", "via", "10.0.2.0", "metric", str(BASE + 500), "proto", "static")
    before = with_defaults(host(families=BOTH))
    await Seen(before).watch.start()
    await Seen(with_defaults(host(uplinks=1, families=BOTH))).watch.start()
    assert metrics() == ({FIRST, BASE + 500}, {FIRST})
    await Seen(with_defaults(host(uplinks=1))).watch.start()
    assert metrics() == ({FIRST, BASE + 500}, set())
    # Without `defaults` there are none; without `enabled` the next run does not look.
    await Seen(host(families=BOTH)).watch.start()
    assert metrics() == ({BASE + 500}, set())
    await Seen(before).watch.start()
    nothing = replace(before, fallback=replace(before.fallback, enabled=False))
    async with Netlink() as netlink:
        await leftovers.remove(before, nothing, netlink)
    assert metrics() == ({BASE + 500}, set())
    assert "proto 179" not in ip("route", "show", "table", "all")


@isolated
async def test_without_the_capability_the_probes_are_not_disturbed_by_it() -> None:
    import os  # noqa: PLC0415 - this process alone drops its privileges

    two_links()
    await Seen(host()).watch.start()
    os.setuid(65534)
    seen = Seen(with_defaults(host()))
    await seen.watch.start()
    assert "CAP_NET_ADMIN" in seen.applied[-1].unwritten[PathKey("tor1", V4)]
    assert seen.applied[-1].failed == {}
    assert str(seen.sources.of(PathKey("tor1", V4))) == "10.0.1.1"


@isolated
async def test_in_mode_direct_they_come_first_and_others_stay() -> None:
    two_links()
    theirs = [("-4", "via", "10.0.1.0"), ("-6", "via", "2001:db8:1::", "metric", "100")]
    for family, *how in theirs:
        ip(family, "route", "add", "default", *how, "dev", "eth1", "proto", "static")
    others = [ip(family, "route", "show", "default") for family in ("-4", "-6")]
    seen = Seen(with_defaults(host(families=BOTH, mode=Mode.DIRECT)))
    async with watched(seen):
        for interface, ranks in (
            ("eth1", ranked(tor1=Rank.CARRIES, tor2=Rank.CARRIES)),
            ("eth2", ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES)),
            ("eth1", ranked(tor1=Rank.CARRIES, tor2=Rank.WORKS)),
        ):
            seen.watch.order(ranks)
            for target in ("203.0.113.1", "2001:db8:f00::1"):
                await until(partial(leaves_through, interface, target))
        ip("-4", "route", "flush", "table", "main", "proto", "179")
        await until(lambda: leaves_through("eth1", "203.0.113.1"))
    for family, before in zip(("-4", "-6"), others, strict=True):
        assert before.strip() in ip(family, "route", "show", "default")
    # They go with the line of the file.
    await Seen(host(families=BOTH, mode=Mode.DIRECT)).watch.start()
    assert [ip(family, "route", "show", "default") for family in ("-4", "-6")] == others
