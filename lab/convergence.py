"""Waits until a lab does what it should, and says what is missing when it does not."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import dual_tor, dual_wan, routes, scene
from lab.errors import LabError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.driver import Driver
    from lab.scene import Scene
    from lab.topology import Topology

OUTPUT = Path(__file__).resolve().parent / "out"

TIMEOUT_S = 60.0
_DAEMONS = Path("/etc/frr/daemons")
_POLL_S = 0.1

Missing = list[str]
"""What is not yet as it should be, in words; empty when nothing is."""


def wait_until(what: str, missing: Callable[[], Missing], timeout_s: float = TIMEOUT_S) -> None:
    """Poll until nothing is missing.

    Raises:
        TimedOutError: With what was missing at the end.
    """
    deadline = time.monotonic() + timeout_s
    while found := missing():
        if time.monotonic() > deadline:
            listed = "".join(f"\n  - {line}" for line in found)
            raise TimedOutError(f"{what}: not within {timeout_s:.0f} s; missing:{listed}")
        time.sleep(_POLL_S)


def wait_converged(driver: Driver, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until BGP is up and, where faults are measured, traffic goes where it should.

    Raises:
        TimedOutError: With what is missing, and where logs and state of every node are.
    """
    try:
        wait_until(f"{driver.topology.name}: convergence", lambda: missing(driver), timeout_s)
    except TimedOutError as error:
        where = OUTPUT / f"{driver.topology.name}-diagnosis.txt"
        OUTPUT.mkdir(exist_ok=True)
        where.write_text(f"{error}\n{diagnosis(driver)}\n", encoding="utf-8")
        raise TimedOutError(f"{error}\nlogs and state of every node: {where}") from None


def missing(driver: Driver) -> Missing:
    """Return what the lab lacks to be converged."""
    if stopped := [name for name, runs in driver.nodes().items() if not runs]:
        raise LabError(f"{', '.join(stopped)} died")
    found = routes.sessions(driver)
    lacking = [
        f"{s.node}: {s.family} session with {s.neighbor} is {s.state}" for s in found if not s.is_up
    ]
    silent = _routers(driver.topology) - {s.node for s in found}
    lacking += [f"{node}: no BGP session" for node in sorted(silent)]
    if driver.topology.name in scene.MEASURED and not lacking:
        here = scene.of(driver.topology.name)
        others = scene.elsewhere(driver.topology)
        for fork in here.forks:
            # Each by itself: what one of them lacks the others have.
            seen, alone = routes.snapshot(driver, (fork,)), replace(here, forks=(fork,))
            lacking += routes_missing(seen, alone, others)
        lacking = list(dict.fromkeys(lacking))
        if here.log is not None and here.steered:
            lacking += _defaults_missing(driver, here)
    return lacking


def _defaults_missing(driver: Driver, here: Scene) -> Missing:
    lacking = []
    for family in dual_tor.FAMILIES:
        if here.has_bgp and (count := routes.injected_uplinks(driver, family)) < len(here.used):
            lacking.append(
                f"{dual_tor.SERVER}: {count} injected {family} default paths in use, not 2"
            )
        fallback = routes.fallback_uplinks(driver, family)
        if fallback != tuple(here.behind.values()):
            listed = ", ".join(fallback) or "none"
            lacking.append(f"{dual_tor.SERVER}: {family} fallback defaults are via {listed}")
        elif (
            not here.has_bgp and routes.spare_uplinks(driver, family) != fallback[len(here.used) :]
        ):
            # Before the first verdicts they are all alike.
            lacking.append(f"{dual_tor.SERVER}: {family} has no verdict on every uplink")
    return lacking


def _routers(topology: Topology) -> set[str]:
    """Return the nodes that run FRR."""
    return {
        name
        for name in topology.nodes
        if any(bind.target == _DAEMONS for bind in topology.binds(name))
    }


def routes_missing(
    seen: routes.Snapshot, here: Scene, others: frozenset[str] = frozenset()
) -> Missing:
    """Return which routes do not use the routers that they should, or leave with another source.

    Behind `others` there are servers with the same service.
    """
    lacking = []
    for family in dual_tor.FAMILIES:
        default = seen.server_default[family]
        own = here.own_sources(here.used, family)
        if default.uplinks != here.used or (own and default.source not in own):
            lacking.append(f"{dual_tor.SERVER}: {family} default is via {default}")
        for name, route, wanted in (
            ("service", seen.core_service[family], {*here.used, *others}),
            ("host loopback", seen.core_loopback[family], set(here.used)),
        ):
            if here.has_bgp and set(route.uplinks) != wanted:
                lacking.append(f"{here.way_in}: {family} {name} is via {route}")
    return lacking


def diagnosis(driver: Driver) -> str:
    """Return logs and ``show`` output of every node, each under the command that shows it."""
    commands = [
        ["ip", "-br", "address"],
        ["ip", "route"],
        ["ip", "-6", "route"],
        ["vtysh", "-c", "show bgp summary"],
        *(["tail", "-n", "25", log] for log in (*dual_tor.LOGS, *dual_wan.LOGS)),
    ]
    parts = []
    for node in driver.topology.nodes:
        for command in commands:
            try:
                done = driver.run(node, command, check=False)
            except LabError as error:
                parts.append(f"--- {node}: {error}")
                break
            if done.returncode == 0 or command[0] != "tail":
                parts.append(
                    f"--- {node}: {' '.join(command)}\n{done.stdout}{done.stderr}".rstrip()
                )
    return "\n".join(parts)
