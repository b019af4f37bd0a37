"""Follows, while a measurement runs, the kernels' routes and bgphealth's verdicts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene
from lab.errors import LabError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping, Sequence

    from lab.driver import Driver


@dataclass(frozen=True, slots=True)
class RouteChange:
    """From `at` (CLOCK_MONOTONIC) on, a kernel sends that traffic to these routers."""

    at: float
    route: str
    family: str
    uplinks: tuple[str, ...]
    source: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """bgphealth judged a path of an uplink anew."""

    at: float
    uplink: str
    family: str
    before: str
    after: str
    reason: str
    evidence: str = ""


ROUTES = {
    "default": dict.fromkeys(dual_tor.FAMILIES, "default"),
    "service": dual_tor.SERVICE,
    "loopback": dual_tor.LOOPBACK,
}
"""What is watched: the destination by family; the first on the server, the others on the forks."""


@dataclass(slots=True)
class RouteWatch:
    """The listeners on the server and on what chooses the way in, while they run."""

    driver: Driver
    changes: list[RouteChange] = field(default_factory=list)
    _agents: list[subprocess.Popen[str]] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)
    _used: dict[tuple[str, str], dict[str, set[str]]] = field(default_factory=dict)
    """By route and family, the routers that each node uses."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start to listen."""
        for node in (dual_tor.SERVER, *scene.of(self.driver.topology.name).forks):
            agent = self.driver.popen(node, ["python3", "-m", "lab.agents.routes"])
            self._agents.append(agent)
            assert agent.stdin is not None  # noqa: S101 - for the type checker
            watched = [
                {"name": f"{name} {family}", "family": family, "destination": address}
                for name, destinations in ROUTES.items()
                if (name == "default") == (node == dual_tor.SERVER)
                for family, address in destinations.items()
            ]
            agent.stdin.write(json.dumps({"routes": watched}) + "\n")
            agent.stdin.flush()
            reader = threading.Thread(target=self._read, args=(node, agent), daemon=True)
            reader.start()
            self._readers.append(reader)

    def _read(self, node: str, agent: subprocess.Popen[str]) -> None:
        assert agent.stdout is not None  # noqa: S101 - for the type checker
        for line in agent.stdout:
            self.heard(node, json.loads(line))

    def heard(self, node: str, told: Mapping[str, Any]) -> None:
        """Take what a listener says: a route is where any node that has it sends its traffic."""
        behind = scene.of(self.driver.topology.name).behind_on(node)
        route, _, family = told["route"].partition(" ")
        with self._lock:
            used = self._used.setdefault((route, family), {})
            used[node] = {behind.get(i, i) for i in told["interfaces"]}
            hops = tuple(sorted(set[str]().union(*used.values())))
            self.changes.append(RouteChange(told["at"], route, family, hops, told["source"]))

    def is_ready(self) -> bool:
        """Return whether every route has been seen once.

        Raises:
            LabError: A listener died.
        """
        if any(agent.poll() is not None for agent in self._agents):
            raise LabError("a route listener died")
        return len(self.now()) == len(ROUTES) * len(dual_tor.FAMILIES)

    def now(self) -> dict[tuple[str, str], RouteChange]:
        """Return the latest state of each route, by name and family."""
        return {(change.route, change.family): change for change in list(self.changes)}

    def stop(self) -> None:
        """End the listeners."""
        for agent in self._agents:
            if agent.stdin is not None:
                agent.stdin.close()
            agent.wait(timeout=60)
        for reader in self._readers:
            reader.join(timeout=10)
        for agent in self._agents:
            if agent.stdout is not None:
                agent.stdout.close()
        self._agents.clear()


def first_without(
    changes: Iterable[RouteChange], route: str, family: str, tors: Iterable[str], since: float
) -> float | None:
    """Return when, counted from `since`, a route first used none of those ToRs."""
    gone = set(tors)
    for change in sorted(changes, key=lambda c: c.at):
        if (change.route, change.family) != (route, family) or change.at < since:
            continue
        if not gone & set(change.uplinks):
            return round(change.at - since, 4)
    return None


def verdicts(lines: Iterable[str]) -> list[Verdict]:
    """Return the verdicts in a log: bgphealth's JSON lines, other text around them."""
    found = []
    for line in lines:
        event = _json_in(line)
        if event is not None and event.get("event") == "path_changed":
            found.append(
                Verdict(
                    at=float(event["at"]),
                    uplink=event["uplink"],
                    family=event["family"],
                    before=event["from"],
                    after=event["to"],
                    reason=event["reason"],
                    evidence=event.get("evidence", ""),
                )
            )
    return found


def _json_in(line: str) -> dict[str, Any] | None:
    start = line.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(line[start:])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_verdicts(driver: Driver) -> list[Verdict]:
    """Return every verdict that the server's log has; without bgphealth there is none."""
    return verdicts(_log(driver))


def read_told(driver: Driver) -> float | None:
    """Return when the floor's helper was told, which it has written in the log; None: never."""
    events = (_json_in(line) for line in _log(driver))
    told = [float(e["at"]) for e in events if e is not None and e.get("event") == "told"]
    return told[-1] if told else None


def count_events(driver: Driver) -> Counter[str]:
    """Return how often each event is in the server's log."""
    events = (_json_in(line) for line in _log(driver))
    return Counter(event["event"] for event in events if event is not None and "event" in event)


def _log(driver: Driver) -> list[str]:
    log = scene.of(driver.topology.name).log
    return [] if log is None else driver.run(dual_tor.SERVER, ["cat", log]).stdout.splitlines()


def first_verdict(
    found: Sequence[Verdict], family: str, tors: Iterable[str], since: float, after: str = "down"
) -> float | None:
    """Return when, counted from `since`, the last of those ToRs was first judged so."""
    times = []
    for tor in tors:
        falls = [
            v.at
            for v in found
            if (v.uplink, v.family, v.after) == (tor, family, after)
            and v.before != after  # only the reason is new
            and v.at >= since
        ]
        if not falls:
            return None
        times.append(min(falls))
    return round(max(times) - since, 4) if times else None
