"""The watch of the uplinks, and what it told last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from bgphealth.core.settings import Settings
from bgphealth.fallback.tables import Applied
from bgphealth.fallback.watch import Sources, UplinkWatch


class Seen:
    """What the watch told last."""

    def __init__(self, settings: Settings) -> None:
        self.links: Mapping[str, bool] = {}
        self.sources = Sources({}, {}, {})
        self.applied: list[Applied] = []
        self.watch = UplinkWatch(
            settings, self._take_links, self._take_sources, self.applied.append
        )

    def _take_links(self, links: Mapping[str, bool]) -> None:
        self.links = links

    def _take_sources(self, sources: Sources) -> None:
        self.sources = sources


async def until(true: Callable[[], object]) -> None:
    """Poll until the call returns something true."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
