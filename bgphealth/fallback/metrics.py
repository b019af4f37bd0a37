"""The fallback defaults: one per uplink and family in the main table, below every other default.

A pin has the same for another prefix: a route per uplink, with the source that is asked for.

They are there before trouble, and stay when this program, ExaBGP or FRR die. A metric says who
comes first: the rank (`core.fallback_order`), then the number of the uplink. As it depends on
nothing else, no other uplink's default is ever in the way when one moves: the new one is added,
then the old one is deleted, and there is a default at every moment.

In local mode they are no last resort: metrics are counted from 0, so that the one of the uplink in
use comes before everybody else's (`foreign`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from bgphealth.core.errors import BgphealthError
from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    Address,
    Family,
    Mode,
    Pin,
    Prefix,
    Settings,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.core.truth import HARMLESS_METRIC, OURS, KernelDefault, Leg
from bgphealth.fallback import foreign
from bgphealth.fallback.foreign import Copy
from bgphealth.fallback.gateways import Gateways
from bgphealth.fallback.netlink import MAIN, Interface, Netlink, Route
from bgphealth.fallback.tables import is_beside_link, link_address

_BASES = {Mode.FRR: HARMLESS_METRIC, Mode.DIRECT: 0, Mode.LOCAL: 0}
"""By mode: what the metrics are counted from. Beside FRR, BGP's default must win (zebra)."""

_OF_PINS = HARMLESS_METRIC
"""In every mode: whoever else has a route for that very prefix knows more of it."""

_RANK_BITS = 16  # The numbers of uplinks have 14.
_SPARE = len(Rank)
"""Where a default is for the moment in which its place is being cleared."""


def metric(mode: Mode, number: int, rank: int = Rank.CARRIES, *, pin: bool = False) -> int:
    """Return the metric of an uplink's fallback default, or of its route for a pin."""
    return (_OF_PINS if pin else _BASES[mode]) + (rank << _RANK_BITS) + number


@dataclass(frozen=True, slots=True)
class Defaults:
    """The fallback default, or the pin's route, that each path shall have; in `absent`, why not.

    `kept` is what is there of paths whose default cannot be told: better than nothing. Where
    they come first, `first` is what must be put before somebody else's, and `beaten` says which
    path's default is not used although it should be.
    """

    wanted: Mapping[PathKey, Route]
    absent: Mapping[PathKey, str]
    kept: frozenset[Route]
    first: Copy | None = None
    beaten: Mapping[PathKey, str] = field(default_factory=dict)

    @property
    def all(self) -> set[Route]:
        """Everything that shall be there."""
        first = set() if self.first is None else {self.first.route}
        return {*self.wanted.values(), *self.kept, *first}

    @property
    def each(self) -> Mapping[PathKey, Route | str]:
        """Return what each path shall have, or in words why it has nothing."""
        return {**self.wanted, **self.absent}


def plan(  # noqa: PLR0913 - all that a route of ours is made of
    settings: Settings,
    interfaces: Mapping[str, Interface],
    gateways: Gateways,
    ranks: Mapping[PathKey, Rank] | None,
    ours: Set[Route],
    *,
    pin: Pin | None = None,
) -> Defaults:
    """Return what there should be, given what is there of `ours`: of defaults, or of that pin.

    Args:
        settings: the file.
        interfaces: those of the host.
        gateways: where each path leads.
        ranks: by path; one without a verdict has none, and does not come before those that carry,
            nor before somebody else's default. None where nobody knows: each is taken for one that
            carries. What is there stays where it is.
        ours: what is there.
        pin: the pin, None for the defaults.
    """
    if pin is None and not settings.fallback.defaults:
        return Defaults({}, {}, frozenset())
    wanted: dict[PathKey, Route] = {}
    absent: dict[PathKey, str] = {}
    kept: set[Route] = set()
    addresses = {a.ip for interface in interfaces.values() for a in interface.addresses}
    first = come_first(settings)
    knows, ranks = ranks is not None, ranks or {}
    carried = {key.family for key, rank in ranks.items() if rank is Rank.CARRIES}
    for uplink in settings.uplinks:
        interface = interfaces.get(uplink.interface)
        for path in uplink.paths:
            prefix = path.family.default_prefix if pin is None else pin.to
            if Family.of(prefix) is not path.family:
                continue
            key = PathKey(uplink.name, path.family)
            there = _of(settings, uplink, prefix, interface, ours)
            leg = gateways[key]
            given = _given(settings, path) if pin is None else pin.source
            source = (
                leg if isinstance(leg, str) else _source(given, path, interface, leg, addresses)
            )
            if interface is None or isinstance(source, str) or isinstance(leg, str):
                absent[key] = str(source)
                # Without the pin the default serves, which follows the verdicts.
                kept |= there if pin is None else set()
            elif not interface.up and not there:
                # The kernel takes none for a link that was put down.
                absent[key] = f"{uplink.interface} is down"
            else:
                spare = knows and (first or path.family in carried)
                rank = ranks.get(key, Rank.WORKS if spare else Rank.CARRIES)
                place = metric(settings.mode, uplink.number, rank, pin=pin is not None)
                if key not in ranks and there and not (first and path.family in carried):
                    place = min(route.metric for route in there)
                onlink = is_beside_link(path, interface, leg)
                index = interface.index
                wanted[key] = Route(MAIN, prefix, index, leg.gateway, source, place, onlink)
    if first:
        # One that cannot be told must not come before one that can.
        told = {
            new.family
            for new in wanted.values()
            if any((old.family, old.interface) == (new.family, new.interface) for old in ours)
        }
        kept = {route for route in kept if route.family not in told}
    return Defaults(wanted, absent, frozenset(kept))


