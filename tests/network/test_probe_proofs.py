"""What probes promise, proved in dual-tor: not fooled by ourselves, nor by a lossy path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

from lab import convergence, dual_tor, experiment, faults, results
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS, verdicts_since


def measure(lab: NamespaceDriver, name: str) -> dict[str, object]:
    found = results.result(experiment.run(lab, faults.FAULTS[name], lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps(found["timeline"], indent=2)
    return found


def while_it_lasts(duration_s: float, check: Callable[[], None]) -> None:
    """Let a fault last so long, and look all the while."""
    due = time.monotonic() + duration_s

    def missing() -> list[str]:
        check()
        return [] if time.monotonic() >= due else ["the rest of its time"]

    convergence.wait_until("the end of the fault", missing, duration_s + 30.0)


def table_versions(lab: NamespaceDriver) -> dict[tuple[str, str], int]:
    """Return what every UPDATE that changes anything adds to, on the server and on the core."""
    return {
        (node, family): json.loads(
            lab.run(node, ["vtysh", "-c", f"show bgp {family} unicast json"]).stdout
        )["tableVersion"]
        for node in (dual_tor.SERVER, dual_tor.CORE)
        for family in dual_tor.FAMILIES
    }


# ---- not fooled by ourselves ---------------------------------------------------------------------


def test_a_stopped_helper_withdraws_nothing(lab: NamespaceDriver) -> None:
    before = table_versions(lab)

    measure(lab, "helper-stop")

    assert table_versions(lab) == before


def test_a_busy_machine_withdraws_nothing(lab: NamespaceDriver) -> None:
    before, began_at = table_versions(lab), time.monotonic()
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        while_it_lasts(10.0, lambda: None)
        assert [process for process in busy if process.poll() is not None] == []
    finally:
        for process in busy:
            process.kill()
            process.wait()

    assert verdicts_since(lab, began_at) == []
    assert table_versions(lab) == before


# ---- lossy paths ---------------------------------------------------------------------------------


def test_a_lossy_uplink_is_degraded_and_left_alone(lab: NamespaceDriver) -> None:
    found = measure(lab, "uplink-loss")

    transitions: list[dict[str, str]] = found["transitions"]  # type: ignore[assignment]
    degraded = [t for t in transitions if t["to"] == "degraded"]
    assert {(t["uplink"], t["family"]) for t in degraded} == {
        ("tor2", family) for family in dual_tor.FAMILIES
    }
    for transition in degraded:
        loss = re.search(r"loss (\d+)%", transition["evidence"])
        assert loss is not None
        assert 10 <= int(loss[1]) <= 60
    convergence.wait_converged(lab)


LOSSY_LINK = """\
table inet lab_loss {
    counter dropped { }
    chain arrives {
        type filter hook prerouting priority -300;
        iifname "eth1" numgen random mod 100 < 2 counter name dropped drop
    }
    chain leaves {
        type filter hook postrouting priority -300;
        oifname "eth1" numgen random mod 100 < 2 counter name dropped drop
    }
}
"""
"""Two of a hundred packets between the server and a ToR, each way, whatever they are."""


def test_a_little_loss_takes_no_path_down(lab: NamespaceDriver) -> None:
    began_at = time.monotonic()
    dropped = []

    def none_is_down() -> None:
        assert [v for v in verdicts_since(lab, began_at) if v.after == "down"] == []

    try:
        for tor in TORS:
            lab.run(tor, ["nft", LOSSY_LINK])
        while_it_lasts(60.0, none_is_down)
        for tor in TORS:
            listed = lab.run(tor, ["nft", "list", "table", "inet", "lab_loss"]).stdout
            dropped.append(int(re.findall(r"packets (\d+)", listed)[0]))
    finally:
        for tor in TORS:
            lab.run(tor, ["nft", "delete table inet lab_loss"], check=False)
    convergence.wait_converged(lab)

    none_is_down()
    assert min(dropped) > 0
