"""Faults on the newer FRR, in containers that containerlab deployed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import catalogue, convergence, drivers, dual_tor, experiment, racks, results, state
from lab.driver import Driver
from lab.measured import lab_up


@contextmanager
def brought_up(topology: str, kept_in: Path) -> Iterator[Driver]:
    """Bring a topology up with FRR 10.3, apart from a lab that the user may have up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(kept_in))
        patch.setenv("BGPHEALTH_LAB_IMAGE", "bgphealth-lab:frr10.3")
        driver = drivers.of(topology, "containerlab")
        with lab_up(driver, lambda _: None):
            yield driver


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with brought_up(dual_tor.NAME, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


def measure(lab: Driver, name: str) -> None:
    fault = catalogue.find(name, lab.topology.name)
    found = results.result(experiment.run(lab, fault, lambda _: None))

    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], convergence.diagnosis(lab)
    assert found["driver"] == "containerlab"
    assert found["frr"].startswith("10.")


def test_a_guarded_service_that_is_down_stays_withdrawn(tmp_path: Path) -> None:
    with brought_up(racks.ANYCAST, tmp_path) as anycast:
        measure(anycast, "service-down")


@pytest.mark.parametrize("name", ["uplink-blackhole", "tor-crash", "bgpd-kill", "drain-uplink"])
def test_faults(lab: Driver, name: str) -> None:
    measure(lab, name)


def wait_said(lab: Driver, pattern: str, *command: str) -> None:
    """Wait until bgphealth says it: what was healed or configured just now has to settle."""

    def missing() -> list[str]:
        done = lab.run(dual_tor.SERVER, ["bgphealth", *command], check=False)
        is_said = re.search(pattern, done.stdout) is not None
        return [] if is_said else [done.stdout + done.stderr]

    convergence.wait_until(" ".join(command), missing)


def test_the_doctor_finds_nothing(lab: Driver) -> None:
    # Of this FRR mgmtd alone prints what zebra and staticd are configured with.
    wait_said(lab, r"\Anothing found\n\Z", "doctor")
    wait_said(lab, r"\Anothing would change\n\Z", "render", "frr", "--diff")


def test_the_doctor_finds_what_only_mgmtd_prints(lab: Driver) -> None:
    def configure(line: str) -> None:
        lab.run(dual_tor.SERVER, ["vtysh", "-c", "configure terminal", "-c", line])

    configure("ip nht resolve-via-default")
    try:
        wait_said(lab, r"\(frr_resolve_via_default\)", "doctor")
    finally:
        configure("no ip nht resolve-via-default")
