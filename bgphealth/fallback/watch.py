"""Follow the uplinks' links, addresses and gateways; keep what is written into the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace

from bgphealth.core.errors import BgphealthError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Pin, Settings, Wish
from bgphealth.fallback import leftovers, metrics, mptcp, pins, policies
from bgphealth.fallback.addresses import AddressKeeper
from bgphealth.fallback.changes import changes
from bgphealth.fallback.conntrack import Flusher
from bgphealth.fallback.foreign import Others
from bgphealth.fallback.gateways import Gateways, GatewaySearch, gateway_of
from bgphealth.fallback.mptcp import Endpoint, EndpointKeeper
from bgphealth.fallback.netlink import Interface, Netlink
from bgphealth.fallback.policies import PolicyRules
from bgphealth.fallback.tables import Applied, Plan, apply, plan, require_interfaces

SETTLE_S = 0.02
"""Changes come in bursts (a link that comes up, its addresses): look once for all of them."""

RECHECK_S = 5.0
"""How often to look although nothing was announced: the kernel does not tell of everything."""


_NOT_YET = "not looked up yet"


@dataclass(frozen=True, slots=True)
class Sources:
    """The address that each path has to probe from now; in `absent`, why a path has none.

    `unsafe` says why a path that has an address must not be probed all the same: its table could
    not be made, so that its probes might leave through another uplink. `gateways` is where each
    path leads.
    """

    addresses: Mapping[PathKey, Address]
    absent: Mapping[PathKey, str]
    unsafe: Mapping[PathKey, str]
    gateways: Gateways = field(default_factory=dict)

    def of(self, path: PathKey) -> Address | str:
        """Return what to probe a path from, or in words why there is nothing."""
        return self.unsafe.get(path) or self.on_link(path)

    def on_link(self, path: PathKey) -> Address | str:
        """Return the address that a path has, probed or not, or in words why it has none."""
        return self.addresses.get(path) or self.absent.get(path, _NOT_YET)

    def gateway(self, path: PathKey) -> Address | str:
        """Return whom a path leads to, or in words why that is nobody."""
        return gateway_of(self.gateways.get(path, _NOT_YET))


class UplinkWatch:
    """Looks at the kernel, mends tables and fallback defaults, and tells what it saw.

    Args:
        settings: the file.
        links: called with each uplink's link state (RFC 2863) after each look, must not block.
        sources: called with the probe sources after each look, must not block.
        applied: called after each look with what was changed in the kernel, and what could not be,
            must not block.
        keeper: shown the addresses of the host at each look; None where nobody cares.
    """

    def __init__(
        self,
        settings: Settings,
        links: Callable[[Mapping[str, bool]], None],
        sources: Callable[[Sources], None],
        applied: Callable[[Applied], None],
        keeper: AddressKeeper | None = None,
    ) -> None:
        self._settings = settings
        self._links = links
        self._sources = sources
        self._applied = applied
        self._keeper = keeper
        self._gateways = GatewaySearch(settings, ask=settings.fallback.enabled)
        self._ranks: Mapping[PathKey, Rank] = {}
        self._others = Others()
        self._changed = asyncio.Event()
        self.flusher: Flusher | None = None
        """Who is shown what is in use; None where connections are left alone."""
        self.endpoints: EndpointKeeper | None = None
        """Who keeps the MPTCP endpoints; None where they are left alone."""

    def order(self, ranks: Mapping[PathKey, Rank]) -> None:
        """Put the fallback defaults and pins in another order, and lead policies by it, soon.

        Never waits.
        """
        if ranks != self._ranks:
            self._ranks = ranks
            self._changed.set()

    async def require(self) -> None:
        """Look whether the interfaces are there, for somebody who can mend the file at once.

        Raises:
            ConfigurationError: one does not exist.
            HostError: the kernel does not tell.
        """
        async with Netlink() as netlink:
            require_interfaces(self._settings, await netlink.interfaces())

    async def start(self) -> None:
        """Look for the first time. What is wrong concerns its own uplink, and may pass."""
        try:
            async with Netlink() as netlink:
                if self._settings.fallback.enabled:
                    done = await leftovers.remove_families(self._settings, netlink)
                    if done:
                        self._applied(Applied(tuple(done), {}))
                await self._look(netlink)
        except BgphealthError as error:
            self._cannot_look(error)

    def look_soon(self) -> None:
        """Look as after a change: something else is wanted."""
        self._changed.set()

    async def run(self) -> None:
        """Look again after every change, and every `RECHECK_S`."""
        async with Netlink() as netlink, asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            if self.flusher is not None:
                group.create_task(self.flusher.run())
            while True:
                # Not wait_for: it may swallow a cancellation that comes with the change.
                with suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_S):
                        await self._changed.wait()
                    await asyncio.sleep(SETTLE_S)
                self._changed.clear()
                try:
                    await self._look(netlink)
                except BgphealthError as error:
                    self._cannot_look(error)

    def _cannot_look(self, error: BgphealthError) -> None:
        self._applied(Applied((), {uplink.name: error for uplink in self._settings.uplinks}))

    async def _follow(self) -> None:
        search = self._gateways
        routes = self._settings.fallback.enabled or search.needs_defaults
        async for _ in changes(routers=search.needs_routers, routes=routes):
            self._changed.set()

    async def _look(self, netlink: Netlink) -> None:
        interfaces = await netlink.interfaces()
        links = {
            uplink.name: uplink.interface in interfaces and interfaces[uplink.interface].up
            for uplink in self._settings.uplinks
        }
        # Before the tables: a link that is gone must not wait for them.
        self._links(links)
        if self._keeper is not None:
            await self._keeper.look(interfaces, netlink)
        gateways = await self._gateways.look(interfaces, netlink)
        wanted = plan(self._settings, interfaces, gateways)
        applied = Applied((), {})
        led = await self._policies(interfaces, wanted, netlink)
        if self._settings.fallback.enabled:
            whole = replace(wanted, rules=wanted.rules | led.rules)
            applied = await apply(self._settings, whole, netlink)
        failed = applied.failed
        unsafe = {p: str(failed[p.uplink]) for p in wanted.sources if p.uplink in failed}
        self._sources(Sources(wanted.sources, wanted.absent, unsafe, gateways))
        if self._settings.fallback.enabled:
            ranks = self._ranks
            written = await self._write_defaults(interfaces, gateways, netlink)
            pinned, unpinned = await self._write_pins(interfaces, gateways, netlink)
            is_moved = not any(ranks.get(p) is Rank.CARRIES for p in written.unwritten)
            if self.flusher is not None and is_moved:
                # Afterwards: new packets must not find the old way again.
                self.flusher.look(ranks, interfaces)
            # What a path cannot be probed for, or a link that is down, is said already.
            sayable = [path for path in wanted.sources if links[path.uplink]]
            applied = replace(
                written,
                done=(*applied.done, *written.done, *pinned),
                failed=applied.failed,
                unwritten={p: why for p, why in written.unwritten.items() if p in sayable},
                unmet=_in_words(unpinned, sayable, led.absent),
            )
        if self.endpoints is not None:
            endpoints = mptcp.plan(self._settings, interfaces, wanted.sources)
            applied = await self._keep(endpoints, applied, self.endpoints)
        self._applied(applied)

    async def _keep(
        self, wanted: Set[Endpoint], applied: Applied, keeper: EndpointKeeper
    ) -> Applied:
        """Return what was applied, with the endpoints; what they lack stops no probe."""
        try:
            return replace(applied, done=(*applied.done, *await keeper.look(wanted)))
        except BgphealthError as error:
            failed = {uplink.name: error for uplink in self._settings.uplinks}
            return replace(applied, failed={**failed, **applied.failed})

    async def _write_defaults(
        self, interfaces: Mapping[str, Interface], gateways: Gateways, netlink: Netlink
    ) -> Applied:
        """Return what was done, and why a path has no fallback default; neither stops a probe."""
        settings, come_first = self._settings, metrics.come_first(self._settings)
        families = settings.families if come_first else ()
        try:
            ours = await metrics.own(netlink)
            defaults = metrics.plan(settings, interfaces, gateways, self._ranks, ours)
            if come_first:
                seen = {family: await netlink.defaults(family) for family in families}
                defaults = metrics.ahead(defaults, seen, interfaces)
            written = await metrics.apply(settings, defaults, ours, netlink)
            news = [
                each
                for family in families
                for each in self._others.look(family, await netlink.defaults(family))
            ]
        except BgphealthError as error:
            paths = (PathKey(u.name, p.family) for u in settings.uplinks for p in u.paths)
            return Applied((), {}, dict.fromkeys(paths, str(error)))
        failed = {path: str(error) for path, error in written.failed.items()}
        unwritten = {**defaults.absent, **failed}
        return Applied(
            written.done,
            {},
            unwritten,
            beaten=defaults.beaten,
            others=tuple(news),
            present=frozenset(defaults.wanted.keys() - failed.keys()),
        )

    async def _write_pins(
        self, interfaces: Mapping[str, Interface], gateways: Gateways, netlink: Netlink
    ) -> tuple[list[str], Mapping[Pin, Mapping[PathKey, str]]]:
        """Return what was done, and what a pin lacks; neither stops a probe."""
        try:
            return await pins.write(self._settings, interfaces, gateways, self._ranks, netlink)
        except BgphealthError as error:
            paths = (PathKey(u.name, p.family) for u in self._settings.uplinks for p in u.paths)
            said = dict.fromkeys(paths, str(error))
            return [], dict.fromkeys(self._settings.sources.pins, said)

    async def _policies(
        self, interfaces: Mapping[str, Interface], wanted: Plan, netlink: Netlink
    ) -> PolicyRules:
        if not self._settings.sources.policies or not self._settings.fallback.enabled:
            return PolicyRules({}, {})
        there = {r for family in self._settings.families for r in await netlink.rules(family)}
        return policies.plan(self._settings, interfaces, wanted.sources, self._ranks, there)


def _in_words(
    unpinned: Mapping[Pin, Mapping[PathKey, str]],
    sayable: Collection[PathKey],
    unled: Mapping[Wish, str],
) -> Mapping[Wish, str]:
    """Return what pins lack, the same reason only once for each, and what policies do."""
    said = {
        pin: dict.fromkeys(why for path, why in lacking.items() if path in sayable)
        for pin, lacking in unpinned.items()
    }
    return {**{pin: "; ".join(whys) for pin, whys in said.items() if whys}, **unled}
