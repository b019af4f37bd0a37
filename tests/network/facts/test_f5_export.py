"""F5: communities select the ToR on export.

The export route-map towards each ToR matches its own community and deletes the steering ones.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.network.facts.laboratory import BOTH, TORS, Family, Lab, each_family

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

OTHER = "65101:999"
"""A community that steers nothing here."""


def from_server(lab: Lab, tor: str, family: Family) -> dict[str, Any] | None:
    return lab.path_from(tor, family.links[TORS.index(tor)], family, family.prefix)


def communities(lab: Lab, tor: str, family: Family) -> list[str] | None:
    """Return those of the service at a ToR; None where the ToR does not have it."""
    path = from_server(lab, tor, family)
    return None if path is None else path.get("community", {}).get("list", [])


def exported(lab: Lab, family: Family) -> list[str]:
    return [tor for tor in TORS if from_server(lab, tor, family)]


@contextmanager
def without_line(lab: Lab, family: Family, line: str) -> Iterator[None]:
    maps = [f"route-map bgphealth-out-{family}-{tor} permit 10" for tor in TORS]
    lines = [line.format(tor=tor) for tor in TORS]
    off = [text for m, text in zip(maps, lines, strict=True) for text in (m, f"no {text}")]
    on = [text for m, text in zip(maps, lines, strict=True) for text in (m, text)]
    with lab.without(off, afterwards=on):
        yield


@each_family
@pytest.mark.parametrize("number", [1, 2])
def test_f5_service_goes_to_the_tor_whose_community_it_carries_and_to_no_other(
    lab: Lab, family: Family, number: int
) -> None:
    lab.say(family.service_to(f"65101:{number}"))
    tor = TORS[number - 1]
    lab.eventually(
        f"{tor} alone has it, and the core goes through {tor} alone",
        lambda: exported(lab, family) == [tor] and lab.core_uses(family, family.service) == (tor,),
    )
    lab.throughout(1.0, "it stays so", lambda: exported(lab, family) == [tor])


@each_family
def test_f5_service_without_an_uplink_community_is_exported_to_nobody(
    lab: Lab, family: Family
) -> None:
    lab.say(family.service_to(OTHER))
    lab.eventually("no ToR has it", lambda: exported(lab, family) == [])
    assert len(lab.paths("server1", family, family.prefix)) == 1, lab.evidence()
    lab.eventually("nor has the core", lambda: lab.core_uses(family, family.service) == ())


@each_family
def test_f5_without_the_match_both_tors_get_what_is_meant_for_one(lab: Lab, family: Family) -> None:
    lab.say(family.service_to("65101:1"))
    lab.eventually("tor1 alone has it", lambda: exported(lab, family) == ["tor1"])
    with without_line(lab, family, "match community bgphealth-uplink-{tor}"):
        lab.eventually(
            "both have it",
            lambda: (
                exported(lab, family) == ["tor1", "tor2"]
                and lab.core_uses(family, family.service) == TORS
            ),
        )
    lab.eventually("with the match tor1 alone", lambda: exported(lab, family) == ["tor1"])


@each_family
def test_f5_steering_communities_are_deleted_on_export_and_others_are_not(
    lab: Lab, family: Family
) -> None:
    lab.say(family.service_to(*BOTH, OTHER))
    for tor in TORS:
        lab.eventually(
            f"{tor} sees {OTHER} and nothing else",
            lambda t: communities(lab, t, family) == [OTHER],
            tor,
        )


@each_family
def test_f5_without_the_delete_steering_communities_are_seen_at_the_tor(
    lab: Lab, family: Family
) -> None:
    with without_line(lab, family, "set comm-list bgphealth-steering delete"):
        for tor in TORS:
            lab.eventually(
                f"{tor} sees the steering communities",
                lambda t: communities(lab, t, family) == list(BOTH),
                tor,
            )
