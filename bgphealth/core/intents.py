"""What is wanted in the BGP table: a full set of announcements, never a list of commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bgphealth.core.settings import Address, Prefix


class RouteKey(NamedTuple):
    """What BGP tells routes apart by: the prefix and, with ADD-PATH, the path identifier.

    `path_id` is 0 where one path is announced, the uplink's number for the defaults (RFC 7911).
    """

    prefix: Prefix
    path_id: int = 0

    def __str__(self) -> str:
        """Return the key for logs: ``192.0.2.53/32`` or ``0.0.0.0/0 path 2``."""
        return f"{self.prefix} path {self.path_id}" if self.path_id else str(self.prefix)


class Community(NamedTuple):
    """A community of RFC 1997: two halves of 16 bits."""

    asn: int
    value: int

    def __str__(self) -> str:
        """Return the community as it is written everywhere: ``65101:1``."""
        return f"{self.asn}:{self.value}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One route as it shall be announced."""

    key: RouteKey
    next_hop: Address
    local_pref: int
    communities: tuple[Community, ...] = ()


Intents: TypeAlias = Mapping[RouteKey, Announcement]
