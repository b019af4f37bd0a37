"""What FRR 8.4.4 prints of the injector's routes, and what it could print instead."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from bgphealth.core.truth import BgpPath, BgpRoute
from bgphealth.frr.routes import injected, parse_injected
from bgphealth.frr.state import UnreadableError, Vtysh
from tests.support.vtysh_output import objects, printed, spoilt

SAMPLE = (Path(__file__).parents[1] / "golden" / "frr-8.4" / "bgp-injected.json").read_bytes()
INJECTOR = IPv4Address("127.0.0.2")
PREFIXES = tuple(
    ip_network(prefix)
    for prefix in (
        *("0.0.0.0/0", "192.0.2.53/32", "198.18.200.1/32", "198.18.200.2/32"),
        *("::/0", "2001:db8::53/128", "203.0.113.99/32"),
    )
)
WELL_KNOWN = {0, 1, 2, 3, 4, 5, 6, 7, 8, 666, 65281, 65282, 65283, 65284}


def path(  # noqa: PLR0913 - the attributes of a route
    next_hop: str,
    local_pref: int = 100,
    communities: frozenset[str] = frozenset(),
    *,
    path_id: int = 0,
    is_valid: bool = True,
    is_selected: bool = True,
) -> BgpPath:
    hops = (ip_address(next_hop),)
    return BgpPath(path_id, hops, local_pref, communities, is_valid, is_selected)


def parse(output: bytes) -> dict[str, BgpRoute]:
    found = parse_injected(output, injector=INJECTOR, prefixes=PREFIXES)
    return {str(prefix): route for prefix, route in found.routes.items()}


def test_the_paths_of_the_injector() -> None:
    routes = parse(SAMPLE)
    assert routes["0.0.0.0/0"] == BgpRoute(
        (
            path("10.0.2.0", path_id=7),
            path("10.55.0.1", path_id=2, is_valid=False, is_selected=False),
            path("10.0.1.0", path_id=1),
        ),
        "best is next hop 10.0.1.0 from 127.0.0.2, local preference 100",
    )
    assert routes["192.0.2.53/32"].paths == (path("192.0.0.8"),)
    assert routes["198.18.200.2/32"] == BgpRoute(
        (path("10.77.0.1", is_valid=False, is_selected=False),)
    )
    assert routes["::/0"].paths == (path("2001:db8:1::", 90, path_id=1),)
    assert routes["2001:db8::53/128"].paths == (path("100::1", 100, frozenset({"65101:2"})),)
    assert routes["203.0.113.99/32"] == BgpRoute((), "no path is best")


def test_communities_that_frr_has_a_name_for_are_numbers() -> None:
    (found,) = parse(SAMPLE)["198.18.200.1/32"].paths
    named = {f"65535:{value}" for value in WELL_KNOWN}
    assert found.communities == named | {"0:0", "0:1", "65101:1"}


def test_large_communities_stand_beside_the_others() -> None:
    said = objects(SAMPLE)
    paths: list[dict[str, object]] = said[6]["paths"]
    paths[0]["largeCommunity"] = {"string": "65101:1:1", "list": ["65101:1:1"]}
    (found,) = parse(printed(said))["2001:db8::53/128"].paths
    assert found.communities == {"65101:2", "65101:1:1"}


def test_the_session() -> None:
    session = parse_injected(SAMPLE, injector=INJECTOR, prefixes=PREFIXES).session
    assert (session.address, session.is_up) == (INJECTOR, True)
    assert session.for_s is not None


def test_two_next_hops() -> None:
    """RFC 2545: a global and a link-local address."""
    said = objects(SAMPLE)
    paths: list[dict[str, list[dict[str, str]]]] = said[6]["paths"]
    paths[0]["nexthops"].append({"ip": "fe80::1", "afi": "ipv6", "scope": "link-local"})
    (found,) = parse(printed(said))["2001:db8::53/128"].paths
    assert found.next_hops == (ip_address("100::1"), ip_address("fe80::1"))


@pytest.mark.parametrize(
    ("printed_instead", "why"),
    [
        (b"", "this is not JSON: ''"),
        (b"% BGP instance not found", "this is not JSON: '% BGP instance not found'"),
        (b'{"bgpNoSuchNeighbor":true}', "it has no neighbor 127.0.0.2"),
        (b"[]", "an answer is not an object"),
        (b"[" * 100_000, "this is not JSON"),
        (SAMPLE[: SAMPLE.rindex(b"{")], "7 prefixes were asked for, 6 answered"),
        (SAMPLE + b"{}", "7 prefixes were asked for, 8 answered"),
        (SAMPLE + b"% Unknown command", "this is not JSON: '% Unknown command'"),
    ],
)
def test_what_is_no_answer(printed_instead: bytes, why: str) -> None:
    with pytest.raises(UnreadableError) as error:
        parse(printed_instead)
    assert str(error.value).startswith(why)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("prefix", "10.0.0.0/8", "192.0.2.53/32 was asked for, '10.0.0.0/8' answered"),
        ("paths", None, "192.0.2.53/32 has no paths"),
        ("paths", [1], "192.0.2.53/32 has no paths"),
        ("peer", 1, "a path to 192.0.2.53/32 has no peer"),
        ("nexthops", [], "a path to 192.0.2.53/32 has no next hop"),
        ("nexthops", [{"ip": "x"}], "a path to 192.0.2.53/32 has no next hop"),
        ("nexthops", {}, "a path to 192.0.2.53/32 has no nexthops"),
        ("locPrf", "high", "a path to 192.0.2.53/32 has no numbers for addpathRxId and locPrf"),
        ("addpathRxId", [], "a path to 192.0.2.53/32 has no numbers for addpathRxId and locPrf"),
        ("community", [], "a path to 192.0.2.53/32 has communities that are not a list"),
        ("largeCommunity", 1, "a path to 192.0.2.53/32 has communities that are not a list"),
    ],
)
def test_what_cannot_be_read(key: str, value: object, why: str) -> None:
    said = objects(SAMPLE)
    route = said[2]
    paths: list[dict[str, object]] = route["paths"]
    (route if key in ("prefix", "paths") else paths[0])[key] = value
    with pytest.raises(UnreadableError) as error:
        parse(printed(said))
    assert str(error.value) == why


def test_unknown_fields_are_passed_over() -> None:
    said = objects(SAMPLE)
    said[2]["new-in-99"] = {"nested": [1]}
    assert parse(printed(said)) == parse(SAMPLE)


def test_garbage_is_read_or_refused_in_words() -> None:
    """Whatever is wrong with the output, nothing but `UnreadableError` comes of it."""
    for output in spoilt(SAMPLE):
        with suppress(UnreadableError):
            parse(output)


# ---- a vtysh of the test's choice ----------------------------------------------------------------


async def test_without_a_prefix_there_is_still_the_session(tmp_path: Path) -> None:
    program = tmp_path / "vtysh"
    program.write_text('#!/bin/sh\necho \'{"127.0.0.2": {"bgpState": "Active"}}\'\n')
    program.chmod(0o755)
    found = await injected(Vtysh(tmp_path, 10.0, str(program)), INJECTOR, ())
    assert not isinstance(found, str)
    assert (found.session.state, found.routes) == ("Active", {})


async def test_why_it_is_not_known(tmp_path: Path) -> None:
    program = str(tmp_path / "vtysh")
    assert (
        await injected(Vtysh(program=program), INJECTOR, PREFIXES) == f"{program} is not installed"
    )
