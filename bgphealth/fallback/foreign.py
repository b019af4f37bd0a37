"""Everybody else's defaults in the main table: in local mode ours has to win without touching them.

Nearly all have a metric that ours is below: NetworkManager's (100 and up), systemd-networkd's
(1024), the kernel's from a router advertisement (1024). dhclient's has none, which in IPv4 is the
metric 0 (in IPv6 the kernel makes 1024 of it). Below 0 there is nothing, but the kernel has room
for several routes of that metric as long as they differ, and takes the first one. So a copy of ours
is put before it, for as long as it is there and leads elsewhere.

Between defaults of one metric the kernel also goes by what it knows of the gateways as neighbors
(`fib_select_default`), and would change from one to the other every few seconds. It does so between
routes of the same scope only: the copy has the scope ``site``, which means nothing else to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bgphealth.core.settings import Family
from bgphealth.core.truth import OURS, KernelDefault, Leg, used_of
from bgphealth.fallback.netlink import Interface, Route


@dataclass(frozen=True, slots=True)
class Copy:
    """The `route` that has to come before what has no metric; `is_buried` when something does."""

    route: Route
    is_buried: bool


def copy_of(
    used: Route, defaults: Sequence[KernelDefault], interfaces: Collection[Interface]
) -> Copy | None:
    """Return what must be put before somebody else's IPv4 default, if anything must.

    Args:
        used: the default of ours that shall be used.
        defaults: all defaults of the family, in the kernel's order.
        interfaces: those of the host.
    """
    if used.family is not Family.IPV4:
        return None
    unbeaten = [default for default in defaults if not default.metric]
    names = {interface.index: interface.name for interface in interfaces}
    same_way = (Leg(names.get(used.interface, ""), used.gateway),)
    if not any(default.protocol != OURS and default.legs != same_way for default in unbeaten):
        return None
    return Copy(replace(used, metric=0), is_buried=unbeaten[0].protocol != OURS)


def in_the_way(used: Route, defaults: Iterable[KernelDefault]) -> KernelDefault | None:
    """Return somebody else's default that the kernel takes instead of ours, if there is one."""
    better = (d for d in defaults if d.protocol != OURS and 0 < d.metric < used.metric)
    return min(better, key=lambda default: default.metric, default=None)


class News(NamedTuple):
    """Somebody else's default appeared, or is gone; in words, with the one that is used now."""

    family: Family
    default: str
    is_there: bool
    used: str


class Others:
    """Tells when somebody else's default appears or goes."""

    def __init__(self) -> None:
        self._known: dict[Family, list[KernelDefault]] = {}

    def look(self, family: Family, defaults: Sequence[KernelDefault]) -> list[News]:
        """Return what is new since the last look, given all defaults in the kernel's order."""
        before = self._known.get(family)
        theirs = [default for default in defaults if default.protocol != OURS]
        self._known[family] = now = [_as_it_was(default, before or ()) for default in theirs]
        if before is None:
            return []
        used = used_of(defaults)
        in_words = "none" if used is None else str(used)
        return [
            *(
                News(family, str(it), is_there=True, used=in_words)
                for it in now
                if it not in before
            ),
            *(
                News(family, str(it), is_there=False, used=in_words)
                for it in before
                if it not in now
            ),
        ]


def _as_it_was(default: KernelDefault, before: Iterable[KernelDefault]) -> KernelDefault:
    """Return a default with the legs that it had, when all that it has lost is the carrier."""
    if default.legs != ():
        return default
    return next((old for old in before if replace(old, legs=()) == default), default)
