"""Drains in the shipped topology, with the real FRR and ExaBGP, under traffic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lab import convergence, dual_tor, experiment, results, routes
from lab.faults import FAULTS, Expected, Step, run_steps
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture
def converged(lab: NamespaceDriver) -> Iterator[NamespaceDriver]:
    """Return a lab that has converged, and leave it so."""
    convergence.wait_converged(lab)
    try:
        yield lab
    finally:
        for drain in drains(lab):
            bgphealth(lab, "undrain", *f"{drain['what']} {drain['name']}".split())
        convergence.wait_converged(lab)


def bgphealth(lab: NamespaceDriver, *arguments: str) -> str:
    return lab.run(dual_tor.SERVER, ["bgphealth", *arguments]).stdout


def drains(lab: NamespaceDriver) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bgphealth(lab, "drain", "--json"))["drains"]
    return found


def wait_routes(
    lab: NamespaceDriver,
    what: str,
    *,
    default: Sequence[str],
    service: Sequence[str],
    loopback: Sequence[str],
) -> None:
    """Wait until each route uses just these ToRs, in both families."""

    def missing() -> list[str]:
        seen = routes.snapshot(lab)
        return [
            f"{name} {family} is via {route}, not {wanted}"
            for name, by_family, wanted in (
                ("default", seen.server_default, default),
                ("service", seen.core_service, service),
                ("loopback", seen.core_loopback, loopback),
            )
            for family, route in by_family.items()
            if sorted(route.uplinks) != sorted(wanted)
        ]

    convergence.wait_until(what, missing)


BOTH = ("tor1", "tor2")
STARTED = '"event": "started"'


def log(lab: NamespaceDriver) -> str:
    return lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout


@pytest.mark.alone
@pytest.mark.parametrize("tor", BOTH)
def test_an_uplink_is_drained_and_used_again_without_losing_a_packet(
    converged: NamespaceDriver, tor: str
) -> None:
    other = frozenset(BOTH) - {tor}
    fault = replace(
        FAULTS["drain-uplink"],
        inject=(Step(dual_tor.SERVER, ("bgphealth", "drain", "uplink", tor)),),
        heal=(Step(dual_tor.SERVER, ("bgphealth", "undrain", "uplink", tor)),),
        expected=Expected(default=other, service=other, loopback=other),
    )
    found = results.result(experiment.run(converged, fault, lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps([found["timeline"], found["loss"]], indent=1)
    for direction in found["direction"].values():
        assert direction["sent"] > 10_000


def test_a_drain_survives_a_killed_bgphealth(converged: NamespaceDriver) -> None:
    bgphealth(converged, "drain", "service", "echo")
    wait_routes(converged, "the service is away", default=BOTH, service=(), loopback=BOTH)
    before = log(converged).count(STARTED)
    run_steps(converged, FAULTS["helper-kill"].inject)

    def missing() -> list[str]:
        _, *later = log(converged).split(STARTED)[before:]
        verdict = any("checks_ok" in lines for lines in later)
        return [] if verdict else ["a verdict on the service after the restart"]

    convergence.wait_until("a verdict on the service", missing)
    (found,) = drains(converged)
    assert (found["name"], found["stage"]) == ("echo", "drained")
    wait_routes(converged, "the service is still away", default=BOTH, service=(), loopback=BOTH)


def test_a_drain_of_the_host_ends_by_itself(converged: NamespaceDriver) -> None:
    bgphealth(converged, "drain", "host", "--for", "12s")
    wait_routes(converged, "the services are away", default=BOTH, service=(), loopback=BOTH)
    convergence.wait_converged(converged)
    assert drains(converged) == []
