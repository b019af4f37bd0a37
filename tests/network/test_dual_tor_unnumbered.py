"""The topology with unnumbered server links: faults, and where the probes go and come back."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from lab import convergence, dual_tor, experiment, faults, results, routes
from tests.network.test_probe_proofs import BEYOND, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespaces import NamespaceDriver

PROBE_SOURCES = {
    "tor1": {"ipv4": "10.255.11.1", "ipv6": "2001:db8:11:1::1"},
    "tor2": {"ipv4": "10.255.11.2", "ipv6": "2001:db8:11:2::1"},
}
TOR_LOOPBACKS = {"ipv4": "10.255.0.{}", "ipv6": "2001:db8:ff::{}"}
TORS = tuple(PROBE_SOURCES)
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


def rules(way: str, end: str) -> str:
    """Return rules that count, per probe address on the server's link, everything and each kind."""
    port = "dport" if way == "out" else "sport"
    kinds = {"": "", **{f" {kind}": packet.format(port) for kind, packet in KINDS.items()}}
    return "\n".join(
        f'{IP[family]} {end} {address} {packet} counter comment "{owner} {family} {way}{kind}"'
        for owner, by_family in PROBE_SOURCES.items()
        for family, address in by_family.items()
        for kind, packet in kinds.items()
    )


@pytest.fixture
def counted(unnumbered_lab: NamespaceDriver) -> Iterator[NamespaceDriver]:
    """Count, on both ToRs, what goes from and to each probe address over the server's link."""
    counters = COUNTERS.format(out=rules("out", "saddr"), back=rules("back", "daddr"))
    for tor in TORS:
        unnumbered_lab.run(tor, ["nft", counters])
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
        assert len(everything) == 8
        own = {way: n - before[tor][way] for way, n in everything.items() if way.startswith(tor)}
        assert all(packets > 20 for packets in own.values()), (tor, own)
        foreign = {way: n for way, n in seen.items() if not way.startswith(tor)}
        assert set(foreign.values()) == {0}, (tor, foreign)


def test_every_kind_stays_on_its_uplink(counted: NamespaceDriver) -> None:
    source = counted.run(dual_tor.SERVER, ["cat", "/etc/bgphealth/bgphealth.yaml"]).stdout
    text, replaced = re.subn(r"(?<=\n    of:\n)(      - .*\n)+", BEYOND, source)
    assert replaced == 1
    counted.run(dual_tor.SERVER, ["sh", "-c", f"cat >/run/kinds.yaml <<'END'\n{text}END\n"])

    done = counted.run(
        dual_tor.SERVER, ["bgphealth", "-c", "/run/kinds.yaml", "probe", "--json"], check=False
    )

    assert done.stdout, done.stderr
    probes = [p for p in json.loads(done.stdout)["probes"] if p["role"] == "beyond"]
    assert len(probes) == len(TORS) * len(dual_tor.FAMILIES) * len(("icmp", *KINDS))
    assert [p for p in probes if p["kind"] in ("icmp", "tcp") and p["verdict"] != "ok"] == []
    for tor in TORS:
        seen = counts(counted, tor)
        assert [way for way, n in seen.items() if way.startswith(tor) and not n] == []
        assert {n for way, n in seen.items() if not way.startswith(tor)} == {0}, (tor, seen)


@pytest.mark.parametrize("name", ["uplink-blackhole", "tor-crash", "link-down"])
def test_faults(unnumbered_lab: NamespaceDriver, name: str) -> None:
    measure(unnumbered_lab, name)
