"""What an operator can take out of use, and for how long."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class What(StrEnum):
    """What can be drained."""

    SERVICE = "service"
    UPLINK = "uplink"
    HOST = "host"


class Target(NamedTuple):
    """What a drain is about. The host has no name: it means all services."""

    what: What
    name: str = ""

    def __str__(self) -> str:
        """Return it in the words of the command: ``uplink tor1``, ``host``."""
        return f"{self.what} {self.name}".rstrip()


class Order(NamedTuple):
    """A drain as it was ordered.

    `since` and `until` are on the clock of the events; None for no end. `forced`: even if it is the
    last healthy path.
    """

    since: float
    until: float | None = None
    forced: bool = False
