"""What must hold of `sources`: pins and policies that could not do what they say are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.config.fallback import LARGEST_RULE_PRIORITY
from bgphealth.config.fields import label
from bgphealth.config.problems import there_is_no
from bgphealth.core.settings import (
    POLICY_RULES,
    AddressUse,
    Family,
    Pin,
    SourcePolicy,
    SourceSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import SourcePin, SourceRule, Sources
    from bgphealth.config.problems import KeyPath
    from bgphealth.core.settings import Address

_LAST_PRIORITY = LARGEST_RULE_PRIORITY - POLICY_RULES - 2
"""A policy has up to three rules, one behind the other."""


def settings(given: Sources) -> SourceSettings:
    """Return the section as it is used."""
    return SourceSettings(
        pins=tuple(Pin(pin.to, pin.source) for pin in given.pins),
        policies=tuple(
            SourcePolicy(policy.source, policy.uplink, policy.strict) for policy in given.policies
        ),
    )


def written(parts: Parts) -> Iterator[Finding]:
    """Refuse what would have no effect: nothing is written."""
    if parts.fallback is None or parts.fallback.enabled:
        return
    for key, given in (("pins", parts.pins), ("policies", parts.policies)):
        if given:
            yield ("sources", key), "has no effect: fallback.enabled is false, nothing is written"


def pins(parts: Parts) -> Iterator[Finding]:
    """Refuse pins that nothing could follow, or whose answers would not come back."""
    for index, pin in parts.pins.items():
        at: KeyPath = ("sources", "pins", index)
        family = Family.of(pin.to)
        if Family.of(pin.source) is not family:
            yield (
                (*at, "from"),
                f"{pin.source} cannot be a source for {pin.to}, which is {label(family)}",
            )
        elif parts.whole_uplinks and family not in parts.families:
            yield (*at, "to"), f"{pin.to}: no uplink has {label(family)}"
        if (why := _not_ours(parts, pin.source)) is not None:
            yield (*at, "from"), why
        elif (service := _checked_service(parts, pin.source)) is not None:
            yield (
                (*at, "from"),
                (
                    f"{pin.source} is inside a prefix of the service {service}: replies would go "
                    "where that goes; an address of this host alone is a service without checks"
                ),
            )
        elif (uplink := _probed_from(parts, pin.source)) is not None:
            yield (
                (*at, "from"),
                (
                    f"{pin.source} is {uplink}'s probe_source, and the way back to it is through "
                    f"{uplink} alone; a pin follows whichever uplink carries"
                ),
            )
        yield from _next_hops(parts, at, pin)
        yield from _again(at, pin, index, parts.pins)


def _next_hops(parts: Parts, at: KeyPath, pin: SourcePin) -> Iterator[Finding]:
    for name, key, addresses in parts.routers:
        for address in addresses:
            if address in pin.to:
                yield (
                    (*at, "to"),
                    (
                        f"{pin.to} holds {name}'s {key} {address}, which would look alive over "
                        "another uplink"
                    ),
                )


def _again(
    at: KeyPath, pin: SourcePin, index: int, given: dict[int, SourcePin]
) -> Iterator[Finding]:
    """Refuse a prefix that is pinned already, or whose pin changes nothing inside a larger one."""
    for place, other in given.items():
        if place < index and pin.to == other.to:
            yield (*at, "to"), f"{pin.to} is pinned already, by pins[{place}]"
    around = {
        place: other
        for place, other in given.items()
        if pin.to.network_address in other.to and other.to.prefixlen < pin.to.prefixlen
    }
    nearest = max(around, key=lambda place: around[place].to.prefixlen, default=None)
    if nearest is not None and around[nearest].source == pin.source:
        yield (
            (*at, "to"),
            (
                f"{pin.to} is inside {around[nearest].to}, which is pinned to the same source by "
                f"pins[{nearest}]: remove it"
            ),
        )


def policies(parts: Parts) -> Iterator[Finding]:
    """Refuse policies whose uplink is none, or cannot carry what they say."""
    for index, policy in parts.policies.items():
        at: KeyPath = ("sources", "policies", index)
        if policy.uplink not in parts.uplink_names:
            yield (*at, "uplink"), there_is_no(policy.uplink, parts.uplink_names)
        if policy.source is not None:
            yield from _policy(parts, at, policy, policy.source)
        for place, other in parts.policies.items():
            if place >= index or policy.source != other.source:
                continue
            if policy.source is not None:
                yield (
                    (*at, "from"),
                    f"{policy.source} is led through {other.uplink} already, by policies[{place}]",
                )
            elif policy.uplink == other.uplink:
                yield (*at, "uplink"), f"{policy.uplink} is given twice, by policies[{place}]"


def _policy(parts: Parts, at: KeyPath, policy: SourceRule, source: Address) -> Iterator[Finding]:
    families, family = parts.families_of(policy.uplink), Family.of(source)
    if families and family not in families:
        yield (*at, "from"), f"{source}: {policy.uplink} has no {label(family)}"
    if (why := _not_ours(parts, source)) is not None:
        yield (*at, "from"), why
    elif (other := _probed_from(parts, source)) not in (None, policy.uplink):
        yield (
            (*at, "from"),
            f"{source} is {other}'s probe_source; what has it must leave through {other}",
        )


def priorities(parts: Parts) -> Iterator[Finding]:
    """Demand room for the rules of policies, before the main table's."""
    if not parts.policies or parts.fallback is None:
        return
    if parts.fallback.rule_priority > _LAST_PRIORITY:
        yield (
            ("fallback", "rule_priority"),
            (
                f"must be at most {_LAST_PRIORITY} with sources.policies: their rules are "
                f"{POLICY_RULES} behind it, and must not come after the main table"
            ),
        )


def _not_ours(parts: Parts, address: Address) -> str | None:
    """Return in words whose an address is, as far as the file knows that it is not the host's."""
    for name, key, addresses in parts.routers:
        if address in addresses:
            return f"{address} is {name}'s {key}, and not an address of this host"
    for name, service in parts.services.items():
        if service.address is AddressUse.IGNORE and any(address in p for p in service.prefixes):
            return (
                f"{address} is inside a prefix of the service {name}, whose address lives elsewhere"
            )
    if address in parts.discard_next_hops:
        return f"{address} is the discard next hop (host.discard_next_hop)"
    return None


def _checked_service(parts: Parts, address: Address) -> str | None:
    """Return the service that an address belongs to and that may go elsewhere: one with checks."""
    for name, service in parts.services.items():
        if (service.checks or service.requires) and any(address in p for p in service.prefixes):
            return name
    return None


def _probed_from(parts: Parts, address: Address) -> str | None:
    """Return the uplink whose probe_source an address is."""
    for name, uplink in parts.uplinks.items():
        if uplink.probe_source is not None and address in uplink.probe_source.addresses:
            return name
    return None
