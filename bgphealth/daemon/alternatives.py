"""Asks again and again who else announces what is down here, and tells the engine.

Only while a guarded service is down; every `LOOK_S`, and with each look as an event: whoever is
withdrawn must have been seen to be replaced just now, not some time ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address
from typing import TypeAlias

from bgphealth.core.events import AlternativesSeen, AlternativesUnknown, Event
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Prefix
from bgphealth.core.state import State

LOOK_S = 1.0
"""How often to look: a run of vtysh takes some 25 ms."""

PORTION = 100
"""Prefixes to ask bgpd for in one go."""

Healthy: TypeAlias = Mapping[Prefix, frozenset[IPv4Address]]
"""The hosts, by router id, that have a healthy path to each prefix."""

Ask: TypeAlias = Callable[[tuple[Prefix, ...]], Awaitable[Healthy | str]]
"""Returns them for some prefixes, or says in words why they are not known."""


def trusted(state: State) -> frozenset[str]:
    """Return the neighbors whose word counts: what a ToR says over a dead uplink may be old.

    By address, or by interface on an unnumbered link.
    """
    return frozenset(
        uplink.interface if path.neighbor is None else str(path.neighbor)
        for uplink in state.settings.uplinks
        for path in uplink.paths
        if state.path_verdicts[PathKey(uplink.name, path.family)].level.works
    )


class AlternativesWatch:
    """Looks for other hosts' healthy paths. Needs a running event loop.

    Args:
        ask: whom to ask.
        post: takes the events.
    """

    def __init__(self, ask: Ask, post: Callable[[Event], object]) -> None:
        self._ask = ask
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._wanted: tuple[Prefix, ...] = ()
        self._is_wanted = asyncio.Event()

    def want(self, prefixes: tuple[Prefix, ...]) -> None:
        """Look for these from now on, and for no others."""
        self._wanted = prefixes
        (self._is_wanted.set if prefixes else self._is_wanted.clear)()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._is_wanted.wait()
            next_at = self._loop.time() + LOOK_S
            await self._look()
            await asyncio.sleep(next_at - self._loop.time())

    async def _look(self) -> None:
        wanted, found = self._wanted, dict[Prefix, frozenset[IPv4Address]]()
        for first in range(0, len(wanted), PORTION):
            answer = await self._ask(wanted[first : first + PORTION])
            if isinstance(answer, str):
                self._post(AlternativesUnknown(self._loop.time(), answer))
                return
            found.update(answer)
        healthy = tuple(prefix for prefix in wanted if found[prefix])
        hosts = sorted({host for prefix in healthy for host in found[prefix]})
        detail = ", ".join(map(str, hosts))
        self._post(AlternativesSeen(self._loop.time(), wanted, healthy, detail))
