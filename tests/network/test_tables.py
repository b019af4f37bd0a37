"""Tables and rules on a real kernel, in a namespace of their own."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace

import pytest

from bgphealth.core.errors import ConfigurationError, HostError, PermissionDeniedError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family
from bgphealth.fallback import leftovers
from bgphealth.fallback import watch as watch_module
from bgphealth.fallback.netlink import Netlink
from tests.support.hosts import host
from tests.support.netns import ip, isolated
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = Family.IPV4, Family.IPV6


def two_links() -> None:
    for n in (1, 2):
        ip("link", "add", f"eth{n}", "type", "veth", "peer", "name", f"far{n}")
        for name in (f"eth{n}", f"far{n}"):
            ip("link", "set", name, "up")
        ip("addr", "add", f"10.0.{n}.1/31", "dev", f"eth{n}")
        ip("addr", "add", f"2001:db8:{n}::1/127", "dev", f"eth{n}", "nodad")


def route(family: str, number: int) -> str:
    target = "198.51.100.1" if family == "-4" else "2001:db8:100::1"
    try:
        return ip(family, "route", "get", target, "oif", f"eth{number}")
    except subprocess.CalledProcessError as error:  # There is none.
        return str(error.stderr)


@isolated
async def test_each_uplink_has_a_table_that_bound_sockets_use() -> None:
    two_links()
    seen = Seen(host(families=(V4, V6)))
    # The trap: the main table knows one way only, and it is the other one.
    ip("route", "add", "default", "via", "10.0.1.0", "metric", "20")
    ip("-6", "route", "add", "default", "via", "2001:db8:1::", "metric", "20")
    assert "via 10.0.2.0" not in route("-4", 2)
    await seen.watch.start()
    for n in (1, 2):
        assert f"via 10.0.{n}.0 dev eth{n} table 1790{n} src 10.0.{n}.1" in route("-4", n)
        assert f"via 2001:db8:{n}:: dev eth{n} table 1790{n}" in route("-6", n)
        assert f"src 2001:db8:{n}::1" in route("-6", n)
    assert seen.links == {"tor1": True, "tor2": True}
    assert str(seen.sources.of(PathKey("tor2", V6))) == "2001:db8:2::1"


@isolated
async def test_applying_again_changes_nothing() -> None:
    two_links()
    seen = Seen(host(families=(V4, V6)))
    await seen.watch.start()
    before = ip("route", "show", "table", "all") + ip("-6", "route", "show", "table", "all")
    seen.applied.clear()
    await seen.watch.start()
    assert seen.applied == []
    assert ip("route", "show", "table", "all") + ip("-6", "route", "show", "table", "all") == before


@isolated
async def test_what_others_made_stays() -> None:
    two_links()
    ip("route", "add", "default", "via", "10.0.2.0", "metric", "7", "proto", "static")
    ip("route", "add", "203.0.113.0/24", "via", "10.0.1.0", "table", "100", "proto", "179")
    ip("rule", "add", "from", "203.0.113.0/24", "lookup", "100", "priority", "1791")
    ip("rule", "add", "oif", "eth1", "lookup", "100", "priority", "50")
    main, other = ip("route", "show"), ip("route", "show", "table", "100")
    rules = set(ip("rule").splitlines())
    seen = Seen(host())
    await seen.watch.start()
    smaller = host(uplinks=1)
    await Seen(smaller).watch.start()
    assert ip("route", "show") == main
    assert ip("route", "show", "table", "100") == other
    assert rules <= set(ip("rule").splitlines())


@isolated
async def test_rules_of_an_uplink_that_left_the_file_are_removed() -> None:
    two_links()
    await Seen(host()).watch.start()
    assert "oif eth2 lookup 17902" in ip("rule")
    await Seen(host(uplinks=1)).watch.start()
    assert "oif eth2" not in ip("rule")
    assert "oif eth1 lookup 17901" in ip("rule")


@isolated
async def test_what_a_killed_run_left_of_a_family_that_left_the_file_is_removed() -> None:
    two_links()
    ip("-6", "rule", "add", "oif", "eth1", "lookup", "100", "priority", "50")
    before = ip("-6", "rule"), ip("-6", "route", "show", "table", "all")
    await Seen(host(families=(V4, V6))).watch.start()
    assert "oif eth1 lookup 17901" in ip("-6", "rule")
    seen = Seen(host())
    await seen.watch.start()
    assert (ip("-6", "rule"), ip("-6", "route", "show", "table", "all")) == before
    assert "oif eth1 lookup 17901" in ip("rule")
    assert any("ipv6 rule" in line for line in seen.applied[0].done)


@isolated
async def test_a_table_of_somebody_else_is_left_alone() -> None:
    two_links()
    ip("route", "add", "203.0.113.0/24", "via", "10.0.1.0", "table", "17901", "proto", "static")
    before = ip("route", "show", "table", "17901")
    seen = Seen(host())
    await seen.watch.start()
    (applied,) = seen.applied
    assert isinstance(applied.failed["tor1"], HostError)
    assert "table 17901 holds 1 ipv4 routes that are not ours" in str(applied.failed["tor1"])
    assert ip("route", "show", "table", "17901") == before
    # Its probes might leave through another uplink: better none. The other uplink is served.
    assert "not ours" in str(seen.sources.of(PathKey("tor1", V4)))
    assert str(seen.sources.of(PathKey("tor2", V4))) == "10.0.2.1"


@isolated
async def test_an_interface_that_is_not_there_is_an_error_of_the_file() -> None:
    two_links()
    with pytest.raises(ConfigurationError) as error:
        await Seen(host(uplinks=4)).watch.require()
    assert str(error.value).splitlines() == [
        "uplinks.tor3.interface: eth3 does not exist on this host",
        "uplinks.tor4.interface: eth4 does not exist on this host",
        "interfaces of this host: eth1, eth2, far1, far2, lo",
    ]
    assert "1790" not in ip("rule")


@isolated
async def test_an_interface_that_is_not_there_keeps_no_other_from_working() -> None:
    two_links()
    seen = Seen(host(uplinks=3))
    await seen.watch.start()
    assert seen.links == {"tor1": True, "tor2": True, "tor3": False}
    assert str(seen.sources.of(PathKey("tor2", V4))) == "10.0.2.1"
    assert seen.sources.of(PathKey("tor3", V4)) == "eth3 does not exist"


@isolated
async def test_what_uplinks_had_that_left_the_file_is_removed() -> None:
    two_links()
    await Seen(host(families=(V4, V6))).watch.start()
    ip("route", "add", "203.0.113.0/24", "via", "10.0.2.0", "table", "17902", "proto", "static")
    async with Netlink() as netlink:
        await leftovers.remove(host(families=(V4, V6)), host(uplinks=1, families=(V4, V6)), netlink)
        assert await leftovers.remove(host(), host(), netlink) == []
    assert "oif eth2" not in ip("rule") + ip("-6", "rule")
    assert ip("route", "show", "table", "17902").split()[0] == "203.0.113.0/24"
    assert "via 10.0.1.0" in ip("route", "show", "table", "17901")
    assert "oif eth1" in ip("rule")


@isolated
async def test_without_the_capability_the_error_says_which() -> None:
    import os  # noqa: PLC0415 - this process alone drops its privileges

    two_links()
    os.setuid(65534)
    seen = Seen(host())
    await seen.watch.start()
    for error in seen.applied[0].failed.values():
        assert isinstance(error, PermissionDeniedError)
        assert "CAP_NET_ADMIN" in str(error)
    assert seen.applied[0].failed.keys() == {"tor1", "tor2"}


@isolated
async def test_disabled_writes_nothing_and_still_looks() -> None:
    two_links()
    settings = host()
    settings = replace(settings, fallback=replace(settings.fallback, enabled=False))
    seen = Seen(settings)
    await seen.watch.start()
    assert "proto 179" not in ip("rule") + ip("route", "show", "table", "all")
    assert str(seen.sources.of(PathKey("tor1", V4))) == "10.0.1.1"


@isolated
async def test_a_link_that_goes_and_comes_is_followed_and_its_table_restored() -> None:
    two_links()
    seen = Seen(host(families=(V4, V6)))
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
    ip("link", "set", "far2", "down")
    await until(lambda: seen.links["tor2"] is False)
    # The kernel forgets an interface's IPv6 addresses, and all of its routes, when it goes down.
    ip("link", "set", "eth2", "down")
    await until(lambda: "IPv6" and isinstance(seen.sources.of(PathKey("tor2", V6)), str))
    ip("link", "set", "eth2", "up")
    ip("link", "set", "far2", "up")
    ip("addr", "add", "2001:db8:2::1/127", "dev", "eth2", "nodad")
    await until(lambda: seen.links["tor2"])
    await until(lambda: "via 10.0.2.0 dev eth2 table 17902" in route("-4", 2))
    await until(lambda: "via 2001:db8:2:: dev eth2 table 17902" in route("-6", 2))
    task.cancel()


@isolated
async def test_a_deleted_rule_and_a_deleted_default_come_back() -> None:
    watch_module.RECHECK_S = 0.05
    two_links()
    seen = Seen(host())
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    ip("rule", "del", "oif", "eth2", "lookup", "17902")
    ip("route", "del", "default", "table", "17901")
    await until(lambda: "oif eth2 lookup 17902" in ip("rule"))
    await until(lambda: "default" in ip("route", "show", "table", "17901"))
    task.cancel()


@isolated
async def test_an_address_that_changes_is_followed() -> None:
    two_links()
    seen = Seen(host())
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
    ip("addr", "del", "10.0.2.1/31", "dev", "eth2")
    await until(lambda: seen.sources.of(PathKey("tor2", V4)) == (
        "eth2 has no ipv4 address in the subnet of 10.0.2.0"))  # fmt: skip
    ip("addr", "add", "10.0.2.2/24", "dev", "eth2")
    await until(lambda: str(seen.sources.of(PathKey("tor2", V4))) == "10.0.2.2")
    await until(lambda: "src 10.0.2.2" in ip("route", "show", "table", "17902"))
    task.cancel()
