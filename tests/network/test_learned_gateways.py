"""Gateways that the file leaves open, beside others' defaults in a real kernel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, ProbeKind, ProbeSettings, Settings
from bgphealth.fallback import by_hand
from bgphealth.fallback import watch as watch_module
from bgphealth.probes.binding import Binding
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.outcome import Outcome
from tests.support.hosts import learning_host
from tests.support.netns import ip, isolated, sysctl
from tests.support.routers import Router, routers
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = Family.IPV4, Family.IPV6
ONE_V4, ONE_V6 = PathKey("tor1", V4), PathKey("tor1", V6)


@contextmanager
def networks(count: int = 1) -> Iterator[list[Router]]:
    """Give the namespace links to so many routers, each with a lease in the router's network."""
    with routers(count) as made:
        for n, router in enumerate(made, 1):
            router.run("ip", "addr", "add", f"10.0.{n}.1/24", "dev", "eth0")
            lease(n)
        yield made


def lease(n: int, gateway: str | None = None, host: int = 5) -> None:
    """Do what a DHCP client does with a lease, and nothing else that it could do."""
    ip("addr", "replace", f"10.0.{n}.{host}/24", "dev", f"eth{n}")
    via = gateway or f"10.0.{n}.1"
    ip("route", "replace", "default", "via", via, "dev", f"eth{n}", "proto", "dhcp", "src",
       f"10.0.{n}.{host}", "metric", f"10{n}")  # fmt: skip


@contextlib.asynccontextmanager
async def watched(settings: Settings) -> AsyncIterator[Seen]:
    """Run the watch; it must hear of what happens, for it hardly looks by itself."""
    watch_module.RECHECK_S = 60
    seen = Seen(settings)
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
    try:
        yield seen
    finally:
        task.cancel()


def of_table(n: int, family: str = "-4") -> str:
    lines = ip(family, "route", "show", "table", "all").splitlines()
    return "\n".join(line for line in lines if f"table 1790{n} " in line and "default" in line)


def ours(family: str = "-4") -> str:
    return ip(family, "route", "show", "default", "proto", "179")


def theirs(family: str = "-4") -> list[str]:
    lines = ip(family, "route", "show", "default").splitlines()
    return [line for line in lines if "proto 179" not in line]


@isolated
async def test_what_dhcp_says_is_followed() -> None:
    with networks(2):
        before = theirs()
        async with watched(learning_host(families=(V4,))) as seen:
            for n in (1, 2):
                assert str(seen.sources.of(PathKey(f"tor{n}", V4))) == f"10.0.{n}.5"
                assert f"default via 10.0.{n}.1 dev eth{n} table 1790{n} " in of_table(n)
                assert f"default via 10.0.{n}.1 dev eth{n} src 10.0.{n}.5" in ours()
            assert theirs() == before
            # The next lease: another router, another address.
            lease(1, "10.0.1.2", host=6)
            await until(lambda: "via 10.0.1.2 dev eth1" in of_table(1))
            await until(lambda: "via 10.0.1.2 dev eth1" in ours())
            ip("addr", "del", "10.0.1.5/24", "dev", "eth1")
            ip("addr", "replace", "10.0.1.6/24", "dev", "eth1")
            await until(lambda: str(seen.sources.of(ONE_V4)) == "10.0.1.6")
            assert "10.0.1.1 " not in ours() + of_table(1)
            assert "via 10.0.2.1 dev eth2" in ours()


@isolated
async def test_the_best_of_the_others_is_learned() -> None:
    with networks():
        ip("route", "add", "default", "via", "10.0.1.3", "dev", "eth1", "proto", "static",
           "metric", "900")  # fmt: skip
        async with watched(learning_host(1, (V4,))):
            assert "via 10.0.1.1 " in of_table(1)
            ip("route", "add", "default", "via", "10.0.1.4", "dev", "eth1", "metric", "50")
            await until(lambda: "via 10.0.1.4 " in of_table(1))
            ip("route", "del", "default", "via", "10.0.1.4", "metric", "50")
            await until(lambda: "via 10.0.1.1 " in of_table(1))
            ip("route", "del", "default", "via", "10.0.1.1", "proto", "dhcp")
            await until(lambda: "via 10.0.1.3 " in of_table(1))


