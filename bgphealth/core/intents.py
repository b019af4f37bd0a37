"""What is wanted in the BGP table: a full set of announcements, never a list of commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.settings import Address, Prefix

__all__ = ["Announcement", "Community", "Intents", "LargeCommunity", "RouteKey"]


class RouteKey(NamedTuple):
    """What BGP tells routes apart by: the prefix and, with ADD-PATH, the path identifier.

    `path_id` is 0 where one path is announced, the uplink's number for the defaults (RFC 7911).
    `neighbor` is the one neighbor that it is announced to; None means all of them.
    """

    prefix: Prefix
    path_id: int = 0
    neighbor: Address | None = None

    def __str__(self) -> str:
        """Return the key for logs: ``192.0.2.53/32``, ``0.0.0.0/0 path 2``, ``… to 10.0.1.0``."""
        path = f" path {self.path_id}" if self.path_id else ""
        to = "" if self.neighbor is None else f" to {self.neighbor}"
        return f"{self.prefix}{path}{to}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One route as it shall be announced.

    `next_hop` is None for our own address on the session. `local_pref` is None towards an external
    neighbor, which would ignore it (RFC 4271, 5.1.5). `med` is None for none (5.1.4). `as_path` is
    all of the AS path, our own AS included; empty for what the session adds by itself.
    """

    key: RouteKey
    next_hop: Address | None
    local_pref: int | None
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    med: int | None = None
    as_path: tuple[int, ...] = ()

    @property
    def is_quiet(self) -> bool:
        """Whether no ToR gets to see it: it only keeps bgpd's own origin back."""
        return not (self.communities or self.key.path_id or self.key.neighbor)


Intents: TypeAlias = Mapping[RouteKey, Announcement]
