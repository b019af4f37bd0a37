"""Every fault on every topology, one after the other: what each did, and whether all held.

Each topology is brought up once. A fault that fails, or a lab that does not recover, costs one cell
and a new lab; the others are measured all the same. What was measured before an interruption stays,
and each topology is kept as soon as it is through.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from subprocess import SubprocessError
from typing import TYPE_CHECKING, Any

from lab import catalogue, convergence, dual_tor, experiment, results, scene
from lab.errors import InterruptedByUserError, LabError
from lab.measured import frr_version, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lab.driver import Driver
    from lab.experiment import Progress
    from lab.faults import Fault

VERSION = 1

TOPOLOGIES = tuple(name for name, here in scene.MEASURED.items() if here.log is not None)
"""With bgphealth; their twins without it are there to be named, and do not hold."""

_CELL_S, _UP_S = 16.0, 12.0
"""What a fault takes about, beside the time that it lasts, and what bringing a lab up takes."""

Cell = dict[str, Any]


def chosen(
    topologies: Sequence[str], faults: Sequence[str]
) -> list[tuple[str, list[Fault], dict[str, str]]]:
    """Return what is measured: each topology, its faults, and why others are not made there.

    Args:
        topologies: their names; none for `TOPOLOGIES`.
        faults: their names; none for all that there are on each.

    Raises:
        LabError: A fault is made on none of the topologies.
    """
    found = []
    for name in topologies or TOPOLOGIES:
        there = catalogue.made_on(name)
        made = [fault for fault in there.values() if not faults or fault.name in faults]
        absent = [n for n in catalogue.DESIGNED if n not in there and (not faults or n in faults)]
        has_bgphealth = scene.of(name).log is not None
        why = {
            n: catalogue.why_not(n, name) if has_bgphealth else "there is no bgphealth"
            for n in absent
        }
        found.append((name, made, why))
    made_somewhere = {fault.name for _, made, _ in found for fault in made}
    if lost := [name for name in faults if name not in made_somewhere]:
        raise LabError(f"{', '.join(lost)}: made on none of {', '.join(n for n, _, _ in found)}")
    return found


def held(
    earlier: Mapping[str, Any], todo: Iterable[tuple[str, Sequence[Fault], object]]
) -> dict[str, dict[str, Any]]:
    """Return the topologies of an earlier run that are not to do again.

    On those the same faults were measured and all held, or they are not asked for this time.
    """
    wanted = {name: [fault.name for fault in made] for name, made, _ in todo}
    return {
        each["topology"]: each
        for each in earlier["topologies"]
        if (faults := wanted.get(each["topology"])) is None
        or (
            [cell["fault"] for cell in each["cells"]] == faults
            and all(cell["held"] for cell in each["cells"])
        )
    }


def _check_alike(earlier: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Check that what two runs measured can stand side by side, as far as it is known yet."""
    was = {**earlier, **earlier["versions"]}
    now = {name: found[name] for name in ("version", "driver", "rounds")} | found["versions"]
    if other := [name for name, value in now.items() if was.get(name, value) != value]:
        raise LabError(
            f"the earlier run has another {other[0]} ({was[other[0]]}, here {now[other[0]]}): "
            "measure all of it again"
        )


def estimate_s(todo: Iterable[tuple[str, Sequence[Fault], object]], rounds: int) -> float:
    """Return how long it takes, about."""
    return sum(
        _UP_S + rounds * sum(_CELL_S + fault.lasts_s for fault in made) for _, made, _ in todo
    )


