"""Decode what ExaBGP writes to its helper.

Replies to commands come in the order of the commands; notices (and JSON events, where a neighbor's
`api` section asks for them) come between them on the same pipe.
"""

from __future__ import annotations

from enum import Enum, auto


class Reply(Enum):
    """What one line means to us."""

    DONE = auto()
    """The oldest unanswered command is in ExaBGP's RIB. It says nothing about any peer."""
    ERROR = auto()
    """The oldest unanswered command was refused."""
    SHUTDOWN = auto()
    """ExaBGP is going away: ``shutdown <pid> <ppid>``."""
    OTHER = auto()
    """Not an answer to a command: an event, or a line of another version."""


def decode(line: str) -> Reply:
    """Return the meaning of one line; a line that is not known is `OTHER`, never an error."""
    match line.split():
        case ["done"]:
            return Reply.DONE
        case ["error", *_]:
            return Reply.ERROR
        case ["shutdown", *_]:
            return Reply.SHUTDOWN
        case _:
            return Reply.OTHER
