"""The topology with unnumbered server links: faults, and where the probes go and come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab import convergence, dual_tor, experiment, faults, results, routes
from tests.support import transit
from tests.support.every_kind import (
    KINDS,
    assert_every_kind_notices_and_comes_back,
    every_kind,
)
from tests.support.laboratory import TORS, configure, wait_default
from tests.support.survey import essence, guessed, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespaces import NamespaceDriver

PROBE_SOURCES = {
    "tor1": {"ipv4": "10.255.11.1", "ipv6": "2001:db8:11:1::1"},
    "tor2": {"ipv4": "10.255.11.2", "ipv6": "2001:db8:11:2::1"},
}
TOR_LOOPBACKS = {"ipv4": "10.255.0.{}", "ipv6": "2001:db8:ff::{}"}
TOR_ASN = {"tor1": 65001, "tor2": 65002}
OF_TOR2 = {f"tor2 {family} {way}" for family in ("ipv4", "ipv6") for way in ("out", "back")}
LENGTH = {"ipv4": 32, "ipv6": 128}
IP = {"ipv4": "ip", "ipv6": "ip6"}


def measure(lab: NamespaceDriver, name: str) -> None:
    found = results.result(experiment.run(lab, faults.FAULTS[name], lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps(found["timeline"], indent=2)
    assert found["recovered"] is True
    convergence.wait_converged(lab)


def kernel(lab: NamespaceDriver, node: str, family: str) -> list[dict[str, object]]:
    flag = "-4" if family == "ipv4" else "-6"
    table: list[dict[str, object]] = json.loads(
        lab.run(node, ["ip", "-json", flag, "route"]).stdout
    )
    return table


def bgp_paths(lab: NamespaceDriver, node: str, family: str, address: str) -> list[str]:
    """Return whom each path to a host route was learned from; "" for one of its own."""
    command = f"show bgp {family} unicast {address}/{LENGTH[family]} json"
    said = json.loads(lab.run(node, ["vtysh", "-c", command]).stdout or "{}")
    return [
        path["peer"].get("interface", "?") if path["aspath"]["length"] else ""
        for path in said.get("paths", [])
    ]


def test_init_writes_what_is_essentially_the_labs_own(unnumbered_lab: NamespaceDriver) -> None:
    """The ToRs' loopbacks and the probe addresses are seen in what bgpd gets and sends."""
    assert essence(guessed(unnumbered_lab)) == essence(own(unnumbered_lab))


def test_the_doctor_finds_nothing(unnumbered_lab: NamespaceDriver) -> None:
    done = unnumbered_lab.run(dual_tor.SERVER, ["bgphealth", "doctor"], check=False)
    assert done.stdout == "nothing found\n"


@pytest.mark.parametrize("family", dual_tor.FAMILIES)
def test_both_directions_use_both_tors_without_an_address_on_the_links(
    unnumbered_lab: NamespaceDriver, family: str
) -> None:
    assert convergence.missing(unnumbered_lab) == []
    found = json.loads(unnumbered_lab.run(dual_tor.SERVER, ["ip", "-json", "addr"]).stdout)
    on_links = {
        address["scope"]
        for link in found
        if link["ifname"] in dual_tor.TOR_BEHIND
        for address in link["addr_info"]
    }
    assert on_links == {"link"}
    default = routes.best(kernel(unnumbered_lab, dual_tor.SERVER, family), "default")
    assert default == routes.KernelRoute(TORS, dual_tor.LOOPBACK[family])


@pytest.mark.parametrize("family", dual_tor.FAMILIES)
@pytest.mark.parametrize(("tor", "other"), [TORS, TORS[::-1]])
def test_a_probe_address_is_announced_to_its_own_tor_alone(
    unnumbered_lab: NamespaceDriver, tor: str, other: str, family: str
) -> None:
    lab, address = unnumbered_lab, PROBE_SOURCES[tor][family]
    assert "eth1" in bgp_paths(lab, tor, family, address)
    assert "eth1" not in bgp_paths(lab, other, family, address)
    assert routes.best(kernel(lab, dual_tor.CORE, family), address).uplinks == (tor,)
    # The other ToR has it from the core and offers it; here it is ours alone.
    assert bgp_paths(lab, other, family, address) != []
    assert bgp_paths(lab, dual_tor.SERVER, family, address) == [""]


