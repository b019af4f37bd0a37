"""Endpoints of Multipath TCP on a real kernel, and a connection that outlives its uplink."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.fallback import watch as watch_module
from bgphealth.fallback.mptcp import Endpoint, EndpointKeeper
from tests.support.hosts import host
from tests.support.neighbors import Neighbor, neighbors
from tests.support.netns import ip, isolated
from tests.support.waiting import background, until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

TARGET, PORT = "198.51.100.1", 7777
IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
IN_USE: Mapping[PathKey, Rank] = {
    PathKey("tor1", Family.IPV4): Rank.CARRIES,
    PathKey("tor2", Family.IPV4): Rank.WORKS,
}
ECHO = f"""
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, {IPPROTO_MPTCP})
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("{TARGET}", {PORT}))
server.listen()
print("ready", flush=True)
connection, _ = server.accept()
while data := connection.recv(100):
    connection.sendall(data)
"""


def wanting(settings: Settings, *, mptcp: bool = True) -> Settings:
    return replace(settings, fallback=replace(settings.fallback, defaults=True, mptcp=mptcp))


class Remembering:
    """What would be written down, and how often."""

    def __init__(self) -> None:
        self.kept: list[Set[Endpoint]] = [frozenset()]

    async def keep(self, endpoints: Set[Endpoint]) -> None:
        self.kept.append(endpoints)

    def keeper(self) -> EndpointKeeper:
        """Return one that begins with what was written down last."""
        return EndpointKeeper(self.kept[-1], self.keep)


@asynccontextmanager
async def watched(settings: Settings, memory: Remembering) -> AsyncIterator[Seen]:
    watch_module.RECHECK_S = 0.2  # The kernel tells nobody when an endpoint goes.
    seen = Seen(settings)
    seen.watch.endpoints = memory.keeper()
    seen.watch.order(IN_USE)
    await seen.watch.start()
    async with background(seen.watch.run()):
        yield seen


def endpoints() -> list[str]:
    return sorted(line.strip() for line in ip("mptcp", "endpoint", "show").splitlines() if line)


OURS = ["10.0.1.1 id 255 subflow dev eth1", "10.0.2.1 id 253 subflow dev eth2"]
THEIRS = ["10.0.9.9 id 1 signal", "10.0.9.10 id 254 subflow"]


@isolated
async def test_endpoints_follow_the_addresses_and_others_stay() -> None:
    memory = Remembering()
    local = host(mode=Mode.LOCAL)
    with neighbors(2):
        ip("mptcp", "endpoint", "add", "10.0.9.9", "signal")
        ip("mptcp", "endpoint", "add", "10.0.9.10", "id", "254", "subflow")
        async with watched(wanting(local), memory) as seen:
            assert endpoints() == sorted(OURS + THEIRS)
            # Known before they are there.
            assert {str(endpoint.address) for endpoint in memory.kept[1]} == {
                "10.0.1.1",
                "10.0.2.1",
            }
            seen.applied.clear()
            ip("mptcp", "endpoint", "delete", "id", "253")
            await until(lambda: endpoints() == sorted(OURS + THEIRS))
            await until(lambda: seen.applied)
            assert seen.applied[-1].done == ("added the MPTCP endpoint 10.0.2.1",)
            ip("addr", "add", "10.0.2.7/29", "dev", "eth2")
            ip("addr", "del", "10.0.2.1/31", "dev", "eth2")
            moved = [OURS[0], "10.0.2.7 id 253 subflow dev eth2"]
            await until(lambda: endpoints() == sorted(moved + THEIRS))
        # The next run finds them, and takes them away when its file does not want them any more.
        async with watched(wanting(local), memory) as seen:
            assert seen.applied == []
        async with watched(wanting(local, mptcp=False), memory):
            assert endpoints() == sorted(THEIRS)
        assert memory.kept[-1] == frozenset()


@isolated
async def test_what_is_somebody_elses_already_stays_theirs() -> None:
    memory = Remembering()
    with neighbors(2):
        ip("mptcp", "endpoint", "add", "10.0.1.1", "dev", "eth1", "subflow", "backup")
        ip("mptcp", "endpoint", "add", "10.0.9.9", "id", "253", "signal")
        async with watched(wanting(host(mode=Mode.LOCAL)), memory) as seen:
            await until(lambda: seen.applied and seen.applied[-1].failed)
            assert "MPTCP endpoints" in str(seen.applied[-1].failed["tor1"])
            # Probes have nothing to do with it.
            assert len(seen.sources.addresses) == 2
            assert endpoints() == [
                "10.0.1.1 id 1 subflow backup dev eth1",
                "10.0.9.9 id 253 signal",
            ]


@isolated
async def test_a_number_that_is_taken_costs_no_other_and_a_file_that_forbids_all_has_none() -> None:
    memory, settings = Remembering(), host(mode=Mode.LOCAL)
    with neighbors(2):
        ip("mptcp", "endpoint", "add", "10.0.9.9", "id", "253", "signal")
        async with watched(wanting(settings), memory) as seen:
            await until(lambda: seen.applied and seen.applied[-1].failed)
            assert endpoints() == ["10.0.1.1 id 255 subflow dev eth1", "10.0.9.9 id 253 signal"]
        fallback = replace(settings.fallback, enabled=False, defaults=False)
        async with watched(replace(settings, fallback=fallback), memory):
            assert endpoints() == ["10.0.9.9 id 253 signal"]


@contextmanager
def one_server() -> Iterator[Neighbor]:
    """Have both uplinks end at one host, which echoes."""
    with neighbors(1) as (server,), contextlib.ExitStack() as stack:
        ip("link", "add", "eth2", "type", "veth", "peer", "name", "eth1", "netns", server.pid)
        ip("link", "set", "eth2", "up")
        ip("addr", "add", "10.0.2.1/31", "dev", "eth2")
        server.ip("link", "set", "eth1", "up")
        server.ip("addr", "add", "10.0.2.0/31", "dev", "eth1")
        echo = subprocess.Popen(
            [*server.enter, sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True
        )
        stack.callback(echo.wait)
        stack.callback(echo.kill)
        assert echo.stdout is not None
        stack.enter_context(echo.stdout)
        assert echo.stdout.readline() == "ready\n"
        yield server


@isolated
async def test_a_connection_outlives_its_uplink() -> None:
    with one_server() as server:
        async with watched(wanting(host(mode=Mode.LOCAL)), Remembering()):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client:
                client.settimeout(20)
                client.connect((TARGET, PORT))
                assert client.getsockname()[0] == "10.0.1.1"
                client.sendall(b"one")
                assert client.recv(100) == b"one"
                await until(lambda: client.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)[0] == 1)
                rules = "add table inet dark; add chain inet dark in { type filter hook input "
                rules += 'priority 0; }; add rule inet dark in iifname "eth0" drop'
                server.run("nft", rules)
                client.sendall(b"two")
                assert client.recv(100) == b"two"
