"""What was played, as a picture: a lane for each path, service and route, from left to right.

Drawn as plain SVG that stands alone, in the colours of the reader's own light or dark scheme.
Each stretch says its state in words too, so that it can be read without colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import NamedTuple

from bgphealth.core.decisions import INJECTED_LOCAL_PREF
from bgphealth.core.health import Judgement, PathKey
from bgphealth.core.intents import RouteKey
from bgphealth.core.state import State
from bgphealth.simulation.play import Happened, Played
from bgphealth.simulation.routes import carriers, route_name

_WIDTH, _LEFT, _RIGHT = 1060, 210, 20
_LANE, _BAR, _GAP, _LABEL_LINE = 24, 18, 14, 17
_CHARACTER = 6.6
"""About the width of one at this size: a text that has no room is left to the tip."""

_MOST_LABELS = 12
"""More of what happened is drawn without words; the table has them."""

_STYLE = """
  svg { --paper: #ffffff; --ink: #1b2430; --muted: #4a5665; --grid: #d7dde4; --track: #eef1f4;
        --up: #9fd8b4; --degraded: #f3d27a; --down: #f2a7a0; --init: #d7dde4;
        --announced: #a9c8f5; --reduced: #d9c8f2; --mark: #b3261e; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14191f; --ink: #e6eaee; --muted: #a9b4c0; --grid: #39434e; --track: #1f262e;
          --up: #1f5f3a; --degraded: #6b5210; --down: #7d2620; --init: #39434e;
          --announced: #214b86; --reduced: #4d3a77; --mark: #ff8a80; }
  }
  text { fill: var(--ink); } .muted { fill: var(--muted); } .mark { stroke: var(--mark); }
  text.mark { fill: var(--mark); stroke: none; } .grid { stroke: var(--grid); }