@pytest.mark.parametrize("family", dual_tor.FAMILIES)
@pytest.mark.parametrize("number", [1, 2])
def test_the_next_hop_is_taken_from_its_own_tor_alone(
    unnumbered_lab: NamespaceDriver, number: int, family: str
) -> None:
    address = TOR_LOOPBACKS[family].format(number)
    assert bgp_paths(unnumbered_lab, dual_tor.SERVER, family, address) == [f"eth{number}"]
    table = kernel(unnumbered_lab, dual_tor.SERVER, family)
    assert routes.best(table, address).uplinks == (f"tor{number}",)


def test_the_host_is_no_transit(unnumbered_lab: NamespaceDriver) -> None:
    """With the injector and without it; numbered links are in `facts/test_no_transit.py`."""
    with transit.tempted(unnumbered_lab, transit.UNNUMBERED):
        transit.assert_nothing_leaks(unnumbered_lab, transit.UNNUMBERED)
        convergence.wait_until(
            "both ToRs hear what is theirs",
            lambda: [
                f"{tor.name} {family}"
                for tor in transit.UNNUMBERED
                for family, services in transit.SERVICES.items()
                if transit.heard(unnumbered_lab, tor, family)
                != services | {f"{PROBE_SOURCES[tor.name][family]}/{LENGTH[family]}"}
            ],
        )
        inject(unnumbered_lab, on=False)
        try:
            service = {f"{dual_tor.SERVICE[family]}/{LENGTH[family]}" for family in LENGTH}
            convergence.wait_until(
                "nobody has the service from here",
                lambda: [
                    tor.name
                    for tor in transit.UNNUMBERED
                    for family in dual_tor.FAMILIES
                    if service & transit.heard(unnumbered_lab, tor, family)
                ],
            )
            transit.assert_nothing_leaks(unnumbered_lab, transit.UNNUMBERED)
        finally:
            inject(unnumbered_lab, on=True)
    convergence.wait_converged(unnumbered_lab)


COUNTERS = """\
table inet lab_count {{
    chain out {{
        type filter hook prerouting priority -300;
        iifname != "eth1" return
{out}
    }}
    chain back {{
        type filter hook postrouting priority 300;
        oifname != "eth1" return
{back}
    }}
}}
"""


def rules(tor: str, way: str, end: str) -> str:
    """Return rules that count, per probe address on the server's link, everything and each kind."""
    port, other_end = ("dport", "daddr") if way == "out" else ("sport", "saddr")
    kinds = {"": "", **{f" {kind}": packet.format(port) for kind, packet in KINDS.items()}}
    own = [
        f'{IP[family]} {end} {address} {packet} counter comment "{owner} {family} {way}{kind}"'
        for owner, by_family in PROBE_SOURCES.items()
        for family, address in by_family.items()
        for kind, packet in kinds.items()
    ]
    # Nothing but probes goes to the target: what does not bind at all is no better.
    unbound = [
        f"{IP[family]} {other_end} {target} {IP[family]} {end} != {PROBE_SOURCES[tor][family]} "
        f'counter comment "unbound {family} {way}"'
        for family, target in dual_tor.TARGET.items()
    ]
    return "\n".join(own + unbound)


@pytest.fixture
def counted(unnumbered_lab: NamespaceDriver) -> Iterator[NamespaceDriver]:
    """Count, on both ToRs, what goes from and to each probe address over the server's link."""
    for tor in TORS:
        out, back = rules(tor, "out", "saddr"), rules(tor, "back", "daddr")
        unnumbered_lab.run(tor, ["nft", COUNTERS.format(out=out, back=back)])
    yield unnumbered_lab
    for tor in TORS:
        unnumbered_lab.run(tor, ["nft", "delete", "table", "inet", "lab_count"])


def counts(lab: NamespaceDriver, tor: str) -> dict[str, int]:
    said = json.loads(lab.run(tor, ["nft", "-j", "list", "table", "inet", "lab_count"]).stdout)
    return {
        rule["comment"]: expression["counter"]["packets"]
        for item in said["nftables"]
        if (rule := item.get("rule")) and "comment" in rule
        for expression in rule["expr"]
        if "counter" in expression
    }