def ahead(
    defaults: Defaults,
    seen: Mapping[Family, Sequence[KernelDefault]],
    interfaces: Mapping[str, Interface],
) -> Defaults:
    """Return them with what it takes to come before somebody else's, as far as that can be.

    Args:
        defaults: those of a mode in which they come first.
        seen: all defaults of each family, in the kernel's order.
        interfaces: those of the host.
    """
    first: Copy | None = None
    beaten: dict[PathKey, str] = {}
    for family, there in seen.items():
        ours = {*defaults.wanted.values(), *(r for r in defaults.kept if not r.is_first)}
        used = min((r for r in ours if r.family is family), key=_by_metric, default=None)
        if used is None or used.metric >> _RANK_BITS != Rank.CARRIES:
            continue  # Nobody is put first before a verdict.
        first = first or foreign.copy_of(used, there, interfaces.values())
        if (other := foreign.in_the_way(used, there)) is not None:
            paths = (path for path, route in defaults.wanted.items() if route == used)
            beaten.update(dict.fromkeys(paths, f"somebody else's default comes first: {other}"))
    return replace(defaults, first=first, beaten=beaten)


def come_first(settings: Settings) -> bool:
    """Return whether they are the host's defaults, and no last resort: no FRR installs any."""
    return settings.mode is not Mode.FRR and settings.fallback.defaults


async def own(netlink: Netlink) -> set[Route]:
    """Return all fallback defaults that are there.

    Raises:
        HostError: the kernel does not tell.
    """
    return {route for route in await own_in_main(netlink) if not is_of_pin(route)}


async def own_in_main(netlink: Netlink) -> set[Route]:
    """Return the same, and the routes of pins.

    Raises:
        HostError: the kernel does not tell.
    """
    return {route for family in Family for route in await netlink.own_in_main(family)}


def is_of_pin(route: Route) -> bool:
    """Return whether a route of ours in the main table is no default."""
    return route.prefix.prefixlen > 0


@dataclass(frozen=True, slots=True)
class Written:
    """What was changed, in words, and why a default that was wanted is not there."""

    done: tuple[str, ...]
    failed: Mapping[PathKey, BgphealthError]


