"""What bgpd and the kernel have, compared with what was announced.

An announcement counts when it is seen: in bgpd's table as it was announced, valid and, where no
better one of ours is there, selected; a default also in the kernel, with the right source. The
kernel alone proves nothing: our default and the ToR's own look the same there.

What differs is said in words for whoever reads them at night.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.settings import Address, Family, Prefix, Settings

HARMLESS_METRIC = 254 << 24
"""zebra takes the top byte of a kernel route's metric for its distance: from here on BGP's wins."""

OURS = "bgphealth"
"""The protocol of the fallback defaults."""


class Where(StrEnum):
    """Where an announcement was looked up."""

    BGPD = "bgpd"
    KERNEL = "kernel"


class State(StrEnum):
    """What became of a route.

    `UNUSED` is there as announced, but not valid or not selected. `STALE` is there although it is
    withdrawn. `DIFFERS` has other attributes, or (in the kernel) other next hops or source.
    """

    SEEN = "seen"
    MISSING = "missing"
    DIFFERS = "differs"
    UNUSED = "unused"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class BgpPath:
    """A path that the injector gave to bgpd.

    `next_hops` are one address, or two in IPv6 (RFC 2545). `communities` are as they are written,
    ``65101:1`` and, large ones, ``65101:1:1``; one that FRR has a name for is its number all the
    same. `is_valid` means that the
    next hop is resolved, `is_selected` that it is the best path or one of its multipath.
    """

    path_id: int
    next_hops: tuple[Address, ...]
    local_pref: int | None
    communities: frozenset[str]
    is_valid: bool
    is_selected: bool

    def __str__(self) -> str:
        """Return the path in words."""
        next_hop = " and ".join(str(address) for address in self.next_hops)
        return _in_words(next_hop, self.local_pref, self.communities)


@dataclass(frozen=True, slots=True)
class BgpRoute:
    """One prefix in bgpd's table: the injector's paths, and which path is best, in words."""

    paths: tuple[BgpPath, ...] = ()
    best: str = "no path is best"


class Leg(NamedTuple):
    """One next hop of a route in the kernel. `gateway` is None for one on the link."""

    interface: str
    gateway: Address | None

    def __str__(self) -> str:
        """Return it in the words of ip(8)."""
        device = f"dev {self.interface}"
        return device if self.gateway is None else f"via {self.gateway} {device}"


@dataclass(frozen=True, slots=True)
class KernelDefault:
    """A default in the kernel's main table, with the next hops whose link is up.

    `legs` is None where the kernel does not say (``net.ipv4.nexthop_compat_mode`` is 0).
    """

    protocol: str
    metric: int
    source: Address | None
    legs: tuple[Leg, ...] | None

    def __str__(self) -> str:
        """Return the route in words."""
        legs = ["next hops unknown"] if self.legs is None else [str(leg) for leg in self.legs]
        source = "no src" if self.source is None else f"src {self.source}"
        return f"{', '.join(legs)}, {source}, proto {self.protocol}, metric {self.metric}"


@dataclass(frozen=True, slots=True)
class KernelView:
    """The defaults of one family, and whether the host has the address of their source."""

    defaults: tuple[KernelDefault, ...]
    has_source: bool


class Tier(StrEnum):
    """Whose default the kernel uses.

    `INJECTED` is ours, `TOR` the ToR's own, both installed by FRR; `FALLBACK` is a route of the
    kernel that stands behind BGP's, `FOREIGN` one that does not.
    """

    INJECTED = "injected"
    TOR = "tor"
    FALLBACK = "fallback"
    FOREIGN = "foreign"
    NONE = "none"


class Tiered(NamedTuple):
    """The tier that serves a family, and the default in words."""

    tier: Tier
    default: str


@dataclass(frozen=True, slots=True)
class Drift:
    """A route that is not as it was announced, and in `hint` where to look, if that is known."""

    key: RouteKey
    where: Where
    state: State
    expected: str
    found: str
    hint: str = ""


Expected: TypeAlias = Mapping[RouteKey, Announcement | None]
"""What ExaBGP has acknowledged; None for a withdrawal."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The state of each route that is announced or was found, and what is not as it should be."""

    states: Mapping[RouteKey, State]
    drifts: tuple[Drift, ...]


