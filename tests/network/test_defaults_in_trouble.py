"""Defaults that come first (modes local and direct), when something about them is odd."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import ip_address

import pytest

from bgphealth.core.fallback_order import Rank
from bgphealth.core.settings import Family, Mode, Settings, SourcePolicy, SourceSettings
from tests.network.test_fallback_defaults import (
    BOTH,
    defaults,
    leaves_through,
    ranked,
    two_links,
    watched,
    with_defaults,
)
from tests.support.hosts import host
from tests.support.netns import ip, isolated
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

V4, V6 = Family.IPV4, Family.IPV6
TARGETS = ("203.0.113.1", "2001:db8:f00::1")
FIRST_CARRIES = ranked(tor1=Rank.CARRIES, tor2=Rank.WORKS)
SECOND_CARRIES = ranked(tor1=Rank.DOWN, tor2=Rank.CARRIES)


def local(*source: str) -> Settings:
    return with_defaults(host(families=BOTH, mode=Mode.LOCAL), *source)


@isolated
async def test_without_a_verdict_somebody_elses_is_used_and_what_carries_comes_first() -> None:
    two_links()
    ip("route", "add", "default", "via", "10.0.2.0", "dev", "eth2", "metric", "100")
    seen = Seen(local())
    async with watched(seen):
        assert leaves_through("eth2", TARGETS[0])
        # The first one never gets a verdict.
        second = {path: rank for path, rank in SECOND_CARRIES.items() if path.uplink == "tor2"}
        ip("route", "del", "default", "metric", "100")
        seen.watch.order(second)
        for target in TARGETS:
            await until(partial(leaves_through, "eth2", target))
    # Nor does it in the next run, which finds it where it was first.
    seen.watch.order(FIRST_CARRIES)
    await seen.watch.start()
    assert all(leaves_through("eth1", target) for target in TARGETS)
    following = Seen(local())
    following.watch.order(second)
    await following.watch.start()
    assert all(leaves_through("eth2", target) for target in TARGETS)


@isolated
async def test_a_default_for_a_tos_is_in_nobodys_way() -> None:
    two_links()
    ip("route", "add", "default", "via", "10.0.1.0", "dev", "eth1")
    ip("route", "add", "default", "via", "10.0.1.0", "dev", "eth1", "tos", "0x10")
    seen = Seen(local())
    async with watched(seen):
        seen.watch.order(SECOND_CARRIES)
        await until(lambda: leaves_through("eth2", TARGETS[0]))
        await seen.watch.start()
        seen.applied.clear()
        await seen.watch.start()
        assert seen.applied == []


@isolated
async def test_a_path_that_has_lost_its_address_is_left_all_the_same() -> None:
    two_links()
    seen = Seen(local())
    async with watched(seen):
        seen.watch.order(FIRST_CARRIES)
        await until(lambda: leaves_through("eth1", TARGETS[1]))
        ip("addr", "del", "2001:db8:1::1/127", "dev", "eth1")
        await until(lambda: seen.sources.absent)
        seen.watch.order(SECOND_CARRIES)
        await until(lambda: leaves_through("eth2", TARGETS[1]))


@isolated
async def test_one_that_cannot_move_does_not_come_before_what_carries() -> None:
    two_links()
    ip("addr", "add", "10.255.10.7/32", "dev", "lo")
    ip("addr", "add", "10.9.9.1/24", "dev", "eth1")
    seen = Seen(local("10.255.10.7"))
    async with watched(seen):
        seen.watch.order(FIRST_CARRIES)
        await until(lambda: leaves_through("eth1", TARGETS[0]))
        ip("addr", "del", "10.0.1.1/31", "dev", "eth1")
        seen.watch.order(SECOND_CARRIES)
        await until(lambda: leaves_through("eth2", TARGETS[0]))


@isolated
async def test_what_a_killed_run_has_left_half_done_is_in_nobodys_way() -> None:
    two_links()
    seen = Seen(local())
    seen.watch.order(FIRST_CARRIES)
    await seen.watch.start()
    ip("addr", "add", "10.255.10.7/32", "dev", "lo")
    # The new one for the moment between the old and the new.
    spare = ("via", "10.0.1.0", "dev", "eth1", "src", "10.255.10.7", "metric", str((3 << 16) + 1))
    ip("route", "add", "default", *spare, "proto", "179")
    following = Seen(local("10.255.10.7"))
    following.watch.order(FIRST_CARRIES)
    await following.watch.start()
    assert "src 10.255.10.7" in defaults()[1]
    assert (3 << 16) + 1 not in defaults()


@isolated
async def test_what_was_written_for_a_family_that_is_gone_from_the_file_goes() -> None:
    two_links()
    led = SourceSettings((), (SourcePolicy(ip_address("2001:db8:1::1"), "tor1", is_strict=True),))
    await Seen(replace(local(), sources=led)).watch.start()
    assert "unreachable" in ip("-6", "rule")
    await Seen(with_defaults(host(families=(V4,), mode=Mode.LOCAL))).watch.start()
    assert "proto 179" not in ip("-6", "rule")
    assert ip("-6", "route", "show", "table", "17901").strip() == ""
    assert "oif eth1 lookup 17901 proto 179" in ip("-4", "rule")
