"""The watch of the uplinks, and what it told last."""

from __future__ import annotations

from collections.abc import Mapping

from bgphealth.core.settings import Settings
from bgphealth.fallback.addresses import AddressKeeper
from bgphealth.fallback.tables import Applied
from bgphealth.fallback.watch import Sources, UplinkWatch


class Seen:
    """What the watch told last."""

    def __init__(self, settings: Settings, keeper: AddressKeeper | None = None) -> None:
        self.links: Mapping[str, bool] = {}
        self.sources = Sources({}, {}, {})
        self.applied: list[Applied] = []
        self.watch = UplinkWatch(
            settings, self._take_links, self._take_sources, self.applied.append, keeper
        )

    def _take_links(self, links: Mapping[str, bool]) -> None:
        self.links = links

    def _take_sources(self, sources: Sources) -> None:
        self.sources = sources
