"""A comparison on the terminal: one table per topology."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lab.meter import DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

_COLOURS = {"better": "green", "worse": "red", "costs": "yellow", "same": "default"}


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the tables."""
    for name, rows in groupby(result["rows"], lambda row: row["topology"]):
        console.print(_table(name, rows))
    machine = result["machine"]
    console.print(
        f"each fault for {result['seconds']:.0f} s at least, {result['rounds']} times, the median; "
        f"the same: within {result['noise_s']} s; "
        f"{machine['cpus']} processors, load average when it began: {machine['load_before']}"
    )
    verdicts = {row["verdict"] for row in result["rows"]}
    if "worse" not in verdicts:
        price = ", but for what the file says it costs" if "costs" in verdicts else ""
        console.print(f"[green]never worse than without bgphealth{price}[/]")


def _table(name: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(
        *("fault", "family"),
        *(column for d in DIRECTIONS for column in (f"{d}: with", "without", "")),
        title=f"{name}: outage of the worst flow / lost by a flow on average, s",
        box=None,
    )
    for (case, family), pair in groupby(rows, lambda row: (row["case"], row["family"])):
        by_direction = {row["direction"]: row for row in pair}
        cells = [cell for d in DIRECTIONS for cell in _cells(by_direction[d])]
        table.add_row(case, family, *cells)
    return table


def _range(least: float, most: float) -> str:
    return f" ({least:.2f}–{most:.2f})" if most > least else ""


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    with_it, without = (
        f"{row[side]['outage_s']:.2f}{_range(*row['range_s'][side])} / {row[side]['lost_s']:.2f}"
        for side in ("with", "without")
    )
    return with_it, without, f"[{_COLOURS[row['verdict']]}]{row['verdict']}[/]"
