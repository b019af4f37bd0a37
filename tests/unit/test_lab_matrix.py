"""The matrix: what is measured where, what a failure costs, and what it shows."""

from __future__ import annotations

import io
import signal
from subprocess import TimeoutExpired
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from lab import (
    catalogue,
    dual_tor,
    dual_wan,
    experiment,
    matrix,
    matrix_page,
    matrix_table,
    results,
    scene,
)
from lab import matrix_words as words
from lab.errors import InterruptedByUserError, LabError
from lab.matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.driver import Driver

FOUND = {
    "passed": True,
    "checks": [{"what": "recovered", "held": True, "saw": "so"}],
    "loss": {
        "in": [{"family": "ipv4", "outage_s": 0.4}, {"family": "ipv6", "outage_s": 0.5}],
        "out": [{"family": "ipv4", "outage_s": 0.0}, {"family": "ipv6", "outage_s": 0.0}],
    },
    "direction": {"in": {"lost": 3, "sent": 900}, "out": {"lost": 0, "sent": 900}},
    "healed_s": 3.5,
    "families": {"ipv4": {"detect_s": 0.3}, "ipv6": {"detect_s": None}},
    "recovery_s": 2.1,
    "announced": {
        "told": [
            {
                "to": tor,
                "what": "withdrawn",
                "from_s": 0.35,
                "until_s": 0.38,
                "routes": ["loopback ipv4", "service ipv4", "service ipv6"],
            }
            for tor in ("tor1", "tor2")
        ]
        + [
            {
                "to": "server1",
                "what": "announced",
                "from_s": 0.3,
                "until_s": 0.6,
                "routes": ["default ipv4 via tor2", "service ipv4"],
            }
        ],
        "sessions_ended": ["server1"],
    },
    "stale": [],
    "foreign_untouched": True,
}


@pytest.mark.parametrize("name", matrix.TOPOLOGIES)
def test_every_fault_is_made_or_it_is_said_why_not(name: str) -> None:
    ((_, made, absent),) = matrix.chosen([name], [])
    assert {fault.name for fault in made} | set(absent) >= set(catalogue.DESIGNED)
    assert not {fault.name for fault in made} & set(absent)
    assert all(absent.values())


def test_all_topologies_with_bgphealth_are_measured_unless_some_are_named() -> None:
    assert [name for name, _, _ in matrix.chosen([], ["flap"])] == list(matrix.TOPOLOGIES)
    assert {dual_tor.DIRECT, dual_wan.NAME} < set(matrix.TOPOLOGIES)
    assert not set(scene.TWINS.values()) & set(matrix.TOPOLOGIES)
    with pytest.raises(LabError, match="frr-restart: made on none of dual-wan"):
        matrix.chosen([dual_wan.NAME], ["frr-restart"])
    ((_, made, absent),) = matrix.chosen([dual_tor.PLAIN[dual_tor.NAME]], [])
    assert "flap" in {fault.name for fault in made}
    assert absent["helper-kill"] == "there is no bgphealth"


class Laboratory:
    """A driver that only counts, for failures that a real one makes too rarely."""

    name = "counting"

    def __init__(self) -> None:
        self.topology = SimpleNamespace(name=dual_tor.NAME)
        self.is_up = False
        self.ups = 0
        self.ends_badly = False

    def nodes(self) -> dict[str, bool]:
        return {"server1": self.is_up}

    def up(self) -> None:
        self.is_up, self.ups = True, self.ups + 1

    def down(self) -> bool:
        was, self.is_up = self.is_up, False
        if was and self.ends_badly:
            raise LabError("the anchor lives on")
        return was


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.setattr(matrix, "settle", lambda _: None)
    monkeypatch.setattr(Matrix, "_note_versions", lambda *_: None)
    monkeypatch.setattr(results, "result", lambda record: record)
    return Laboratory()


