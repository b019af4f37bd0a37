"""Mode direct: a server without FRR, and real ToRs that learn and lose its prefixes one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

import pytest

from lab import convergence, dual_tor, faults, routes
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import configure, edited, reload
from tests.support.survey import essence, guessed, own

FILE = "/etc/bgphealth/bgphealth.yaml"
PREFIXES = {
    "ipv4": ("10.255.10.1/32", "192.0.2.53/32"),
    "ipv6": ("2001:db8:10::1/128", "2001:db8::53/128"),
}
SERVICES = {"192.0.2.53/32", "2001:db8::53/128"}
ALL = {prefix for family in PREFIXES.values() for prefix in family}
SERVER_ENDS = {
    "tor1": {"ipv4": "10.0.1.1", "ipv6": "2001:db8:1::1"},
    "tor2": {"ipv4": "10.0.2.1", "ipv6": "2001:db8:2::1"},
}
UNPROTECTED_S = 8.0
"""Several times as long as ExaBGP takes to connect again."""

Lab = NamespaceDriver


def learned(lab: Lab, tor: str) -> set[str]:
    """Return what a ToR's bgpd has from the server itself, not from the core."""
    found: set[str] = set()
    for family, prefixes in PREFIXES.items():
        for prefix in prefixes:
            asked = ["vtysh", "-c", f"show bgp {family} unicast {prefix} json"]
            paths = json.loads(lab.run(tor, asked).stdout or "{}").get("paths", [])
            if SERVER_ENDS[tor][family] in {path["peer"]["peerId"] for path in paths}:
                found.add(prefix)
    return found


def sessions(lab: Lab, tor: str) -> Mapping[str, routes.Session]:
    ends = set(SERVER_ENDS[tor].values())
    return {s.neighbor: s for s in routes.sessions(lab, [tor]) if s.neighbor in ends}


def up(lab: Lab, tor: str) -> set[str]:
    return {session.neighbor for session in sessions(lab, tor).values() if session.is_up}


def until(what: str, holds: Callable[[], bool]) -> None:
    convergence.wait_until(what, lambda: [] if holds() else ["it is not so"], 30.0)


def settled(lab: Lab) -> None:
    until("both ToRs have everything", lambda: learned(lab, "tor1") == learned(lab, "tor2") == ALL)


@contextmanager
def fault(lab: Lab, name: str) -> Iterator[None]:
    faults.run_steps(lab, faults.FAULTS[name].inject)
    try:
        yield
    finally:
        faults.run_steps(lab, faults.FAULTS[name].heal)


@pytest.fixture(autouse=True)
def _settled(direct_lab: Lab) -> None:
    settled(direct_lab)


def test_each_tor_has_every_prefix_with_the_server_as_next_hop(direct_lab: Lab) -> None:
    for tor, ends in SERVER_ENDS.items():
        for family, prefixes in PREFIXES.items():
            for prefix in prefixes:
                asked = ["vtysh", "-c", f"show bgp {family} unicast {prefix} json"]
                paths = json.loads(direct_lab.run(tor, asked).stdout)["paths"]
                (path,) = [p for p in paths if p["peer"]["peerId"] == ends[family]]
                assert path["aspath"]["string"] == "65101"
                hops = {h["ip"] for h in path["nexthops"] if h.get("scope") != "link-local"}
                assert hops == {ends[family]}
                assert "community" not in path


def test_init_writes_what_is_essentially_the_labs_own(direct_lab: Lab) -> None:
    """Read from exabgp.conf: there is no bgpd."""
    said = direct_lab.run(dual_tor.SERVER, ["bgphealth", "init"]).stdout
    assert "password_file: /etc/bgphealth/tor1.password" in said
    assert essence(guessed(direct_lab)) == essence(own(direct_lab))
    assert all(uplink.ttl_security for uplink in guessed(direct_lab).uplinks)


def test_silent_loss_behind_a_tor_takes_the_prefixes_from_that_tor_alone(direct_lab: Lab) -> None:
    drops = {tor: sessions(direct_lab, tor) for tor in SERVER_ENDS}
    default = direct_lab.run(dual_tor.SERVER, ["ip", "route", "show", "default"]).stdout
    with fault(direct_lab, "uplink-blackhole"):
        until("tor2 has lost everything", lambda: learned(direct_lab, "tor2") == set())
        assert learned(direct_lab, "tor1") == ALL
        # Told, not torn down: a ToR that drops what it forwards keeps its sessions.
        assert up(direct_lab, "tor2") == set(SERVER_ENDS["tor2"].values())
    settled(direct_lab)
    for tor, before in drops.items():
        after = sessions(direct_lab, tor)
        assert {n: s.drops for n, s in after.items()} == {n: s.drops for n, s in before.items()}
    # In this mode the default is the host's own affair.
    assert direct_lab.run(dual_tor.SERVER, ["ip", "route", "show", "default"]).stdout == default


