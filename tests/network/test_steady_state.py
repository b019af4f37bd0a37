"""In the steady state nothing is sent: seen on the wire, with the capture proved to see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lab import convergence, dual_tor, faults
from lab.bench_agents import Agent
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS

STEADY_S = 60.0

Seen = dict[str, dict[str, Any]]


@contextmanager
def captured(lab: NamespaceDriver) -> Iterator[dict[str, Agent]]:
    """Capture what arrives at the server's bgpd, from ExaBGP and from the ToRs, and at the ToRs."""
    where = {dual_tor.SERVER: ["lo", *dual_tor.TOR_BEHIND]} | {tor: ["eth1"] for tor in TORS}
    with ExitStack() as stack:
        yield {
            node: stack.enter_context(Agent(lab, node, ["updates", *interfaces]))
            for node, interfaces in where.items()
        }


def messages(agents: dict[str, Agent]) -> Seen:
    return {
        f"{node} {interface}": seen
        for node, agent in agents.items()
        for interface, seen in agent.ask("messages").items()
    }


def updates(seen: Seen) -> dict[str, list[dict[str, Any]]]:
    return {where: found["updates"] for where, found in seen.items() if found["updates"]}


def test_in_sixty_seconds_of_steady_state_there_is_not_one_update(lab: NamespaceDriver) -> None:
    convergence.wait_converged(lab)
    with captured(lab) as agents:
        # The last of what an earlier test set in motion: bgpd's own timers are a few seconds.
        quiet_since = time.monotonic()

        def not_quiet() -> list[str]:
            nonlocal quiet_since
            if found := updates(messages(agents)):
                quiet_since = time.monotonic()
                return [str(found)]
            return [] if time.monotonic() - quiet_since > 5 else ["5 s of silence"]

        convergence.wait_until("the last UPDATE of the beginning", not_quiet)
        time.sleep(STEADY_S)  # the time is what is tested
        seen = messages(agents)
        assert updates(seen) == {}
        # All sessions were seen, alive.
        assert {where for where, found in seen.items() if found["others"]} == set(seen)

        # And what this capture is for, it sees: a dead path, on all of the sessions.
        fault = faults.FAULTS["uplink-blackhole"]
        faults.run_steps(lab, fault.inject)
        try:
            seen_on: set[str] = set()

            def not_seen() -> list[str]:
                seen_on.update(updates(messages(agents)))
                return sorted({"server1 lo", "tor2 eth1"} - seen_on)

            convergence.wait_until("UPDATEs", not_seen)
        finally:
            faults.run_steps(lab, fault.heal)
    convergence.wait_converged(lab)
