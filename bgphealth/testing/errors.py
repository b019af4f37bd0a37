"""What goes wrong with a lab, and what a test did not see."""

from __future__ import annotations


class ClabError(Exception):
    """Something is wrong with the lab, or with how it is used; the message says what to do."""


class NodeError(ClabError):
    """A command in a node ended with another status than 0.

    `status` is None when it was ended because it took too long.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotSeenError(AssertionError):
    """What a test expects did not come; the message says what was there instead."""