def test_a_dead_service_leaves_both_tors_and_the_host_loopback_stays(direct_lab: Lab) -> None:
    with fault(direct_lab, "service-down"):
        until(
            "no ToR has the service",
            lambda: all(learned(direct_lab, tor) == ALL - SERVICES for tor in SERVER_ENDS),
        )
    settled(direct_lab)


def told(lab: Lab, tor: str, prefix: str) -> tuple[str, list[str]] | None:
    """Return the AS path and the communities that a ToR has from the server itself."""
    family = "ipv6" if ":" in prefix else "ipv4"
    asked = ["vtysh", "-c", f"show bgp {family} unicast {prefix} json"]
    for path in json.loads(lab.run(tor, asked).stdout or "{}").get("paths", []):
        if path["peer"]["peerId"] == SERVER_ENDS[tor][family]:
            return path["aspath"]["string"], path.get("community", {}).get("list", [])
    return None


def tor2_has(lab: Lab, wanted: tuple[str, list[str]] | None) -> bool:
    return all(told(lab, "tor2", prefix) == wanted for prefix in ALL)


def test_a_drained_uplink_is_prepended_then_shut_down_and_then_left(direct_lab: Lab) -> None:
    before = {prefix: told(direct_lab, "tor1", prefix) for prefix in ALL}
    direct_lab.run(dual_tor.SERVER, ["bgphealth", "drain", "uplink", "tor2"])
    try:
        shutdown = ["gracefulShutdown"]
        until("it is prepended", lambda: tor2_has(direct_lab, ("65101 65101", [])))
        until("it is shut down", lambda: tor2_has(direct_lab, ("65101 65101", shutdown)))
        until("it is withdrawn", lambda: tor2_has(direct_lab, None))
        assert {prefix: told(direct_lab, "tor1", prefix) for prefix in ALL} == before
    finally:
        direct_lab.run(dual_tor.SERVER, ["bgphealth", "undrain", "uplink", "tor2"])
    settled(direct_lab)


def tors_have(lab: Lab, wanted: tuple[str, list[str]]) -> bool:
    return all(told(lab, tor, prefix) == wanted for tor in SERVER_ENDS for prefix in SERVICES)


def test_a_dead_service_stays_as_a_last_resort_if_that_is_asked_for(direct_lab: Lab) -> None:
    with reloaded(direct_lab, "s/^  echo:/&\\n    on_down: degrade/"):
        with fault(direct_lab, "service-down"):
            last_resort = " ".join(["65101"] * 6), ["gracefulShutdown"]
            until("it is a last resort", lambda: tors_have(direct_lab, last_resort))
        until("it is as usual", lambda: tors_have(direct_lab, ("65101", [])))


def announcements(lab: Lab) -> int:
    log = lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    return log.count('"event": "announce"')


def test_a_dead_helper_takes_nothing_away(direct_lab: Lab) -> None:
    before = announcements(direct_lab)

    def is_back() -> bool:
        assert learned(direct_lab, "tor1") == learned(direct_lab, "tor2") == ALL
        return announcements(direct_lab) >= before + len(SERVER_ENDS) * len(ALL)

    with fault(direct_lab, "helper-kill"):
        until("the next one has decided on everything", is_back)
    assert is_back()


def logged(lab: Lab, name: str) -> list[dict[str, str]]:
    log = lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [event for event in events if event["event"] == name]


@contextmanager
def reloaded(lab: Lab, script: str) -> Iterator[None]:
    """Have another file for a while; the sessions must not notice, neither then nor afterwards."""
    before = {tor: sessions(lab, tor) for tor in SERVER_ENDS}
    with edited(lab, script):
        reload(lab)
        yield
    reload(lab)
    settled(lab)
    for tor, old in before.items():
        assert {n: s.drops for n, s in sessions(lab, tor).items()} == {
            n: s.drops for n, s in old.items()
        }


def test_a_service_that_leaves_the_file_leaves_both_tors(direct_lab: Lab) -> None:
    with reloaded(direct_lab, "/^services:/,/^$/d"):
        until(
            "no ToR has the service",
            lambda: all(learned(direct_lab, tor) == ALL - SERVICES for tor in SERVER_ENDS),
        )


def test_a_tor_that_leaves_the_file_loses_everything_and_the_other_nothing(direct_lab: Lab) -> None:
    with reloaded(direct_lab, "/^  tor2:/,/ttl_security/d"):
        until("tor2 has lost everything", lambda: learned(direct_lab, "tor2") == set())
        assert learned(direct_lab, "tor1") == ALL
    # ExaBGP knew its neighbors all the time.
    assert logged(direct_lab, "exabgp_refused") == []


def test_paths_that_are_asked_otherwise_lose_nothing_meanwhile(direct_lab: Lab) -> None:
    withdrawn, judged = logged(direct_lab, "withdraw"), logged(direct_lab, "path_changed")

    def is_judged_anew() -> bool:
        assert learned(direct_lab, "tor1") == learned(direct_lab, "tor2") == ALL
        changes = logged(direct_lab, "path_changed")[len(judged) :]
        return {"init", "up"} <= {change["to"] for change in changes}

    with reloaded(direct_lab, "s/gateway: .*/gateway: [{icmp: neighbor}, {link: carrier}]/"):
        until("each path has a verdict again", is_judged_anew)
    assert logged(direct_lab, "withdraw") == withdrawn


