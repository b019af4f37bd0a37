"""Faults on the newer FRR, in containers that containerlab deployed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import convergence, drivers, dual_tor, experiment, results, state
from lab.driver import Driver
from lab.faults import FAULTS
from lab.measured import lab_up


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Bring dual-tor up with FRR 10.3, apart from a lab that the user may have up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path_factory.mktemp("lab-state")))
        patch.setenv("BGPHEALTH_LAB_IMAGE", "bgphealth-lab:frr10.3")
        driver = drivers.of(dual_tor.NAME, "containerlab")
        with lab_up(driver, lambda _: None):
            yield driver


@pytest.mark.parametrize("name", ["uplink-blackhole", "tor-crash", "bgpd-kill", "drain-uplink"])
def test_faults(lab: Driver, name: str) -> None:
    found = results.result(experiment.run(lab, FAULTS[name], lambda _: None))

    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], convergence.diagnosis(lab)
    assert (found["driver"], found["frr"]) == ("containerlab", "10.3")


def test_the_doctor_finds_nothing(lab: Driver) -> None:
    # Of this FRR mgmtd alone prints what zebra and staticd are configured with.
    done = lab.run(dual_tor.SERVER, ["bgphealth", "doctor"], check=False)
    assert (done.stdout, done.returncode) == ("nothing found\n", 0)
    diff = lab.run(dual_tor.SERVER, ["bgphealth", "render", "frr", "--diff"], check=False)
    assert diff.stdout == "nothing would change\n", diff.stderr


def test_the_doctor_finds_what_only_mgmtd_prints(lab: Driver) -> None:
    def configure(line: str) -> None:
        lab.run(dual_tor.SERVER, ["vtysh", "-c", "configure terminal", "-c", line])

    configure("ip nht resolve-via-default")
    try:
        done = lab.run(dual_tor.SERVER, ["bgphealth", "doctor"], check=False)
    finally:
        configure("no ip nht resolve-via-default")
    assert "(frr_resolve_via_default)" in done.stdout
