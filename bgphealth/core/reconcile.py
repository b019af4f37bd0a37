"""The difference between what is wanted and what was sent.

Level-triggered: nothing is remembered of how the wanted set came about, so a lost command, a
restart or a burst of changes all heal the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from bgphealth.core.intents import Announcement, Intents, RouteKey


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce this route; it replaces what was announced under the same key."""

    announcement: Announcement

    @property
    def key(self) -> RouteKey:
        """The route that this changes."""
        return self.announcement.key


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Withdraw the route under this key."""

    key: RouteKey


Change: TypeAlias = Announce | Withdraw


def reconcile(
    wanted: Intents,
    adj_rib_out: Mapping[RouteKey, Announcement],
    doubtful: Set[RouteKey] = frozenset(),
) -> tuple[Change, ...]:
    """Return the changes that turn `adj_rib_out` (acknowledged) into `wanted`.

    Announcements come first: make before break, so that there is no instant without a path
    between two of them. `doubtful` keys are asserted whatever we believe was sent: announced
    again, or withdrawn again (after a start, a lost reply, a reload).
    """
    announce = [
        Announce(announcement)
        for key, announcement in wanted.items()
        if adj_rib_out.get(key) != announcement or key in doubtful
    ]
    gone = {key for key in (*adj_rib_out, *doubtful) if key not in wanted}
    withdraw = [Withdraw(key) for key in sorted(gone, key=_order)]
    return (*announce, *withdraw)


def _order(key: RouteKey) -> tuple[int, int, int, int, int]:
    return (
        key.prefix.version,
        int(key.prefix.network_address),
        key.prefix.prefixlen,
        key.path_id,
        int(key.neighbor or 0),
    )