def test_probes_go_out_and_come_back_through_their_own_uplink(counted: NamespaceDriver) -> None:
    """Through the whole of a fault: both defaults, the other uplink's alone, and both again."""
    before = {tor: counts(counted, tor) for tor in TORS}
    fault = faults.FAULTS["uplink-blackhole"]
    faults.run_steps(counted, fault.inject)
    try:
        convergence.wait_until(
            "only tor1's defaults",
            lambda: [
                family
                for family in dual_tor.FAMILIES
                if routes.best(kernel(counted, dual_tor.SERVER, family), "default").uplinks
                != ("tor1",)
            ],
        )
        alone = counts(counted, "tor2")
        convergence.wait_until(
            "probes of tor2 while its defaults are gone",
            lambda: [
                way
                for way, packets in counts(counted, "tor2").items()
                if way in OF_TOR2 and packets < alone[way] + 10
            ],
        )
    finally:
        faults.run_steps(counted, fault.heal)
    convergence.wait_converged(counted)
    for tor in TORS:
        seen = counts(counted, tor)
        everything = {way: n for way, n in seen.items() if way.split()[-1] in ("out", "back")}
        assert len(everything) == 12
        own = {way: n - before[tor][way] for way, n in everything.items() if way.startswith(tor)}
        assert all(packets > 20 for packets in own.values()), (tor, own)
        foreign = {way: n for way, n in seen.items() if not way.startswith(tor)}
        assert set(foreign.values()) == {0}, (tor, foreign)


def keep_default(lab: NamespaceDriver, tor: str, *, kept: bool) -> None:
    """Let a ToR keep its default from the server, or tell it again; the session stays."""
    no = "" if kept else "no "
    filters = [
        (
            f"address-family {family} unicast",
            f"{no}neighbor eth1 prefix-list lab-no-default out",
            "exit-address-family",
        )
        for family in dual_tor.FAMILIES
    ]
    configure(
        lab,
        tor,
        "ip prefix-list lab-no-default seq 5 deny 0.0.0.0/0",
        "ip prefix-list lab-no-default seq 10 permit 0.0.0.0/0 le 32",
        "ipv6 prefix-list lab-no-default seq 5 deny ::/0",
        "ipv6 prefix-list lab-no-default seq 10 permit ::/0 le 128",
        f"router bgp {TOR_ASN[tor]}",
        *(line for lines in filters for line in lines),
    )


def inject(lab: NamespaceDriver, *, on: bool) -> None:
    """Let bgpd hear ExaBGP, or not: with it go the injected defaults."""
    no = "no " if on else ""
    configure(lab, dual_tor.SERVER, "router bgp 65101", f"{no}neighbor 127.0.0.2 shutdown")


def assert_each_kind_on_its_own_way(lab: NamespaceDriver) -> None:
    for tor in TORS:
        seen = counts(lab, tor)
        assert [way for way, n in seen.items() if way.startswith(tor) and not n] == []
        assert {n for way, n in seen.items() if not way.startswith(tor)} == {0}, (tor, seen)


def test_every_kind_stays_on_its_uplink_and_brings_it_back(counted: NamespaceDriver) -> None:
    with every_kind(counted):
        try:
            inject(counted, on=False)
            for tor in TORS:
                keep_default(counted, tor, kept=True)
            wait_default(counted)
            assert_every_kind_notices_and_comes_back(counted)
            assert_each_kind_on_its_own_way(counted)

            # For tor2's probes the main table has nothing but the wrong way.
            keep_default(counted, "tor1", kept=False)
            wait_default(counted, "tor1")
            assert_every_kind_notices_and_comes_back(counted)
            assert_each_kind_on_its_own_way(counted)
        finally:
            for tor in TORS:
                keep_default(counted, tor, kept=False)
            inject(counted, on=True)
    convergence.wait_converged(counted)


@pytest.mark.parametrize(
    "name",
    ["uplink-blackhole", "tor-crash", "link-down", "both-uplinks", "service-down", "flap"],
)
def test_faults(unnumbered_lab: NamespaceDriver, name: str) -> None:
    measure(unnumbered_lab, name)
