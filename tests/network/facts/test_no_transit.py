"""The host never becomes transit, whatever the ToRs and the injector tell it (numbered links)."""

from __future__ import annotations

import pytest

from tests.network.facts.laboratory import FAMILIES, Lab
from tests.support.transit import (
    NO_EXPORT,
    NUMBERED,
    SERVICES,
    STEERED,
    assert_nothing_leaks,
    from_injector,
    heard,
    steering,
    tempted,
)

pytestmark = pytest.mark.network

FOREIGN = {
    family.name: (NO_EXPORT[family.name].format(9), *(p.format(9) for p in STEERED[family.name]))
    for family in FAMILIES
}


def injected(communities: str) -> list[str]:
    """Return announcements that the injector should never make, and odd ones that it may."""
    lines = []
    for family in FAMILIES:
        said = f"next-hop {family.discard} local-preference 200 community"
        lines += [
            *(f"announce route {prefix} {said} [{communities}]" for prefix in FOREIGN[family.name]),
            f"announce route {family.prefix} {said} [{communities} 65535:65281]",
            f"{family.default_path(1)} community [{communities}]",
        ]
    return lines


def withdrawn() -> list[str]:
    return [f"withdraw route {p}" for family in FAMILIES for p in FOREIGN[family.name]]


def test_the_host_is_no_transit(lab: Lab) -> None:
    with tempted(lab.driver, NUMBERED):
        assert_nothing_leaks(lab.driver, NUMBERED)
        for tor in NUMBERED:
            for family in FAMILIES:
                assert SERVICES[family.name] <= heard(lab.driver, tor, family.name)

        lab.say(*injected(steering(lab.driver)))
        try:
            for family in FAMILIES:
                lab.eventually(
                    "bgpd hears the injector",
                    lambda f: set(FOREIGN[f.name]) <= from_injector(lab.driver, f.name),
                    family,
                )
            assert_nothing_leaks(lab.driver, NUMBERED)
        finally:
            lab.say(*withdrawn())

        # The ToRs' own announcements of the services are the only ones now.
        for family in FAMILIES:
            lab.say(f"withdraw route {family.prefix}")
            lab.eventually(
                "nobody has the service from here",
                lambda f: not any(f.prefix in heard(lab.driver, t, f.name) for t in NUMBERED),
                family,
            )
        assert_nothing_leaks(lab.driver, NUMBERED)
