"""Which tier of default serves each family, said when it changes."""

from __future__ import annotations

from collections.abc import Mapping, Set

from structlog.typing import FilteringBoundLogger

from bgphealth.core.settings import Family
from bgphealth.core.truth import Tier, Tiered


class Tiers:
    """What was seen of the defaults. One look may fall into a change, so that two must agree."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._known: dict[Family, Tier] = {}
        self._unsure: dict[Family, Tier] = {}

    @property
    def known(self) -> Mapping[Family, Tier]:
        """The tier of each family that has been looked at."""
        return dict(self._known)

    @property
    def unsure(self) -> Set[Family]:
        """Families that are to be looked at again soon."""
        return self._unsure.keys()

    def seen(self, family: Family, now: Tiered) -> None:
        """Take what a look has found."""
        before, suspected = self._known.get(family), self._unsure.pop(family, None)
        if now.tier is before:
            return
        if now.tier is not suspected:
            self._unsure[family] = now.tier
            return
        self._known[family] = now.tier
        moved = {"to": str(now.tier), "default": now.default}
        if before is not None:
            moved = {"from": str(before), **moved}
        if before is None or now.tier is Tier.INJECTED:
            self._log.info("default_tier", family=str(family), **moved)
        else:
            self._log.warning("default_tier", family=str(family), **moved)
