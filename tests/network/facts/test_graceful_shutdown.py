"""GRACEFUL_SHUTDOWN (RFC 8326): who acts on it, and what the rendered frr.conf makes of a drain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.network.facts.laboratory import BOTH, TORS, Family, Lab, each_family

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

PREPENDED, SHUTDOWN = "65101:16385", "65101:32769"
"""What stands in the place of 65101:1 while tor1 is being left."""


@pytest.fixture(autouse=True)
def _as_before(lab: Lab) -> Iterator[None]:
    yield
    lab.settle()


def told(lab: Lab, tor: str, family: Family) -> tuple[str, int | None, list[str]] | None:
    """Return AS path, local preference and communities that a ToR has from the server itself."""
    path = lab.path_from(tor, family.links[TORS.index(tor)], family, family.prefix)
    if path is None:
        return None
    communities: list[str] = path.get("community", {}).get("list", [])
    return path["aspath"]["string"], path.get("locPrf"), communities


AS_USUAL: tuple[str, int | None, list[str]] = ("65101", None, [])


def injected(lab: Lab, family: Family) -> list[dict[str, Any]]:
    return lab.paths("server1", family, family.prefix)


@each_family
def test_bgpd_acts_on_it_from_an_external_neighbor_alone(lab: Lab, family: Family) -> None:
    lab.say(family.service_to(*BOTH, "65535:0"))
    for tor in TORS:
        lab.eventually(
            f"{tor} prefers anything else",
            lambda t: told(lab, t, family) == ("65101", 0, ["gracefulShutdown"]),
            tor,
        )
    # Inside the host it stays what it was: best, above an origin of bgpd's own.
    (path,) = injected(lab, family)
    assert (path["locPrf"], path["bestpath"]["overall"]) == (100, True)


@each_family
def test_a_path_that_is_being_left_is_longer_for_everybody_but_its_own_tor(
    lab: Lab, family: Family
) -> None:
    lab.say(family.service_to(PREPENDED, BOTH[1]))
    lab.eventually(
        "tor1 is told of a longer path",
        lambda: told(lab, "tor1", family) == ("65101 65101", None, []),
    )
    lab.eventually(
        "the core leaves tor1", lambda: lab.core_uses(family, family.service) == TORS[1:]
    )
    assert told(lab, "tor2", family) == AS_USUAL
    # What tor1 still gets, it delivers: the way around is longer yet.
    path = lab.path_from("tor1", family.links[0], family, family.prefix)
    assert path is not None
    assert path["bestpath"]["overall"] is True


@each_family
def test_graceful_shutdown_is_added_towards_one_tor(lab: Lab, family: Family) -> None:
    lab.say(family.service_to(SHUTDOWN, BOTH[1]))
    lab.eventually(
        "tor1 is told",
        lambda: told(lab, "tor1", family) == ("65101 65101", 0, ["gracefulShutdown"]),
    )
    assert told(lab, "tor2", family) == AS_USUAL


@each_family
def test_it_goes_on_with_the_other_communities(lab: Lab, family: Family) -> None:
    lab.say(family.service_to(SHUTDOWN, BOTH[1], "65101:999"))
    lab.eventually(
        "tor1 is told",
        lambda: (
            (path := told(lab, "tor1", family)) is not None
            and set(path[2]) == {"65101:999", "gracefulShutdown"}
        ),
    )
    lab.eventually(
        "tor2 as well", lambda: told(lab, "tor2", family) == ("65101", None, ["65101:999"])
    )