def in_bgpd(
    expected: Expected,
    undecided: Set[RouteKey],
    seen: Mapping[Prefix, BgpRoute],
) -> Compared:
    """Compare what is expected with bgpd's table, for the prefixes in `seen`.

    A path of the injector whose key is neither expected nor `undecided` is stale, too.
    """
    states: dict[RouteKey, State] = {}
    drifts: list[Drift] = []
    wanted_for: dict[Prefix, dict[RouteKey, Announcement]] = {}
    for key, announcement in expected.items():
        if announcement is not None:
            wanted_for.setdefault(key.prefix, {})[key] = announcement
    for prefix, route in seen.items():
        found = {RouteKey(prefix, path.path_id): path for path in route.paths}
        wanted = wanted_for.get(prefix, {})
        preferred = _preferred(wanted, found)
        for key, announcement in wanted.items():
            drift = _drift(announcement, found.get(key), route.best, preferred)
            states[key] = State.SEEN if drift is None else drift.state
            if drift is not None:
                drifts.append(drift)
        for key, path in found.items():
            if key not in wanted and key not in undecided:
                states[key] = State.STALE
                known = "withdrawn" if key in expected else "nothing, it was never announced"
                drifts.append(Drift(key, Where.BGPD, State.STALE, known, str(path)))
    return Compared(states, tuple(drifts))


def tier(route: BgpRoute, view: KernelView) -> Tiered:
    """Return which tier serves, from the default in bgpd's table and those of the kernel."""
    best = used_of(view.defaults)
    if best is None:
        return Tiered(Tier.NONE, "no default")
    if best.protocol == "bgp":
        # bgpd never makes a multipath of ours and a ToR's: they differ in local preference.
        ours = any(path.is_selected for path in route.paths)
        return Tiered(Tier.INJECTED if ours else Tier.TOR, str(best))
    behind = best.metric >= HARMLESS_METRIC
    return Tiered(Tier.FALLBACK if behind else Tier.FOREIGN, str(best))


def used_of(defaults: Iterable[KernelDefault]) -> KernelDefault | None:
    """Return the default that the kernel uses: of those with a link that is up, the lowest.

    Of two of one metric, the first in the kernel's order.
    """
    alive = [default for default in defaults if default.legs is None or default.legs]
    return min(alive, key=lambda default: default.metric, default=None)


def in_kernel(
    settings: Settings, family: Family, used: Collection[Announcement], view: KernelView
) -> Drift | None:
    """Compare the default that the kernel uses with the announced ones that bgpd has selected."""
    expected = frozenset(_legs(settings, used))
    source = settings.host.source_for(family)
    words = [str(leg) for leg in sorted(expected, key=lambda leg: leg.interface)]
    if source is not None:
        words.append(f"src {source}")
    key = RouteKey(family.default_prefix)
    said = ", ".join((*words, "proto bgp"))
    # Our own are there all the time, below all others: they say nothing of FRR's.
    others = [default for default in view.defaults if default.protocol != OURS]
    best = min(others, key=lambda default: default.metric, default=None)
    found = str(best or "no default")
    if best is None and view.defaults:
        fallback = min(view.defaults, key=lambda default: default.metric)
        found = f"no default but the fallback, {fallback}"
    if not view.has_source:
        # Linux removes the IPv4 default with the address, and leaves the IPv6 one its src.
        found += f"; {source} is not an address of this host"
    if best is None:
        state = State.MISSING
    elif (
        view.has_source
        and best.protocol == "bgp"
        and source in (None, best.source)
        and (best.legs is None or _same(expected, best.legs))
    ):
        return None
    else:
        state = State.DIFFERS
    hint = _hint(settings, family, best, view)
    return Drift(key, Where.KERNEL, state, said, found, hint)


