"""The matrix on the terminal: one table per topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from lab import matrix_words as words
from lab import scene

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the tables."""
    for each in result["topologies"]:
        console.print(_table(each))
        for cell in each["cells"] if scene.of(each["topology"]).has_bgp else ():
            console.print(
                f"[bold]{cell['fault']}[/]: {escape(words.announced(cell))}", highlight=False
            )
        for name, why in each["not_made"].items():
            console.print(f"[dim]not made here: {name}: {escape(why)}[/]")
        console.print()
    console.print(escape(words.run(result)), highlight=False)
    colour = "green" if result["passed"] else "red"
    console.print(f"[{colour}]{words.totals(result)}[/]", highlight=False)


def _table(each: Mapping[str, Any]) -> Table:
    name = each["topology"]
    directions = [direction for direction, _ in words.directions(name)]
    table = Table(
        *("fault", "lasted", *directions, "recovery", ""),
        title=f"{name}: outage of the worst flow, IPv4 / IPv6; all in seconds",
    )
    for cell in each["cells"]:
        colour = "green" if cell["held"] else "red"
        table.add_row(
            cell["fault"],
            words.lasted(cell),
            *(words.outage(cell, direction) for direction in directions),
            words.recovery(cell),
            f"[{colour}]{escape(words.verdict(cell))}[/]",
        )
    return table
