"""Addresses on a real kernel: put there, announced when seen, and taken away last, if ours."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyroute2 import AsyncIPRoute

from bgphealth.core.settings import Address
from bgphealth.fallback import addresses as keeper_module
from bgphealth.fallback.addresses import AddressKeeper, Look
from bgphealth.fallback.netlink import PROTOCOL, Netlink
from tests.support.hosts import host
from tests.support.neighbors import configuration, neighbors
from tests.support.netns import ip, isolated
from tests.support.program import Run, program_over
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = ip_address("192.0.2.53"), ip_address("2001:db8::53")
BOTH, NONE = frozenset({V4, V6}), frozenset[Address]()
WEB = "192.0.2.80/32"


def held() -> set[str]:
    """Return the addresses of all interfaces, with their prefix lengths."""
    words = (line.split() for line in ip("-o", "addr", "show").splitlines())
    return {line[3] for line in words}


def on_lo() -> set[str]:
    return {line.split()[3] for line in ip("-o", "addr", "show", "dev", "lo").splitlines()}


class Kept:
    """A keeper that looks when it is told to, and what it told."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.keeper = AddressKeeper(self.looks.append)

    async def look(self) -> Look:
        async with Netlink() as netlink:
            await self.keeper.look(await netlink.interfaces(), netlink)
        return self.looks[-1]


@isolated
async def test_what_is_wanted_is_added_with_our_mark_and_seen() -> None:
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    look = await kept.look()
    assert set(look.added) == BOTH <= look.there
    assert look.ours == BOTH
    assert {"192.0.2.53/32", "2001:db8::53/128"} <= on_lo()
    again = await kept.look()
    assert (again.added, again.removed, again.failed) == ((), (), {})


@isolated
async def test_ours_is_taken_away_and_only_when_it_is_unwanted() -> None:
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    await kept.look()
    kept.keeper.want(NONE, NONE)
    assert (await kept.look()).there >= BOTH
    # Another run of the program knows whose they are.
    later = Kept()
    assert (await later.look()).ours == BOTH
    later.keeper.want(NONE, frozenset({V4}))
    look = await later.look()
    assert (look.removed, look.ours) == ((V4,), frozenset({V6}))
    assert "192.0.2.53/32" not in on_lo()


@isolated
async def test_what_somebody_else_has_added_stays() -> None:
    ip("addr", "add", "192.0.2.53/32", "dev", "lo")
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    ip("link", "set", "eth1", "up")
    ip("addr", "add", "2001:db8::53/64", "dev", "eth1", "nodad")
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    look = await kept.look()
    assert (look.added, look.ours) == ((), NONE)
    assert look.there >= BOTH
    before = held()
    kept.keeper.want(NONE, BOTH)
    assert (await kept.look()).removed == ()
    assert held() == before
    # The same address with another mask is another one, also where it carries our number.
    ip("addr", "del", "192.0.2.53/32", "dev", "lo")
    async with AsyncIPRoute() as ipr:
        mask = {"prefixlen": 24, "proto": PROTOCOL}
        await ipr.addr("add", family=socket.AF_INET, index=1, address="192.0.2.53", **mask)
    assert (await kept.look()).ours == NONE
    assert "192.0.2.53/24" in on_lo()


@isolated
async def test_an_address_counts_while_its_interface_is_enabled() -> None:
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    ip("addr", "add", "192.0.2.53/32", "dev", "eth1")
    kept = Kept()
    assert V4 not in (await kept.look()).there
    # Without a carrier, but up: the host takes what comes for it.
    ip("link", "set", "eth1", "up")
    assert V4 in (await kept.look()).there
    assert "local 192.0.2.53" in ip("route", "get", "192.0.2.53")


@isolated
async def test_who_takes_it_away_each_time_does_not_make_us_busy() -> None:
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    await kept.look()
    ip("addr", "del", "192.0.2.53/32", "dev", "lo")
    look = await kept.look()
    assert (look.added, V4 in look.there) == ((), False)
    keeper_module.AGAIN_S = 0.0
    look = await kept.look()
    assert (look.added, V4 in look.there) == ((V4,), True)


@isolated
async def test_an_address_that_is_deleted_is_put_back_before_anybody_is_told() -> None:
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    seen = Seen(host(uplinks=0), kept.keeper)
    await seen.watch.start()
    keeper_module.AGAIN_S = 0.0
    running = asyncio.create_task(seen.watch.run())
    await until(lambda: len(kept.looks) > 1)
    ip("addr", "del", "192.0.2.53/32", "dev", "lo")
    await until(lambda: kept.looks[-1].added or (V4,) in [look.added for look in kept.looks[1:]])
    assert all(look.there >= BOTH for look in kept.looks)
    running.cancel()


@isolated
async def test_without_the_capability_the_error_says_which() -> None:
    os.setuid(65534)
    kept = Kept()
    kept.keeper.want(BOTH, NONE)
    look = await kept.look()
    assert look.failed.keys() == BOTH
    assert "adding 192.0.2.53: CAP_NET_ADMIN is missing" in look.failed[V4]
    assert "address: expect" in look.failed[V4]
    assert not look.there & BOTH