def _preferred(
    wanted: Mapping[RouteKey, Announcement], found: Mapping[RouteKey, BgpPath]
) -> int | None:
    """Return the best local preference of what is announced and can be used."""
    usable = (it.local_pref for key, it in wanted.items() if key in found and found[key].is_valid)
    return max((preference for preference in usable if preference is not None), default=None)


def _drift(
    announcement: Announcement, path: BgpPath | None, best: str, preferred: int | None
) -> Drift | None:
    def drift(state: State, expected: str, found: str, hint: str = "") -> Drift:
        return Drift(announcement.key, Where.BGPD, state, expected, found, hint)

    said = _in_words(
        str(announcement.next_hop or "self"),
        announcement.local_pref,
        _communities(announcement),
    )
    if path is None:
        return drift(State.MISSING, said, f"no path from ExaBGP; {best}", _REFUSED)
    if not _is_as_announced(announcement, path):
        return drift(State.DIFFERS, said, str(path), _REFUSED)
    if not path.is_valid:
        hint = f"show bgp nexthop {announcement.next_hop}"
        return drift(
            State.UNUSED, "a valid path", f"next hop {path.next_hops[0]} inaccessible", hint
        )
    if not path.is_selected and announcement.local_pref in (None, preferred):
        hint = "another path is preferred, or maximum-paths is too small"
        return drift(State.UNUSED, "the best path, or one of the multipath", best, hint)
    return None


_REFUSED = "a route-map or prefix-list of bgpd, inbound from ExaBGP"


def _is_as_announced(announcement: Announcement, path: BgpPath) -> bool:
    return (
        (announcement.next_hop is None or announcement.next_hop in path.next_hops)
        and (announcement.local_pref is None or announcement.local_pref == path.local_pref)
        and _communities(announcement) == path.communities
    )


def _communities(announcement: Announcement) -> frozenset[str]:
    """Return those of both kinds: what else a ToR gets to see is set on the way to it."""
    return frozenset(map(str, (*announcement.communities, *announcement.large_communities)))


def _in_words(next_hop: str, local_pref: int | None, communities: Set[str]) -> str:
    words = [f"next hop {next_hop}"]
    if local_pref is not None:
        words.append(f"local preference {local_pref}")
    words.append(f"communities {' '.join(sorted(communities))}" if communities else "no community")
    return ", ".join(words)


def _legs(settings: Settings, used: Collection[Announcement]) -> Iterator[Leg]:
    """Return the legs that announced defaults have in the kernel.

    A next hop that is not the neighbor itself is resolved to an address on the link that nobody
    wrote down: then the interface is all that is known.
    """
    uplinks = {uplink.number: uplink for uplink in settings.uplinks}
    for announcement in used:
        if (uplink := uplinks.get(announcement.key.path_id)) is not None:
            neighbors = {path.neighbor for path in uplink.paths}
            on_link = announcement.next_hop in neighbors
            yield Leg(uplink.interface, announcement.next_hop if on_link else None)


def _same(expected: Set[Leg], found: Sequence[Leg]) -> bool:
    known = {leg.interface for leg in expected if leg.gateway is None}
    return expected == {
        Leg(leg.interface, None) if leg.interface in known else leg for leg in found
    }


def _hint(settings: Settings, family: Family, best: KernelDefault | None, view: KernelView) -> str:
    ip = "ip" if family is Family.IPV4 else "ipv6"
    again = f"zebra tries again with new routes only: clear bgp {settings.host.injector}"
    if not view.has_source:
        return f"add the address to lo; {again}"
    if best is None:
        return f"show {ip} route {family.default_prefix}; {again}"
    if best.protocol != "bgp":
        below = f"with a metric below {HARMLESS_METRIC}"
        return f"somebody else's default; {below} it takes FRR's out of the kernel"
    if settings.host.source_for(family) not in (None, best.source):
        return f"zebra's route-map sets src: show {ip} protocol"
    return f"compare with zebra: show {ip} route {family.default_prefix}"
