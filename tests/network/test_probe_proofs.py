"""What probes promise, proved in dual-tor from outside: in the ToRs' packet counters and in BGP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import convergence, dual_tor, experiment, faults, results, watch
from lab.namespaces import NamespaceDriver
from lab.watch import Verdict

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


def measure(lab: NamespaceDriver, name: str) -> dict[str, object]:
    found = results.result(experiment.run(lab, faults.FAULTS[name], lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps(found["timeline"], indent=2)
    return found


def verdicts_since(lab: NamespaceDriver, at: float) -> list[Verdict]:
    return [verdict for verdict in watch.read_verdicts(lab) if verdict.at >= at]


def while_it_lasts(duration_s: float, check: Callable[[], None]) -> None:
    """Let a fault last so long, and look all the while."""
    due = time.monotonic() + duration_s

    def missing() -> list[str]:
        check()
        return [] if time.monotonic() >= due else ["the rest of its time"]

    convergence.wait_until("the end of the fault", missing, duration_s + 30.0)


def table_versions(lab: NamespaceDriver) -> dict[tuple[str, str], int]:
    """Return what every UPDATE that changes anything adds to, on the server and on the core."""
    return {
        (node, family): json.loads(
            lab.run(node, ["vtysh", "-c", f"show bgp {family} unicast json"]).stdout
        )["tableVersion"]
        for node in (dual_tor.SERVER, dual_tor.CORE)
        for family in dual_tor.FAMILIES
    }


# ---- out and back through its own uplink ---------------------------------------------------------


KINDS = {"tcp": "tcp {} 7", "http": "tcp {} 8080", "dns": "udp {} 7"}
"""What the packets of each kind look like, beside ICMP's: `dport` asks and `sport` answers.

Nobody on the core speaks HTTP or DNS there: a reset and an echo come back on the same way.
"""

BEYOND = """\
      - {icmp: 198.51.100.1}
      - {tcp: "198.51.100.1:7"}
      - {http: "http://198.51.100.1:8080/"}
      - {dns: {server: 198.51.100.1, port: 7, name: health.example, type: A}}
      - {icmp: "2001:db8:100::1"}
      - {tcp: "[2001:db8:100::1]:7"}
      - {http: "http://[2001:db8:100::1]:8080/"}
      - {dns: {server: "2001:db8:100::1", port: 7, name: health.example, type: A}}
"""


def counting(tor: str) -> str:
    """Return an nftables script that counts the probes of this ToR's uplink, and any of others."""
    other = "tor1" if tor == "tor2" else "tor2"
    names, rules = [], []
    for family in dual_tor.FAMILIES:
        ip, icmp = _IP[family], _ICMP[family]
        mine, theirs = LINK_ADDRESS[tor][family], LINK_ADDRESS[other][family]
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


def shut(lab: NamespaceDriver, *names: str, up: bool = False) -> None:
    """Shut the server's BGP sessions with these, or let them come up again."""
    lines = [
        f"{'no ' if up else ''}neighbor {neighbor} shutdown"
        for name in names
        for neighbor in SESSIONS[name]
    ]
    asked = ["configure terminal", "router bgp 65101", *lines]
    lab.run(dual_tor.SERVER, ["vtysh", *(word for line in asked for word in ("-c", line))])


def wait_default(lab: NamespaceDriver, *tors: str) -> None:
    """Wait until the server's main table has a default through these ToRs alone, or none at all."""
    wanted = sorted(i for i, tor in dual_tor.TOR_BEHIND.items() if tor in tors)

    def missing() -> list[str]:
        found = []
        for option in ("-4", "-6"):
            output = lab.run(dual_tor.SERVER, ["ip", option, "route", "show", "default"]).stdout
            if sorted(set(re.findall(r"dev (\S+)", output))) != wanted:
                found.append(f"default via {wanted}, there is: {output}")
        return found

    convergence.wait_until("the server's default", missing)


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


