"""What would change in FRR's running configuration, were the rendered one to take its place.

Compared as the doctor does it, line by line in their blocks, and not by frr-reload.py: that one
takes any file as the whole configuration, shows passwords, and has something to find on a host that
runs the very file (`no ip nht resolve-via-default` is never printed, for one).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bgphealth.frr.configuration import Line, is_ours, missing, negated, used

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
    undone = frozenset(map(negated, absent)).intersection(running)
    absent = tuple(line for line in absent if negated(line) not in undone)
    enough = frozenset(_kind(line) for line in wanted if line not in absent) - {None}
    stay = in_use(wanted, running) if is_part else frozenset()
    gone = [
        line
        for line in running
        if line not in known
        and (
            line in undone
            or _kind(line) in taken
            or (is_superfluous(line, stay) if is_part else _kind(line) not in enough)
        )
    ]
    found = [Change(line, is_added=False) for line in gone]
    found += [Change(line, is_added=True) for line in absent]
    outermost = list(dict.fromkeys(_outermost(change.line) for change in found))
    blocks = list(dict.fromkeys(change.line.within for change in found))

    def place(change: Change) -> tuple[int, int, int]:
        line = change.line
        return outermost.index(_outermost(line)), len(line.within), blocks.index(line.within)

    return tuple(sorted(found, key=place))


def detaching(line: Line, absent: Collection[Line]) -> Line | None:
    """Return which of the lines that are to be entered takes away or replaces another one."""
    kind = _kind(line)
    return next(
        (a for a in absent if negated(a) == line or (kind is not None and _kind(a) == kind)), None
    )


def in_use(wanted: Sequence[Line], running: Collection[Line]) -> frozenset[str]:
    """Return our route-maps that are not wanted, and used when all that is wanted is entered.

    One that is used and does not exist denies everything.
    """
    absent = missing(wanted, running)
    names = ((used(line), line) for line in running)
    left = frozenset(name for name, x in names if name and detaching(x, absent) is None)
    return left - route_maps(wanted)


def route_maps(of: Collection[Line]) -> frozenset[str]:
    """Return the names of the route-maps of a configuration."""
    words = (_outermost(line).split() for line in of)
    return frozenset(each[1] for each in words if each[0] == "route-map")


def is_superfluous(line: Line, stay: Collection[str]) -> bool:
    """Return whether a line that is not wanted is ours to take away; `stay` are route-maps."""
    words = _outermost(line).split()
    return is_ours(line) and not (words[0] == "route-map" and words[1] in stay)


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
