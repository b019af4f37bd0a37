"""F15: what of an injected route's attributes reaches a ToR, and what the export has to add.

Communities and large communities go through. MED stays in our own AS, and an AS path that holds our
own AS is a loop to bgpd: both are for the export route-map towards the ToR to set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.network.facts.laboratory import BOTH, TORS, Family, Lab, each_family
from tests.network.facts.test_f5_export import from_server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network

COMMUNITIES = ["65000:100", "65101:999"]
LARGE = ["65101:1:1", "4200000101:0:4294967295"]


def inject(lab: Lab, family: Family, *words: str) -> None:
    lab.say(
        f"announce route {family.prefix} next-hop {family.discard} local-preference 100 "
        f"community [{' '.join((*BOTH, *COMMUNITIES))}] {' '.join(words)}"
    )


def both(lab: Lab, family: Family, holds: Callable[[dict[str, Any]], bool]) -> bool:
    paths = [from_server(lab, tor, family) for tor in TORS]
    return all(path is not None and holds(path) for path in paths)


def set_on_export(family: Family, *lines: str) -> list[str]:
    maps = (f"route-map bgphealth-out-{family}-{tor} permit 10" for tor in TORS)
    return [line for name in maps for line in (name, *lines)]


@each_family
def test_f15_communities_and_large_communities_reach_the_tor(lab: Lab, family: Family) -> None:
    inject(lab, family, f"large-community [{' '.join(LARGE)}]")
    lab.eventually(
        "both ToRs have them",
        lambda: both(
            lab,
            family,
            lambda path: (
                path.get("community", {}).get("list") == COMMUNITIES
                and sorted(path.get("largeCommunity", {}).get("list", [])) == sorted(LARGE)
            ),
        ),
    )


@each_family
def test_f15_med_reaches_the_tor_only_when_the_export_sets_it(lab: Lab, family: Family) -> None:
    inject(lab, family, "med 50")
    lab.eventually(
        "bgpd has the MED", lambda: lab.paths("server1", family, family.prefix)[0]["metric"] == 50
    )
    lab.eventually("no ToR has one", lambda: both(lab, family, lambda path: not path.get("metric")))
    off = set_on_export(family, "no set metric 70")
    with lab.without(set_on_export(family, "set metric 70"), afterwards=off):
        lab.eventually(
            "both ToRs have what the export sets",
            lambda: both(lab, family, lambda path: path.get("metric") == 70),
        )


@each_family
def test_f15_our_own_as_in_an_injected_path_is_a_loop(lab: Lab, family: Family) -> None:
    inject(lab, family, "as-path [ 65101 ]")
    lab.eventually("bgpd does not have it", lambda: not lab.paths("server1", family, family.prefix))


@each_family
def test_f15_the_export_prepends_our_own_as(lab: Lab, family: Family) -> None:
    inject(lab, family)
    off = set_on_export(family, "no set as-path prepend")
    with lab.without(set_on_export(family, "set as-path prepend 65101 65101"), afterwards=off):
        lab.eventually(
            "both ToRs have it three times",
            lambda: both(lab, family, lambda path: path["aspath"]["string"] == "65101 65101 65101"),
        )
