"""The timeline of a result: which flow lost what and when, and who moved when.

Drawn twice from the same geometry-free description: as SVG for the page, and with matplotlib as
PNG for places that show no HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

COLOURS = {"in": "#c2410c", "out": "#1d4ed8"}
INK, MUTED, GRID, TRACK = "#1b2430", "#4a5665", "#d7dde4", "#eef1f4"
_PALETTE = {
    "paper": ("#ffffff", "#14191f"),
    "ink": (INK, "#e6eaee"),
    "muted": (MUTED, "#a9b4c0"),
    "grid": (GRID, "#39434e"),
    "track": (TRACK, "#1f262e"),
}
"""By light and by night: for pictures that stand alone and follow their reader's choice."""
_MARKS = {
    "fault": "#b3261e",
    "verdict": "#7c3aed",
    "kernel": "#0f766e",
    "core": "#a16207",
    "heal": "#17693a",
}
_TITLES = {"in": "in: client → service", "out": "out: server1 → target"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: a vertical line with a label."""

    at: float
    colour: str
    label: str


def marks(result: Mapping[str, Any]) -> list[Mark]:
    """Return the moments that matter, in order."""
    found = [Mark(0.0, _MARKS["fault"], "fault")]
    for key, what, label in (
        ("detect_s", "verdict", "verdict"),
        ("kernel_s", "kernel", "server's kernel"),
        ("core_s", "core", "core"),
        ("healed_s", "heal", "healed"),
    ):
        if result[key] is not None:
            found.append(Mark(result[key], _MARKS[what], f"{label} {result[key]:.2f} s"))
    if result["recovery_s"] is not None:
        at = result["recovery_s"] + (result["healed_s"] or 0.0)
        found.append(Mark(at, _MARKS["heal"], f"both ToRs again {at:.2f} s"))
    return sorted(found, key=lambda mark: mark.at)


def _rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(direction, flow) for direction in ("in", "out") for flow in result["loss"][direction]]


# SVG

_WIDTH, _LEFT, _RIGHT, _ROW, _GROUP_GAP = 1060, 150, 16, 9, 26
_LABEL_LINE = 17


def svg(result: Mapping[str, Any]) -> str:
    """Return the timeline as an SVG element."""
    start, end = result["span_s"]
    scale = (_WIDTH - _LEFT - _RIGHT) / (end - start)

    def x(at: float) -> float:
        return round(float(_LEFT + (at - start) * scale), 1)

    moments = marks(result)
    top = _LABEL_LINE * len(moments) + 10
    parts: list[str] = []
    y = float(top)
    previous = None
    for direction, flow in _rows(result):
        if direction != previous:
            y += _GROUP_GAP if previous else 6
            parts.append(text(_LEFT - 10, y + 12, _TITLES[direction], "end", COLOURS[direction]))
            previous = direction
        parts.append(_bar(_LEFT, y, _WIDTH - _LEFT - _RIGHT, TRACK))
        parts += [
            _bar(x(a), y, max((b - a) * scale, 1.0), COLOURS[direction], _tip(flow, a, b))
            for a, b in flow["gaps"]
        ]
        y += _ROW
    bottom = y + 8
    parts += _axis(start, end, x, bottom)
    for number, mark in enumerate(moments):
        parts += _marked(mark, x(mark.at), _LABEL_LINE * number + 12, bottom)
    height = bottom + 40
    label = escape(f"Timeline of {result['fault']}: gaps of each flow and moments of change")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _tip(flow: Mapping[str, Any], start: float, end: float) -> str:
    return f"{flow['family']} port {flow['port']}: {end - start:.2f} s from {start:+.2f} s on"


def _bar(x: float, y: float, width: float, colour: str, tip: str = "") -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{_ROW - 2}" fill="{colour}">'
        f"{title}</rect>"
    )


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK) -> str:
    """Return words as an SVG element."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def style(rules: str, **own: tuple[str, str]) -> str:
    """Return the style of a picture that stands alone: CSS with the colours as variables.

    Args:
        rules: what else is in it.
        own: colours that only this picture has, by light and by night.
    """
    light, dark = (
        " ".join(f"--{name}: {pair[which]};" for name, pair in (_PALETTE | own).items())
        for which in (0, 1)
    )
    return (
        f"<style>\n  svg {{ {light} }}\n"
        f"  @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}\n"
        "  text { fill: var(--ink); } .muted { fill: var(--muted); }\n"
        f"{rules}</style>\n"
    )


def _axis(start: float, end: float, x: Callable[[float], float], bottom: float) -> list[str]:
    parts = []
    for second in range(int(start), int(end) + 1):
        parts.append(
            f'<line x1="{x(second)}" x2="{x(second)}" y1="{bottom}" y2="{bottom + 5}" '
            f'stroke="{MUTED}"/>'
        )
        parts.append(text(x(second), bottom + 18, str(second), "middle", MUTED))
    parts.append(text(x(end), bottom + 34, "seconds after the fault", "end", MUTED))
    return parts


def _marked(mark: Mark, x: float, y: float, bottom: float) -> list[str]:
    # Labels stand right of their line, except near the right edge.
    right = x > _WIDTH - 150
    return [
        (
            f'<line x1="{x}" x2="{x}" y1="{y - 10}" y2="{bottom}" stroke="{mark.colour}" '
            'stroke-width="1.5"/>'
        ),
        text(x - 5 if right else x + 5, y, mark.label, "end" if right else "start", mark.colour),
    ]


# PNG


def png(result: Mapping[str, Any], path: Path) -> None:
    """Write the timeline as PNG."""
    # matplotlib costs a second to import: only the demo pays for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = _rows(result)
    moments = marks(result)
    figure = Figure(figsize=(11, 6.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places: dict[str, list[float]] = {}
    for number, (direction, flow) in enumerate(rows):
        place = number + (2 if direction == "out" else 0)
        places.setdefault(direction, []).append(place)
        axes.barh(place, result["span_s"][1] - result["span_s"][0], 0.8,
                  left=result["span_s"][0], color=TRACK)  # fmt: skip
        for start, end in flow["gaps"]:
            axes.barh(place, max(end - start, 0.01), 0.8, left=start, color=COLOURS[direction])
    lines = len(rows) + 2
    for number, mark in enumerate(moments):
        y = -1.5 - 1.8 * (len(moments) - 1 - number)
        axes.plot([mark.at, mark.at], [y - 0.6, lines], color=mark.colour, linewidth=1.4)
        right = mark.at > result["span_s"][1] - 1.5
        axes.annotate(
            mark.label, (mark.at, y), xytext=(-4 if right else 4, 0), textcoords="offset points",
            ha="right" if right else "left", va="center", color=mark.colour, fontsize=9,
        )  # fmt: skip
    axes.set_ylim(lines, -1.5 - 1.8 * len(moments))
    axes.set_xlim(*result["span_s"])
    axes.set_yticks([sum(p) / len(p) for p in places.values()], [_TITLES[d] for d in places])
    for label, direction in zip(axes.get_yticklabels(), places, strict=True):
        label.set_color(COLOURS[direction])
    axes.set_xlabel("seconds after the fault")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    worst = {d: result["direction"][d]["outage_s"] for d in ("in", "out")}
    axes.set_title(
        f"{result['summary']}\noutage of the worst flow: in {worst['in']:.2f} s, "
        f"out {worst['out']:.2f} s",
        fontsize=11, loc="left", color=INK,
    )  # fmt: skip
    figure.savefig(path)
