"""Topologies on which other servers have the service too, and on which the way in forks twice."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab import anycast, catalogue, convergence, dual_tor, dual_wan, racks, routes, scene, topology
from lab.faults import FAULTS
from lab.meter import Meter
from lab.namespaces import NamespaceDriver
from lab.watch import RouteWatch

OTHERS = {"tor3", "tor4"}
WHO = Path(topology.__file__).parent / "dual-tor" / "common" / "who.py"


def shipped(name: str) -> topology.Topology:
    return topology.load(topology.find(name))


class Answering(NamespaceDriver):
    """A lab that is not there: what its nodes answer is given."""

    answers: dict[str, Any]

    def run(self, node: str, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, json.dumps(self.answers.get(node, [])), "")


@pytest.fixture
def fabric() -> Answering:
    lab = Answering(shipped(racks.FABRIC))
    lab.answers = {}
    return lab


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (racks.ANYCAST, OTHERS),
        (racks.FABRIC, OTHERS),
        (dual_tor.NAME, set()),
        (dual_wan.NAME, set()),
    ],
)
def test_who_else_has_the_service_is_what_the_files_say(name: str, others: set[str]) -> None:
    assert scene.elsewhere(shipped(name)) == others


def test_a_server_that_was_put_elsewhere_is_there(tmp_path: Path) -> None:
    varied = anycast.varied(anycast.Variation(same_tors=True), tmp_path)

    assert scene.elsewhere(varied) == {"tor1", "tor2"}


@pytest.mark.parametrize("name", [racks.ANYCAST, racks.FABRIC])
def test_what_is_lost_on_server1_goes_on_elsewhere(name: str) -> None:
    for fault, there in catalogue.made_on(name).items():
        alone = FAULTS[fault].expected
        assert there.expected.loopback == alone.loopback
        assert there.expected.default == alone.default
        assert there.expected.service == (None if alone.service is None else alone.service | OTHERS)
    gone = catalogue.find("service-down", name)
    assert gone.expected.service == frozenset(OTHERS)
    assert gone.lasts_s > scene.settings(name).guarded_settle_s


@pytest.mark.parametrize("name", [racks.ANYCAST, racks.FABRIC])
def test_the_next_hops_are_those_of_server1s_file(name: str) -> None:
    told = {
        f"ipv{path.neighbor.version}": str(path.neighbor)
        for uplink in scene.settings(name).uplinks
        for path in uplink.paths
        if uplink.interface == "eth1" and path.neighbor is not None
    }

    assert {family: hops["eth1"] for family, hops in racks.LINK_GATEWAY[name].items()} == told


def test_the_way_in_is_what_both_spines_use(fabric: Answering) -> None:
    def leads(*interfaces: str) -> list[dict[str, Any]]:
        return [{"dst": "192.0.2.53", "nexthops": [{"dev": each} for each in interfaces]}]

    fabric.answers = {"spine1": leads("eth1", "eth3"), "spine2": leads("eth3", "eth4")}

    found = routes.snapshot(fabric)
    assert found.core_service["ipv4"].uplinks == ("tor1", "tor3", "tor4")
    assert found.core_loopback["ipv4"].uplinks == ()


def test_it_is_whole_again_when_each_spine_is(
    fabric: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leads(service: list[str]) -> list[dict[str, Any]]:
        found = [(address, service) for address in dual_tor.SERVICE.values()]
        found += [(address, ["eth1", "eth2"]) for address in dual_tor.LOOPBACK.values()]
        return [{"dst": dst, "nexthops": [{"dev": i} for i in hops]} for dst, hops in found]

    up = [routes.Session(n, "", "ipv4", "Established", "", 0) for n in fabric.topology.nodes]
    monkeypatch.setattr(routes, "sessions", lambda _: up)
    monkeypatch.setattr(routes, "injected_uplinks", lambda *_: 2)
    monkeypatch.setattr(Answering, "nodes", lambda _: {})
    fabric.answers = {"spine1": leads(list(racks.TORS)), "spine2": leads(["eth2", "eth3", "eth4"])}

    assert [line for line in convergence.missing(fabric) if "server1" not in line] == [
        f"spine2: {family} service is via tor2 + tor3 + tor4" for family in dual_tor.FAMILIES
    ]


def test_a_router_is_left_when_both_spines_have_left_it(fabric: Answering) -> None:
    watch = RouteWatch(fabric)

    def tell(node: str, at: float, *interfaces: str) -> None:
        watch.heard(
            node, {"at": at, "route": "service ipv4", "interfaces": interfaces, "source": None}
        )

    tell("spine1", 1.0, "eth1", "eth2")
    tell("spine2", 1.0, "eth1", "eth2")
    tell("spine1", 2.0, "eth1")
    assert watch.now()["service", "ipv4"].uplinks == ("tor1", "tor2")
    tell("spine2", 3.0, "eth1")
    assert watch.now()["service", "ipv4"].uplinks == ("tor1",)
    assert watch.now()["service", "ipv4"].at == 3.0


def test_the_spread_is_over_the_servers_own_tors(fabric: Answering) -> None:
    def sent(**packets: int) -> list[dict[str, Any]]:
        return [{"ifname": i, "stats64": {"tx": {"packets": n}}} for i, n in packets.items()]

    meter = Meter(fabric)
    fabric.answers = dict.fromkeys(("spine1", "spine2", "server1"), sent(eth1=0, eth2=0))
    meter._counted = meter._packets()  # noqa: SLF001 - no sender is started
    fabric.answers = {
        "spine1": sent(eth1=30, eth2=0, eth3=500, eth5=500),
        "spine2": sent(eth1=0, eth2=10),
        "server1": sent(eth1=1, eth2=1),
    }

    assert meter.check_spread() == {
        "spine1 + spine2": {"tor1": 0.75, "tor2": 0.25},
        "server1": {"tor1": 0.5, "tor2": 0.5},
    }


def test_who_answers_has_the_same_place_in_every_line() -> None:
    spec = importlib.util.spec_from_file_location("who", WHO)
    assert spec is not None
    assert spec.loader is not None
    who = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(who)
    known = {"server1", "server2"}

    both = who.line("192.0.2.53", Counter(server1=11, server2=9), known)
    one = who.line("192.0.2.53", Counter({"server2": 9, "no answer": 11}), known)
    assert both[8:] == f"  192.0.2.53    server1 11 {'#' * 11}{' ' * 11}server2  9 {'#' * 9}"
    assert one.index("server2  9") == both.index("server2  9")
    assert one.endswith("no answer 11")
