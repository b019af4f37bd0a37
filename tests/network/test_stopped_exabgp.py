"""ExaBGP is stopped for longer than its session lasts, while the verdicts go on changing."""

from __future__ import annotations

import time
from typing import Any

from bgphealth import config
from bgphealth.core.intents import Community
from lab import convergence, dual_tor, faults, topology
from lab.bench_agents import Agent
from lab.namespaces import NamespaceDriver
from tests.support.bgp_messages import Table, decode_update
from tests.support.laboratory import verdicts_since

STOPPED_S = 20.0

SETTINGS = config.load(topology.HERE / "dual-tor" / "server1" / "bgphealth.yaml")


def blackhole(lab: NamespaceDriver, tor: str, *, heal: bool = False) -> None:
    fault = faults.FAULTS["both-uplinks"]
    steps = fault.heal if heal else fault.inject
    faults.run_steps(lab, [step for step in steps if step.node == tor])


def wait_verdict(lab: NamespaceDriver, since: float, tor: str, level: str) -> None:
    def missing() -> list[str]:
        seen = verdicts_since(lab, since)
        judged = {v.family for v in seen if (v.uplink, v.after) == (tor, level)}
        return sorted(f"{tor} {family} {level}" for family in set(dual_tor.FAMILIES) - judged)

    convergence.wait_until("the verdict", missing)


def announced(updates: list[dict[str, Any]]) -> list[Table]:
    found = (decode_update(bytes.fromhex(update["body"])).announced for update in updates)
    return [table for table in found if table]


def is_over_tor2_alone(table: Table) -> bool:
    """Tell whether an UPDATE announces only what is wanted while tor1 is dark."""
    asn = SETTINGS.host.community_asn
    return all(
        route.path_id == 2 if route.path_id else path.communities == {Community(asn, 2)}
        for route, path in table.items()
    )


def test_probing_goes_on_and_only_the_newest_state_is_sent(lab: NamespaceDriver) -> None:
    convergence.wait_converged(lab)
    with Agent(lab, dual_tor.SERVER, ["updates", "lo"]) as wire:
        lab.run(dual_tor.SERVER, ["sh", "-c", "kill -STOP $(cat /run/exabgp.pid)"])
        stopped_at = time.monotonic()
        try:
            # There and back, then the other one: what the first verdict wanted is old by then.
            blackhole(lab, "tor2")
            wait_verdict(lab, stopped_at, "tor2", "down")
            blackhole(lab, "tor2", heal=True)
            wait_verdict(lab, stopped_at, "tor2", "up")
            blackhole(lab, "tor1")
            wait_verdict(lab, stopped_at, "tor1", "down")
            time.sleep(max(0.0, stopped_at + STOPPED_S - time.monotonic()))
            during = wire.ask("messages")["lo"]["updates"]
        finally:
            lab.run(dual_tor.SERVER, ["sh", "-c", "kill -CONT $(cat /run/exabgp.pid)"])
        try:
            assert announced(during) == []
            after: list[dict[str, Any]] = []

            def missing() -> list[str]:
                after.extend(wire.ask("messages")["lo"]["updates"])
                seen = {route.prefix for table in announced(after) for route in table}
                return [str(p) for s in SETTINGS.services for p in s.prefixes if p not in seen]

            convergence.wait_until("everything is announced again", missing)
            stale = [table for table in announced(after) if not is_over_tor2_alone(table)]
            assert stale == []
        finally:
            blackhole(lab, "tor1", heal=True)
    convergence.wait_converged(lab)
