"""What the fallback defaults demand of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.config.fields import label
from bgphealth.core.settings import Family, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import Fallback

LARGEST_RULE_PRIORITY = 32765
"""The last rule that the kernel asks before the main table (its rule is 32766)."""

_ABOUT_DEFAULTS = ("defaults", "source")


def are_wanted(mode: Mode, fallback: Fallback) -> bool:
    """Return whether there shall be defaults; in mode direct the host's own serves unless told."""
    told = mode is not Mode.DIRECT or "defaults" in fallback.model_fields_set
    return fallback.enabled and fallback.defaults and told


def defaults(parts: Parts) -> Iterator[Finding]:
    """Refuse what would have no effect: there are no defaults, or not here."""
    fallback = parts.fallback
    if fallback is None:
        return
    if fallback.mptcp and not fallback.enabled:
        yield (
            ("fallback", "mptcp"),
            "needs fallback.enabled: each uplink's table leads its subflows; remove one of them",
        )
    given = [key for key in _ABOUT_DEFAULTS if key in fallback.model_fields_set]
    if not fallback.defaults:
        given.remove("defaults")
    for key in given:
        if not fallback.enabled:
            yield ("fallback", key), "has no effect: fallback.enabled is false, nothing is written"
        elif not fallback.defaults:
            yield ("fallback", key), "has no effect: fallback.defaults is false"
        elif parts.is_direct and "defaults" not in given:
            yield (
                ("fallback", key),
                "has no effect without fallback.defaults: true, in mode direct",
            )


def source(parts: Parts) -> Iterator[Finding]:
    """Refuse a source that no answer would come back to."""
    given = parts.fallback.source if parts.fallback is not None else None
    for address in given.addresses if given is not None else ():
        family = Family.of(address)
        at = ("fallback", "source", family.value)
        if parts.whole_uplinks and family not in parts.families:
            yield at, f"{address}: no uplink has {label(family)}"
        elif (service := parts.service_of(address)) is not None:
            yield (
                at,
                f"{address} is inside a prefix of {service}: replies would go where that goes",
            )
