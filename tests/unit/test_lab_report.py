from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab import dual_tor, picture, report, results, story
from lab.experiment import Record
from lab.faults import FAULTS
from lab.meter import Flow
from lab.routes import KernelRoute, Session, Snapshot
from lab.watch import RouteChange, Verdict

BOTH, ONE = ("tor1", "tor2"), ("tor1",)
FAULT_AT = 1000.0
SESSION = Session("tor2", "10.1.2.0", "ipv4", "Established", "00:01:00", 0)


def snapshot(*uplinks: str) -> Snapshot:
    plain = dict.fromkeys(dual_tor.FAMILIES, KernelRoute(uplinks))
    default = {f: KernelRoute(uplinks, dual_tor.LOOPBACK[f]) for f in dual_tor.FAMILIES}
    return Snapshot(default, plain, plain)


def flow(family: str, source: str, lost: range) -> Flow:
    answers = "".join("0" if i in lost else "1" for i in range(600))
    return Flow(family, source, 4000, [FAULT_AT - 2 + i / 100 for i in range(600)], answers)


def changes(at: float, *uplinks: str) -> list[RouteChange]:
    return [
        RouteChange(FAULT_AT + at + delay, route, family, uplinks, None)
        for route, delay in (("default", 0.0), ("service", 0.1), ("loopback", 0.1))
        for family in dual_tor.FAMILIES
    ]


@pytest.fixture
def record() -> Record:
    """Return the blackhole as it should go: dark at 0, verdict 0.7 s, healed at 2.5 s."""
    verdicts = [
        Verdict(FAULT_AT + at, "tor2", family, *words)
        for at, words in (
            (0.7, ("up", "down", "beyond_failed")),
            (4.5, ("down", "up", "probes_ok")),
        )
        for family in dual_tor.FAMILIES
    ]
    return Record(
        fault=FAULTS["uplink-blackhole"],
        topology="dual-tor",
        driver="namespaces",
        started_at=FAULT_AT - 2,
        fault_at=FAULT_AT,
        healed_at=FAULT_AT + 2.5,
        recovered_at=FAULT_AT + 4.8,
        ended_at=FAULT_AT + 6,
        reacted=True,
        flows={
            "in": [flow("ipv4", "203.0.113.10", range(200, 285)), flow("ipv6", "x", range(0))],
            "out": [flow("ipv4", "10.255.10.1", range(200, 275))],
        },
        changes=[*changes(-5, *BOTH), *changes(0.76, *ONE), *changes(4.56, *BOTH)],
        verdicts=verdicts,
        before=snapshot(*BOTH),
        during=snapshot(*ONE),
        after=snapshot(*BOTH),
        sessions_before=[SESSION],
        sessions_during=[replace(SESSION, uptime="00:01:09")],
        foreign_before=["a", "b"],
        foreign_after=["a", "b"],
    )


def failed(record: Record) -> list[str]:
    found = results.result(record)
    assert found["passed"] == all(check["held"] for check in found["checks"])
    return [check["what"] for check in found["checks"] if not check["held"]]


def test_the_result_has_the_figures_of_the_design(record: Record) -> None:
    found = results.result(record)

    assert found["fault"] == "uplink-blackhole"
    assert found["topology"] == "dual-tor"
    assert found["driver"] == "namespaces"
    assert found["direction"]["in"] == {
        "sent": 1200,
        "lost": 85,
        "outage_s": 0.85,
        "flows": 2,
        "flows_hit": 1,
    }
    assert found["direction"]["out"]["outage_s"] == 0.75
    assert (found["detect_s"], found["kernel_s"], found["core_s"]) == (0.7, 0.76, 0.86)
    assert found["recovered"] is True
    assert found["recovery_s"] == 2.16
    assert found["passed"] is True
    json.dumps(found)


