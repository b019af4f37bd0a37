"""The watch of the uplinks, and what it told last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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
        """What was changed, and what could not be: looks that found all as it should be are not."""
        told = self._take_links, self._take_sources, self._take_applied
        self.watch = UplinkWatch(settings, *told, keeper)

    def _take_links(self, links: Mapping[str, bool]) -> None:
        self.links = links

    def _take_sources(self, sources: Sources) -> None:
        self.sources = sources

    def _take_applied(self, applied: Applied) -> None:
        if replace(applied, present=frozenset()) != Applied((), {}):
            self.applied.append(applied)