def test_every_kind_stays_on_its_uplink(lab: NamespaceDriver) -> None:
    source = lab.run(dual_tor.SERVER, ["cat", "/etc/bgphealth/bgphealth.yaml"]).stdout
    text, replaced = re.subn(r"(?<=\n    of:\n)(      - .*\n)+", BEYOND, source)
    assert replaced == 1
    write = f"cat >/run/kinds.yaml <<'END'\n{text}END\n"
    lab.run(dual_tor.SERVER, ["sh", "-c", write])
    with counted(lab):
        try:
            # For tor2's probes the main table has nothing but the wrong way.
            shut(lab, "injector", "tor2")
            wait_default(lab, "tor1")
            done = lab.run(
                dual_tor.SERVER,
                ["bgphealth", "-c", "/run/kinds.yaml", "probe", "--json"],
                check=False,
            )
            assert done.stdout, done.stderr
            probes = json.loads(done.stdout)["probes"]
            seen = counters(lab)
        finally:
            shut(lab, *SESSIONS, up=True)
        convergence.wait_converged(lab)

    beyond = [probe for probe in probes if probe["role"] == "beyond"]
    assert {(p["uplink"], p["kind"], p["family"]) for p in beyond} == {
        (tor, kind, family)
        for tor in LINK_ADDRESS
        for kind in ("icmp", *KINDS)
        for family in dual_tor.FAMILIES
    }
    assert [p for p in beyond if p["kind"] in ("icmp", "tcp") and p["verdict"] != "ok"] == []
    assert [key for key, count in seen.items() if not count and "stray" not in key[1]] == []
    assert strays(seen) == {}


def test_an_uplink_whose_default_went_with_it_comes_back(lab: NamespaceDriver) -> None:
    with counted(lab):
        break_and_heal_tor2(lab)
        convergence.wait_converged(lab)
        assert_all_answered(lab)

        assert strays(counters(lab)) == {}


# ---- not fooled by ourselves ---------------------------------------------------------------------


def test_a_stopped_helper_withdraws_nothing(lab: NamespaceDriver) -> None:
    before = table_versions(lab)

    measure(lab, "helper-stop")

    assert table_versions(lab) == before


def test_a_busy_machine_withdraws_nothing(lab: NamespaceDriver) -> None:
    before, began_at = table_versions(lab), time.monotonic()
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        while_it_lasts(10.0, lambda: None)
        assert [process for process in busy if process.poll() is not None] == []
    finally:
        for process in busy:
            process.kill()
            process.wait()

    assert verdicts_since(lab, began_at) == []
    assert table_versions(lab) == before


# ---- lossy paths ---------------------------------------------------------------------------------


def test_a_lossy_uplink_is_degraded_and_left_alone(lab: NamespaceDriver) -> None:
    found = measure(lab, "uplink-loss")

    transitions: list[dict[str, str]] = found["transitions"]  # type: ignore[assignment]
    degraded = [t for t in transitions if t["to"] == "degraded"]
    assert {(t["uplink"], t["family"]) for t in degraded} == {
        ("tor2", family) for family in dual_tor.FAMILIES
    }
    for transition in degraded:
        loss = re.search(r"loss (\d+)%", transition["evidence"])
        assert loss is not None
        assert 10 <= int(loss[1]) <= 60
    convergence.wait_converged(lab)


LOSSY_LINK = """\
table inet lab_loss {
    counter dropped { }
    chain arrives {
        type filter hook prerouting priority -300;
        iifname "eth1" numgen random mod 100 < 2 counter name dropped drop
    }
    chain leaves {
        type filter hook postrouting priority -300;
        oifname "eth1" numgen random mod 100 < 2 counter name dropped drop
    }
}
"""
"""Two of a hundred packets between the server and a ToR, each way, whatever they are."""


def test_a_little_loss_takes_no_path_down(lab: NamespaceDriver) -> None:
    began_at = time.monotonic()
    dropped = []

    def none_is_down() -> None:
        assert [v for v in verdicts_since(lab, began_at) if v.after == "down"] == []

    try:
        for tor in LINK_ADDRESS:
            lab.run(tor, ["nft", LOSSY_LINK])
        while_it_lasts(60.0, none_is_down)
        for tor in LINK_ADDRESS:
            listed = lab.run(tor, ["nft", "list", "table", "inet", "lab_loss"]).stdout
            dropped.append(int(re.findall(r"packets (\d+)", listed)[0]))
    finally:
        for tor in LINK_ADDRESS:
            lab.run(tor, ["nft", "delete table inet lab_loss"], check=False)
    convergence.wait_converged(lab)

    none_is_down()
    assert min(dropped) > 0
