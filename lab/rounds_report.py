"""The report of ``python -m lab compare``: one HTML file with a plot of every round."""

from __future__ import annotations

import json
from html import escape
from math import log10
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lab import dual_tor, pages, rounds_table
from lab.meter import DIRECTIONS
from lab.picture import COLOURS, GRID, INK, MUTED, TRACK, text
from lab.rounds import middle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WIDTH, _LEFT, _RIGHT = 1090, 320, 130
_TOP, _LANE, _GAP = 44, 15, 13
_LEAST_S, _MOST_S = 0.05, 30.0
_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_NEVER = _WIDTH - _RIGHT + 62
_DOT = 4.5


def worst(contender: Mapping[str, Any], direction: str) -> list[float | None]:
    """Return the outage of each round, in the family that was worse off; None for never."""
    found = []
    for each in contender["rounds"]:
        families = [each["outage_s"][f"{direction} {family}"] for family in dual_tor.FAMILIES]
        found.append(None if None in families else max(families))
    return found


def _x(value: float | None) -> float:
    if value is None:
        return _NEVER
    share = log10(min(max(value, _LEAST_S), _MOST_S) / _LEAST_S) / log10(_MOST_S / _LEAST_S)
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def svg(result: Mapping[str, Any]) -> str:
    """Return the plot as an SVG element: a dot per round, a line at the median."""
    contenders = result["contenders"]
    row = 2 * _LANE + _GAP
    bottom = _TOP + row * len(contenders)
    parts = [*_legend(), *_grid(bottom)]
    for number, contender in enumerate(contenders):
        top = _TOP + row * number
        colour = INK if contender["name"].startswith("bgphealth") else MUTED
        parts.append(text(_LEFT - 14, top + _LANE + 4, contender["title"], "end", colour))
        for lane, direction in enumerate(DIRECTIONS):
            parts += _lane(contender, direction, top + _LANE * lane)
    label = escape(f"Outage of every round, {result['fault']}, on a logarithmic scale")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 44}" '
        f'role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="13">{"".join(parts)}</svg>'
    )


def _legend() -> Iterator[str]:
    titles = {"in": "in: client → service", "out": "out: server1 → target"}
    for number, direction in enumerate(DIRECTIONS):
        x = _LEFT + 190 * number
        yield _dot(x + 5, 14, COLOURS[direction], "")
        yield text(x + 16, 18, titles[direction], "start", COLOURS[direction])
    yield f'<line x1="{_LEFT + 390}" x2="{_LEFT + 390}" y1="7" y2="21" {_stroke(INK, 3)}/>'
    yield text(_LEFT + 400, 18, "median", "start", MUTED)


def _stroke(colour: str, width: float) -> str:
    return f'stroke="{colour}" stroke-width="{width}"'


def _grid(bottom: float) -> Iterator[str]:
    top = _TOP - 8
    for tick in _TICKS:
        x = _x(tick)
        yield f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" {_stroke(GRID, 1)}/>'
        yield text(x, bottom + 18, f"{tick:g}", "middle", MUTED)
    yield f'<line x1="{_NEVER}" x2="{_NEVER}" y1="{top}" y2="{bottom}" {_stroke(GRID, 1)}/>'
    yield text(_NEVER, bottom + 18, "never", "middle", MUTED)
    yield text(
        _WIDTH - _RIGHT, bottom + 38, "seconds without an answer (logarithmic)", "end", MUTED
    )


def _lane(contender: Mapping[str, Any], direction: str, top: float) -> Iterator[str]:
    y = top + _LANE / 2
    values, colour = worst(contender, direction), COLOURS[direction]
    width = _WIDTH - _LEFT - _RIGHT
    yield f'<rect x="{_LEFT}" y="{y - 1}" width="{width}" height="2" fill="{TRACK}"/>'
    for number, value in enumerate(values):
        tip = "never" if value is None else f"{value:.2f} s"
        # Rounds that did not end are apart from each other, so that they can be counted.
        x = _x(value) + (2.4 * _DOT * (number - (len(values) - 1) / 2) if value is None else 0)
        yield _dot(x, y, colour, f"{contender['title']}, {direction}, round {number + 1}: {tip}")
    x = _x(middle(values))
    yield f'<line x1="{x}" x2="{x}" y1="{y - 8}" y2="{y + 8}" {_stroke(INK, 3)}/>'


def _dot(x: float, y: float, colour: str, tip: str) -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y}" r="{_DOT}" fill="{colour}" fill-opacity="0.55" '
        f"{_stroke(colour, 1)}>{title}</circle>"
    )


def html(result: Mapping[str, Any]) -> str:
    """Return the report as one self-contained page."""
    return pages.render(
        "compare.html.j2",
        result=result,
        table=rounds_table,
        svg=Markup(svg(result)),  # noqa: S704 - its text is escaped where it is made
    )


def write(result: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write ``compare.json`` and ``compare.html`` and return their paths."""
    directory.mkdir(exist_ok=True)
    data, page = directory / "compare.json", directory / "compare.html"
    data.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    page.write_text(html(result), encoding="utf-8")
    return [data, page]
