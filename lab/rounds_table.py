"""``python -m lab compare`` in words: a table on the terminal, and those of ``docs/compare.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from lab import dual_tor
from lab.meter import DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

_FAMILY = {"ipv4": "IPv4", "ipv6": "IPv6"}
COLUMNS = [(direction, family) for direction in DIRECTIONS for family in dual_tor.FAMILIES]
MOVED = [(route, family) for route in ("service", "default") for family in dual_tor.FAMILIES]
"""What `outage_s` and `moved_s` have figures of, in the order of the tables."""


def figure(found: Mapping[str, float | None]) -> str:
    """Return the median, with the least and the most if they differ; ``never`` for one of them."""
    if found["least"] is None:
        return "never"
    median, least, most = (_seconds(found[name]) for name in ("median", "least", "most"))
    return median if least == most else f"{median} ({least}–{most})"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def cell(contender: Mapping[str, Any], what: str, direction: str, family: str) -> str:
    """Return a figure; for one that is ``never`` in every round, how long that was."""
    said = figure(contender[what][f"{direction} {family}"])
    lasted_s = min(each["lasted_s"] for each in contender["rounds"])
    return f"never ({lasted_s:.0f} s)" if said == "never" else said


def circumstances(result: Mapping[str, Any]) -> str:
    """Return how it was measured, in a sentence."""
    machine = result["machine"]
    return (
        f"{result['fault']}, {result['rounds']} rounds, median (least–most); "
        f"{machine['cpus']} processors, load average when it began {machine['load_before']}"
    )


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(
        *("", *(f"{direction} {_FAMILY[family]}" for direction, family in COLUMNS)),
        title=f"{result['summary']}: outage of the worst flow, s",
        box=None,
    )
    for contender in result["contenders"]:
        cells = [cell(contender, "outage_s", *column) for column in COLUMNS]
        table.add_row(contender["title"], *cells)
    console.print(table)
    console.print(circumstances(result))
    for name, why in result["absent"].items():
        console.print(f"left out: {name}: {why}", markup=False)


def markdown(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of ``docs/compare.md``."""
    yield f"Outage of the worst flow in seconds; {circumstances(result)}."
    yield ""
    titles = [f"{direction}, {_FAMILY[family]}" for direction, family in COLUMNS]
    yield from _rows(result, "outage_s", COLUMNS, titles)
    yield ""
    yield "When the routes had left the dead ToR, in seconds after the fault:"
    yield ""
    at = {"service": "the core's to the service", "default": "the server's default"}
    titles = [f"{at[route]}, {_FAMILY[family]}" for route, family in MOVED]
    yield from _rows(result, "moved_s", MOVED, titles)
    if decided := acted(result):
        yield ""
        yield "The same, in seconds after the verdict; for the floor, after it was told:"
        yield ""
        yield from _rows({"contenders": decided, "absent": {}}, "acted_s", MOVED, titles)


def acted(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return those of whom it is known when they knew what to do."""
    return [contender for contender in result["contenders"] if contender["acted_s"]]


def _rows(
    result: Mapping[str, Any],
    what: str,
    columns: Sequence[tuple[str, str]],
    titles: Sequence[str],
) -> Iterator[str]:
    yield "| " + " | ".join(("", *titles)) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for contender in result["contenders"]:
        cells = [cell(contender, what, *column) for column in columns]
        yield "| " + " | ".join((contender["title"], *cells)) + " |"
    for name, why in result["absent"].items():
        yield f"| {name} | " + " | ".join([f"left out: {why}", *[""] * (len(columns) - 1)]) + " |"
