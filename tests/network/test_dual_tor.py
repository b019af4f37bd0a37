"""The shipped topology, with the real FRR, ExaBGP and bgphealth in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from lab import convergence, dual_tor, experiment, faults, results, routes, state
from lab.errors import TimedOutError
from lab.namespaces import ROOT, NamespaceDriver

if TYPE_CHECKING:
    from pathlib import Path


def measure(lab: NamespaceDriver, name: str) -> dict[str, object]:
    found = results.result(experiment.run(lab, faults.FAULTS[name], lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps(found["timeline"], indent=2)
    # A link that came back may still settle: sessions are reset once more after the routes moved.
    convergence.wait_until("convergence", lambda: convergence.missing(lab), 30.0)
    return found


def test_both_directions_use_both_tors(lab: NamespaceDriver) -> None:
    assert convergence.missing(lab) == []


@pytest.mark.parametrize(("prefix", "tor"), [("10.0.1.0/31", "tor1"), ("10.0.2.0/31", "tor2")])
def test_a_link_is_reached_through_its_own_tor_alone(
    lab: NamespaceDriver, prefix: str, tor: str
) -> None:
    # What a probe's answer comes back on: without it, a fault behind one ToR looks like both.
    table = json.loads(lab.run(dual_tor.CORE, ["ip", "-json", "route"]).stdout)

    assert routes.best(table, prefix).uplinks == (tor,)


@pytest.mark.parametrize("family", dual_tor.FAMILIES)
def test_outgoing_traffic_leaves_with_the_host_loopback(lab: NamespaceDriver, family: str) -> None:
    output = lab.run(
        dual_tor.SERVER, ["ip", "-json", "route", "get", dual_tor.TARGET[family]]
    ).stdout

    assert json.loads(output)[0]["prefsrc"] == dual_tor.LOOPBACK[family]


def test_silent_uplink_loss(lab: NamespaceDriver) -> None:
    found = measure(lab, "uplink-blackhole")

    for family in found["families"].values():  # type: ignore[attr-defined]
        assert family["detect_s"] < family["kernel_s"] < family["core_s"]
        assert all(figures["sent"] for figures in family["direction"].values())
    for direction in found["direction"].values():  # type: ignore[attr-defined]
        assert 0 < direction["flows_hit"] <= direction["flows"]
        assert 0 < direction["lost"] < direction["sent"]
        assert direction["outage_s"] > 0
    assert found["detect_s"] < found["kernel_s"] < found["core_s"]  # type: ignore[operator]
    assert found["recovered"] is True
    assert found["foreign_routes"] == {"count": len(routes.foreign(lab)) + 6, "unchanged": True}


@pytest.mark.parametrize(
    "name", ["service-down", "tor-crash", "helper-kill", "exabgp-kill", "frr-restart"]
)
def test_other_faults(lab: NamespaceDriver, name: str) -> None:
    measure(lab, name)


def test_a_service_goes_with_its_address(lab: NamespaceDriver) -> None:
    def reasons() -> Counter[tuple[str, str]]:
        log = lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout.splitlines()
        said = (json.loads(line) for line in log if line.startswith('{"') and "withdraw" in line)
        return Counter(
            (each["route"], each["reason"]) for each in said if each["event"] == "withdraw"
        )

    # Others that have this lab move addresses, too.
    before = reasons()
    measure(lab, "address-deleted")
    # Not with a check, which takes longer to believe.
    for prefix in ("192.0.2.53/32", "2001:db8::53/128"):
        assert reasons()[prefix, "address_missing"] > before[prefix, "address_missing"]


def test_what_is_missing_is_said(lab: NamespaceDriver) -> None:
    fault = faults.FAULTS["uplink-blackhole"]
    faults.run_steps(lab, fault.inject)
    try:
        convergence.wait_until(
            "the verdict",
            lambda: [] if convergence.missing(lab) else ["a route that moved"],
        )
        with pytest.raises(TimedOutError, match="logs and state of every node: ") as caught:
            convergence.wait_converged(lab, timeout_s=0.0)
    finally:
        faults.run_steps(lab, fault.heal)
    convergence.wait_converged(lab)

    assert "via tor1" in str(caught.value)


def test_an_interrupted_demo_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "state"))
    with subprocess.Popen(
        [sys.executable, "-m", "lab", "demo"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        told = iter(demo.stderr.readline, "")
        assert any("baseline" in line for line in told)
        known = state.read(dual_tor.NAME)
        assert known is not None
        assert all(process.is_alive() for process in known.nodes.values())

        demo.send_signal(signal.SIGINT)
        rest = list(told)

    assert demo.returncode == 128 + signal.SIGINT
    assert "interrupted by SIGINT" in rest[-1]
    assert len(known.nodes) == 4
    assert not any(process.is_alive() for process in known.nodes.values())
    assert not (tmp_path / "state").exists()


def test_a_link_that_comes_back_is_used_again(lab: NamespaceDriver) -> None:
    measure(lab, "link-down")
