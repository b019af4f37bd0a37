"""The matrix as pages: Markdown for the docs, of several runs, and HTML of one."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from lab import matrix_words as words
from lab import pages, scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def html(result: Mapping[str, Any]) -> str:
    """Return one run as a self-contained page."""
    return pages.render("matrix.html.j2", result=result, words=words)


def markdown(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the part of the page that is made from the runs.

    Args:
        runs: what `lab.matrix` wrote, side by side in this order.
    """
    for letter, run in _lettered(runs):
        yield f"- **{letter}**: {words.run(run)}. **{words.totals(run)}.**"
    for name in dict.fromkeys(t["topology"] for run in runs for t in run["topologies"]):
        yield f"\n## {name}\n"
        yield from _table(name, runs)


def _lettered(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from zip(ascii_uppercase[: len(runs)], runs, strict=True)


def _table(name: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    directions = words.directions(name)
    yield "; ".join(f"**{direction}**: {title}" for direction, title in directions) + ".\n"
    told = ["announced meanwhile"] if scene.of(name).has_bgp else []
    heads = ["fault", "run", *(d for d, _ in directions), "recovery", *told, ""]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    of_it = [
        (letter, topology)
        for letter, run in _lettered(runs)
        for topology in run["topologies"]
        if topology["topology"] == name
    ]
    faults = dict.fromkeys(cell["fault"] for _, topology in of_it for cell in topology["cells"])
    for fault in faults:
        for letter, topology in of_it:
            for cell in topology["cells"]:
                if cell["fault"] == fault:
                    yield _row(name, letter, cell)
    if absent := {n: why for _, topology in of_it for n, why in topology["not_made"].items()}:
        yield "\nNot made here:\n"
        for why in dict.fromkeys(absent.values()):
            yield f"- {', '.join(f'`{n}`' for n, w in absent.items() if w == why)}: {why}"


def _row(name: str, letter: str, cell: Mapping[str, Any]) -> str:
    cells = [
        f"`{cell['fault']}`",
        letter,
        *(words.outage(cell, direction) for direction, _ in words.directions(name)),
        words.recovery(cell),
        *([words.announced(cell)] if scene.of(name).has_bgp else []),
        words.verdict(cell),
    ]
    return f"| {' | '.join(text.replace('|', '/') for text in cells)} |"
