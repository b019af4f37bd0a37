"""What is wrong with a file, said to the person who has to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias

from bgphealth.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where in the file: keys and list positions from the top, ``("uplinks", "tor1", "number")``."""

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to mend. `line` counts from 1; `path` is empty for the file as a whole."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return ``file:line: path: message``, which editors and CI systems can jump to."""
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class InvalidFileError(ConfigurationError):
    """Carries every problem of the file, so that one run is enough to mend them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: KeyPath) -> str:
    """Return a path in the form that messages use: ``services.dns.prefixes[1]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{printable(step)}" if text else printable(step)
    return text


def printable(text: str) -> str:
    """Escape what could change the terminal or fake a second line, and shorten what is long."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= _LONGEST_SHOWN else safe[: _LONGEST_SHOWN - 1] + "…"


def there_is_no(name: str, known: Collection[str]) -> str:
    """Return what is said of a name that nothing has, among those that there are."""
    close = get_close_matches(name, known, n=1)
    guess = f"; did you mean {shown(close[0])}?" if close else ""
    return f"there is no {shown(name)}{guess} (known: {', '.join(map(printable, known))})"


def shown(value: object) -> str:
    """Return a value as a message shows it: as in the file, and never longer than a line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{printable(value)}'"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return printable(str(value))