@dataclass(slots=True)
class Matrix:
    """One run over topologies and faults.

    Args:
        make: returns the driver that runs a topology.
        rounds: how often each fault is measured.
        progress: told what is done from now on.
        keep: given what there is after each topology, as it would be were this the end.
    """

    make: Callable[[str], Driver]
    rounds: int
    progress: Progress
    keep: Callable[[dict[str, Any]], None] = lambda _: None
    _left: int = 0
    _left_s: float = 0.0
    _versions: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        topologies: Sequence[str],
        faults: Sequence[str],
        earlier: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Measure all of it; an interruption ends it early, with what there is by then.

        Args:
            topologies: their names; none for `TOPOLOGIES`.
            faults: their names; none for all that there are on each.
            earlier: a run that is continued: on what all held there, nothing is measured again.

        Raises:
            LabError: There is nothing to measure, a lab is up already, or the earlier run was made
                otherwise.
        """
        every = chosen(topologies, faults)
        earlier = earlier or {"topologies": [], "versions": {}}
        kept = held(earlier, every)
        todo = [one for one in every if one[0] not in kept]
        if not todo:
            raise LabError("there is nothing left to measure: all held")
        drivers = {name: self.make(name) for name, _, _ in todo}
        if up := [name for name, driver in drivers.items() if any(driver.nodes().values())]:
            raise LabError(f"{', '.join(up)}: is up; the matrix makes its own (lab down ends it)")
        self._left = sum(len(made) for _, made, _ in todo)
        self._left_s = estimate_s(todo, self.rounds)
        found: dict[str, Any] = {
            "version": VERSION,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "driver": next(iter(drivers.values())).name,
            "machine": machine(),
            "rounds": self.rounds,
            "versions": self._versions,
            "interrupted": True,
            "passed": False,
            "topologies": list(kept.values()),
        }
        _check_alike(earlier, found)
        before = [each["topology"] for each in earlier["topologies"]]
        order = list(dict.fromkeys([*before, *(name for name, _, _ in every)]))
        with suppress(InterruptedByUserError):
            for name, made, why in todo:
                cells: list[Cell] = []
                found["topologies"].append({"topology": name, "cells": cells, "not_made": why})
                found["topologies"].sort(key=lambda each: order.index(each["topology"]))
                self._measure_all(drivers[name], made, cells)
                _check_alike(earlier, found)
                self.keep(found)
            found["interrupted"] = False
        cells = [cell for each in found["topologies"] for cell in each["cells"]]
        found["passed"] = not found["interrupted"] and all(cell["held"] for cell in cells)
        return found

    def _measure_all(self, driver: Driver, made: Sequence[Fault], cells: list[Cell]) -> None:
        is_up = False
        cell: Cell = {}
        try:
            for fault in made:
                began = time.monotonic()
                cell = {"fault": fault.name, "summary": fault.summary}
                try:
                    if not is_up:
                        self.progress(f"{driver.topology.name}: up")
                        driver.up()
                        is_up = True
                    self._note_versions(driver)
                    self._say(driver, fault)
                    cell["rounds"] = [self._round(driver, fault) for _ in range(self.rounds)]
                    cell["held"] = all(each["held"] for each in cell["rounds"])
                except InterruptedByUserError:
                    raise
                except (LabError, SubprocessError) as error:
                    cell |= {"held": False, "error": str(error)}
                cell["took_s"] = round(time.monotonic() - began, 1)
                cells.append(cell)
                self._left -= 1
                self._left_s -= self.rounds * (_CELL_S + fault.lasts_s)
                if not cell["held"] and is_up:
                    self.progress(f"{driver.topology.name}: {fault.name} did not hold; a new lab")
                    _down(driver, cell)
                    is_up = False
        finally:
            _down(driver, cell)

    def _say(self, driver: Driver, fault: Fault) -> None:
        minutes = max(1, round(self._left_s / 60))
        self.progress(
            f"{driver.topology.name}: {fault.name} ({self._left} to go, about {minutes} min)"
        )

    def _round(self, driver: Driver, fault: Fault) -> Cell:
        settle(driver)
        load = machine()["load_before"]
        record = experiment.run(driver, fault, lambda _: None)
        return {"load_before": load, **figures(results.result(record))}

    def _note_versions(self, driver: Driver) -> None:
        if "frr" not in self._versions and (frr := frr_version(driver)) is not None:
            self._versions["frr"] = frr
        for program, (command, word) in _VERSION_OF.items():
            if program in self._versions:
                continue
            done = driver.run(dual_tor.SERVER, command, check=False)
            if done.returncode == 0 and len(words := done.stdout.split()) > word:
                self._versions[program] = words[word]


def _down(driver: Driver, last: Cell) -> None:
    """End a lab; one that does not end costs the fault that was made last."""
    try:
        driver.down()
    except InterruptedByUserError:
        raise
    except (LabError, SubprocessError) as error:
        before = [last["error"]] if "error" in last else []
        last |= {"held": False, "error": "\n".join([*before, f"the lab does not end: {error}"])}


def settle(driver: Driver) -> None:
    """Wait until the lab is as it should be, and bgphealth content with all that it sees.

    Raises:
        LabError: It does not come to that.
    """
    convergence.wait_converged(driver)
    if scene.of(driver.topology.name).log is None:
        return

    def discontent() -> list[str]:
        # Routes alone do not show a bgphealth that has just begun and has no verdicts yet.
        done = driver.run(dual_tor.SERVER, ["bgphealth", "status"], check=False)
        return [] if done.returncode == 0 else [f"bgphealth status: {done.stdout}{done.stderr}"]

    convergence.wait_until("bgphealth", discontent)


_VERSION_OF = {
    "exabgp": (["sh", "-c", "exabgp version || exabgp --version"], 2),
    "bgphealth": (["bgphealth", "--version"], 1),
}
"""How each program is asked, and which word of the answer it is."""


def figures(result: Mapping[str, Any]) -> Cell:
    """Return of one fault's result what the matrix keeps."""
    announced = result["announced"]
    return {
        "held": result["passed"],
        "checks": len(result["checks"]),
        "failed": [
            {"what": check["what"], "saw": check["saw"]}
            for check in result["checks"]
            if not check["held"]
        ],
        "outage_s": {
            direction: {
                family: max((f["outage_s"] for f in flows if f["family"] == family), default=0.0)
                for family in dual_tor.FAMILIES
            }
            for direction, flows in result["loss"].items()
        },
        "lost": {d: [each["lost"], each["sent"]] for d, each in result["direction"].items()},
        "lasted_s": result["healed_s"],
        "detect_s": {f: each["detect_s"] for f, each in result["families"].items()},
        "recovery_s": result["recovery_s"],
        "announced": None if announced is None else _of_interest(announced["told"]),
        "sessions_ended": None if announced is None else announced["sessions_ended"],
        "stale": result["stale"],
        "foreign_untouched": result["foreign_untouched"],
    }


def _of_interest(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps with a word per route for both families.

    Of what the server's own bgpd is told only the defaults: a service is announced to it all the
    time, and goes where its communities say.
    """
    found: list[dict[str, Any]] = []
    for step in told:
        routes = [r for r in step["routes"] if step["to"] != dual_tor.SERVER or "default" in r]
        if not routes:
            continue
        families: dict[str, list[str]] = {}
        for route in routes:
            words = route.split()
            family = next((w for w in words if w in dual_tor.FAMILIES), None)
            bare = " ".join(w for w in words if w != family)
            families.setdefault(bare, []).extend([family] if family else [])
        names = [
            bare if len(there) != 1 else f"{bare} ({there[0]})" for bare, there in families.items()
        ]
        found.append({**step, "routes": names})
    return found
