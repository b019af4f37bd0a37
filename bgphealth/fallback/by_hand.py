"""Defaults, tables and rules looked at, written or taken away by hand, beside the program or not.

Which uplinks are healthy is not known here: a default that is there is right wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bgphealth.core.errors import ConfigurationError, HostError, PermissionDeniedError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Pin, Settings, SourcePolicy
from bgphealth.fallback import leftovers, metrics, pins, policies
from bgphealth.fallback.foreign import Copy
from bgphealth.fallback.gateways import GatewaySearch
from bgphealth.fallback.missing import Missing, add, add_rules, missing
from bgphealth.fallback.netlink import MAIN, Netlink, Route, Rule
from bgphealth.fallback.policies import is_of_policy
from bgphealth.fallback.tables import plan


@dataclass(frozen=True, slots=True)
class Led:
    """What a policy has: its rules, those that are missing, or in words why it can have none.

    One that is not strict and has no rules waits until its uplink carries.
    """

    rules: frozenset[Rule]
    missing: frozenset[Rule]
    why_none: str | None

    def __str__(self) -> str:
        """Return it in words."""
        if self.why_none is not None:
            return f"none: {self.why_none}"
        if self.missing:
            return "missing"
        return "there" if self.rules else "not there, as while its uplink does not carry"


@dataclass(frozen=True, slots=True)
class Found:
    """What is wanted and what is there.

    `defaults` says per path what is wanted (in words, why nothing can be), `pins` the same per pin
    and path, and `policies` what each has. `ours` are all fallback defaults and routes of pins that
    are there, `stray` the rules of policies that this file does not have, `tables` what tables and
    their rules lack. `names` are those of interfaces, by index. `first` is what must be put before
    somebody else's default (local mode).
    """

    defaults: Mapping[PathKey, Route | str]
    ours: frozenset[Route]
    tables: Mapping[PathKey, Missing]
    names: Mapping[int, str]
    pins: Mapping[tuple[Pin, PathKey], Route | str] = field(default_factory=dict)
    policies: Mapping[SourcePolicy, Led] = field(default_factory=dict)
    stray: frozenset[Rule] = frozenset()
    first: Copy | None = None

    @property
    def lacking(self) -> tuple[Route | str, ...]:
        """Return the routes in the main table that are wanted and not there."""
        return tuple(wanted for wanted in self._wanted if wanted not in self.ours)

    @property
    def others(self) -> frozenset[Route]:
        """Return the routes of ours in the main table that this file does not want as they are."""
        wanted = {wanted for wanted in self._wanted if isinstance(wanted, Route)}
        return self.ours - wanted - ({self.first.route} if self.first is not None else set())

    @property
    def is_as_wanted(self) -> bool:
        """Return whether everything is there, and nothing else of ours."""
        unmet = any(led.why_none or led.missing for led in self.policies.values())
        is_second = self.first is not None and self.first.is_buried
        differs = self.lacking or self.others or self.tables or unmet or self.stray or is_second
        return not differs

    @property
    def _wanted(self) -> tuple[Route | str, ...]:
        return (*self.defaults.values(), *self.pins.values())


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
        ours = found.ours
        defaults = metrics.Defaults(wanted, absent, ours, found.first)
        written = [await metrics.apply(settings, defaults, ours, netlink)]
        for pin in settings.sources.pins:
            of_pin = {p: r for (of, p), r in found.pins.items() if of == pin}
            routes = {path: route for path, route in of_pin.items() if isinstance(route, Route)}
            kept = metrics.Defaults(routes, {}, ours)
            written.append(await metrics.apply(settings, kept, ours, netlink))
        for led in found.policies.values():
            done += await add_rules(led.missing, netlink)
    failed = [failure for part in written for failure in part.failed.items()]
    if failed:
        denied = any(isinstance(error, PermissionDeniedError) for _, error in failed)
        said = (f"{path.uplink} {path.family}: {error}" for path, error in failed)
        raise (PermissionDeniedError if denied else HostError)("\n".join(said))
    return [*done, *(line for part in written for line in part.done)]


async def flush(settings: Settings) -> list[str]:
    """Delete all that is ours: rules, tables (those of the rules, too), and routes.

    Raises:
        HostError: the kernel refuses.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    async with Netlink() as netlink:
        for family in Family:
            rules = await netlink.rules(family)
            tables = {settings.fallback.table + uplink.number for uplink in settings.uplinks}
            tables |= {rule.table for rule in rules if rule.table not in (None, MAIN)}
            routes = await netlink.own_in_main(family)
            done += await leftovers.clear(family, rules, tables, routes, netlink)
    return done


async def _look(settings: Settings, netlink: Netlink) -> Found:
    interfaces = await netlink.interfaces()
    names = {interface.index: interface.name for interface in interfaces.values()}
    ours = await metrics.own_in_main(netlink)
    rules = {rule for family in Family for rule in await netlink.rules(family)}
    of_policies = {rule for rule in rules if is_of_policy(rule)}
    if not settings.fallback.enabled:
        stray = frozenset(of_policies)
        return Found({}, frozenset(ours), {}, names, stray=stray)
    gateways = await GatewaySearch(settings, ask=False).look(interfaces, netlink)
    defaults = metrics.plan(settings, interfaces, gateways, None, ours)
    if metrics.come_first(settings):
        seen = {family: await netlink.defaults(family) for family in settings.families}
        defaults = metrics.ahead(defaults, seen, interfaces)
    tables = plan(settings, interfaces, gateways)
    led = policies.plan(settings, interfaces, tables.sources, {}, rules)
    return Found(
        defaults.each,
        frozenset(ours),
        await missing(settings, tables, netlink),
        names,
        {
            (pin, path): wanted
            for pin, _, of_pin in pins.plan(settings, interfaces, gateways, None, ours)
            for path, wanted in of_pin.each.items()
        },
        {
            policy: Led(wanted, wanted - rules, led.absent.get(policy))
            for policy, wanted in led.wanted.items()
        },
        frozenset(of_policies - led.rules),
        defaults.first,
    )