def test_what_did_not_happen_is_null(record: Record) -> None:
    record.verdicts.clear()
    record.changes[:] = changes(-5, *BOTH)
    record.recovered_at = None

    found = results.result(record)

    assert (found["detect_s"], found["kernel_s"], found["core_s"]) == (None, None, None)
    assert found["recovered"] is False
    assert found["recovery_s"] is None
    assert "recovered" in failed(record)


def test_the_core_has_moved_when_both_its_routes_have(record: Record) -> None:
    record.changes = [c for c in record.changes if c.route != "loopback" or c.at < FAULT_AT]

    assert results.result(record)["core_s"] is None


def test_what_moves_only_after_healing_did_not_react(record: Record) -> None:
    record.healed_at = FAULT_AT + 0.5

    found = results.result(record)

    assert (found["detect_s"], found["kernel_s"], found["core_s"]) == (None, None, None)


def test_a_default_that_stays_is_found(record: Record) -> None:
    record.during = replace(snapshot(*ONE), server_default=snapshot(*BOTH).server_default)

    assert failed(record) == [
        "during: the server's default via tor1 (ipv4)",
        "during: the server's default via tor1 (ipv6)",
    ]


def test_a_wrong_source_is_found(record: Record) -> None:
    wrong = dict.fromkeys(dual_tor.FAMILIES, KernelRoute(ONE, "10.0.1.1"))
    record.during = replace(snapshot(*ONE), server_default=wrong)

    assert len(failed(record)) == 2


def test_changed_foreign_routes_are_found(record: Record) -> None:
    record.foreign_after = ["a"]

    assert failed(record) == ["no foreign route of the server changed"]


@pytest.mark.parametrize("change", [{"drops": 1}, {"state": "Active"}, {"neighbor": "other"}])
def test_a_lost_session_is_found(record: Record, change: dict[str, object]) -> None:
    record.sessions_during = [replace(SESSION, **change)]  # type: ignore[arg-type]

    assert failed(record) == ["during: every BGP session stays established"]


def test_loss_before_the_fault_is_found(record: Record) -> None:
    record.flows["out"].append(flow("ipv4", "10.255.10.1", range(50, 51)))

    assert failed(record) == ["no loss before the fault"]


def test_another_source_of_outgoing_flows_is_found(record: Record) -> None:
    record.flows["out"].append(flow("ipv4", "10.0.2.1", range(0)))

    assert failed(record) == ["outgoing flows leave with the host loopback"]


def test_the_terminal_shows_before_during_after(record: Record) -> None:
    output = io.StringIO()

    story.show(results.result(record), Console(file=output, width=120))

    text = output.getvalue()
    assert "tor1 + tor2, src 10.255.10.1" in text
    assert "outage 0.85 s" in text
    assert "0.70 s after the fault" in text
    assert "checks held" in text


def test_the_terminal_says_what_did_not_hold(record: Record) -> None:
    record.foreign_after = []
    output = io.StringIO()

    story.show(results.result(record), Console(file=output, width=120))

    assert "did not hold: no foreign route of the server changed" in output.getvalue()


def test_the_page_is_self_contained(record: Record) -> None:
    page = report.html(results.result(record))

    assert "<svg" in page
    assert "0.85 s" in page
    assert "src=" not in page.replace("src 10", "")
    assert "http" not in page


def test_the_page_escapes_what_was_seen(record: Record) -> None:
    record.foreign_after = ["<script>"]

    page = report.html(results.result(record))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_picture_has_a_bar_for_each_gap(record: Record) -> None:
    svg = picture.svg(results.result(record))

    assert svg.count("<title>") == 2
    assert "verdict 0.70 s" in svg


def test_the_picture_is_drawn_without_verdict_and_recovery(record: Record) -> None:
    record.verdicts.clear()
    record.recovered_at = None

    labels = [mark.label for mark in picture.marks(results.result(record))]

    assert not any("verdict" in label or "again" in label for label in labels)


def test_writes_both_files(record: Record, tmp_path: Path) -> None:
    written = report.write(results.result(record), tmp_path)

    assert [path.name for path in written] == ["demo.html", "demo.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG")