async def apply(
    settings: Settings, defaults: Defaults, ours: Set[Route], netlink: Netlink
) -> Written:
    """Add what is wanted, then delete what is ours and is not.

    Raises:
        HostError: one could not be deleted.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    failed: dict[PathKey, BgphealthError] = {}
    stale = ours - defaults.all
    for key, route in defaults.wanted.items():
        if route in ours:
            continue
        try:
            stale -= await _add(settings, route, stale, netlink)
        except BgphealthError as error:
            failed[key] = await _explained(error, route, netlink)
        else:
            done.append(f"added {in_words(route)}")
    if (first := defaults.first) is not None and (first.is_buried or first.route not in ours):
        try:
            await _put_first(first.route, ours, netlink)
        except BgphealthError as error:
            copied = (k for k, r in defaults.wanted.items() if replace(r, metric=0) == first.route)
            failed.update(dict.fromkeys(copied, error))
        else:
            done.append(f"put {in_words(first.route)} before somebody else's")
    for route in sorted(stale, key=lambda route: (route.family, route.metric)):
        if not _stays(route, defaults.wanted, failed):
            await netlink.delete_route(route)
            done.append(f"deleted {in_words(route)}")
    return Written(tuple(done), failed)


async def _put_first(route: Route, ours: Set[Route], netlink: Netlink) -> None:
    if route in ours:
        await netlink.delete_route(route)
    await netlink.put_first(route)


def _stays(
    old: Route, wanted: Mapping[PathKey, Route], failed: Mapping[PathKey, BgphealthError]
) -> bool:
    """Return whether an old one stays because the new one cannot be there.

    Not where it would come before what is there and shall come before the new one.
    """
    there = [route for path, route in wanted.items() if path not in failed]
    return any(
        (new.family, new.interface) == (old.family, old.interface)
        and not any(r.prefix == new.prefix and old.metric < r.metric < new.metric for r in there)
        for new in map(wanted.get, failed)
        if new is not None
    )


def in_words(route: Route) -> str:
    """Return a fallback default, or a route of a pin, in words."""
    what = "pin" if is_of_pin(route) else "fallback"
    where = "on the link" if route.gateway is None else f"via {route.gateway}"
    return f"{what} {route.prefix} {where} metric {route.metric}"


def _by_metric(route: Route) -> int:
    return route.metric


def _of(
    settings: Settings,
    uplink: UplinkSettings,
    prefix: Prefix,
    interface: Interface | None,
    routes: Set[Route],
) -> set[Route]:
    """Return those of an uplink; with its number on another link is another file's."""
    pin = prefix.prefixlen > 0
    places = {metric(settings.mode, uplink.number, rank, pin=pin) for rank in Rank}
    return {
        route
        for route in routes
        if route.prefix == prefix
        and route.metric in places
        and interface is not None
        and route.interface == interface.index
    }


def _given(settings: Settings, path: UplinkPath) -> Address | None:
    """Return the source that the file gives to a fallback default; None for the link's own."""
    given = settings.fallback.source_for(path.family)
    if given is None and path.neighbor is None:
        return path.probe_source  # An unnumbered link has no other address that is its own.
    return given


def _source(
    given: Address | None,
    path: UplinkPath,
    interface: Interface | None,
    leg: Leg,
    addresses: Set[Address],
) -> Address | str:
    """Return the source of a route, or in words why it has none now."""
    if interface is None or given is None:
        return link_address(path, interface, leg)
    return given if given in addresses else f"{given} is not an address of this host"


def _has_same_key(one: Route, other: Route) -> bool:
    """Return whether the kernel cannot hold both."""
    return (one.prefix, one.metric) == (other.prefix, other.metric)


async def _add(settings: Settings, route: Route, stale: Set[Route], netlink: Netlink) -> set[Route]:
    """Add one; return what of `stale` has gone by that."""
    in_place = next((r for r in stale if _has_same_key(r, route)), None)
    if in_place is not None:
        return await _replace(settings, in_place, route, stale, netlink)
    await netlink.add_route(route)
    return set()


async def _replace(
    settings: Settings, old: Route, new: Route, stale: Set[Route], netlink: Netlink
) -> set[Route]:
    """Put another gateway or source in the same place, with one of them there all the time."""
    pin = is_of_pin(new)
    number = (new.metric - metric(settings.mode, 0, pin=pin)) & ((1 << _RANK_BITS) - 1)
    spare = replace(new, metric=metric(settings.mode, number, _SPARE, pin=pin))
    # An earlier run may have been killed here.
    left = {route for route in stale if _has_same_key(route, spare)}
    for route in left:
        await netlink.delete_route(route)
    await netlink.add_route(spare)
    await netlink.delete_route(old)
    await netlink.add_route(new)
    await netlink.delete_route(spare)
    return {old, *left}


async def _explained(error: BgphealthError, route: Route, netlink: Netlink) -> BgphealthError:
    """Say whose route is in the place of ours."""
    what = "route" if is_of_pin(route) else "default"
    for other in await netlink.routes_of(route.prefix):
        if other.metric == route.metric and other.protocol != OURS:
            return type(error)(f"somebody else's {what} has its metric: {other}")
    return error