def measured(
    laboratory: Laboratory,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[Any],
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    def run(_driver: Driver, _fault: object, _progress: object) -> Any:  # noqa: ANN401
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(experiment, "run", run)
    names = ["uplink-blackhole", "flap", "link-down"]
    made: Any = lambda _: laboratory  # noqa: E731
    return Matrix(made, 1, lambda _: None, keep).run([dual_tor.NAME], names)


def test_a_fault_that_cannot_be_measured_costs_its_cell_and_a_new_lab(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {**FOUND, "passed": False, "checks": [{"what": "it", "held": False, "saw": "none"}]}
    found = measured(laboratory, monkeypatch, [LabError("a node\ndied"), bad, FOUND])

    cells = found["topologies"][0]["cells"]
    assert [words.verdict(cell) for cell in cells] == [
        "not measured: a node",
        "did not hold: it (saw: none)",
        "held",
    ]
    assert (found["passed"], found["interrupted"]) == (False, False)
    assert (laboratory.ups, laboratory.is_up) == (3, False)


def test_an_interruption_leaves_what_there_is_and_no_lab(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(laboratory, monkeypatch, [FOUND, InterruptedByUserError(signal.SIGINT), FOUND])

    assert [cell["fault"] for cell in found["topologies"][0]["cells"]] == ["uplink-blackhole"]
    assert (found["passed"], found["interrupted"]) == (False, True)
    assert (laboratory.ups, laboratory.is_up) == (1, False)
    assert words.totals(found).endswith("interrupted")


def test_a_lab_that_does_not_end_and_a_command_that_does_not_cost_a_cell_each(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.ends_badly = True
    found = measured(laboratory, monkeypatch, [TimeoutExpired("traffic", 20), FOUND, FOUND])

    cells = found["topologies"][0]["cells"]
    assert [words.verdict(cell) for cell in cells] == [
        "not measured: Command 'traffic' timed out after 20 seconds",
        "held",
        "not measured: the lab does not end: the anchor lives on",
    ]
    assert found["passed"] is False


def test_what_there_is_is_kept_after_each_topology(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[bool, bool, int]] = []
    measured(
        laboratory,
        monkeypatch,
        [FOUND, FOUND, FOUND],
        lambda f: kept.append((f["interrupted"], f["passed"], len(f["topologies"][0]["cells"]))),
    )
    assert kept == [(True, False, 3)]


def run_on(
    monkeypatch: pytest.MonkeyPatch,
    earlier: dict[str, Any] | None,
    outcomes: list[dict[str, Any]],
    names: tuple[str, ...] = (dual_tor.NAME, dual_tor.UNNUMBERED),
) -> dict[str, Any]:
    """Measure one fault on some topologies."""

    def of(name: str) -> Laboratory:
        made = Laboratory()
        made.topology.name = name
        return made

    monkeypatch.setattr(experiment, "run", lambda *_: outcomes.pop(0))
    made: Any = of
    found = Matrix(made, 1, lambda _: None).run(names, ["link-down"], earlier)
    assert not outcomes
    return found


@pytest.mark.usefixtures("laboratory")
def test_what_held_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {**FOUND, "passed": False, "checks": [{"what": "it", "held": False, "saw": "none"}]}
    first = run_on(monkeypatch, None, [bad, FOUND])
    assert first["passed"] is False

    second = run_on(monkeypatch, first, [{**FOUND, "recovery_s": 7.0}])

    assert second["passed"] is True
    names = [each["topology"] for each in second["topologies"]]
    assert names == [dual_tor.NAME, dual_tor.UNNUMBERED]
    recovered = [each["cells"][0]["rounds"][0]["recovery_s"] for each in second["topologies"]]
    assert recovered == [7.0, 2.1]
    with pytest.raises(LabError, match="nothing left to measure"):
        run_on(monkeypatch, second, [])


@pytest.mark.usefixtures("laboratory")
def test_what_is_not_asked_for_this_time_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {**FOUND, "passed": False, "checks": [{"what": "it", "held": False, "saw": "none"}]}
    first = run_on(monkeypatch, None, [bad, bad])

    second = run_on(monkeypatch, first, [FOUND], (dual_tor.UNNUMBERED,))

    held = {each["topology"]: each["cells"][0]["held"] for each in second["topologies"]}
    assert held == {dual_tor.NAME: False, dual_tor.UNNUMBERED: True}
    assert second["passed"] is False


@pytest.mark.usefixtures("laboratory")
@pytest.mark.parametrize("other", [{"driver": "containerlab"}, {"rounds": 3}, {"version": 0}])
def test_what_was_measured_otherwise_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    first = run_on(monkeypatch, None, [{**FOUND, "passed": False}, FOUND])

    with pytest.raises(LabError, match=f"another {next(iter(other))} .*: measure all of it again"):
        run_on(monkeypatch, first | other, [])


def test_another_frr_is_found_when_the_lab_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "settle", lambda _: None)
    monkeypatch.setattr(results, "result", lambda record: record)
    monkeypatch.setattr(Matrix, "_note_versions", lambda self, _: self._versions.update(frr="8.4"))
    first = run_on(monkeypatch, None, [{**FOUND, "passed": False}, FOUND])
    first["versions"] = {"frr": "10.3"}

    with pytest.raises(LabError, match=r"another frr \(10.3, here 8.4\)"):
        run_on(monkeypatch, first, [FOUND])


def test_a_lab_that_is_up_is_left_alone(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.up()
    with pytest.raises(LabError, match="dual-tor: is up"):
        measured(laboratory, monkeypatch, [])
    assert laboratory.is_up


def test_what_new_connections_lost_is_shown_with_the_others() -> None:
    both = {"out": {"ipv4": 6.0, "ipv6": 6.1}, "new": {"ipv4": 0.02, "ipv6": 0.0}}
    cell = {"rounds": [{"outage_s": both}]}
    assert words.outage(cell, "out") == "6 / 6.10 (new connections: 0.02 / 0)"


def test_what_did_not_end_is_longer_than_anything() -> None:
    rounds = [{"recovery_s": value} for value in (None, 2.0, 2.2)]
    assert words.recovery({"rounds": rounds}) == "2.20"
    assert words.recovery({"rounds": [*rounds, {"recovery_s": None}]}) == "–"
    assert words.recovery({"error": "a node died"}) == "–"


def test_every_run_has_its_letter(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(laboratory, monkeypatch, [FOUND, FOUND, FOUND])

    lines = list(matrix_page.markdown([found] * 26))
    assert [line[:8] for line in lines if line.startswith("- **")][10::15] == [
        "- **K**:",
        "- **Z**:",
    ]
    with pytest.raises(ValueError, match="longer"):
        list(matrix_page.markdown([found] * 27))


def test_all_that_held_is_shown(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(laboratory, monkeypatch, [FOUND, FOUND, FOUND])

    assert found["passed"]
    assert laboratory.ups == 1
    (cell, *_) = found["topologies"][0]["cells"]
    assert words.outage(cell, "in") == "0.40 / 0.50"
    assert words.outage(cell, "new") == "–"
    assert words.announced(cell) == (
        "sessions ended: ExaBGP; 0.35 s: loopback (ipv4), service withdrawn from tor1, tor2; "
        "0.30–0.60 s: default via tor2 (ipv4) announced"
    )
    totals = (
        "3 of 3 faults held, recovered: 3 of 3, stale announcements: 0, "
        "foreign routes untouched: 3 of 3"
    )
    output = io.StringIO()
    matrix_table.show(found, Console(file=output, width=200))
    for text in (output.getvalue(), "\n".join(matrix_page.markdown([found, found]))):
        assert totals in text
        assert "0.40 / 0.50" in text
        assert "sessions ended: ExaBGP; 0.35 s" in text
    page = matrix_page.html(found)
    assert 'class="time short">0.40 / 0.50<' in page
    assert 'class="time none">0 / 0<' in page
