"""What would change in FRR's running configuration, were the rendered one to take its place.

Compared as the doctor does it, line by line in their blocks, and not by frr-reload.py: that one
takes any file as the whole configuration, shows passwords, and has something to find on a host that
runs the very file (`no ip nht resolve-via-default` is never printed, for one).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bgphealth.frr.configuration import Line, is_ours, missing

_ONE_OF_A_KIND = re.compile(
    r"(neighbor \S+ route-map) \S+ (in|out)"
    r"|(ip|ipv6) protocol bgp route-map \S+"
    r"|(network \S+)(?: route-map \S+)?"
    r"|(maximum-paths(?: ibgp)?) \d+"
)
"""Of these FRR has one each: another one takes its place."""


@dataclass(frozen=True, slots=True)
class Change:
    """A line that would come or go."""

    line: Line
    is_added: bool


def changes(
    wanted: Sequence[Line], running: Sequence[Line], *, is_part: bool
) -> tuple[Change, ...]:
    """Return what would change, block by block: first what goes, then what comes.

    Args:
        wanted: the rendered configuration, or our part of one.
        running: what FRR has.
        is_part: what is not ours stays, unless something wanted takes its place.
    """
    absent = missing(wanted, running)
    known = frozenset(wanted)
    taken = {_kind(line) for line in absent} - {None}
    enough = frozenset(_kind(line) for line in wanted if line not in absent) - {None}
    gone = [
        line
        for line in running
        if line not in known
        and (_kind(line) in taken or (is_ours(line) if is_part else _kind(line) not in enough))
    ]
    found = [Change(line, is_added=False) for line in gone]
    found += [Change(line, is_added=True) for line in absent]
    outermost = list(dict.fromkeys(_outermost(change.line) for change in found))
    blocks = list(dict.fromkeys(change.line.within for change in found))

    def place(change: Change) -> tuple[int, int, int]:
        line = change.line
        return outermost.index(_outermost(line)), len(line.within), blocks.index(line.within)

    return tuple(sorted(found, key=place))


def text(found: Collection[Change]) -> Iterator[str]:
    """Yield them as people read them: each block once, with what goes and what comes in it."""
    shown: tuple[str, ...] = ()
    for change in found:
        line = change.line
        same = next(
            (n for n, (a, b) in enumerate(zip(shown, line.within, strict=False)) if a != b),
            min(len(shown), len(line.within)),
        )
        for depth in range(same, len(line.within)):
            yield f"  {' ' * depth}{line.within[depth]}"
        yield f"{'+' if change.is_added else '-'} {' ' * len(line.within)}{line.text}"
        shown = (*line.within, line.text)


def _outermost(line: Line) -> str:
    return (*line.within, line.text)[0]


def _kind(line: Line) -> tuple[object, ...] | None:
    match = _ONE_OF_A_KIND.fullmatch(line.text)
    if match is None:
        return None
    return line.within, *(part for part in match.groups() if part)
