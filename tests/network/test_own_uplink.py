"""Probes leave and come back through their own uplink, proved in dual-tor's packet counters.

For icmp, tcp, http, dns and exec. `bfd` and `bgp` ask this host's FRR and `link` its kernel: they
send nothing of their own, so there is nothing to lead or to count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab import convergence, dual_tor, faults
from lab.namespaces import NamespaceDriver
from tests.support.every_kind import (
    KINDS,
    assert_every_kind_notices_and_comes_back,
    every_kind,
)
from tests.support.laboratory import configure, verdicts_since, wait_default

LINK_ADDRESS = {
    "tor1": {"ipv4": "10.0.1.1", "ipv6": "2001:db8:1::1"},
    "tor2": {"ipv4": "10.0.2.1", "ipv6": "2001:db8:2::1"},
}
"""The server's address on the link to each ToR: the source of that uplink's probes."""

SESSIONS = {
    "injector": ["127.0.0.2"],
    "tor1": ["10.0.1.0", "2001:db8:1::"],
    "tor2": ["10.0.2.0", "2001:db8:2::"],
}

_IP = {"ipv4": "ip", "ipv6": "ip6"}
_ICMP = {"ipv4": "icmp", "ipv6": "icmpv6"}


def counting(tor: str) -> str:
    """Return an nftables script that counts the probes of this ToR's uplink, and any of others."""
    other = "tor1" if tor == "tor2" else "tor2"
    names, rules = [], []
    for family in dual_tor.FAMILIES:
        ip, icmp = _IP[family], _ICMP[family]
        mine, theirs = LINK_ADDRESS[tor][family], LINK_ADDRESS[other][family]
        target = dual_tor.TARGET[family]
        names += [f"asked_{family}", f"answered_{family}", f"stray_{family}"]
        for kind, packet in KINDS.items():
            names += [f"{kind}_asked_{family}", f"{kind}_answered_{family}"]
            asks, answers = packet.format("dport"), packet.format("sport")
            rules += [
                f"{ip} saddr {mine} {asks} counter name {kind}_asked_{family}",
                f"{ip} daddr {mine} {answers} counter name {kind}_answered_{family}",
            ]
        rules += [
            f"{ip} saddr {mine} {icmp} type echo-request counter name asked_{family}",
            f"{ip} daddr {mine} {icmp} type echo-reply counter name answered_{family}",
            # Whatever the protocol: nothing else ever uses these addresses across a ToR.
            f"{ip} saddr {theirs} counter name stray_{family}",
            f"{ip} daddr {theirs} counter name stray_{family}",
            # Nor does anything but probes go to the target: what does not bind at all is no better.
            f"{ip} daddr {target} {ip} saddr != {mine} counter name stray_{family}",
            f"{ip} saddr {target} {ip} daddr != {mine} counter name stray_{family}",
        ]
    counters = "\n".join(f"counter {name} {{ }}" for name in names)
    body = "\n".join(rules)
    return (
        "table inet lab_probes {\n"
        f"{counters}\n"
        f"chain arrives {{ type filter hook prerouting priority -300;\n{body}\n}}\n"
        f"chain leaves {{ type filter hook postrouting priority -300;\n{body}\n}}\n"
        "}"
    )


@contextmanager
def counted(lab: NamespaceDriver) -> Iterator[None]:
    try:
        for tor in LINK_ADDRESS:
            lab.run(tor, ["nft", counting(tor)])
        yield
    finally:
        for tor in LINK_ADDRESS:
            lab.run(tor, ["nft", "delete table inet lab_probes"], check=False)


def counters(lab: NamespaceDriver) -> dict[tuple[str, str], int]:
    found = {}
    for tor in LINK_ADDRESS:
        output = lab.run(tor, ["nft", "-j", "list", "counters", "table", "inet", "lab_probes"])
        for item in json.loads(output.stdout)["nftables"]:
            if "counter" in item:
                found[tor, item["counter"]["name"]] = item["counter"]["packets"]
    return found


