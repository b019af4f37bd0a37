"""exabgp.conf as statements, each with the blocks that it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|#[^\n]*|[{};]|[^\s{};"\'#]+')
_PASSWORD = re.compile(r"(md5-password) .+")
_PROGRAM = re.compile(r"run \S.* (-c \S+ run)")
_DESCRIPTION = re.compile(r"description\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `within` are the beginnings of its blocks, the outermost first."""

    within: tuple[str, ...]
    text: str


def statements(text: str, *, described: bool = False) -> tuple[Statement, ...]:
    """Return what exabgp.conf says, but for where bgphealth is installed.

    Descriptions are left out unless they are asked for. A password is never part of a statement.
    """
    said = _statements(text)
    return tuple(each for each in said if described or not _DESCRIPTION.match(each.text))


def _statements(text: str) -> Iterator[Statement]:
    within: list[str] = []
    words: list[str] = []
    for part in _TOKEN.findall(text):
        if part == "{":
            within.append(" ".join(words))
        elif part == ";":
            said = _PROGRAM.sub(r"run … \1", " ".join(words))
            yield Statement(tuple(within), _PASSWORD.sub(r"\1 ***", said))
        elif part == "}":
            del within[-1:]
        else:
            if not part.startswith("#"):
                words.append(part)
            continue
        words = []
