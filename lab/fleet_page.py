"""What came of a fleet: as a table, as tables of docs/fleet.md, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.fleet_faults import FAULTS
from lab.picture import COLOURS, style

ROUTES_PER_S = 3000
"""What bgpd took from ExaBGP where it was measured: 5,000 routes in 1.6 s, batched (FRR 8.4)."""

_HOSTS = (48, 500, 1_000, 5_000, 10_000, 50_000)
_SPINES, _TARGETS = (2, 4, 8, 16, 32), (1, 2, 3, 4)
_SPARE = (0.98, 0.9, 0.8, 0.5)

_COLUMNS = (
    "fault",
    "hosts",
    "jitter",
    "damping",
    "moved",
    "kept all",
    "UPDATEs",
    "in 100 ms",
    "by one host",
    "at one ToR",
    "steady",
)
_HEARD = ("who", "UPDATEs", "most in 1 s", "routes", "that second, at 3,000 routes/s")


def in_words(damping: bool, jitter: bool) -> str:  # noqa: FBT001 - a variant's own two fields
    """Return a variant in words."""
    asks = "each at its time" if jitter else "in step"
    return f"hosts ask {asks}, damping {'on' if damping else 'off'}"


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what a fleet did."""
    title = f"{found['hosts']:,} hosts, {found['racks']} racks, {found['spines']} spines"
    table = Table(*_COLUMNS, title=title, box=None)
    for run in found["runs"]:
        table.add_row(*_row(run))
    console.print(table)


