"""The routes of pins: what is opened towards a prefix has the source that the file says.

A pin is a route for its prefix per uplink, in the main table and in the order of the uplinks'
health, as the fallback defaults are (`metrics`). Anybody else's route for that prefix or for a part
of it is preferred: it knows more of the way there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Pin, Settings
from bgphealth.fallback import metrics
from bgphealth.fallback.gateways import Gateways
from bgphealth.fallback.netlink import Interface, Netlink, Route


def plan(
    settings: Settings,
    interfaces: Mapping[str, Interface],
    gateways: Gateways,
    ranks: Mapping[PathKey, Rank] | None,
    ours: Set[Route],
) -> Iterator[tuple[Pin, set[Route], metrics.Defaults]]:
    """Yield each pin, what is there of it, and what there should be."""
    for pin in settings.sources.pins if settings.fallback.enabled else ():
        there = {route for route in ours if route.prefix == pin.to}
        yield pin, there, metrics.plan(settings, interfaces, gateways, ranks, there, pin=pin)


async def write(
    settings: Settings,
    interfaces: Mapping[str, Interface],
    gateways: Gateways,
    ranks: Mapping[PathKey, Rank],
    netlink: Netlink,
) -> tuple[list[str], dict[Pin, dict[PathKey, str]]]:
    """Make the routes of pins what they should be; return what was done, and what could not be.

    Raises:
        HostError: the kernel does not tell, or one could not be deleted.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    lacking: dict[Pin, dict[PathKey, str]] = {}
    ours = {route for route in await metrics.own_in_main(netlink) if metrics.is_of_pin(route)}
    for pin, there, wanted in plan(settings, interfaces, gateways, ranks, ours):
        written = await metrics.apply(settings, wanted, there, netlink)
        done += written.done
        failed = {path: str(error) for path, error in written.failed.items()}
        lacking[pin] = {**wanted.absent, **failed}
    pinned = {pin.to for pin in settings.sources.pins}
    for route in sorted(ours, key=lambda route: route.metric):
        if route.prefix not in pinned:
            await netlink.delete_route(route)
            done.append(f"deleted {metrics.in_words(route)}")
    return done, lacking
