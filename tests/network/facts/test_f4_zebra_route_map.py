"""F4: ``set src`` belongs in the zebra route-map; it works for ECMP and IPv6.

The same route-map must deny the service prefixes, so that zebra never installs them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import Default, Family, Lab, each_family

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network


def route_map(family: Family, entry: str) -> str:
    return f"route-map bgphealth-zebra-{family} {entry}"


@contextmanager
def without_set_src(lab: Lab, family: Family) -> Iterator[None]:
    entry, line = route_map(family, "permit 20"), f"set src {family.loopback}"
    with lab.without((entry, f"no {line}"), afterwards=(entry, line)):
        yield


@contextmanager
def without_deny(lab: Lab, family: Family) -> Iterator[None]:
    """Without it as somebody would write the route-map who only thinks of the source."""
    entry, everything = route_map(family, "deny 10"), route_map(family, "permit 999")
    match = f"match {family.keyword} address prefix-list bgphealth-service-{family}"
    with lab.without((f"no {entry}", everything), afterwards=(f"no {everything}", entry, match)):
        yield


@contextmanager
def without_service_address(lab: Lab, family: Family) -> Iterator[None]:
    address = (family.prefix, "dev", "lo")
    lab.server("ip", "addr", "del", *address)
    try:
        yield
    finally:
        lab.server("ip", "addr", "add", *address)


@each_family
def test_f4_ecmp_default_has_the_host_loopback_as_its_source(lab: Lab, family: Family) -> None:
    assert lab.default(family) == family.injected_default, lab.evidence()
    assert f"src {family.loopback} " in lab.leaves_with(family, family.target), lab.evidence()


@each_family
def test_f4_without_set_src_packets_leave_with_the_address_of_one_link(
    lab: Lab, family: Family
) -> None:
    with without_set_src(lab, family):
        lab.eventually(
            "the default has no source",
            lambda: lab.default(family) == Default("bgp", ("eth1", "eth2"), None),
        )
        leaves = lab.leaves_with(family, family.target)
        assert f"src {family.loopback} " not in leaves, lab.evidence()
        assert any(f"src {link} " in leaves for link in family.links), leaves


@each_family
def test_f4_denied_service_never_comes_into_the_kernel(lab: Lab, family: Family) -> None:
    with without_service_address(lab, family):
        lab.throughout(
            2.0,
            "announced, not on lo, and not in the kernel",
            lambda: (
                len(lab.paths("server1", family, family.prefix)) == 1
                and lab.kernel("server1", family, family.prefix) == []
            ),
        )
        # So the host reaches the service as any client does: where another host announces it.
        assert " dev eth" in lab.leaves_with(family, family.service), lab.evidence()


@each_family
def test_f4_without_the_deny_zebra_installs_the_service_as_a_blackhole(
    lab: Lab, family: Family
) -> None:
    with without_deny(lab, family), without_service_address(lab, family):
        lab.eventually(
            "BGP's blackhole is in the kernel",
            lambda: any(
                route.get("type") == "blackhole" and route.get("protocol") == "bgp"
                for route in lab.kernel("server1", family, family.prefix)
            ),
        )
        assert " dev eth" not in lab.leaves_with(family, family.service), lab.evidence()
    lab.eventually(
        "with the deny it goes again",
        lambda: all(
            r.get("protocol") != "bgp"
            for r in lab.kernel("server1", family)
            if r["dst"] == family.service
        ),
    )


@each_family
def test_f4_a_service_address_on_lo_hides_the_missing_deny(lab: Lab, family: Family) -> None:
    """Why nobody notices: the connected route wins, until the address is taken off."""
    with without_deny(lab, family):
        lab.eventually(
            "zebra takes the service from BGP",
            lambda: any(
                entry["protocol"] == "bgp"
                and any(hop.get("recursive") for hop in entry["nexthops"])
                for entry in lab.zebra(family, family.prefix)
            ),
        )
        selected = [e for e in lab.zebra(family, family.prefix) if e.get("selected")]
        assert [entry["protocol"] for entry in selected] == ["connected"], lab.evidence()
