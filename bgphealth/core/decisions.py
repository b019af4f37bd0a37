"""What is decided for a route, and why; and the routes that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Family, Prefix, UplinkPath

INJECTED_LOCAL_PREF = 100
"""Local preference of what we announce: above the ToR's own default (50), RFC 4271 5.1.5."""


class Decision(NamedTuple):
    """What is wanted for one route, and why. `announcement` is None for "not announced"."""

    announcement: Announcement | None
    reason: Reason

    @property
    def outward(self) -> Announcement | None:
        """The announcement, if a ToR gets to see it."""
        quiet = self.announcement is None or self.announcement.is_quiet
        return None if quiet else self.announcement


Decisions: TypeAlias = Mapping[RouteKey, Decision]


def default_key(family: Family, uplink_number: int) -> RouteKey:
    """Return the key of the default via one uplink."""
    return RouteKey(family.default_prefix, uplink_number)


def session_key(prefix: Prefix, path: UplinkPath) -> RouteKey:
    """Return the key of a prefix towards the ToR at the other end of one path (direct mode)."""
    return RouteKey(prefix, neighbor=path.neighbor)
