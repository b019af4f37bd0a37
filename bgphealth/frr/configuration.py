"""FRR's configuration as lines, each with the blocks that it stands in, and what one lacks.

frr.conf as it is rendered and what ``show running-config`` prints are the same language, but not
the same text: FRR sorts, numbers entries, and keeps quiet about what is its default.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

_SEQUENCE = re.compile(r"(?<= )seq \d+ ")
_PASSWORD = re.compile(r"(neighbor \S+ password) .+")
_COMMUNITIES = re.compile(r"(set (?:large-)?community) (.+)")
_MAXIMUM_PATHS = re.compile(r"(maximum-paths(?: ibgp)?) (\d+)")

_PRINTED_WHERE_ON = (8, 4)

_OURS = re.compile(r"(route-map|\S+ prefix-list|bgp \S+-list \S+) bgphealth-")

_USES = re.compile(
    r"(?:neighbor \S+|(?:ip|ipv6) protocol \S+|network \S+) route-map (bgphealth-\S+)(?: in| out)?"
)

_UNSAID = re.compile(
    # What begins and ends a block.
    r"!|end$|exit"
    # What matters to nobody here, and what vtysh says of itself.
    r"|Building configuration|Current configuration|frr (version|defaults) |hostname |log "
    r"|service integrated-vtysh-config$|neighbor \S+ description "
    # Defaults, which FRR does not print. `resolve-via-default` is asked for in its own way.
    r"|bgp log-neighbor-changes$|no ip(?:v6)? nht resolve-via-default$"
    # The kernel's affair, of which FRR speaks all the same.
    r"|no ip(?:v6)? forwarding$"
    r"|detect-multiplier 3$|(receive|transmit)-interval 300$"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `within` are the lines that begin its blocks, the outermost first."""

    within: tuple[str, ...]
    text: str


def lines(text: str) -> tuple[Line, ...]:
    """Return what a configuration says, without what FRR would not print, may number or sort anew.

    Blocks are known by their indentation. A password is never part of a line.
    """
    return tuple(_lines(text))


def _lines(text: str) -> Iterator[Line]:
    blocks: list[tuple[int, str]] = []
    for raw in text.splitlines():
        said = " ".join(raw.split())
        if not said or _UNSAID.match(said):
            continue
        said = _PASSWORD.sub(r"\1 ***", _SEQUENCE.sub("", said))
        if match := _COMMUNITIES.fullmatch(said):
            said = " ".join([match[1], *sorted(match[2].split())])
        depth = len(raw) - len(raw.lstrip())
        while blocks and blocks[-1][0] >= depth:
            blocks.pop()
        yield Line(tuple(block for _, block in blocks), said)
        blocks.append((depth, said))


def is_ours(line: Line) -> bool:
    """Return whether a line is about an object that bgphealth named.

    That of others which uses one (a filter of a neighbor, say) is somebody else's.
    """
    return _OURS.match((*line.within, line.text)[0]) is not None


def used(line: Line) -> str | None:
    """Return the route-map of ours that a line attaches to a session, a prefix or the kernel."""
    match = _USES.fullmatch(line.text)
    return match[1] if match is not None else None


def negated(line: Line) -> Line | None:
    """Return what a line that begins with ``no`` takes away."""
    return Line(line.within, line.text[3:]) if line.text.startswith("no ") else None


def missing(wanted: Iterable[Line], there: Collection[Line]) -> tuple[Line, ...]:
    """Return what is wanted and not there, in its order. More paths than wanted are no fault."""
    known = frozenset(there)
    paths = {
        (line.within, match[1]): int(match[2])
        for line in known
        if (match := _MAXIMUM_PATHS.fullmatch(line.text))
    }

    def is_there(line: Line) -> bool:
        match = _MAXIMUM_PATHS.fullmatch(line.text)
        return line in known or (
            match is not None and paths.get((line.within, match[1]), 0) >= int(match[2])
        )

    return tuple(line for line in wanted if not is_there(line))


def resolves_via_default(text: str, ip: str, version: tuple[int, int]) -> bool:
    """Return whether zebra resolves next hops with a default; `ip` is ``ip`` or ``ipv6``.

    zebra of FRR 8.4 prints this where it is on. Later ones print it where it is not the default of
    their profile, which it is in ``traditional`` (zebra_cli.c).
    """
    said = {" ".join(raw.split()) for raw in text.splitlines()}
    if f"{ip} nht resolve-via-default" in said or version <= _PRINTED_WHERE_ON:
        return f"{ip} nht resolve-via-default" in said
    return "frr defaults traditional" in said and f"no {ip} nht resolve-via-default" not in said
