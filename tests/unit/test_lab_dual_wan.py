"""What results say about dual-wan: records that went well, and others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lab import dual_tor, dual_wan, results, scene, story
from lab.catalogue import find
from lab.experiment import Record
from lab.meter import Flow
from lab.routes import KernelRoute, Snapshot
from lab.watch import RouteChange, Verdict

FAULT_AT, HEALED_AT, UP_AT, BACK_AT = 1000.0, 1004.0, 1006.0, 1009.2


def moved(at: float, *gateways: str) -> list[RouteChange]:
    return [RouteChange(at, "default", f, gateways, None) for f in dual_tor.FAMILIES]


def judged(at: float, after: str) -> list[Verdict]:
    before = "up" if after == "down" else "down"
    return [Verdict(at, "gw1", f, before, after, "loss") for f in dual_tor.FAMILIES]


def flow(*lost_at: float) -> Flow:
    """Return 15 s of a flow, from 2 s before the fault on, 100 datagrams a second."""
    lost = {round((at + 2) * 100) for at in lost_at}
    answers = "".join("0" if i in lost else "1" for i in range(1500))
    return Flow("ipv4", "10.0.1.10", 4000, [FAULT_AT - 2 + i / 100 for i in range(1500)], answers)


@pytest.fixture
def left() -> Record:
    """Return a blackhole behind gw1 as it should go."""
    own = scene.of(dual_wan.NAME).source
    assert own is not None
    default = {f: KernelRoute(("gw2",), own["gw2"][f]) for f in dual_tor.FAMILIES}
    nothing = dict.fromkeys(dual_tor.FAMILIES, KernelRoute())
    return Record(
        fault=find("uplink-blackhole", dual_wan.NAME),
        topology=dual_wan.NAME,
        driver="namespaces",
        started_at=FAULT_AT - 2,
        fault_at=FAULT_AT,
        healed_at=HEALED_AT,
        recovered_at=BACK_AT + 0.1,
        ended_at=BACK_AT + 1,
        flows={"in": [flow()], "out": [flow(0.1, 0.4)], "kept": [flow(0.1, 3.9)]},
        during=Snapshot(default, nothing, nothing),
        verdicts=[*judged(FAULT_AT + 0.4, "down"), *judged(UP_AT, "up")],
        changes=[
            *moved(FAULT_AT - 2, "gw1"),
            *moved(FAULT_AT + 0.5, "gw2"),
            *moved(BACK_AT, "gw1"),
        ],
    )


def failed(record: Record) -> list[str]:
    return [check["what"] for check in results.result(record)["checks"] if not check["held"]]


def test_a_gateway_that_is_left_passes(left: Record) -> None:
    found = results.result(left)

    assert failed(left) == []
    assert (found["kernel_s"], found["core_s"]) == (0.5, None)
    assert list(found["direction"]) == ["in", "out", "kept"]
    rows = story.figure_rows(found | {"topology": dual_wan.NAME})
    assert not any(title.startswith("core") for title, _ in rows)


def test_a_failback_before_its_time_is_found(left: Record) -> None:
    left.verdicts = [*left.verdicts[:2], *judged(BACK_AT - 2.9, "up")]

    assert failed(left) == [
        "used again when it has been up for 3 s (ipv4)",
        "used again when it has been up for 3 s (ipv6)",
    ]


def test_loss_over_the_gateway_that_works_is_found(left: Record) -> None:
    left.flows["in"] = [flow(0.2)]

    assert failed(left) == ["nothing is lost over gw2"]


def test_the_source_of_the_wrong_link_is_found(left: Record) -> None:
    assert left.during is not None
    wrong = dict.fromkeys(dual_tor.FAMILIES, KernelRoute(("gw2",), "10.0.1.10"))
    left.during = replace(left.during, server_default=wrong)

    assert failed(left) == [
        "during: its source is 10.0.2.10",
        "during: its source is 2001:db8:2::10",
    ]


@pytest.fixture
def deleted(left: Record) -> Record:
    """Return a deleted default of DHCP's as it should go."""
    left.fault = find("dhcp-default-deleted", dual_wan.NAME)
    left.flows = {"in": [flow()], "out": [flow()], "kept": [flow()]}
    left.verdicts, left.changes = [], moved(FAULT_AT - 2, "gw1")
    left.during = None
    left.said = Counter({"foreign_default_gone": 2, "foreign_default": 2})
    return left


def test_a_deleted_default_that_nobody_misses_passes(deleted: Record) -> None:
    assert failed(deleted) == []


def test_one_that_is_not_spoken_of_is_found(deleted: Record) -> None:
    del deleted.said["foreign_default_gone"]

    assert failed(deleted) == ["bgphealth says foreign_default_gone"]


def test_one_that_costs_a_datagram_of_a_connection_that_was_there_is_found(deleted: Record) -> None:
    deleted.flows["kept"] = [flow(0.2)]

    assert failed(deleted) == ["nothing is lost in either direction"]


def test_a_route_that_moved_meanwhile_is_found(deleted: Record) -> None:
    deleted.changes += [*moved(FAULT_AT + 0.1, "gw2"), *moved(FAULT_AT + 0.2, "gw1")]

    assert failed(deleted) == ["no route changed"]
    deleted.changes = [*moved(FAULT_AT - 2, "gw1"), *moved(HEALED_AT + 0.1, "gw1")]
    assert failed(deleted) == []
