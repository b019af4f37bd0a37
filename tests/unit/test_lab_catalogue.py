"""Which faults are made where, and how the others are refused."""

from __future__ import annotations

import pytest

from lab import catalogue, dual_tor, dual_wan, scene
from lab.errors import LabError
from lab.faults import FAULTS, Fault


def test_every_fault_is_made_somewhere() -> None:
    assert {name for each in scene.MEASURED for name in catalogue.made_on(each)} == set(
        catalogue.NAMES
    )


def test_the_same_name_is_another_fault_elsewhere() -> None:
    assert catalogue.find("uplink-blackhole", dual_tor.NAME) is FAULTS["uplink-blackhole"]
    assert catalogue.find("uplink-blackhole", dual_wan.NAME).uplinks == {"gw1"}


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("tor-crash", dual_wan.NAME, "tor-crash cannot be made there (there is uplink-blackhole, "),
        ("defaults-deleted", dual_tor.NAME, "defaults-deleted cannot be made there"),
        ("helper-kill", dual_wan.CLASSIC, "helper-kill cannot be made without bgphealth"),
        ("helper-kill", dual_tor.PLAIN[dual_tor.NAME], "cannot be made without bgphealth"),
        ("flap", "bench-probes", "faults are made for dual-tor, dual-tor-unnumbered, "),
        ("bgpd-kill", dual_tor.DIRECT, "bgpd-kill cannot be made there"),
    ],
)
def test_a_fault_that_does_not_apply_is_refused_in_words(fault: str, name: str, words: str) -> None:
    with pytest.raises(LabError) as caught:
        catalogue.find(fault, name)

    assert words in str(caught.value)


@pytest.mark.parametrize("name", scene.MEASURED)
def test_a_fault_names_routers_of_its_topology(name: str) -> None:
    routers = set(scene.of(name).behind.values())
    for fault in catalogue.made_on(name).values():
        assert fault.uplinks | (fault.expected.default or frozenset()) <= routers


@pytest.mark.parametrize("name", dual_wan.NAMES)
def test_what_a_fault_of_dual_wan_promises_can_be_kept(name: str) -> None:
    for fault in catalogue.made_on(name).values():
        assert can_be_kept(fault), fault.name


def can_be_kept(fault: Fault) -> bool:
    # Only a default is there to be moved, and what lasts must be ended by somebody.
    moves = fault.expected.default is not None and fault.expected.service is None
    return bool(fault.heal) >= bool(fault.lasts_s) and (moves or not fault.expected)
