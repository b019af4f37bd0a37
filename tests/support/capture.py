"""What crosses the wires of the laboratory's BGP sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lab import dual_tor
from lab.bench_agents import Agent
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS

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
    """Return what has arrived since the capture began, by node and interface."""
    return {
        f"{node} {interface}": seen
        for node, agent in agents.items()
        for interface, seen in agent.ask("messages").items()
    }


def updates(seen: Seen) -> dict[str, list[dict[str, Any]]]:
    """Return the UPDATEs alone, of where there are any."""
    return {where: found["updates"] for where, found in seen.items() if found["updates"]}
