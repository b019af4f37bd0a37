"""The three tiers of default in the laboratory: each takes over from the one above, and back."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, pairwise
from typing import Any

from lab import convergence, dual_tor, routes
from lab.faults import FAULTS, run_steps
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS, edited, reload

Lab = NamespaceDriver

INTERVAL_S = 0.02
LINKS = {"ipv4": {"10.0.1.1", "10.0.2.1"}, "ipv6": {"2001:db8:1::1", "2001:db8:2::1"}}
SUPERVISOR = "$(cut -d ' ' -f 4 /proc/$(cat /run/exabgp.pid)/stat)"


def until(what: str, found: Any, wanted: object, timeout_s: float = 30.0) -> None:  # noqa: ANN401 - any callable
    """Wait until a callable returns what is wanted."""
    convergence.wait_until(
        what, lambda: [] if (seen := found()) == wanted else [str(seen)], timeout_s
    )


def shell(lab: Lab, script: str) -> str:
    return lab.run(dual_tor.SERVER, ["sh", "-c", script]).stdout


def protocols(lab: Lab) -> dict[str, str]:
    """Return, by family, who made the default that the server uses."""
    found = {}
    for family, option in (("ipv4", "-4"), ("ipv6", "-6")):
        output = shell(lab, f"ip -N -json {option} route show default")
        best = min(json.loads(output), key=lambda route: int(route.get("metric", 0)))
        found[family] = str(best["protocol"])
    return found


def both(value: object) -> dict[str, object]:
    return dict.fromkeys(dual_tor.FAMILIES, value)


def order(lab: Lab) -> dict[str, tuple[str, ...]]:
    return {family: routes.fallback_uplinks(lab, family) for family in dual_tor.FAMILIES}


def injected(lab: Lab) -> dict[str, int]:
    return {family: routes.injected_uplinks(lab, family) for family in dual_tor.FAMILIES}


class Calls:
    """What the server has called, and what came back."""

    def __init__(self, lab: Lab) -> None:
        self._agent = lab.popen(dual_tor.SERVER, ["python3", "-m", "lab.agents.calls"])
        wanted = {"targets": dual_tor.TARGET, "port": dual_tor.ECHO_PORT, "interval_s": INTERVAL_S}
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps(wanted) + "\n")
        self._agent.stdin.flush()
        assert self._agent.stdout.readline()
        self.made: dict[str, list[tuple[float, str | None, bool]]] = {}

    def stop(self) -> None:
        try:
            output, _ = self._agent.communicate(timeout=20)
            self.made = json.loads(output)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            raise

    def outage_s(self, family: str, since: float, until: float) -> float:
        """Return the longest time without an answer that began between the two."""
        times = [at for at, _, answered in self.made[family] if answered]
        gaps = [b - a - INTERVAL_S for a, b in pairwise(times) if since <= b and a < until]
        return round(max(gaps), 3)

    def lost(self, family: str, since: float, until: float) -> int:
        """Return how many calls of that time were not answered."""
        return sum(not answered for at, _, answered in self.made[family] if since <= at < until)

    def sources(self, family: str) -> list[str]:
        """Return the sources of what was answered, in their order, each stretch once."""
        return [s for s, _ in groupby(str(s) for _, s, answered in self.made[family] if answered)]


@contextmanager
def unsupervised(lab: Lab) -> Iterator[None]:
    """Keep what is killed from being started again, until the end; then it all comes back."""
    supervisor = shell(lab, f"echo {SUPERVISOR}").strip()
    # A second death within a minute would make FRR's watchdog wait: here it is a new one.
    shell(lab, "kill -9 $(cat /run/frr/watchfrr.pid)")
    shell(lab, f"kill -STOP {supervisor}")
    try:
        yield
    finally:
        shell(lab, "kill -9 $(cat /run/frr/staticd.pid); /etc/lab/start-frr")
        shell(lab, f"kill -CONT {supervisor}")
        convergence.wait_converged(lab)


def test_bgps_default_wins_and_the_fallback_goes_nowhere(lab: Lab) -> None:
    convergence.wait_converged(lab)
    assert protocols(lab) == both("186")
    assert order(lab) == both(TORS)
    for family, prefix in (("ipv4", "0.0.0.0/0"), ("ipv6", "::/0")):
        ip = "ip" if family == "ipv4" else "ipv6"
        entries = json.loads(shell(lab, f"vtysh -c 'show {ip} route {prefix} json'"))[prefix]
        ours = [entry for entry in entries if entry["protocol"] == "kernel"]
        assert [entry["distance"] for entry in ours] == [254, 254]
        assert not any(entry.get("selected") for entry in ours)
        # Nobody originates a default here, and no ToR has one from this host.
        asked = f"vtysh -c 'show bgp {family} unicast {prefix} json'"
        here = json.loads(shell(lab, asked))["paths"]
        assert {path["peer"]["peerId"] for path in here} == {
            "127.0.0.2", *dual_tor.LINK_GATEWAY[dual_tor.NAME][family].values()
        }  # fmt: skip
        for tor in TORS:
            there = json.loads(lab.run(tor, ["sh", "-c", asked]).stdout)["paths"]
            assert {path["peer"]["peerId"] for path in there}.isdisjoint(LINKS[family])
    log = shell(lab, f'grep -c \'"event": "drift"\' {dual_tor.EXABGP_LOG} || true')
    assert int(log) == 0


def test_exabgp_then_bgpd_then_zebra_are_killed_and_outgoing_traffic_goes_on(
    lab: Lab, record_testsuite_property: Callable[[str, object], None]
) -> None:
    convergence.wait_converged(lab)
    calls, at = Calls(lab), {}
    try:
        with unsupervised(lab):
            at["ExaBGP"] = time.monotonic()
            shell(lab, "kill -9 $(cat /run/exabgp.pid)")
            until("the injected defaults are gone", lambda: injected(lab), both(0))
            assert protocols(lab) == both("186")  # The ToRs' own.
            at["bgpd"] = time.monotonic()
            shell(lab, "kill -9 $(cat /run/frr/bgpd.pid)")
            until("the fallback serves", lambda: protocols(lab), both("179"))
            at["zebra"] = time.monotonic()
            shell(lab, "kill -9 $(cat /run/frr/zebra.pid)")
            assert protocols(lab) == both("179")
            assert order(lab) == both(TORS)
            at["return"] = time.monotonic()
        assert protocols(lab) == both("186")
        at["end"] = time.monotonic()
    finally:
        calls.stop()
    for family in dual_tor.FAMILIES:
        first, *between, last = calls.sources(family)
        assert first == last == dual_tor.LOOPBACK[family]
        assert LINKS[family] & set(between)
        for (phase, since), (_, until_) in pairwise(at.items()):
            outage_s = calls.outage_s(family, since, until_)
            lost = calls.lost(family, since, until_)
            record_testsuite_property(f"{family} {phase}", f"{outage_s} s, {lost} lost")
            # Nobody was waited for: neither a hold time nor a watchdog.
            assert outage_s < 5.0, phase


def test_the_order_follows_the_health_of_the_uplinks(lab: Lab) -> None:
    convergence.wait_converged(lab)
    # The mirror image of the fault: tor1 comes first by number.
    fault = [step.arguments for step in FAULTS["uplink-blackhole"].inject]
    heal = [step.arguments for step in FAULTS["uplink-blackhole"].heal]
    try:
        for arguments in fault:
            lab.run("tor1", arguments)
        until("tor2 comes first", lambda: order(lab), both(TORS[::-1]))
    finally:
        for arguments in heal:
            lab.run("tor1", arguments)
    until("tor1 comes first again", lambda: order(lab), both(TORS))
    convergence.wait_converged(lab)


def test_what_somebody_deletes_is_restored(lab: Lab) -> None:
    convergence.wait_converged(lab)
    run_steps(lab, FAULTS["fallback-deleted"].inject)
    # Long before anybody would look without being told.
    until("they are back", lambda: order(lab), both(TORS), timeout_s=3.0)


def test_an_uplink_that_leaves_the_file_loses_its_fallback_and_the_other_keeps_it(lab: Lab) -> None:
    convergence.wait_converged(lab)
    with edited(lab, "/^  tor2:/d"):
        reload(lab)
        until("tor1 alone", lambda: order(lab), both(TORS[:1]))
    reload(lab)
    convergence.wait_converged(lab)
