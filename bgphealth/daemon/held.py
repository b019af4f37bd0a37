"""Between the kernel's addresses and the engine: what the host holds, and what it shall hold."""

from __future__ import annotations

from collections.abc import Callable

from bgphealth.core import addresses
from bgphealth.core.events import AddressesSeen
from bgphealth.core.settings import Address, Settings
from bgphealth.fallback.addresses import AddressKeeper, Look


class HeldAddresses:
    """The addresses of the host, as far as the file is about them.

    Args:
        settings: the file.
        seen: called with the event for the engine when what is there has changed, must not block.
        report: called with each look, must not block.
        clock: the clock of the events.
    """

    def __init__(
        self,
        settings: Settings,
        seen: Callable[[AddressesSeen], None],
        report: Callable[[Look], None],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._report = report
        self._clock = clock
        self._look: Look | None = None
        self._told: tuple[frozenset[Address], frozenset[Address]] | None = None
        self.keeper = AddressKeeper(self._looked)
        """To be shown the kernel's interfaces; it touches nothing before `keep`."""

    @property
    def left(self) -> frozenset[Address]:
        """The addresses that we added, an earlier run included, and the file has no use for."""
        ours = frozenset[Address]() if self._look is None else self._look.ours
        return ours - addresses.named(self._settings)

    def keep(self) -> None:
        """Have what the file wants from the next look on."""
        self.keeper.want(addresses.wanted(self._settings), frozenset())

    def configure(self, settings: Settings) -> None:
        """Go on with another file; the engine, which still has the old one, hears about both."""
        both = addresses.looked_at(self._settings) | addresses.looked_at(settings)
        self._settings = settings
        self._tell(both)

    def _looked(self, look: Look) -> None:
        self._report(look)
        self._look = look
        self._tell(addresses.looked_at(self._settings))

    def _tell(self, about: frozenset[Address]) -> None:
        if self._look is None:
            return
        found = about & self._look.there, about - self._look.there
        if found != self._told:
            self._told = found
            self._seen(AddressesSeen(self._clock(), *found))