def test_a_dead_exabgp_takes_everything_away_until_it_is_back(direct_lab: Lab) -> None:
    with fault(direct_lab, "exabgp-kill"):
        until("tor1 has nothing", lambda: learned(direct_lab, "tor1") == set())
    settled(direct_lab)


@pytest.mark.parametrize(
    ("tor", "wrong", "right"),
    [
        ("tor1", "neighbor SERVER password another", "neighbor SERVER password laboratory"),
        # The ToR sends with TTL 1 then, as bgpd does to any external neighbor.
        ("tor2", "no neighbor SERVER ttl-security hops 1", "neighbor SERVER ttl-security hops 1"),
    ],
    ids=["password", "ttl"],
)
def test_a_session_needs_its_password_and_packets_from_the_link(
    direct_lab: Lab, tor: str, wrong: str, right: str
) -> None:
    if "ttl" in wrong and metadata.version("exabgp").startswith("4."):
        pytest.skip("ExaBGP 4 sends with TTL 255, but does not look at what it gets")
    bgp = f"router bgp {65000 + int(tor[-1])}"
    configure(direct_lab, tor, bgp, wrong)
    try:
        again = [word for end in SERVER_ENDS[tor].values() for word in ("-c", f"clear bgp {end}")]
        direct_lab.run(tor, ["vtysh", *again])
        end = time.monotonic() + UNPROTECTED_S
        while time.monotonic() < end:
            assert up(direct_lab, tor) == set()
    finally:
        configure(direct_lab, tor, bgp, right)
        # Anew: a connection that nobody answers is given up after a minute.
        faults.run_steps(direct_lab, faults.FAULTS["exabgp-kill"].inject)
    settled(direct_lab)


def test_each_session_is_known_by_the_address_of_its_routes(direct_lab: Lab) -> None:
    """Else nothing would be asserted again when a session comes back."""
    log = direct_lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {event["neighbor"] for event in events if event["event"] == "neighbor_up"} == {
        gateway
        for gateways in dual_tor.LINK_GATEWAY[dual_tor.NAME].values()
        for gateway in gateways.values()
    }
    wrong = {"exabgp_refused", "exabgp_unexpected_line"}
    assert not wrong & {event["event"] for event in events}


def test_the_commands_of_a_dry_run_name_their_neighbor(direct_lab: Lab) -> None:
    wanted = {
        f"neighbor {gateway} announce route {prefix} next-hop self"
        for family, prefixes in PREFIXES.items()
        for gateway in dual_tor.LINK_GATEWAY[dual_tor.NAME][family].values()
        for prefix in prefixes
    }
    command = f"bgphealth -c {FILE} run --dry-run & echo $! >/run/dry-run.pid; wait"
    with direct_lab.popen(dual_tor.SERVER, ["sh", "-c", command]) as dry_run:
        assert dry_run.stdout is not None
        try:
            said = {next(dry_run.stdout).rstrip() for _ in wanted}
        finally:
            direct_lab.run(dual_tor.SERVER, ["sh", "-c", "kill $(cat /run/dry-run.pid)"])
            dry_run.communicate(timeout=10)
    assert said == wanted


def test_every_probe_is_ok(direct_lab: Lab) -> None:
    command = ["bgphealth", "-c", FILE, "probe"]
    done = direct_lab.run(dual_tor.SERVER, command, check=False)
    assert done.returncode == 0, done.stdout
    assert "vtysh" not in done.stdout


def test_the_doctor_finds_nothing(direct_lab: Lab) -> None:
    done = direct_lab.run(dual_tor.SERVER, ["bgphealth", "-c", FILE, "doctor"], check=False)
    assert done.stdout == "nothing found\n"


def test_the_doctor_finds_a_session_that_is_down(direct_lab: Lab) -> None:
    session = ("router bgp 65001", "neighbor 10.0.1.1 shutdown")

    def differs(expected: list[tuple[str, str]]) -> list[str]:
        asked = ["bgphealth", "-c", FILE, "doctor", "--json"]
        findings = json.loads(direct_lab.run(dual_tor.SERVER, asked, check=False).stdout)[
            "findings"
        ]
        found = [(finding["word"], finding["subject"]) for finding in findings]
        return [] if found == expected else [str(found)]

    configure(direct_lab, "tor1", *session)
    down = [("exabgp_session_down", "10.0.1.0 (tor1)")]
    convergence.wait_until("that finding alone", lambda: differs(down))
    configure(direct_lab, "tor1", session[0], f"no {session[1]}")
    convergence.wait_until("no finding", lambda: differs([]))


def test_the_password_is_in_no_log_and_for_no_other_user(direct_lab: Lab) -> None:
    log = direct_lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    assert "laboratory" not in log
    asked = ["stat", "-c", "%a", "/etc/exabgp/exabgp.conf"]
    assert direct_lab.run(dual_tor.SERVER, asked).stdout == "640\n"