# The program


@contextmanager
def file_of(use: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        file = configuration(Path(directory), 2)
        text = file.read_text().replace("192.0.2.53/32]", f"192.0.2.53/32], address: {use}")
        file.write_text(f"{text}policy: {{drain_settle: 0s}}\n")
        yield file


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def with_web(file: Path) -> None:
    edit(file, "{dns: {", f"{{web: {{prefixes: [{WEB}], address: add}}, dns: {{")


def without_web(file: Path) -> None:
    edit(file, f"web: {{prefixes: [{WEB}], address: add}}, ", "")


def of(run: Run, name: str, **fields: str) -> list[dict[str, object]]:
    return [e for e in run.events(name) if fields.items() <= e.items()]


@isolated
async def test_a_service_goes_with_its_address_and_comes_back_with_it() -> None:
    with neighbors(2), file_of("expect") as file:
        async with program_over(file) as run:
            await run.until(lambda: "192.0.2.53/32" in run.table())
            ip("addr", "del", "192.0.2.53/32", "dev", "lo")
            await run.until(lambda: "192.0.2.53/32" not in run.table())
            (withdrawn,) = of(run, "withdraw", route="192.0.2.53/32")
            assert withdrawn["reason"] == "address_missing"
            # The host loopback and the defaults stay.
            assert len(run.table()) == 3
            ip("addr", "add", "192.0.2.53/32", "dev", "lo")
            await run.until(lambda: "192.0.2.53/32" in run.table())
            assert [e["event"] for e in run.log if e.get("address") == "192.0.2.53"] == [
                "address_missing",
                "address_there",
            ]


@isolated
async def test_the_address_comes_first_and_leaves_last() -> None:
    with neighbors(2), file_of("expect") as file:
        ip("addr", "del", WEB, "dev", "lo")
        async with program_over(file) as run:
            await run.until(lambda: len(run.table()) == 4)
            with_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: WEB in run.table())
            names = [e["event"] for e in run.log if "192.0.2.80" in str(e)]
            assert names[:3] == ["address_added", "address_there", "announce"]
            assert "address_missing" not in names
            assert WEB in on_lo()
            # It stays while nobody has said that the withdrawal is done.
            run.answering = False
            without_web(file)
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: WEB not in run.table())
            await run.until(lambda: run.events("exabgp_not_answering"))
            assert WEB in on_lo()
            run.answering = True
            pending = int(str(run.events("exabgp_not_answering")[-1]["pending"]))
            run.reply(b"done\n" * pending)
            await run.until(lambda: WEB not in on_lo())
            await run.until(lambda: of(run, "address_removed", address="192.0.2.80"))
            # What the host's own configuration has added is not ours.
            edit(file, "services: {dns: {prefixes: [192.0.2.53/32], address: expect}}\n", "")
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: "192.0.2.53/32" not in run.table())
            assert {"192.0.2.53/32", "10.255.10.1/32"} <= on_lo()


@isolated
async def test_what_left_the_file_while_it_was_away_leaves_after_the_withdrawal() -> None:
    with neighbors(2), file_of("expect") as file:
        ip("addr", "del", WEB, "dev", "lo")
        with_web(file)
        async with program_over(file) as run:
            await run.until(lambda: WEB in run.table())
            run.process.kill()
        assert WEB in on_lo()
        without_web(file)
        # The mark in the kernel is enough to know what to withdraw.
        file.with_name("bgphealth.routes.json").unlink()
        async with program_over(file) as run:
            run.answering = False
            await run.until(lambda: run.commands)
            assert WEB in on_lo()
            run.answering = True
            run.reply(b"done\n" * len(run.commands))
            await run.until(lambda: WEB not in on_lo())
            assert f"withdraw route {WEB}" in " ".join(run.routes())


@isolated
async def test_the_capabilities_of_the_unit_are_enough_and_at_the_end_the_addresses_stay() -> None:
    unit = "-all,+net_admin,+net_raw"
    with neighbors(2), file_of("add") as file:
        ip("addr", "del", "192.0.2.53/32", "dev", "lo")
        wrapper = ("setpriv", f"--bounding-set={unit}", f"--inh-caps={unit}")
        async with program_over(file, wrapper=wrapper) as run:
            await run.until(lambda: "192.0.2.53/32" in run.table())
            run.process.terminate()
            await run.ends()
        assert "192.0.2.53/32" in on_lo()


@isolated
async def test_a_dry_run_adds_nothing() -> None:
    with neighbors(2), file_of("add") as file:
        ip("addr", "del", "192.0.2.53/32", "dev", "lo")
        async with program_over(file, "--dry-run") as run:
            await run.until(lambda: "10.255.10.1/32" in run.table())
            assert "192.0.2.53/32" not in on_lo()
            assert of(run, "address_missing", address="192.0.2.53")
