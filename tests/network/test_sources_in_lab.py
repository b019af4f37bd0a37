"""Pins and policies with the whole program: they follow its verdicts, and outlive it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab import convergence, dual_tor
from lab.faults import FAULTS, Step, run_steps
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import edited, reload

pytestmark = pytest.mark.network

PINNED, LED = "10.255.10.9", "10.255.10.7"
PIN = f"{{to: 203.0.113.0/24, from: {PINNED}}}"
POLICY = f"{{from: {LED}, uplink: tor1}}"
SOURCES = f"sources: {{pins: [{PIN}], policies: [{POLICY}]}}"
BLACKHOLE = FAULTS["uplink-blackhole"]


def on_tor1(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(replace(step, node="tor1") for step in steps)


@pytest.fixture
def with_sources(lab: NamespaceDriver) -> Iterator[NamespaceDriver]:
    """Return a lab whose file has a pin and a policy, and leave it without."""
    convergence.wait_converged(lab)
    addresses = (f"{PINNED}/32", f"{LED}/32")
    for address in addresses:
        lab.run(dual_tor.SERVER, ["ip", "addr", "add", address, "dev", "lo"])
    try:
        with edited(lab, f"$a {SOURCES}"):
            reload(lab)
            yield lab
        reload(lab)
        wait_for(lab, PINNED, "10.255.10.1", "the pin is gone")
    finally:
        for address in addresses:
            lab.run(dual_tor.SERVER, ["ip", "addr", "del", address, "dev", "lo"])
    rules = lab.run(dual_tor.SERVER, ["ip", "rule"]).stdout
    assert LED not in rules


def leaves(lab: NamespaceDriver, *what: str) -> str:
    return lab.run(dual_tor.SERVER, ["ip", "-o", "route", "get", *what]).stdout


def wait_for(lab: NamespaceDriver, address: str, wanted: str, what: str) -> None:
    """Wait until the kernel's answer for what the address is about has these words in it."""
    asked = ("203.0.113.5",) if address == PINNED else ("198.51.100.1", "from", address)

    def missing() -> list[str]:
        found = leaves(lab, *asked)
        return [] if wanted in found else [f"{wanted}, there is: {found}"]

    convergence.wait_until(what, missing)


def test_they_follow_the_verdicts_and_outlive_the_program(with_sources: NamespaceDriver) -> None:
    lab = with_sources
    wait_for(lab, PINNED, f"via 10.0.1.0 dev eth1 src {PINNED}", "the pin, over tor1")
    wait_for(lab, LED, "via 10.0.1.0 dev eth1 table 17901", "the policy, through tor1")
    run_steps(lab, on_tor1(BLACKHOLE.inject))
    try:
        wait_for(lab, PINNED, f"via 10.0.2.0 dev eth2 src {PINNED}", "the pin, over tor2")
        wait_for(lab, LED, "via 10.0.2.0 dev eth2 uid", "the policy's source leaves as all does")
    finally:
        run_steps(lab, on_tor1(BLACKHOLE.heal))
    wait_for(lab, PINNED, f"via 10.0.1.0 dev eth1 src {PINNED}", "the pin, over tor1 again")
    wait_for(lab, LED, "via 10.0.1.0 dev eth1 table 17901", "the policy, through tor1 again")
    run_steps(lab, FAULTS["exabgp-kill"].inject)
    assert f"dev eth1 src {PINNED}" in leaves(lab, "203.0.113.5")
    assert "table 17901" in leaves(lab, "198.51.100.1", "from", LED)
    convergence.wait_converged(lab)
