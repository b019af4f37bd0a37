"""The tables of unnumbered uplinks, beside a router that is known by its advertisements alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family
from bgphealth.fallback import gateways as gateways_module
from bgphealth.fallback import watch as watch_module
from tests.support.hosts import unnumbered_host
from tests.support.netns import ip, isolated, sysctl
from tests.support.routers import routers
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = Family.IPV4, Family.IPV6


def route(family: str, number: int) -> str:
    return ip(family, "route", "get", "198.51.100.1" if family == "-4" else "2001:db8:100::1",
              "oif", f"eth{number}")  # fmt: skip


def tables() -> str:
    return ip("route", "show", "table", "all") + ip("-6", "route", "show", "table", "all")


def table(family: str = "-4", number: int = 1) -> str:
    """Return what is in an uplink's table, which does not exist while nothing is."""
    lines = ip(family, "route", "show", "table", "all").splitlines()
    return "\n".join(line for line in lines if f"table 1790{number} " in line)


def asked_through(number: int) -> bool:
    """Send what a probe sends, so that the kernel looks whether the gateway is still there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, f"eth{number}".encode())
        with contextlib.suppress(OSError):
            sock.sendto(b"", ("198.51.100.1", 9))
    return True


@contextlib.asynccontextmanager
async def watched(seen: Seen) -> AsyncIterator[None]:
    """Run the watch, looking often."""
    watch_module.RECHECK_S = 0.2
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    try:
        yield
    finally:
        task.cancel()


@isolated
async def test_the_gateway_is_asked_for_and_both_families_go_to_it() -> None:
    # The trap: the main table knows one way only, and it is the other one.
    with routers():
        ip("-4", "route", "add", "default", "via", "inet6", "fe80::1", "dev", "eth1",
           "metric", "20")  # fmt: skip
        ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "eth1", "metric", "20")
        seen = Seen(unnumbered_host())
        await seen.watch.start()
        # They advertise nothing by themselves.
        assert seen.sources.of(PathKey("tor2", V4)) == "no router was seen on eth2 yet"
        async with watched(seen):
            await until(lambda: len(seen.sources.addresses) == 4)
            for n in (1, 2):
                assert str(seen.sources.of(PathKey(f"tor{n}", V4))) == f"10.255.11.{n}"
                assert str(seen.sources.of(PathKey(f"tor{n}", V6))) == f"2001:db8:11:{n}::1"
                four, six = route("-4", n), route("-6", n)
                assert f"via inet6 fe80::{n} dev eth{n} table 1790{n} src 10.255.11.{n}" in four
                assert f"via fe80::{n} dev eth{n} table 1790{n}" in six
                assert f"src 2001:db8:11:{n}::1" in six


@isolated
async def test_what_is_sent_on_the_link_itself_does_not_take_the_default() -> None:
    with routers(1):
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            await until(lambda: "default" in table("-6"))
        # Another address than the gateway's: a BGP session that is bound to the device, say.
        found = ip("-6", "route", "get", "fe80::99", "oif", "eth1")
        assert "table 17901" in found
        assert "via" not in found
        assert "src fe80::" in found


@isolated
async def test_applying_again_changes_nothing() -> None:
    with routers(1):
        settings = unnumbered_host(1)
        async with watched(Seen(settings)):
            await until(lambda: "default" in table("-6"))
        before, again = tables(), Seen(settings)
        await again.watch.start()
        assert again.applied == []
        assert tables() == before
        assert "default via inet6 fe80::1 dev eth1 table 17901 proto 179" in before


@isolated
async def test_solicitations_are_few() -> None:
    sent: list[str] = []
    with routers(1, answer=False), patch.object(gateways_module, "solicit", sent.append):
        seen = Seen(unnumbered_host(1))
        for _ in range(20):
            await seen.watch.start()
    assert sent == ["eth1"]


@isolated
async def test_without_the_capability_it_waits_and_says_so() -> None:
    def refused(_: str) -> None:
        raise PermissionError

    with routers(1) as (router,), patch.object(gateways_module, "solicit", refused):
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            assert "CAP_NET_RAW" in str(seen.sources.of(PathKey("tor1", V4)))
            router.advertise(router.address)
            await until(lambda: str(seen.sources.of(PathKey("tor1", V4))) == "10.255.11.1")


@isolated
async def test_a_gateway_that_falls_silent_goes_on_being_asked() -> None:
    """Else a dead ToR would be unknown instead of failed, and its uplink never withdrawn."""
    with routers(1) as (router,):
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            await until(lambda: "default" in table("-6"))
            router.fall_silent()
            ip("-6", "neigh", "flush", "dev", "eth1")
            ip("route", "del", "default", "table", "17901")
            await until(lambda: "default via inet6 fe80::1" in table())
            assert "router" not in ip("-6", "neigh", "show", "dev", "eth1")
            assert str(seen.sources.of(PathKey("tor1", V4))) == "10.255.11.1"


@isolated
async def test_a_gateway_that_changes_its_address_is_followed() -> None:
    with routers(1) as (router,):
        # The kernel's own patience, shortened: it keeps what it knows for some seconds.
        sysctl("net.ipv6.neigh.eth1.delay_first_probe_time", "1")
        sysctl("net.ipv6.neigh.eth1.retrans_time_ms", "100")
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            await until(lambda: "fe80::1" in table())
            router.have("fe80::77")
            await until(lambda: "fe80::77" in ip("-6", "neigh", "show", "dev", "eth1"))
            router.lose("fe80::1")
            # Where the recheck comes too late, the news must do.
            watch_module.RECHECK_S = 60
            await until(lambda: asked_through(1) and "via inet6 fe80::77" in table())
            await until(lambda: "default via fe80::77" in table("-6"))
            assert "fe80::1 " not in table()


@isolated
async def test_two_routers_on_one_link_are_one_too_many() -> None:
    with routers(1) as (router,):
        router.have("fe80::77")
        router.advertise("fe80::1")
        await until(lambda: ip("-6", "neigh", "show", "dev", "eth1").count("router") == 2)
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            assert seen.sources.of(PathKey("tor1", V4)) == (
                "eth1 leads to 2 routers (fe80::1, fe80::77), not to one alone"
            )
            assert table() == table("-6") == ""


@isolated
async def test_a_probe_address_that_the_host_lacks_is_named() -> None:
    with routers(1):
        ip("addr", "del", "10.255.11.1/32", "dev", "lo")
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            await until(lambda: not isinstance(seen.sources.of(PathKey("tor1", V6)), str))
            why = seen.sources.of(PathKey("tor1", V4))
            assert why == "10.255.11.1 is not an address of this host"
            ip("addr", "add", "10.255.11.1/32", "dev", "lo")
            await until(lambda: "src 10.255.11.1" in route("-4", 1))


@isolated
async def test_a_link_that_goes_and_comes_has_its_table_again() -> None:
    with routers(1) as (router,):
        seen = Seen(unnumbered_host(1))
        async with watched(seen):
            await until(lambda: "default" in table("-6"))
            ip("link", "set", "eth1", "down")
            await until(lambda: seen.links["tor1"] is False)
            # Another ToR in its place.
            router.lose("fe80::1")
            router.run("ip", "addr", "add", "fe80::77/64", "dev", "eth0", "nodad")
            ip("link", "set", "eth1", "up")
            await until(lambda: seen.links["tor1"])
            router.advertise("fe80::77")
            await until(lambda: "via inet6 fe80::77" in table())
            await until(lambda: "via fe80::77" in table("-6"))
