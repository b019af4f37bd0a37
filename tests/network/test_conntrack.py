"""Connections behind source NAT, when another uplink is used: real nftables, real flows."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bgphealth.core.errors import PermissionDeniedError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.fallback import conntrack
from bgphealth.fallback.conntrack import Flushed, Flusher
from tests.support.hosts import host
from tests.support.netns import ip, isolated
from tests.support.routers import routers
from tests.support.waiting import background, until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

TARGET = {"-4": "198.51.100.1", "-6": "2001:db8:100::1"}
INSIDE = {"-4": "10.255.11.1", "-6": "2001:db8:11:1::1"}
"""Where the flows come from: an address that no router has a way back to."""
PORT = 7
NAT = """
table inet nat {
  chain post {
    type nat hook postrouting priority srcnat;
    oifname eth1 ip saddr 10.255.11.1 snat ip to 10.0.1.5
    oifname eth2 ip saddr 10.255.11.1 snat ip to 10.0.2.5
    oifname eth1 ip6 saddr 2001:db8:11:1::1 snat ip6 to 2001:db8:1::5
    oifname eth2 ip6 saddr 2001:db8:11:1::1 snat ip6 to 2001:db8:2::5
  }
}
"""
ECHO = f"""
import contextlib, select, socket
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
four.bind(("{TARGET["-4"]}", {PORT}))
six.bind(("{TARGET["-6"]}", {PORT}))
print("ready", flush=True)
while True:
    for sock in select.select([four, six], [], [])[0]:
        _, sender = sock.recvfrom(100)
        with contextlib.suppress(OSError):  # There is no way back to the other uplink's.
            sock.sendto(sender[0].encode(), sender)
"""


@contextmanager
def two_uplinks() -> Iterator[None]:
    """Make two routers that both have the target, and say from where one has asked."""
    with routers(2) as made, contextlib.ExitStack() as stack:
        for n, router in enumerate(made, 1):
            for mine, theirs in ((f"10.0.{n}.5/24", f"10.0.{n}.1/24"),
                                 (f"2001:db8:{n}::5/64", f"2001:db8:{n}::1/64")):  # fmt: skip
                ip("addr", "add", mine, "dev", f"eth{n}", *(["nodad"] if ":" in mine else []))
                nodad = ["nodad"] if ":" in theirs else []
                router.run("ip", "addr", "add", theirs, "dev", "eth0", *nodad)
            router.run("ip", "link", "set", "lo", "up")
            router.run("ip", "addr", "add", f"{TARGET['-4']}/32", "dev", "lo")
            router.run("ip", "addr", "add", f"{TARGET['-6']}/128", "dev", "lo", "nodad")
            echo = subprocess.Popen(
                router.command(sys.executable, "-c", ECHO), stdout=subprocess.PIPE, text=True
            )
            stack.callback(echo.wait)
            stack.callback(echo.kill)
            assert echo.stdout is not None
            stack.enter_context(echo.stdout)
            assert echo.stdout.readline() == "ready\n"
        subprocess.run(["nft", "-f", "-"], input=NAT, text=True, check=True)
        leave_by(1)
        yield


def leave_by(n: int) -> None:
    for family, gateway in (("-4", f"10.0.{n}.1"), ("-6", f"2001:db8:{n}::1")):
        ip(family, "route", "replace", "default", "via", gateway, "src", INSIDE[family],
           "metric", "700")  # fmt: skip


@contextmanager
def flow(family: str, source: str = "") -> Iterator[socket.socket]:
    kind = socket.AF_INET if family == "-4" else socket.AF_INET6
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        sock.bind((source or INSIDE[family], 0))
        sock.connect((TARGET[family], PORT))
        yield sock


def seen_from(sock: socket.socket) -> str:
    """Return from which address the target was asked, or nothing if no answer came back."""
    sock.send(b"?")
    try:
        return sock.recv(100).decode()
    except TimeoutError:
        return ""


@isolated
async def test_flows_of_the_uplink_that_was_left_find_their_way_again() -> None:
    with two_uplinks(), flow("-4") as four, flow("-6") as six, flow("-4", "10.0.1.5") as bound:
        assert (seen_from(four), seen_from(six)) == ("10.0.1.5", "2001:db8:1::5")
        assert seen_from(bound) == "10.0.1.5"
        leave_by(2)
        with flow("-4") as new:
            assert seen_from(new) == "10.0.2.5"
            # The trap: for as long as they go on trying.
            assert (seen_from(four), seen_from(six)) == ("", "")
            left = [ip_address("10.0.1.5"), ip_address("2001:db8:1::5")]
            # Not the one that has this source of its own, nor the new one.
            assert await conntrack.flush(left) == 2
            assert (seen_from(four), seen_from(six)) == ("10.0.2.5", "2001:db8:2::5")
            assert await conntrack.flush(left) == 0
            assert seen_from(new) == "10.0.2.5"


@isolated
async def test_the_uplink_that_is_left_loses_its_flows_and_no_other() -> None:
    told: list[Flushed] = []
    with two_uplinks(), flow("-4") as four, flow("-6") as six:
        settings = replace(host(families=tuple(Family), mode=Mode.LOCAL), flush_conntrack=True)
        watch = Seen(with_routers(settings)).watch
        watch.flusher = Flusher(settings, told.append)
        watch.order(in_use(1))
        await watch.start()
        async with background(watch.run()):
            assert (seen_from(four), seen_from(six)) == ("10.0.1.5", "2001:db8:1::5")
            watch.order(in_use(2))
            await until(lambda: len(told) == 2)
            assert {flushed.outcome for flushed in told} == {1}
            assert (seen_from(four), seen_from(six)) == ("10.0.2.5", "2001:db8:2::5")


def with_routers(settings: Settings) -> Settings:
    """Return them with the gateways of `two_uplinks`."""
    return replace(
        settings,
        uplinks=tuple(
            replace(u, paths=tuple(
                replace(p, neighbor=ip_address(
                    f"10.0.{u.number}.1" if p.family is Family.IPV4 else f"2001:db8:{u.number}::1"
                ))
                for p in u.paths
            ))
            for u in settings.uplinks
        ),
        fallback=replace(settings.fallback, defaults=True),
    )  # fmt: skip


def in_use(n: int) -> Mapping[PathKey, Rank]:
    return {
        PathKey(f"tor{number}", family): Rank.CARRIES if number == n else Rank.WORKS
        for number in (1, 2)
        for family in Family
    }


@isolated
async def test_without_the_capability_it_says_so() -> None:
    assert await conntrack.flush([ip_address("10.0.2.5")]) == 0
    os.setuid(65534)
    with pytest.raises(PermissionDeniedError, match="CAP_NET_ADMIN"):
        await conntrack.flush([ip_address("10.0.2.5")])