@isolated
async def test_a_default_that_is_deleted_goes_on_being_used() -> None:
    with networks():
        settings = learning_host(1, (V4,))
        async with watched(settings):
            ip("route", "del", "default", "proto", "dhcp")
            ip("route", "flush", "table", "17901")
            # All that was written is gone: only the program knows.
            ip("route", "flush", "table", "main", "proto", "179")
            await until(lambda: "via 10.0.1.1 dev eth1" in of_table(1))
            await until(lambda: "via 10.0.1.1 dev eth1" in ours())
            assert theirs() == []
        # So does the next run of it, and whoever looks beside it.
        assert (await by_hand.look(settings)).is_as_wanted
        async with watched(settings) as seen:
            assert "via 10.0.1.1 dev eth1" in of_table(1)
            assert seen.applied == []
            # The kernel takes away all routes, and nobody brings the default back.
            ip("link", "set", "eth1", "down")
            await until(lambda: of_table(1) == ours() == "")
            ip("link", "set", "eth1", "up")
            await until(lambda: "via 10.0.1.1 dev eth1" in of_table(1))
            await until(lambda: "via 10.0.1.1 dev eth1" in ours())
            # Another network: what was known of the old one is worth nothing.
            ip("addr", "flush", "dev", "eth1", "scope", "global")
            ip("addr", "add", "10.0.7.5/24", "dev", "eth1")
            await until(lambda: ONE_V4 in seen.sources.absent)
            assert seen.sources.absent[ONE_V4] == (
                "no ipv4 gateway is known on eth1: nobody has a default in the main table that "
                "leads through it (DHCP, a router advertisement or you would make one)"
            )
            await until(lambda: of_table(1) == "")


@isolated
async def test_a_router_that_advertises_itself_is_learned_and_asked() -> None:
    with networks() as (router,):
        sysctl("net.ipv4.ping_group_range", "0 2147483647")
        router.run("ip", "route", "add", "2001:db8:1::/64", "dev", "eth0")
        settings = learning_host(1)
        async with watched(settings) as seen:
            assert ONE_V6 in seen.sources.absent
            router.advertise("fe80::1", 1800, "2001:db8:1::/64")
            await until(lambda: "via fe80::1 dev eth1" in of_table(1, "-6"))
            await until(lambda: "via fe80::1 dev eth1" in ours("-6"))
            source = str(seen.sources.of(ONE_V6))
            assert source.startswith("2001:db8:1:0:")
            await until(lambda: f"src {source}" in ours("-6"))
            for path in (ONE_V4, ONE_V6):
                assert (await ping(seen, path)).verdict is Verdict.OK
            # The kernel forgets the default; the router is still there.
            ip("-6", "route", "del", "default", "proto", "ra")
            ip("-6", "route", "flush", "table", "17901")
            await until(lambda: "via fe80::1 dev eth1" in of_table(1, "-6"))
            # Another router for the same prefix.
            router.have("fe80::77")
            router.advertise("fe80::77", 1800, "2001:db8:1::/64")
            await until(lambda: "via fe80::77 dev eth1" in of_table(1, "-6"))
            await until(lambda: "via fe80::77 dev eth1" in ours("-6"))
            assert (await ping(seen, ONE_V6)).verdict is Verdict.OK


