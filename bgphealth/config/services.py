"""What a service says of others: which uplinks may carry it, and which services it requires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.config.fields import label
from bgphealth.config.problems import there_is_no
from bgphealth.core.communities import Community
from bgphealth.core.guard import DEGRADED, HEALTHY
from bgphealth.core.settings import (
    DEGRADED_COMMUNITY,
    DRAIN_COMMUNITY,
    LOOPBACK,
    AddressUse,
    Family,
    InjectorLoss,
    OnDown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import Service
    from bgphealth.config.problems import KeyPath


def carriers(parts: Parts) -> Iterator[Finding]:
    """Refuse uplinks that are none, that lack a family, or that are too few."""
    for name, service in parts.services.items():
        at: KeyPath = ("services", name, "uplinks")
        for index in range(len(service.uplinks or ())):
            yield from _name(at, service.uplinks or [], index, parts.uplink_names)
        if not parts.whole_uplinks or set(service.uplinks or ()) - set(parts.uplinks):
            continue
        may = {n: u for n, u in parts.uplinks.items() if n in (service.uplinks or parts.uplinks)}
        for index, prefix in enumerate(service.prefixes):
            family = Family.of(prefix)
            count = sum(family in uplink.families for uplink in may.values())
            if not count and family in parts.families:
                yield (
                    ("services", name, "prefixes", index),
                    f"{prefix}: none of the uplinks that may carry it has {label(family)}",
                )
            elif service.min_uplinks is not None and 0 < count < service.min_uplinks:
                yield (
                    ("services", name, "min_uplinks"),
                    (
                        f"{service.min_uplinks} can never be up: the number of uplinks that may "
                        f"carry {label(family)} prefixes of it is {count}"
                    ),
                )


def required(parts: Parts) -> Iterator[Finding]:
    """Refuse required services that are none, or that require the same one in turn."""
    for name, service in parts.services.items():
        at: KeyPath = ("services", name, "requires")
        for index, other in enumerate(service.requires):
            if other == LOOPBACK:
                yield (*at, index), "the host loopback has no checks and is always up: remove it"
            else:
                yield from _name(at, service.requires, index, parts.service_names)
        if (round_ := _way_back(parts.services, name)) is not None:
            yield at, f"{' requires '.join((name, *round_))}: none of them could ever be up"


def addresses(parts: Parts) -> Iterator[Finding]:
    """Refuse to add an address where there is none, or for bgpd, which would not wait for us."""
    for name, service in parts.services.items():
        at: KeyPath = ("services", name, "address")
        if service.address is not AddressUse.ADD:
            continue
        if not any(prefix.prefixlen == prefix.max_prefixlen for prefix in service.prefixes):
            yield at, "there is no address to add: no prefix of it is a /32 or a /128"
        if service.on_injector_loss is InjectorLoss.KEEP and not parts.is_direct:
            yield (
                at,
                (
                    "with on_injector_loss: keep bgpd announces it without bgphealth, so the "
                    "address must not depend on bgphealth: use expect, and have the host's own "
                    "network configuration add it"
                ),
            )


def attributes(parts: Parts) -> Iterator[Finding]:
    """Refuse communities that would steer, and degraded paths that are no worse than clean ones."""
    ours = _steering(parts)
    for name, service in parts.services.items():
        at: KeyPath = ("services", name, "announce", "communities")
        for index, community in enumerate(service.announce.communities):
            if community in ours:
                yield (
                    (*at, index),
                    (
                        f"{community} steers services to {ours[community]} inside this host, and "
                        "never leaves it: choose another number"
                    ),
                )
            elif community in service.announce.communities[:index]:
                yield (*at, index), f"{community} is given twice"
        worse, normal = service.degraded_export, service.export
        if worse is not None:
            more, less = (worse.prepend, worse.med or 0), (normal.prepend, normal.med or 0)
            if more[0] < less[0] or more[1] < less[1] or more == less:
                yield (
                    ("services", name, "on_degraded"),
                    (
                        f"is no worse than what a clean uplink announces (prepend {less[0]}, med "
                        f"{less[1]}): give a larger prepend or med, or withdraw"
                    ),
                )


def degraded_numbers(parts: Parts) -> Iterator[Finding]:
    """Demand room for the communities of degraded uplinks, where they are used."""
    if parts.is_direct or not any(s.on_degraded for s in parts.services.values()):
        return
    names = {number: name for name, number in parts.number_of.items()}
    for number, name in names.items():
        above = number + DEGRADED_COMMUNITY
        if above in names or above >= DRAIN_COMMUNITY:
            least = f"which must be below {DRAIN_COMMUNITY}"
            whose = f"which is {names[above]}'s number" if above in names else least
            yield (
                ("uplinks", name, "number"),
                (
                    f"with on_degraded {name} has the communities {number} and {above} as well, "
                    f"{whose}: choose another number"
                ),
            )


def guarded(parts: Parts) -> Iterator[Finding]:
    """Refuse what guarding cannot be done without, or with."""
    for name, service in parts.services.items():
        at: KeyPath = ("services", name)
        if service.on_down is OnDown.GUARDED and parts.is_direct:
            yield (
                (*at, "on_down"),
                (
                    "guarded is for mode frr only: there is no bgpd on this host that knows who "
                    "else announces the service; degrade goes without"
                ),
            )
        if service.on_down is OnDown.WITHDRAW:
            continue
        for index, large in enumerate(service.announce.large_communities):
            if large.value1 in (HEALTHY, DEGRADED):
                yield (
                    (*at, "announce", "large_communities", index),
                    (
                        f"{large} looks like the mark of on_down: {service.on_down}, which has "
                        f"{HEALTHY} or {DEGRADED} in the middle: choose another number"
                    ),
                )


def _steering(parts: Parts) -> dict[Community, str]:
    """Return the communities that steer to each uplink: clean or degraded, drained, down or not."""
    if parts.host is None or parts.is_direct:
        return {}
    asn = parts.host.community_asn or parts.host.asn
    return {
        Community(asn, number + degraded + drained): name
        for name, number in parts.number_of.items()
        for degraded in (0, DEGRADED_COMMUNITY)
        for drained in range(0, 4 * DRAIN_COMMUNITY, DRAIN_COMMUNITY)
    }


def _way_back(services: dict[str, Service], name: str) -> list[str] | None:
    """Return the names from a service over what it requires back to itself, if that leads there."""
    ways, seen = [[other] for other in services[name].requires], set[str]()
    for way in ways:
        if way[-1] == name:
            return way
        if way[-1] in services and way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, other] for other in services[way[-1]].requires]
    return None


def _name(at: KeyPath, given: list[str], index: int, known: tuple[str, ...]) -> Iterator[Finding]:
    """Refuse a name that nothing has, or that was given before."""
    name = given[index]
    if name not in known:
        yield (*at, index), there_is_no(name, known)
    elif name in given[:index]:
        yield (*at, index), f"{name} is given twice"
