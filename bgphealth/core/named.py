"""What the file calls the interfaces and addresses of the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bgphealth.core.lookup import Held
from bgphealth.core.settings import LOOPBACK, Address, Family, Settings, UplinkSettings
from bgphealth.core.truth import Leg


@dataclass(frozen=True, slots=True)
class Named:
    """Knows the names; without a file it knows none."""

    settings: Settings | None
    addresses: Sequence[Held]

    def uplink(self, leg: Leg) -> str | None:
        """Return the uplink that a next hop belongs to."""
        there = [uplink for uplink in self._uplinks if uplink.interface == leg.interface]
        # Several gateways of one network share an interface.
        by_gateway = (u for u in there if any(path.neighbor == leg.gateway for path in u.paths))
        found = there[0] if len(there) == 1 else next(by_gateway, None)
        return None if found is None else found.name

    def uplink_of_table(self, table: int) -> UplinkSettings | None:
        """Return the uplink that a table is of."""
        if self.settings is None:
            return None
        first = self.settings.fallback.table
        return next((u for u in self._uplinks if first + u.number == table), None)

    def service(self, address: Address) -> str | None:
        """Return the service that an address is of: other hosts may have it, too."""
        for service in () if self.settings is None else self.settings.services:
            if service.name != LOOPBACK and any(
                Family.of(prefix) is Family.of(address) and address in prefix
                for prefix in service.prefixes
            ):
                return service.name
        return None

    def is_loopback(self, address: Address) -> bool:
        """Return whether an address is the host loopback."""
        return self.settings is not None and address in self.settings.host.source

    def has_loopback(self, family: Family) -> bool:
        """Return whether there is a host loopback, which connections should come from."""
        return self.settings is not None and self.settings.host.source_for(family) is not None

    def link(self, address: Address) -> str | None:
        """Return the uplink that an address dies with."""
        for uplink in self._uplinks:
            on_it = (h for h in self.addresses if h.interface == uplink.interface)
            if any(h.address.ip == address for h in on_it) or any(
                path.probe_source == address for path in uplink.paths
            ):
                return uplink.name
        return None

    def words(self, address: Address) -> str | None:
        """Return what an address is; None for one that the file does not know."""
        if self.is_loopback(address):
            return "the host loopback"
        if (service := self.service(address)) is not None:
            return f"service {service}"
        if (uplink := self.link(address)) is not None:
            return f"uplink {uplink}"
        return None

    @property
    def _uplinks(self) -> tuple[UplinkSettings, ...]:
        return () if self.settings is None else self.settings.uplinks
