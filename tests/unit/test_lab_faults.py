"""What the results of lasting faults say about records that went well, and about others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab import dual_tor, results, watch
from lab.direct_faults import DIRECT_FAULTS
from lab.experiment import Record
from lab.faults import FAULTS, Fault
from lab.meter import Flow
from lab.routes import KernelRoute, Snapshot
from lab.watch import RouteChange, Verdict

BOTH, ONE = ("tor1", "tor2"), ("tor1",)
FAULT_AT, HEALED_AT = 1000.0, 1020.0


def verdict(at: float, after: str, family: str = "ipv4", uplink: str = "tor2") -> Verdict:
    return Verdict(FAULT_AT + at, uplink, family, "up", after, "loss", "loss 12%")


def moves(at: float, *uplinks: str) -> list[RouteChange]:
    return [
        RouteChange(FAULT_AT + at, route, family, uplinks, None)
        for route in watch.ROUTES
        for family in dual_tor.FAMILIES
    ]


def flow(*lost_at: float) -> Flow:
    """Return 30 s of a flow, from 2 s before the fault on, 100 datagrams a second."""
    lost = {round((at + 2) * 100) for at in lost_at}
    answers = "".join("0" if i in lost else "1" for i in range(3000))
    return Flow("ipv4", "10.255.10.1", 4000, [FAULT_AT - 2 + i / 100 for i in range(3000)], answers)


def record(fault: Fault, *uplinks: str) -> Record:
    plain = dict.fromkeys(dual_tor.FAMILIES, KernelRoute(uplinks))
    default = {f: KernelRoute(uplinks, dual_tor.LOOPBACK[f]) for f in dual_tor.FAMILIES}
    return Record(
        fault=fault,
        topology="dual-tor",
        driver="namespaces",
        started_at=FAULT_AT - 2,
        fault_at=FAULT_AT,
        healed_at=HEALED_AT,
        recovered_at=HEALED_AT + 9,
        ended_at=HEALED_AT + 10,
        flows={"in": [flow()], "out": [flow()]},
        during=Snapshot(default, plain, plain),
    )


@pytest.fixture
def lossy() -> Record:
    """Return a lossy uplink as it should go: degraded within a second, and that was all."""
    fault = replace(FAULTS["uplink-loss"], sessions_stay=False)
    found = record(fault, *ONE)
    found.flows["in"] = [flow(0.2, 0.5, 1.1)]
    found.verdicts = [verdict(0.8, "degraded", family) for family in dual_tor.FAMILIES]
    found.verdicts += [verdict(29.0, "up", family) for family in dual_tor.FAMILIES]
    found.changes = [*moves(-5, *BOTH), *moves(0.9, *ONE), *moves(29.1, *BOTH)]
    return found


@pytest.fixture
def stopped() -> Record:
    """Return a stopped helper as it should go: nothing happens."""
    found = record(replace(FAULTS["helper-stop"], sessions_stay=False), *BOTH)
    found.changes = moves(-5, *BOTH)
    return found


def failed(found: Record) -> list[str]:
    return [check["what"] for check in results.result(found)["checks"] if not check["held"]]


def test_a_lossy_uplink_that_is_left_once_passes(lossy: Record) -> None:
    found = results.result(lossy)

    assert failed(lossy) == []
    assert found["detect_s"] == 0.8
    assert found["kernel_s"] == 0.9
    assert found["transitions"][0] == {
        "at": 0.8,
        "uplink": "tor2",
        "family": "ipv4",
        "from": "up",
        "to": "degraded",
        "reason": "loss",
        "evidence": "loss 12%",
    }


@pytest.mark.parametrize(
    "also",
    [
        [verdict(5.0, "up")],
        [verdict(5.0, "up"), verdict(6.0, "degraded")],
        [verdict(5.0, "down", "ipv6")],
        [verdict(5.0, "degraded", uplink="tor1")],
    ],
    ids=["back", "flapping", "down", "the other one"],
)
def test_any_further_verdict_on_a_lossy_uplink_is_found(lossy: Record, also: list[Verdict]) -> None:
    lossy.verdicts += also

    assert failed(lossy) == [
        "during: each path of tor2 is judged once, degraded, and no other path"
    ]


def test_where_nobody_steers_the_default_flows_out_are_lost_and_verdicts_still_count(
    lossy: Record,
) -> None:
    lossy.topology = dual_tor.DIRECT
    lossy.fault = replace(DIRECT_FAULTS["uplink-loss"], sessions_stay=False)
    lossy.flows["out"] = [flow(0.3, 12.0)]
    assert failed(lossy) == []

    lossy.verdicts.append(verdict(5.0, "down", "ipv6"))
    assert failed(lossy) == [
        "during: each path of tor2 is judged once, degraded, and no other path"
    ]


def test_a_lossy_uplink_that_is_taken_for_dead_is_found(lossy: Record) -> None:
    lossy.verdicts = [replace(v, after="down") for v in lossy.verdicts]

    assert "during: each path of tor2 is judged once, degraded, and no other path" in failed(lossy)
    assert results.result(lossy)["detect_s"] is None


def test_loss_after_the_routes_have_moved_is_found(lossy: Record) -> None:
    lossy.flows["out"] = [flow(0.3, 12.0)]

    assert failed(lossy) == ["during: no loss once the routes had moved"]


def test_loss_until_it_is_healed_is_the_faults(lossy: Record) -> None:
    # It lasts until then, however long looking at every node took.
    lossy.healed_at = HEALED_AT + 4
    lossy.flows["out"] = [flow(0.3, 22.0)]

    assert failed(lossy) == ["during: no loss once the routes had moved"]


def test_loss_on_the_way_back_is_not_the_faults(lossy: Record) -> None:
    lossy.flows["out"] = [flow(0.3, 24.0)]

    assert failed(lossy) == []


def test_a_stopped_helper_that_changes_nothing_passes(stopped: Record) -> None:
    assert failed(stopped) == []
    assert results.result(stopped)["transitions"] == []


def test_a_route_that_moved_and_came_back_is_found(stopped: Record) -> None:
    stopped.changes += [*moves(5.2, *ONE), *moves(5.6, *BOTH)]

    assert failed(stopped) == ["no route changed"]


def test_a_verdict_after_the_helper_goes_on_is_found(stopped: Record) -> None:
    stopped.verdicts = [verdict(20.4, "down"), verdict(-60.0, "down")]

    assert failed(stopped) == ["no verdict changed"]
    stopped.verdicts = stopped.verdicts[1:]
    assert failed(stopped) == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_what_a_fault_promises_can_be_kept(fault: Fault) -> None:
    assert fault.expected or not (fault.calm or fault.still or fault.lasts_s)
    assert not (fault.calm and fault.still)
    assert fault.verdict in ("down", "degraded")
    # What lasts must be ended by somebody.
    assert fault.heal or not fault.lasts_s


@pytest.fixture
def restarted() -> Record:
    """Return FRR restarted as it should go: the fallback carries what is new."""
    found = record(FAULTS["frr-restart"], *BOTH)
    found.healed_at = found.during = None
    found.changes = [*moves(-5, *BOTH), *moves(0.4, *ONE), *moves(6.5, *BOTH)]
    found.flows["out"] = [flow(*(i / 100 for i in range(50, 650)))]
    found.flows["new"] = [flow(6.5, 6.51)]
    return found


def test_a_restart_of_frr_leaves_a_default_that_carries_what_is_new(restarted: Record) -> None:
    assert failed(restarted) == []


def test_a_moment_without_default_is_found(restarted: Record) -> None:
    restarted.changes += moves(0.3)

    assert failed(restarted) == [
        f"there is a default at every moment ({family})" for family in dual_tor.FAMILIES
    ]


def test_a_fallback_that_carries_nothing_is_found(restarted: Record) -> None:
    # A little less than the others is by chance.
    restarted.flows["new"] = [flow(*(i / 100 for i in range(51, 650)))]

    assert failed(restarted) == [
        "new connections get out while others, which have the host loopback, do not"
    ]
    # Unnumbered: there is no other source to choose, and none is measured.
    del restarted.flows["new"]
    assert failed(restarted) == []