@isolated
async def test_temporary_and_unique_local_addresses_are_no_source_while_there_are_others() -> None:
    with networks() as (router,):
        sysctl("net.ipv6.conf.eth1.use_tempaddr", "2")
        # The kernel makes no default either: who is a router is seen among the neighbors.
        sysctl("net.ipv6.conf.eth1.accept_ra_defrtr", "0")
        async with watched(learning_host(1, (V6,))) as seen:
            router.advertise("fe80::1", 1800, "fd00:1::/64")
            await until(lambda: str(seen.sources.of(ONE_V6)).startswith("fd00:1:"))
            router.advertise("fe80::1", 1800, "2001:db8:1::/64")
            await until(lambda: str(seen.sources.of(ONE_V6)).startswith("2001:db8:1:"))
            source = str(seen.sources.of(ONE_V6))
            shown = ip("-6", "-o", "addr", "show", "dev", "eth1", "temporary")
            assert "2001:db8:1:" in shown
            assert source not in shown
            assert theirs("-6") == []
            await until(lambda: f"via fe80::1 dev eth1 src {source}" in ours("-6"))


@isolated
async def test_a_gateway_beside_the_subnet() -> None:
    with networks() as (router,):
        sysctl("net.ipv4.ping_group_range", "0 2147483647")
        router.run("ip", "addr", "add", "172.31.1.1/32", "dev", "eth0")
        router.run("ip", "route", "add", "192.0.2.9/32", "dev", "eth0")
        ip("addr", "flush", "dev", "eth1", "scope", "global")
        ip("addr", "add", "192.0.2.9/32", "dev", "eth1")
        via = ("default", "via", "172.31.1.1", "dev", "eth1", "onlink")
        ip("route", "add", *via, "proto", "dhcp", "metric", "100")
        settings = learning_host(1, (V4,))
        async with watched(settings) as seen:
            assert "via 172.31.1.1 dev eth1" in of_table(1)
            assert "onlink" in of_table(1)
            assert "src 192.0.2.9" in ours()
            assert (await ping(seen, ONE_V4)).verdict is Verdict.OK
            ip("route", "del", *via, "proto", "dhcp")
            assert (await by_hand.look(settings)).is_as_wanted
            ip("route", "flush", "table", "17901")
            await until(lambda: "via 172.31.1.1 dev eth1" in of_table(1))
            # Nothing but its address told of that network.
            ip("addr", "del", "192.0.2.9/32", "dev", "eth1")
            await until(lambda: ONE_V4 in seen.sources.absent)


@isolated
async def test_a_default_without_a_gateway() -> None:
    with networks():
        ip("addr", "flush", "dev", "eth1", "scope", "global")
        ip("addr", "add", "10.9.0.5/32", "peer", "10.9.0.1", "dev", "eth1")
        ip("route", "replace", "default", "dev", "eth1", "metric", "700")
        ip("-6", "addr", "add", "2001:db8:9::5/128", "dev", "eth1", "nodad")
        ip("-6", "route", "add", "default", "dev", "eth1", "metric", "700")
        settings = learning_host(1)
        async with watched(settings) as seen:
            assert "default dev eth1 table 17901 proto 179 scope link src 10.9.0.5" in of_table(1)
            assert "default dev eth1 proto 179 src 2001:db8:9::5" in ip(
                "-6", "route", "show", "table", "17901"
            )
            assert "via" not in ours() + ours("-6")
            assert (await ping(seen, ONE_V4)) == Outcome(
                Verdict.UNKNOWN,
                "the default through eth1 has no gateway that could be asked: ask {link: carrier}, "
                "or something behind it",
            )
            again = Seen(settings)
            await again.watch.start()
            assert again.applied == []


async def ping(seen: Seen, path: PathKey) -> Outcome:
    """Ask the gateway of a path as the program would."""
    binding = Binding("eth1", partial(seen.sources.of, path))
    prober = IcmpProber(path.family, binding, partial(seen.sources.gateway, path))
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    prober.ask(ProbeSettings(ProbeKind.ICMP), 1.0, answer.set_result)
    try:
        async with asyncio.timeout(10):
            return await answer
    finally:
        prober.close()
