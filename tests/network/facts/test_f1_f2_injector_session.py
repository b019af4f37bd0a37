"""The iBGP session between ExaBGP and bgpd inside the host.

F1: bgpd accepts an ExaBGP on the same host when the neighbor is e.g. ``127.0.0.2``, ``passive``,
with ``update-source lo`` (the interface). With ``update-source 127.0.0.1`` it resets every
connection (``nexthop_set failed``).

F2: ``next-hop self`` over that session is a martian next hop: bgpd resets the session again and
again, taking the defaults with it. Announce service prefixes with a discard next hop; eBGP export
rewrites it to self.
"""

from __future__ import annotations

import pytest

from tests.network.facts.laboratory import (
    BOTH,
    EXABGP_LOG,
    FAMILIES,
    INJECTOR,
    IPV4,
    IPV6,
    Family,
    Lab,
    each_family,
)

pytestmark = pytest.mark.network

WINDOW_S = 5.0
"""ExaBGP tries again every one to three seconds."""


def update_source(source: str) -> tuple[str, str]:
    return "router bgp 65101", f"neighbor {INJECTOR} update-source {source}"


def changes_of_the_default(lab: Lab, seconds: int) -> list[str]:
    """Return what the kernel tells of BGP's IPv4 default during some seconds."""
    seen = lab.server("timeout", str(seconds), "ip", "-4", "-o", "monitor", "route", check=False)
    return [line for line in seen.splitlines() if "default" in line]


def test_f1_session_comes_up_with_the_interface_as_update_source(lab: Lab) -> None:
    neighbor = f"neighbor {INJECTOR}"
    rendered = lab.server("cat", "/etc/frr/frr.conf")
    assert f"{neighbor} passive" in rendered
    assert f"{neighbor} update-source lo" in rendered
    lab.server("vtysh", "-c", f"clear bgp {INJECTOR}")
    lab.eventually("the session comes up anew", lab.injector_is_up)
    drops = lab.injector_drops()
    lab.throughout(
        WINDOW_S,
        "the session stays",
        lambda: lab.injector_is_up() and lab.injector_drops() == drops,
    )


def test_f1_session_does_not_come_up_with_an_address_as_update_source(lab: Lab) -> None:
    before = len(lab.log())
    with lab.without(update_source("127.0.0.1"), afterwards=update_source("lo")):
        lab.eventually("the old session is gone", lambda: not lab.injector_is_up())
        lab.eventually(
            f"bgpd refuses {INJECTOR} a second time",
            lambda: (
                lab.log()[before:].count(f"{INJECTOR}: nexthop_set failed, resetting connection")
                >= 2
            ),
        )
        lab.throughout(WINDOW_S, "no session", lambda: not lab.injector_is_up())
        assert not any(lab.injected(family) for family in FAMILIES), lab.evidence()
    lab.eventually("the session comes up with the interface again", lab.injector_is_up)


def test_f2_discard_next_hop_leaves_the_session_and_the_defaults_alone(lab: Lab) -> None:
    drops = lab.injector_drops()
    for family in FAMILIES:
        lab.say(f"withdraw route {family.prefix}", family.service_to(*BOTH))
    changes = changes_of_the_default(lab, 2)
    assert lab.injector_is_up(), lab.evidence()
    assert lab.injector_drops() == drops, lab.evidence()
    assert changes == [], lab.evidence()


@each_family
def test_f2_export_rewrites_the_discard_next_hop_to_the_servers_own_link_address(
    lab: Lab, family: Family
) -> None:
    (sent,) = lab.paths("server1", family, family.prefix)
    assert [hop["ip"] for hop in sent["nexthops"]] == [family.discard], lab.evidence()
    for tor, link in zip(("tor1", "tor2"), family.links, strict=True):
        received = lab.path_from(tor, link, family, family.prefix)
        assert received is not None
        used = [hop["ip"] for hop in received["nexthops"] if hop.get("scope") != "link-local"]
        assert used == [link], lab.run(tor, "vtysh", "-c", f"show bgp {family.name} unicast")


def test_f2_next_hop_self_resets_the_session_again_and_again_and_the_defaults_with_it(
    lab: Lab,
) -> None:
    drops, before = lab.injector_drops(), len(lab.log())
    try:
        lab.say(IPV4.service_to(*BOTH, next_hop="self"))
        lab.eventually("the session is reset ten times", lambda: lab.injector_drops() >= drops + 10)
        assert f"Martian nexthop {INJECTOR}" in lab.log()[before:], lab.evidence()
        changes = changes_of_the_default(lab, 2)
        assert any("proto bgp" in line for line in changes), lab.evidence()
        lab.eventually("the injected defaults are gone for a while", lambda: not lab.injected(IPV4))
    finally:
        lab.say(f"withdraw route {IPV4.prefix}")
    lab.settle()
    drops = lab.injector_drops()
    lab.throughout(2.0, "the session stays again", lambda: lab.injector_drops() == drops)


def test_f2_exabgp_refuses_next_hop_self_for_ipv6_over_this_session(lab: Lab) -> None:
    drops, before = lab.injector_drops(), len(lab.log(EXABGP_LOG))
    lab.say(IPV6.service_to("65101:1", next_hop="self"))
    lab.eventually(
        "ExaBGP says why",
        lambda: "does not have the same family" in lab.log(EXABGP_LOG)[before:],
    )
    assert lab.injector_drops() == drops, lab.evidence()
