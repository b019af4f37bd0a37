"""kill -9 of each program of the server: what is announced meanwhile, and back to normal by itself.

The lab supervises them as a host does: ExaBGP starts bgphealth, run-exabgp starts ExaBGP as the
rendered unit does, watchfrr starts bgpd.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import convergence, dual_tor, routes
from lab.faults import FAULTS, run_steps
from lab.namespaces import NamespaceDriver
from lab.watch import ROUTES, RouteWatch
from tests.support.laboratory import TORS, verdicts_since

Lab = NamespaceDriver

ALL = tuple((name, family) for name in ROUTES for family in dual_tor.FAMILIES)
SERVICE = tuple((name, family) for name, family in ALL if name == "service")
LOOPBACK = tuple((name, family) for name, family in ALL if name == "loopback")
NONE: tuple[str, ...] = ()
TOR1 = ("tor1",)
KEY_COUNT = 8
"""The routes that are ours: per family two defaults, the host loopback and the service."""


class Seen:
    """What the kernels of the server and the core have sent where, since `mark`."""

    def __init__(self, lab: Lab) -> None:
        self.watch = RouteWatch(lab)
        self._since = 0.0

    def mark(self) -> None:
        self._since = time.monotonic()

    def states(self, name: str, family: str) -> list[tuple[str, ...]]:
        return [
            change.uplinks
            for change in sorted(self.watch.changes, key=lambda change: change.at)
            if (change.route, change.family) == (name, family) and change.at >= self._since
        ]

    def now(self, name: str, family: str) -> tuple[str, ...]:
        return self.watch.now()[name, family].uplinks


@contextmanager
def watched(lab: Lab) -> Iterator[Seen]:
    seen = Seen(lab)
    convergence.wait_converged(lab)
    try:
        seen.watch.start()
        until("route listeners", seen.watch.is_ready)
        seen.mark()
        yield seen
    finally:
        seen.watch.stop()
    convergence.wait_converged(lab)


@contextmanager
def lasting(lab: Lab, name: str) -> Iterator[None]:
    run_steps(lab, FAULTS[name].inject)
    try:
        yield
    finally:
        run_steps(lab, FAULTS[name].heal)


def kill(lab: Lab, name: str) -> None:
    run_steps(lab, FAULTS[name].inject)


def until(what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    convergence.wait_until(what, lambda: [] if holds() else ["it is not so"], timeout_s)


def pid(lab: Lab, file: str) -> str:
    return lab.run(dual_tor.SERVER, ["cat", file], check=False).stdout


def exabgp(lab: Lab) -> str:
    return pid(lab, "/run/exabgp.pid")


def bgphealth(lab: Lab) -> str:
    return pid(lab, "/run/bgphealth/bgphealth.pid")


def events(lab: Lab, since: float, *names: str) -> list[dict[str, str]]:
    """Return what bgphealth has logged since then."""
    log = lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [e for e in found if e["event"] in names and e["at"] >= since]


def decided(lab: Lab, since: float) -> dict[str, str]:
    """Return what was last decided for each route."""
    return {e["route"]: e["event"] for e in events(lab, since, "announce", "withdraw")}


def drops(lab: Lab, *nodes: str) -> dict[tuple[str, str, str], int]:
    return {(s.node, s.neighbor, s.family): s.drops for s in routes.sessions(lab, nodes)}


def injected(lab: Lab, family: str, prefix: str) -> bool:
    """Tell whether the server's bgpd has a path of a prefix from the injector."""
    asked = ["vtysh", "-c", f"show bgp {family} unicast {prefix} json"]
    paths = json.loads(lab.run(dual_tor.SERVER, asked).stdout or "{}").get("paths", [])
    return any(path["peer"].get("type") == "internal" for path in paths)


def test_bgphealth_is_killed_and_nothing_moves(lab: Lab) -> None:
    with watched(lab) as seen:
        sessions, parent, before = drops(lab, dual_tor.SERVER, *TORS), exabgp(lab), bgphealth(lab)
        since = time.monotonic()
        kill(lab, "helper-kill")
        until(
            "the next one has decided on everything", lambda: len(decided(lab, since)) >= KEY_COUNT
        )
        assert set(decided(lab, since).values()) == {"announce"}
        assert {route: seen.states(*route) for route in ALL} == {route: [] for route in ALL}
    assert drops(lab, dual_tor.SERVER, *TORS) == sessions
    assert exabgp(lab) == parent
    assert bgphealth(lab) not in {before, ""}


