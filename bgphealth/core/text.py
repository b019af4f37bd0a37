"""What others have written, made fit to be shown."""

from __future__ import annotations

LONGEST = 200


def printable(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a text in which nothing moves a cursor or begins another line."""
    return "".join(char if char.isprintable() else "?" for char in text[:longest])
