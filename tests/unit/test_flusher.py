"""Which addresses count as left when another uplink is used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_interface

import pytest

from bgphealth.core.errors import HostError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family
from bgphealth.fallback import conntrack
from bgphealth.fallback.conntrack import Flushed, Flusher
from bgphealth.fallback.netlink import Interface
from tests.support.hosts import host
from tests.support.waiting import background, until

BEFORE = {"eth1": ["10.0.1.5/24", "2001:db8:1::5/64"], "eth2": ["10.0.2.5/24"]}


def interfaces(having: Mapping[str, list[str]]) -> dict[str, Interface]:
    return {
        name: Interface(number, name, up=True, addresses=tuple(map(ip_interface, addresses)))
        for number, (name, addresses) in enumerate(having.items(), 2)
    }


def in_use(*uplinks: str) -> dict[PathKey, Rank]:
    return {PathKey(name, Family.IPV4): Rank.CARRIES for name in uplinks}


@pytest.mark.parametrize(
    ("ranks", "having", "expected"),
    [
        (in_use("tor2"), BEFORE, {"10.0.1.5"}),
        (in_use("tor1"), BEFORE, set()),
        (in_use("tor1", "tor2"), BEFORE, set()),
        ({}, BEFORE, set()),
        ({PathKey("tor1", Family.IPV4): Rank.DOWN}, BEFORE, set()),
        # The next lease.
        (in_use("tor1"), {"eth1": ["10.0.1.6/24"]}, {"10.0.1.5"}),
        (in_use("tor1"), {"eth1": []}, set()),
        (in_use("tor1"), {}, set()),
        # Gone, with its addresses.
        (in_use("tor2"), {"eth2": ["10.0.2.5/24"]}, {"10.0.1.5"}),
    ],
)
async def test_what_is_in_use_no_more_is_left(
    monkeypatch: pytest.MonkeyPatch,
    ranks: Mapping[PathKey, Rank],
    having: Mapping[str, list[str]],
    expected: set[str],
) -> None:
    asked: list[set[str]] = []

    async def flush(addresses: Collection[Address]) -> int:
        asked.append(set(map(str, addresses)))
        if len(asked) == 1 and expected:
            raise HostError("no such table")
        return 3

    monkeypatch.setattr(conntrack, "flush", flush)
    told: list[Flushed] = []
    flusher = Flusher(host(), told.append)
    flusher.look(in_use("tor1"), interfaces(BEFORE))
    flusher.look({}, interfaces(BEFORE))
    flusher.look(ranks, interfaces(having))
    # The last one ends the wait.
    flusher.look(in_use("tor1"), interfaces({"eth1": ["10.0.1.99/24"]}))
    async with background(flusher.run()):
        await until(lambda: len(told) == 1 + bool(expected))
    assert asked[:-1] == ([expected] if expected else [])
    assert [flushed.outcome for flushed in told] == (["no such table", 3] if expected else [3])


async def test_another_file_does_not_make_it_forget_what_was_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def flush(addresses: Collection[Address]) -> int:
        return len(addresses)

    monkeypatch.setattr(conntrack, "flush", flush)
    told: list[Flushed] = []
    before, after = Flusher(host(), told.append), Flusher(host(), told.append)
    before.look(in_use("tor1"), interfaces(BEFORE))
    after.follow(before)
    after.look(in_use("tor2"), interfaces(BEFORE))
    async with background(after.run()):
        await until(lambda: told)
    assert [set(map(str, each.addresses)) for each in told] == [{"10.0.1.5"}]