def strays(found: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {key: count for key, count in found.items() if key[1].startswith("stray") and count}


def assert_all_counted_and_no_stray(lab: NamespaceDriver) -> None:
    seen = counters(lab)
    kinds = {f"{kind}_" for kind in KINDS} | {""}
    assert {key for key, count in seen.items() if count} == {
        (tor, f"{kind}{what}_{family}")
        for tor in LINK_ADDRESS
        for kind in kinds
        for what in ("asked", "answered")
        for family in dual_tor.FAMILIES
    }


def shut(lab: NamespaceDriver, *names: str, up: bool = False) -> None:
    """Shut the server's BGP sessions with these, or let them come up again."""
    lines = [
        f"{'no ' if up else ''}neighbor {neighbor} shutdown"
        for name in names
        for neighbor in SESSIONS[name]
    ]
    configure(lab, dual_tor.SERVER, "router bgp 65101", *lines)


def assert_all_answered(lab: NamespaceDriver) -> None:
    """Ask everything, from the same device and source and through the same code as the program."""
    done = lab.run(
        dual_tor.SERVER,
        ["bgphealth", "-c", "/etc/bgphealth/bgphealth.yaml", "probe", "--json", "--count", "3"],
        check=False,
    )
    found = json.loads(done.stdout)
    asked = [probe for probe in found["probes"] if probe["kind"] == "icmp"]
    assert {(probe["uplink"], probe["family"]) for probe in asked} == {
        (tor, family) for tor in LINK_ADDRESS for family in dual_tor.FAMILIES
    }
    for probe in asked:
        assert probe["source"] == LINK_ADDRESS[probe["uplink"]][probe["family"]]
    assert [probe for probe in asked if probe["verdict"] != "ok"] == []


def assert_program_is_answered(lab: NamespaceDriver) -> None:
    """Let the running program ask for a while: every answer comes back, none strays."""
    began_at, before = time.monotonic(), counters(lab)

    def missing() -> list[str]:
        now = counters(lab)
        # Three probes per path and round, each counted where it arrives and where it leaves.
        return [
            f"{key}: {now[key] - count} more"
            for key, count in before.items()
            if key[1].startswith(("asked", "answered")) and now[key] - count < 3 * 5
        ]

    convergence.wait_until("probes and answers in each ToR's counters", missing, 10.0)
    assert verdicts_since(lab, began_at) == []


def break_and_heal_tor2(lab: NamespaceDriver) -> None:
    """Let tor2 go dark and come back; the program must see both by itself."""
    fault = faults.FAULTS["uplink-blackhole"]

    def wait_judged(level: str, since: float) -> None:
        def missing() -> list[str]:
            last = {v.family: v.after for v in verdicts_since(lab, since) if v.uplink == "tor2"}
            return [f for f in dual_tor.FAMILIES if last.get(f) != level]

        convergence.wait_until(f"tor2 judged {level}", missing, 15.0)

    at = time.monotonic()
    faults.run_steps(lab, fault.inject)
    try:
        wait_judged("down", at)
    finally:
        at = time.monotonic()
        faults.run_steps(lab, fault.heal)
    wait_judged("up", at)


def send_a_stray(lab: NamespaceDriver, family: str) -> None:
    """Send what no probe may: tor2's source, and the way that the main table says."""
    program = (
        "import socket, sys\n"
        f"udp = socket.socket(socket.AF_{'INET' if family == 'ipv4' else 'INET6'}, "
        "socket.SOCK_DGRAM)\n"
        f"udp.bind(('{LINK_ADDRESS['tor2'][family]}', 0))\n"
        f"udp.sendto(b'', ('{dual_tor.TARGET[family]}', {dual_tor.ECHO_PORT}))\n"
    )
    lab.run(dual_tor.SERVER, ["python3", "-c", program])


def test_probes_stay_on_their_uplink_whatever_the_main_table_says(lab: NamespaceDriver) -> None:
    with counted(lab):
        try:
            assert_program_is_answered(lab)
            assert_all_answered(lab)

            shut(lab, "injector", "tor1", "tor2")
            wait_default(lab)
            assert_program_is_answered(lab)
            assert_all_answered(lab)
            break_and_heal_tor2(lab)

            shut(lab, "tor1", up=True)
            wait_default(lab, "tor1")
            assert_program_is_answered(lab)
            assert_all_answered(lab)
            break_and_heal_tor2(lab)
            assert strays(counters(lab)) == {}

            # And would the counters have seen it?
            for family in dual_tor.FAMILIES:
                send_a_stray(lab, family)
            seen = strays(counters(lab))
            assert {key for key in seen if key[0] == "tor1"} == {
                ("tor1", f"stray_{family}") for family in dual_tor.FAMILIES
            }
        finally:
            shut(lab, *SESSIONS, up=True)
        convergence.wait_converged(lab)


def test_every_kind_stays_on_its_uplink_and_brings_it_back(lab: NamespaceDriver) -> None:
    with every_kind(lab):
        try:
            shut(lab, "injector", "tor1", "tor2")
            wait_default(lab)
            with counted(lab):
                assert_every_kind_notices_and_comes_back(lab)
                assert_all_counted_and_no_stray(lab)

            # For tor2's probes the main table has nothing but the wrong way.
            shut(lab, "tor1", up=True)
            wait_default(lab, "tor1")
            with counted(lab):
                assert_every_kind_notices_and_comes_back(lab)
                assert_all_counted_and_no_stray(lab)
        finally:
            shut(lab, *SESSIONS, up=True)
    convergence.wait_converged(lab)


def test_an_uplink_whose_default_went_with_it_comes_back(lab: NamespaceDriver) -> None:
    with counted(lab):
        break_and_heal_tor2(lab)
        convergence.wait_converged(lab)
        assert_all_answered(lab)

        assert strays(counters(lab)) == {}