def test_what_broke_while_bgphealth_was_away_is_withdrawn_by_the_next_one(lab: Lab) -> None:
    with watched(lab) as seen:
        kill(lab, "helper-kill")
        with lasting(lab, "uplink-blackhole"), lasting(lab, "service-down"):
            until(
                "tor2 has nothing of ours, and nobody the service",
                lambda: (
                    all(seen.now("default", family) == TOR1 for family in dual_tor.FAMILIES)
                    and all(seen.now("loopback", family) == TOR1 for family in dual_tor.FAMILIES)
                    and all(seen.now("service", family) == NONE for family in dual_tor.FAMILIES)
                ),
            )
            # Each of them moved once, and what stays on tor1 never left it.
            for family in dual_tor.FAMILIES:
                assert seen.states("default", family) == [TOR1]
                assert seen.states("loopback", family) == [TOR1]
                assert set(seen.states("service", family)) <= {TOR1, NONE}


def test_exabgp_is_killed_and_bgpd_keeps_only_the_host_loopback_until_it_is_back(
    lab: Lab,
) -> None:
    with watched(lab) as seen:
        sessions, before = drops(lab, *TORS), exabgp(lab)
        kill(lab, "exabgp-kill")
        until("the core has no service", lambda: all(NONE in seen.states(*r) for r in SERVICE))
        # What stays in the server's kernel are the ToRs' own defaults.
        for route in set(ALL) - set(SERVICE):
            assert NONE not in seen.states(*route)
    assert drops(lab, *TORS) == sessions
    assert exabgp(lab) not in {before, ""}


def test_a_service_that_died_with_exabgp_is_not_announced_by_the_next_one(lab: Lab) -> None:
    with watched(lab) as seen:
        since = time.monotonic()
        kill(lab, "exabgp-kill")
        with lasting(lab, "service-down"):
            until("the core has no service", lambda: all(NONE in seen.states(*r) for r in SERVICE))
            seen.mark()
            until(
                "the host loopback is back, and the service is judged",
                lambda: (
                    [e["to"] for e in events(lab, since, "service_changed")][-1:] == ["down"]
                    and all(len(seen.now("loopback", f)) == len(TORS) for f in dual_tor.FAMILIES)
                ),
            )
            for family, address in dual_tor.SERVICE.items():
                assert seen.states("service", family) == []
                assert not injected(lab, family, f"{address}/{32 if family == 'ipv4' else 128}")


def test_bgpd_is_killed_and_comes_back_with_the_newest_state(lab: Lab) -> None:
    """One death only: at a second one soon after, FRR's watchdog waits for a minute or more."""
    with watched(lab) as seen:
        parent, before = exabgp(lab), bgphealth(lab)
        since = time.monotonic()
        kill(lab, "bgpd-kill")
        with lasting(lab, "uplink-blackhole"):
            until(
                "there is nothing of BGP",
                lambda: all(NONE in seen.states(*r) for r in (*SERVICE, *LOOPBACK)),
            )
            seen.mark()
            until("tor1 carries everything", lambda: all(seen.now(*r) == TOR1 for r in ALL))
            # bgpd's own host loopback may be at tor2 as well until ExaBGP is there.
            for route in SERVICE:
                assert set(seen.states(*route)) <= {NONE, TOR1}
            # Nothing of it was decided anew because bgpd was away.
            assert {(v.uplink, v.after) for v in verdicts_since(lab, since)} == {("tor2", "down")}
    assert (exabgp(lab), bgphealth(lab)) == (parent, before)


def test_a_tor_that_went_dark_while_exabgp_was_away_gets_nothing_afterwards(lab: Lab) -> None:
    with watched(lab) as seen:
        kill(lab, "exabgp-kill")
        with lasting(lab, "uplink-blackhole"):
            until("the core has no service", lambda: all(NONE in seen.states(*r) for r in SERVICE))
            seen.mark()
            until("tor1 carries everything", lambda: all(seen.now(*r) == TOR1 for r in ALL))
            for route in SERVICE:
                assert set(seen.states(*route)) <= {NONE, TOR1}
