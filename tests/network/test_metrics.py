"""The metrics of the real program in the lab, while something breaks."""

from __future__ import annotations

import sys

from lab import convergence, dual_tor, faults
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS, edited, reload
from tests.support.metrics import Values, promtool, read, value

URL = "http://127.0.0.1:9179/metrics"
ASK = f"import urllib.request as u; print(u.urlopen('{URL}', timeout=10).read().decode(), end='')"
TEXTFILE = "/run/bgphealth.prom"
SECTION = f'metrics: {{listen: "127.0.0.1:9179", textfile: {TEXTFILE}, interval: 1s}}'
CALM = [
    ("exabgp_session_up", {"neighbor": "127.0.0.1"}),
    *(("default_tier", {"family": f, "tier": "injected"}) for f in dual_tor.FAMILIES),
    *(
        ("fallback_default_present", {"family": f, "uplink": tor})
        for f in dual_tor.FAMILIES
        for tor in TORS
    ),
]
"""What is so all the time: the fault is not one of these."""


def scrape(lab: NamespaceDriver) -> str:
    """Return what is answered; nothing while nobody listens."""
    return lab.run(dual_tor.SERVER, [sys.executable, "-c", ASK], check=False).stdout


def is_up(values: Values, tor: str) -> list[float | None]:
    return [
        value(values, "path_state", uplink=tor, family=family, state="up")
        for family in dual_tor.FAMILIES
    ]


def missing(values: Values, tors: dict[str, float]) -> list[str]:
    """Return what does not say yet that just these ToRs are up, announced, seen and used."""
    if not values:
        return ["an answer"]
    wrong = [
        f"{tor} up: {is_up(values, tor)}" for tor in tors if is_up(values, tor) != [tors[tor]] * 2
    ]
    wanted = {r: v for (name, r), v in values.items() if name == "bgphealth_route_wanted"}
    verified = {r: v for (name, r), v in values.items() if name == "bgphealth_route_verified"}
    for number, tor in enumerate(TORS, 1):
        for prefix in ("0.0.0.0/0", "::/0"):
            route = frozenset({("route", f"{prefix} path {number}")})
            if wanted.get(route) != tors[tor]:
                wrong.append(f"{prefix} via {tor} wanted: {wanted.get(route)}")
    if {route for route, is_so in wanted.items() if is_so} != verified.keys():
        wrong.append(f"verified: {verified}, wanted: {wanted}")
    if value(values, "exabgp_routes_pending") or value(values, "exabgp_commands_pending"):
        wrong.append("ExaBGP has something to take")
    if not all(verified.values()):
        wrong.append(f"verified: {verified}")
    wrong += [f"{name} {of}" for name, of in CALM if value(values, name, **of) != 1]
    return wrong


def wait(lab: NamespaceDriver, what: str, tors: dict[str, float]) -> Values:
    found: list[Values] = []

    def look() -> list[str]:
        found.append(read(scrape(lab)))
        return missing(found[-1], tors)

    convergence.wait_until(what, look)
    return found[-1]


def test_the_metrics_follow_a_fault(lab: NamespaceDriver) -> None:
    fault = faults.FAULTS["uplink-blackhole"]
    tor1, tor2 = TORS
    fell = {"uplink": tor2, "state": "down", "reason": "beyond_failed"}
    with edited(lab, f"$ a {SECTION}"):
        reload(lab)
        before = wait(lab, "metrics of a calm host", {tor1: 1, tor2: 1})
        for family in dual_tor.FAMILIES:
            assert value(before, "path_transitions_total", **fell, family=family) == 0
        faults.run_steps(lab, fault.inject)
        try:
            during = wait(lab, "metrics of the fault", {tor1: 1, tor2: 0})
        finally:
            faults.run_steps(lab, fault.heal)
        after = wait(lab, "metrics of a healed host", {tor1: 1, tor2: 1})
        convergence.wait_converged(lab)
        for family in dual_tor.FAMILIES:
            assert value(during, "path_transitions_total", **fell, family=family) == 1
            assert value(after, "path_transitions_total", **fell, family=family) == 1
        assert value(during, "routes", reason="path_down") == len(dual_tor.FAMILIES)
        asked = {"uplink": tor2, "family": "ipv4", "role": "beyond", "verdict": "failed"}
        failed = [
            value(values, "probe_answers_total", **asked, probe="icmp 198.51.100.1") or 0
            for values in (before, during)
        ]
        assert failed[0] + 3 <= failed[1]  # `fall`
        reload(lab)
        kept = read(scrape(lab))
        assert value(kept, "path_transitions_total", **fell, family="ipv4") == 1
        assert value(kept, "config_last_reload_successful") == 1
        text = scrape(lab)
        checked = promtool("check", "metrics", stdin=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        written = lab.run(dual_tor.SERVER, ["cat", TEXTFILE]).stdout
        # Which FRR runs is asked beside, and may be known later.
        lasting = {series for series in before if series[0] != "bgphealth_build_info"}
        assert read(written).keys() >= lasting
    reload(lab)

    def left() -> list[str]:
        shell = f"ss -ltn | grep :9179; ls {TEXTFILE} 2>/dev/null"
        return lab.run(dual_tor.SERVER, ["sh", "-c", shell], check=False).stdout.splitlines()

    convergence.wait_until("that nothing is left of them", left)
