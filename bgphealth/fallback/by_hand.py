"""Defaults, tables and rules looked at, written or taken away by hand, beside the program or not.

Which uplinks are healthy is not known here: a default that is there is right wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bgphealth.core.errors import ConfigurationError, HostError, PermissionDeniedError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.fallback import metrics
from bgphealth.fallback.foreign import Copy
from bgphealth.fallback.gateways import GatewaySearch
from bgphealth.fallback.missing import Missing, add, missing
from bgphealth.fallback.netlink import Netlink, Route
from bgphealth.fallback.tables import plan


@dataclass(frozen=True, slots=True)
class Found:
    """What is wanted and what is there.

    `defaults` says per path what is wanted (in words, why nothing can be). `ours` are all fallback
    defaults that are there, `tables` what tables and rules lack. `names` are those of interfaces,
    by index. `first` is what must be put before somebody else's default (local mode).
    """

    defaults: Mapping[PathKey, Route | str]
    ours: frozenset[Route]
    tables: Mapping[PathKey, Missing]
    names: Mapping[int, str]
    first: Copy | None = None

    @property
    def lacking(self) -> tuple[PathKey, ...]:
        """Return the paths without their fallback default."""
        return tuple(path for path, wanted in self.defaults.items() if wanted not in self.ours)

    @property
    def others(self) -> frozenset[Route]:
        """Return the fallback defaults of ours that this file does not want as they are."""
        wanted = {wanted for wanted in self.defaults.values() if isinstance(wanted, Route)}
        return self.ours - wanted - ({self.first.route} if self.first is not None else set())

    @property
    def is_as_wanted(self) -> bool:
        """Return whether everything is there, and nothing else of ours."""
        is_second = self.first is not None and self.first.is_buried
        return not (self.lacking or self.others or self.tables or is_second)


async def look(settings: Settings) -> Found:
    """Compare the kernel with the file.

    Raises:
        HostError: the kernel does not tell.
    """
    async with Netlink() as netlink:
        return await _look(settings, netlink)


async def apply(settings: Settings) -> list[str]:
    """Add what is missing, delete nothing, and return what was done, in words.

    Raises:
        ConfigurationError: the file forbids it.
        HostError: something else is in the way.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    if not settings.fallback.enabled:
        raise ConfigurationError("fallback.enabled is false: the file forbids everything of it")
    async with Netlink() as netlink:
        found = await _look(settings, netlink)
        done = await add(found.tables, netlink)
        wanted = {p: route for p, route in found.defaults.items() if isinstance(route, Route)}
        absent = {p: why for p, why in found.defaults.items() if isinstance(why, str)}
        # All that is there is kept.
        defaults = metrics.Defaults(wanted, absent, found.ours, found.first)
        written = await metrics.apply(settings, defaults, found.ours, netlink)
    if written.failed:
        denied = any(isinstance(e, PermissionDeniedError) for e in written.failed.values())
        said = (f"{path.uplink} {path.family}: {e}" for path, e in written.failed.items())
        raise (PermissionDeniedError if denied else HostError)("\n".join(said))
    return [*done, *written.done]


async def flush(settings: Settings) -> list[str]:
    """Delete all that is ours: rules, tables (those of the rules, too) and fallback defaults.

    Raises:
        HostError: the kernel refuses.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    async with Netlink() as netlink:
        for family in Family:
            rules = await netlink.rules(family)
            tables = {settings.fallback.table + uplink.number for uplink in settings.uplinks}
            # The rules first, so that nothing is led into an empty table.
            for rule in sorted(rules, key=lambda rule: rule.priority):
                await netlink.delete_rule(rule)
                done.append(f"deleted {family} rule oif {rule.interface} lookup {rule.table}")
            for table in sorted(tables | {rule.table for rule in rules}):
                ours, _ = await netlink.routes(table, family)
                for route in ours:
                    await netlink.delete_route(route)
                    done.append(f"deleted {route.prefix} in table {table}")
            for route in sorted(await netlink.own_defaults(family), key=lambda r: r.metric):
                await netlink.delete_route(route)
                done.append(f"deleted {metrics.in_words(route)}")
    return done


async def _look(settings: Settings, netlink: Netlink) -> Found:
    interfaces = await netlink.interfaces()
    names = {interface.index: interface.name for interface in interfaces.values()}
    ours = await metrics.own(netlink)
    if not settings.fallback.enabled:
        return Found({}, frozenset(ours), {}, names)
    gateways = await GatewaySearch(settings, ask=False).look(interfaces, netlink)
    defaults = metrics.plan(settings, interfaces, gateways, {}, ours)
    if settings.mode is Mode.LOCAL:
        seen = {family: await netlink.defaults(family) for family in settings.families}
        defaults = metrics.ahead(defaults, seen, interfaces)
    tables = await missing(settings, plan(settings, interfaces, gateways), netlink)
    wanted: dict[PathKey, Route | str] = {**defaults.wanted, **defaults.absent}
    return Found(wanted, frozenset(ours), tables, names, defaults.first)
