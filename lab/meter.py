"""The traffic meter: many UDP flows in both directions, and what they lost.

- **in**: from the client's address on the core to the service on the server;
- **out**: from the server, unbound, to a target on the core, so that the kernel chooses the source.

Every flow has its own source port, so that the L4 hash spreads the flows over both ToRs; requests
and answers are spread apart from each other. An answered datagram went both ways.

That is ``dual-tor``; which directions another topology has, and from where to where they go, is its
scene's.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene
from lab.errors import LabError, TimedOutError, UnmetExpectationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.driver import Driver
    from lab.scene import Scene, Traffic

INTERVAL_S = 0.01
FLOWS = {"ipv4": 16, "ipv6": 4}
DIRECTIONS = ("in", "out")

_MINIMAL_SHARE = 0.1
"""Of a node's packets, what each ToR must carry: less, and a fault behind it might not show."""

_RESULT_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow's fate: `answers[i]` belongs to the datagram sent at `times[i]`."""

    family: str
    source: str
    port: int
    times: Sequence[float]
    answers: str

    @property
    def sent(self) -> int:
        """Return how many datagrams were sent."""
        return len(self.answers)

    @property
    def lost(self) -> int:
        """Return how many were not answered."""
        return self.answers.count("0")

    def outage_s(self, interval_s: float = INTERVAL_S) -> float:
        """Return the longest time without an answer.

        That is the longest time between the sending of two answered datagrams with nothing but
        lost ones between them, less the interval that lies between any two. Losses before the
        first answer count from the first datagram, losses after the last answer until an interval
        after the last datagram. A flow that lost nothing has an outage of 0, however late its
        sender was.
        """
        return max((end - start for start, end in self.gaps(interval_s)), default=0.0)

    def gaps(self, interval_s: float = INTERVAL_S) -> list[tuple[float, float]]:
        """Return every gap as (time of its first lost datagram, time until it lasted)."""
        found = []
        first: int | None = None
        for position, answer in enumerate(self.answers):
            if answer == "0" and first is None:
                first = position
            elif answer == "1" and first is not None:
                found.append(self._gap(first, self.times[position], interval_s))
                first = None
        if first is not None:
            found.append(self._gap(first, self.times[-1] + interval_s, interval_s))
        return found

    def _gap(self, first: int, end: float, interval_s: float) -> tuple[float, float]:
        # From the last answered datagram on; one interval of the distance is no outage.
        start = self.times[first - 1] + interval_s if first else self.times[0]
        return min(start, end), end


def summary(flows: Sequence[Flow], interval_s: float = INTERVAL_S) -> dict[str, Any]:
    """Return a direction's figures: `outage_s` is the longest gap of any flow."""
    return {
        "sent": sum(flow.sent for flow in flows),
        "lost": sum(flow.lost for flow in flows),
        "outage_s": round(max((flow.outage_s(interval_s) for flow in flows), default=0.0), 3),
        "flows": len(flows),
        "flows_hit": sum(flow.lost > 0 for flow in flows),
    }


@dataclass(slots=True)
class Meter:
    """The senders of both directions, while they run."""

    driver: Driver
    flows_per_family: Mapping[str, int] = field(default_factory=lambda: FLOWS)
    interval_s: float = INTERVAL_S
    new_connections: bool = field(default=False, kw_only=True)
    """Whether there is a direction ``new`` as well: as ``out``, but with the source that the kernel
    chooses for each datagram."""
    reopened: bool = field(default=False, kw_only=True)
    """Whether each datagram gets its own choice of a source, as a new connection would, also where
    a topology's flows keep theirs."""
    _agents: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _counted: dict[str, dict[str, int]] = field(default_factory=dict)

    def start(self) -> None:
        """Start to send in both directions.

        Raises:
            LabError: A sender did not start.
        """
        self._counted = self._packets()
        for direction, traffic in self._traffic():
            node = traffic.node
            agent = self.driver.popen(node, ["python3", "-m", "lab.agents.traffic"])
            self._agents[direction] = agent
            assert agent.stdin is not None  # noqa: S101 - for the type checker
            assert agent.stdout is not None  # noqa: S101
            order = {"interval_s": self.interval_s, "flows": self._order(traffic)}
            agent.stdin.write(json.dumps(order) + "\n")
            agent.stdin.flush()
            if not agent.stdout.readline():
                raise LabError(f"the sender on {node} did not start")

    def _traffic(self) -> Iterator[tuple[str, Traffic]]:
        yield from self._scene.traffic.items()
        if self.new_connections:
            yield "new", replace(self._scene.traffic["out"], connected=False)

    @property
    def _scene(self) -> Scene:
        return scene.of(self.driver.topology.name)

    def _order(self, traffic: Traffic) -> list[dict[str, Any]]:
        return [
            {
                "family": family,
                "source": traffic.sources[family] if traffic.sources else None,
                "target": traffic.targets[family],
                "port": dual_tor.ECHO_PORT,
                "connected": traffic.connected and not self.reopened,
            }
            for family, count in self.flows_per_family.items()
            for _ in range(count)
        ]

    def check_spread(self) -> dict[str, dict[str, float]]:
        """Return each router's share of the packets that server and forks have sent since.

        Raises:
            UnmetExpectationError: A ToR of those that share the traffic carries next to nothing.
        """
        now = self._packets()
        shares = {}
        for node, before in self._counted.items():
            sent = {tor: now[node][tor] - before[tor] for tor in before}
            total = sum(sent.values()) or 1
            shares[node] = {tor: round(count / total, 2) for tor, count in sent.items()}
            if self._scene.spreads and min(shares[node].values()) < _MINIMAL_SHARE:
                raise UnmetExpectationError(
                    f"{node} does not spread the flows over both ToRs: {shares[node]}"
                )
        return shares

    def _packets(self) -> dict[str, dict[str, int]]:
        """Return what the server and the forks have sent to each of the server's routers so far."""
        here = self._scene
        found: dict[str, dict[str, int]] = {}
        for title, nodes in ((here.way_in, here.forks), (dual_tor.SERVER, (dual_tor.SERVER,))):
            found[title] = dict.fromkeys(here.behind.values(), 0)
            for node in nodes:
                output = self.driver.run(node, ["ip", "-json", "-stats", "link", "show"]).stdout
                for link in json.loads(output):
                    router = here.behind_on(node).get(link["ifname"])
                    if router in found[title]:
                        found[title][router] += link["stats64"]["tx"]["packets"]
        return found

    def stop(self) -> dict[str, list[Flow]]:
        """Stop sending and return every flow's fate, by direction.

        Raises:
            LabError: A sender died, or has no result.
        """
        flows = {}
        for direction, agent in self._agents.items():
            try:
                output, _ = agent.communicate(timeout=_RESULT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise TimedOutError(
                    f"the sender of direction '{direction}' has no result "
                    f"within {_RESULT_TIMEOUT_S:.0f} s"
                ) from None
            if agent.returncode:
                raise LabError(f"the sender of direction '{direction}' died")
            result = json.loads(output)
            flows[direction] = [
                Flow(f["family"], f["source"], f["port"], result["times"], f["answers"])
                for f in result["flows"]
            ]
        self._agents.clear()
        return flows

    def abandon(self) -> None:
        """End the senders without asking for a result."""
        for agent in self._agents.values():
            try:
                agent.communicate(timeout=_RESULT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                # What is left of it in the node ends with the node.
                with agent:
                    agent.kill()
        self._agents.clear()