"""


class _Look(NamedTuple):
    """How a lane looks: the name of its colour, what it says, and the whole story as a tip."""

    colour: str
    text: str
    tip: str


_NOTHING = _Look("track", "", "")


@dataclass(frozen=True, slots=True)
class _Scale:
    """From seconds to pixels."""

    start: float
    end: float

    def __call__(self, at: float) -> float:
        share = (at - self.start) / max(self.end - self.start, 1e-9)
        return round(_LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT), 1)


def svg(title: str, played: Played) -> str:
    """Return the picture."""
    x = _Scale(played.start, played.end)
    happened = [moment for moment in played.moments if isinstance(moment, Happened)]
    labels = happened if len(happened) <= _MOST_LABELS else []
    y = float(36 + _LABEL_LINE * len(labels))
    parts: list[str] = []
    for group in _groups(played):
        for name, look in group:
            parts.append(_text(_LEFT - 10, y + 13, _short(name, _LEFT - 20), "end"))
            parts += _lane(x, y, played, look)
            y += _LANE
        y += _GAP
    bottom = y - _GAP + 4
    marks = [_line("mark", x(moment.at), 26, bottom) for moment in happened]
    marks += [
        _label(x(moment.at), 38 + _LABEL_LINE * number, moment.text)
        for number, moment in enumerate(labels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 40:.0f}" '
        f'role="img" aria-label="{_escaped(title)}" font-family="system-ui, sans-serif" '
        f'font-size="12"><style>{_STYLE}</style>\n'
        '<rect width="100%" height="100%" fill="var(--paper)"/>\n'
        + "\n".join([_text(12, 18, _short(title, _WIDTH)), *parts, *marks, *_axis(x, bottom)])
        + "\n</svg>\n"
    )


_Lane = tuple[str, Callable[[State], _Look]]


def _groups(played: Played) -> Iterator[Iterable[_Lane]]:
    """Yield the lanes of paths, of services, and of routes."""
    states = [state for _, state in played.states]
    paths = dict.fromkeys(key for state in states for key in state.path_verdicts)
    yield [(f"{key.uplink} {key.family}", partial(_path, key)) for key in paths]
    services = dict.fromkeys(name for state in states for name in state.service_verdicts)
    yield [(name, partial(_service, name)) for name in services]
    keys = dict.fromkeys(key for state in states for key in state.decisions)
    yield [(route_name(played.settings, key), partial(_route, key)) for key in keys]


def _path(key: PathKey, state: State) -> _Look:
    return _judged(state.path_verdicts.get(key))


def _service(name: str, state: State) -> _Look:
    return _judged(state.service_verdicts.get(name))


def _judged(judgement: Judgement | None) -> _Look:
    if judgement is None:
        return _NOTHING
    level, reason, evidence = judgement
    text = level if str(level) == str(reason) else f"{level} {reason}"
    # The evidence changes with every answer; the first one of a stretch is told.
    return _Look(level, text, evidence)


def _route(key: RouteKey, state: State) -> _Look:
    decision = state.decisions.get(key)
    if decision is None:
        return _NOTHING
    announcement, reason = decision.outward, decision.reason
    if announcement is None:
        return _Look("track", f"not announced, {reason}", "")
    carried = " + ".join(carriers(state.settings, announcement)) or "no uplink"
    reduced = announcement.local_pref not in (None, INJECTED_LOCAL_PREF)
    text = f"{carried}, {announcement.local_pref}" if reduced else carried
    return _Look("reduced" if reduced else "announced", f"{text}, {reason}", "")


def _lane(x: _Scale, y: float, played: Played, look: Callable[[State], _Look]) -> Iterator[str]:
    begins: list[tuple[float, _Look]] = []
    for at, state in played.states:
        now = look(state)
        if not begins or now[:2] != begins[-1][1][:2]:
            begins.append((max(at, played.start), now))
    ends = [at for at, _ in begins[1:]] + [played.end]
    for (begin, now), end in zip(begins, ends, strict=True):
        seconds = f"{begin - played.start:.3f} to {end - played.start:.3f} s"
        tip = ": ".join(filter(None, (seconds, now.text, now.tip)))
        left, width = x(begin), max(x(end) - x(begin), 1.0)
        yield (
            f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}" '
            f'fill="var(--{now.colour})"><title>{_escaped(tip)}</title></rect>'
        )
        if (text := _short(now.text, width - 8)) and len(text) > 1:
            yield _text(left + 4, y + 13, text, "start", "inside")


def _axis(x: _Scale, bottom: float) -> Iterator[str]:
    span_s = x.end - x.start
    step_s = next((step for step in _STEPS_S if span_s / step <= _MOST_TICKS), _STEPS_S[-1])
    for tick in range(min(int(span_s / step_s), 10 * _MOST_TICKS) + 1):
        at = x(x.start + tick * step_s)
        yield _line("grid", at, bottom, bottom + 5)
        yield _text(at, bottom + 18, f"{tick * step_s:g}", "middle", "muted")
    yield _text(_WIDTH - _RIGHT, bottom + 34, "seconds", "end", "muted")


_MOST_TICKS = 16
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


def _label(x: float, y: float, text: str) -> str:
    # Labels stand right of their line, except near the right edge.
    right = x + len(text) * _CHARACTER > _WIDTH - _RIGHT
    return _text(x - 5 if right else x + 5, y, text, "end" if right else "start", "mark")


def _line(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top:.0f}" y2="{bottom:.0f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "plain") -> str:
    at = f'x="{x:.1f}" y="{y:.0f}"'
    return f'<text class="{kind}" {at} text-anchor="{anchor}">{_escaped(text)}</text>'


def _short(text: str, width: float) -> str:
    """Return as much of a text as there is room for."""
    room = int(width / _CHARACTER)
    if len(text) <= room:
        return text
    return f"{text[: room - 1]}…" if room > _FEWEST_CHARACTERS else ""


_FEWEST_CHARACTERS = 4


def _escaped(text: str) -> str:
    """Return a text as XML can hold it: most control characters cannot be written in it at all."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