def blocks(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of docs/fleet.md that are made, by name, as Markdown."""
    return {
        "size": _size(found),
        "runs": _table(_COLUMNS, map(_row, found["runs"])),
        "heard": _table(_HEARD, _heard(found)),
        "chance": _chance(found),
        "asked": _asked(found),
        "appetite": _table(("the target loses", "it is asked, per path", "the others are asked"),
                           _appetites(found)),
        "policed": _table(("it can answer, of the usual", "it loses then", "it is asked"),
                          _policed(found)),
        "timers": _table(("`interval`", "`suspect_interval`", "a dark ToR is left after",
                          "a target is asked, per path", "while suspect"), _timers(found)),
    }  # fmt: skip


def of(found: Mapping[str, Any], fault: str, **variant: bool) -> dict[str, Any]:
    """Return the run of a fault."""
    runs: list[dict[str, Any]] = found["runs"]
    return next(
        run
        for run in runs
        if run["fault"] == fault and all(run[key] is wanted for key, wanted in variant.items())
    )


def settles(appetite: Iterable[Mapping[str, float]], capacity: float) -> tuple[float, float]:
    """Return what a target loses in the end, and how often a path asks it.

    The more it loses the more it is asked, and the more it loses.

    Args:
        appetite: how often a path asks it, by what it loses.
        capacity: what it can answer, per path and second.
    """
    points = [(point["loss"], point["asked_pps"]) for point in appetite]
    loss, asked = 0.0, points[0][1]
    for _ in range(200):
        loss = max(0.0, 1 - capacity / asked)
        asked = (asked + _between(points, loss)) / 2
    return loss, asked


def _between(points: list[tuple[float, float]], loss: float) -> float:
    """Return the rate at a loss, in a straight line from point to point."""
    for (left, low), (right, high) in pairwise(points):
        if loss <= right:
            return low + (high - low) * (loss - left) / (right - left)
    return points[-1][1]


def _row(run: Mapping[str, Any]) -> tuple[str, ...]:
    steady = "–" if run["steady_s"] is None else f"{run['steady_s']:.1f} s"
    counts = ("hosts_moved", "hosts_kept", "updates", "peak_100ms", "most_of_a_host", "tor_updates")
    return (
        run["fault"],
        f"{run['hosts']:,}",
        "yes" if run["jitter"] else "no",
        "on" if run["damping"] else "off",
        *(f"{run[count]:,}" for count in counts),
        steady,
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(columns)]
    lines.append(["---"] * len(lines[0]))
    lines += map(list, rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _size(found: Mapping[str, Any]) -> str:
    played = sum(run["played"] for run in found["runs"])
    there = {(run["fault"], run["damping"], run["jitter"]) for run in found["runs"]}
    absent = [
        f"`{fault.name}` ({in_words(*variant)})"
        for fault in FAULTS.values()
        for variant in fault.variants
        if (fault.name, *variant) not in there
    ]
    return (
        f"{found['hosts']:,} hosts in {found['racks']} racks of {found['rack']}, "
        f"{found['uplinks']} ToRs per rack, {found['spines']} spines, {found['prefixes']} prefixes "
        f"and {found['targets']} targets per host; {len(found['runs'])} runs, {played:,} hosts "
        f"played, which took {found['took_s'] / 60:.0f} minutes on a machine with two cores."
        + (f" Not in these figures: {'; '.join(absent)}." if absent else "")
    )


def _heard(found: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    run = of(found, "spine-dark", damping=True, jitter=True)
    spines = found["spines"]
    for who, updates, peak in (
        (f"a ToR, from its {found['rack']} hosts, at most", run["tor_updates"], run["tor_peak_1s"]),
        ("each spine, and whatever else hears of every host", run["updates"], run["peak_1s"]),
        (f"a ToR, from {spines} spines, at most", run["updates"] * spines, run["peak_1s"] * spines),
        ("each spine, if ToRs announce a prefix per rack", 0, 0),
    ):
        # The fall and the return are apart: what has to be worked off is the greater of the two.
        took = f"{peak * found['prefixes'] / ROUTES_PER_S:.1f} s"
        yield who, f"{updates:,}", f"{peak:,}", f"{updates * found['prefixes']:,}", took


def _chance(found: Mapping[str, Any]) -> str:
    rows = []
    for spines in _SPINES:
        one = 1 - (1 - 1 / spines) ** 2
        shares = [one**targets for targets in _TARGETS]
        rows.append((str(spines), *(f"{share:.2%}" for share in shares)))
    columns = ("spines", *(f"{n} target{'s' if n > 1 else ''}" for n in _TARGETS))
    paths = found["hosts"] * found["paths"]
    run = of(found, "spine-dark", damping=True, jitter=True)
    fell = run["hosts_moved"] + 2 * run["hosts_kept"]
    return (
        _table(columns, rows)
        + f"\n\nIn the run above, with {found['spines']} spines and {found['targets']} targets, "
        f"{fell:,} of {paths:,} paths had no answer left: {fell / paths:.1%}."
    )


def _asked(found: Mapping[str, Any]) -> str:
    per_host = found["paths"] / found["interval_s"]
    faster = found["interval_s"] / found["suspect_interval_s"]
    run = of(found, "target-dead", damping=True, jitter=True)
    columns = ("hosts that ask a target", "usually", "all of them suspect")
    rows = [(f"{n:,}", f"{n * per_host:,.0f}/s", f"{n * per_host * faster:,.0f}/s") for n in _HOSTS]
    return (
        _table(columns, rows) + f"\n\nPlayed: when one of two targets dies under {found['hosts']:,}"
        f" hosts, both are asked {run['probes_peak_pps']:,} times a second at the highest."
    )


def _appetites(found: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for point in found["appetite"]:
        rates = (f"{point[key]:.1f}/s" for key in ("asked_pps", "others_pps"))
        yield (f"{point['loss']:.0%}", *rates)


def _policed(found: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    usual = found["appetite"][0]["asked_pps"]
    for spare in _SPARE:
        loss, asked = settles(found["appetite"], spare * usual)
        yield f"{spare:.0%}", f"{loss:.0%}", f"{asked / usual:.1f} times as often"


def _timers(found: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for each in found["timers"]:
        interval_s, faster_s = each["interval_s"], each["suspect_interval_s"]
        soonest, latest = each["left_s"]
        yield (
            _ms(interval_s),
            _ms(faster_s) if faster_s else "off",
            f"{soonest:.2f} to {latest:.2f} s",
            f"{1 / interval_s:.0f}/s",
            f"{1 / (faster_s or interval_s):.0f}/s",
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


# The picture

_WIDTH, _LEFT, _RIGHT, _HIGH, _GAP = 1060, 64, 20, 84, 58
_COLOURS = {"bar": (COLOURS["out"], "#7aa2f7"), "mark": ("#f2a7a0", "#7d2620")}
_STYLE = """\
  .grid { stroke: var(--grid); } .track { fill: var(--track); }
  .bar { fill: var(--bar); } .mark { fill: var(--mark); }
"""


def svg(found: Mapping[str, Any]) -> str:
    """Return each run that sent anything: UPDATEs per second over time, at all ToRs together."""
    runs = [run for run in found["runs"] if run["series"]]
    parts = []
    y = 34.0
    for run in runs:
        parts += _panel(run, y)
        y += _HIGH + _GAP
    title = f"UPDATEs from {found['hosts']:,} hosts to their ToRs"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">'
        f'{style(_STYLE, **_COLOURS)}<rect width="100%" height="100%" fill="var(--paper)"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(run: Mapping[str, Any], top: float) -> list[str]:
    fault = FAULTS[run["fault"]]
    start, end = -1.0, fault.heals_s + fault.tail_s
    # As wide as can be seen: tenths of a second, or whole seconds.
    wide_s = 0.1 if end < 100 else 1.0  # noqa: PLR2004 - a picture's grain
    scale = (_WIDTH - _LEFT - _RIGHT) / (end - start)
    bins: dict[int, int] = {}
    for at, count in run["series"]:
        place = int(at / wide_s + 1e-6)
        bins[place] = bins.get(place, 0) + count
    most = max(bins.values())
    bottom = top + _HIGH
    words = f"{run['hosts']:,} {in_words(run['damping'], run['jitter'])}"
    width, left = _WIDTH - _LEFT - _RIGHT, _LEFT - 6
    parts = [
        (
            f'<text x="{_LEFT}" y="{top - 10}"><tspan font-weight="600">{escape(fault.name)}'
            f"</tspan>: {escape(words)}; {run['updates']:,} UPDATEs</text>"
        ),
        f'<rect class="track" x="{_LEFT}" y="{top}" width="{width}" height="{_HIGH}"/>',
        f'<text class="muted" x="{left}" y="{top + 10}" text-anchor="end">{most:,}</text>',
        (
            f'<text class="muted" x="{left}" y="{top + 25}" text-anchor="end" font-size="10">'
            f"in {wide_s:g} s</text>"
        ),
    ]
    for begin, stop in fault.spells:
        x = _LEFT + (begin - start) * scale
        parts.append(
            f'<rect class="mark" x="{x:.1f}" y="{bottom - 4}" width="{(stop - begin) * scale:.1f}" '
            f'height="4"/>'
        )
    for place, count in sorted(bins.items()):
        x, high = _LEFT + (place * wide_s - start) * scale, count / most * (_HIGH - 4)
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{bottom - 4 - high:.1f}" '
            f'width="{max(wide_s * scale, 2.0):.1f}" height="{high:.1f}">'
            f"<title>{place * wide_s:.1f} s: {count:,}</title></rect>"
        )
    step = next(step for step in (1, 2, 5, 10, 20, 50) if (end - start) / step < 20)  # noqa: PLR2004
    for second in range(0, int(end) + 1, step):
        x = _LEFT + (second - start) * scale
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
            f'<text class="muted" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{second} s'
            "</text>"
        )
    return parts
