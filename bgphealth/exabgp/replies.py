"""Decode what ExaBGP writes to its helper.

Replies to commands come in the order of the commands. On the same pipe, between them, come notices,
events of neighbors (where the neighbor's `api` section asks for ``neighbor-changes``) and the
answer to a ping.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

_STATES = frozenset({"connected", "up", "down"})


class Reply(Enum):
    """What one line means to us."""

    DONE = auto()
    """The oldest unanswered command is in ExaBGP's RIB. It says nothing about any peer."""
    ERROR = auto()
    """The oldest unanswered command was refused."""
    PONG = auto()
    """The answer to `PING`. With acknowledgements, the next line is a ``done`` that is its own."""
    SHUTDOWN = auto()
    """ExaBGP is going away."""
    OTHER = auto()
    """Not an answer to a command: another event, or a line of another version."""


@dataclass(frozen=True, slots=True)
class NeighborState:
    """What became of the session with a neighbor.

    `state` is ExaBGP's word: ``connected`` (TCP), ``up`` (Established, RFC 4271, 8.2.2) or
    ``down``; `reason` says why it is down.
    """

    neighbor: str
    state: str
    reason: str = ""


Decoded: TypeAlias = Reply | NeighborState


def decode(line: str) -> Decoded:
    """Return the meaning of one line; a line that is not known is `OTHER`, never an error.

    Both of ExaBGP's encoders are understood: text, and JSON.
    """
    if line.startswith("{"):
        return _event(line)
    found: Decoded = Reply.OTHER
    match line.split():
        case ["done"]:
            found = Reply.DONE
        case ["error", *_]:
            found = Reply.ERROR
        case ["exabgp", _]:
            found = Reply.PONG
        case ["shutdown", *_]:
            found = Reply.SHUTDOWN
        case ["neighbor", neighbor, state, *rest] if state in _STATES:
            found = NeighborState(neighbor, state, " ".join(rest).removeprefix("- "))
    return found


def _event(line: str) -> Decoded:
    try:
        said: Any = json.loads(line)
    except ValueError:
        return Reply.OTHER
    match said:
        case {"type": "notification", "notification": "shutdown"}:
            return Reply.SHUTDOWN
        case {
            "type": "state",
            "neighbor": {"address": {"peer": str(neighbor)}, "state": str(state), **rest},
        } if state in _STATES:
            return NeighborState(neighbor, state, str(rest.get("reason", "")))
        case _:
            return Reply.OTHER
