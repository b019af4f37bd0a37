"""The variations of the topology with two anycast servers."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from bgphealth import config
from bgphealth.core.settings import OnDown, Settings
from lab import anycast, topology
from lab.anycast import Variation


def settings_of(variation: Variation, directory: Path, server: str) -> Settings:
    varied = anycast.varied(variation, directory)
    (file,) = (b.source for b in varied.binds(server) if b.target.name == "bgphealth.yaml")
    return config.load(file)


@pytest.mark.parametrize(
    "variation", [Variation(*each) for each in product([False, True], repeat=3)]
)
def test_a_variation_is_what_it_says(variation: Variation, tmp_path: Path) -> None:
    first, second = (settings_of(variation, tmp_path, server) for server in anycast.SERVERS)
    names = ({uplink.name for uplink in settings.uplinks} for settings in (first, second))
    assert ({"tor1", "tor2"} == set.intersection(*names)) is variation.same_tors
    assert (first.host.asn == second.host.asn) is variation.same_asn
    assert first.host.router_id != second.host.router_id
    for settings in (first, second):
        assert settings.services[1].on_down is OnDown.GUARDED
        assert settings.services[1].prefixes == first.services[1].prefixes


def test_each_uplink_of_each_variation_has_its_link(tmp_path: Path) -> None:
    links = {end.node + end.interface for link in shipped().links for end in link.ends}
    for same_tors in (False, True):
        settings = settings_of(Variation(same_tors=same_tors), tmp_path, "server2")
        assert {f"server2{uplink.interface}" for uplink in settings.uplinks} <= links


def shipped() -> topology.Topology:
    return topology.load(topology.find(anycast.NAME))
