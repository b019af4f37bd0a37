"""Benchmarks: what bgphealth costs, how evenly it asks, and how soon it knows.

The program under test is the daemon's own (`lab.agents.program`), in a server node with two
neighbors that do nothing but answer. What it uses is the process's own account; when it asks is
what the neighbors' kernels saw. All figures depend on the machine and on what else runs there.
"""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bgphealth import config
from lab import convergence, dual_tor, topology, watch
from lab.bench_agents import Agent, Program
from lab.measured import lab_up, machine
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lab.driver import Driver

VERSION = 1

TOPOLOGY = topology.HERE / "bench-probes" / "probes.clab.yml"
_SERVER, _NEIGHBORS = "server1", ("tor1", "tor2")
_DARK = "tor2"

_FIRST_VERDICT_S = 20.0
_REACTION_S = 20.0

_WEB = ("192.0.2.53", 8080)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: `targets` per family beyond each neighbor, and `checks` of a service."""

    kind: str
    rate: int
    interval_s: float
    families: tuple[str, ...] = ("ipv4", "ipv6")
    targets: int = 0
    checks: int = 0


ICMP_LOADS = (
    Load("icmp", 2, 1.0, families=("ipv4",)),
    Load("icmp", 20, 0.2),
    Load("icmp", 200, 0.2, targets=9),
    Load("icmp", 2000, 0.05, targets=24),
)
HTTP_LOAD = Load("http", 100, 1.0, checks=20)
"""100 checks a second, and the four probes a second of the uplinks, which there always are."""
LOADS = (*ICMP_LOADS, HTTP_LOAD)

_CHECK_INTERVAL_S = 0.2

_NEIGHBOR = {"ipv4": "10.0.{n}.0", "ipv6": '"2001:db8:{n}::"'}
_SOURCE = {"ipv4": "10.255.10.1", "ipv6": '"2001:db8:10::1"'}
_TARGET = {"ipv4": "198.51.100.{n}", "ipv6": '"2001:db8:100::{n:x}"'}


def file_for(load: Load, suspect: str | None = None) -> str:
    """Return the configuration file that makes bgphealth ask so much.

    Args:
        load: what to ask.
        suspect: `suspect_interval`, None for the file's own default.
    """
    neighbors = {
        n: ", ".join(f"{f}: {_NEIGHBOR[f].format(n=n)}" for f in load.families) for n in (1, 2)
    }
    sources = ", ".join(f"{family}: {_SOURCE[family]}" for family in load.families)
    lines = [
        "version: 1",
        "mode: frr",
        f"host: {{asn: 65101, router_id: 10.255.10.1, source: {{{sources}}}}}",
        "uplinks:",
        *(
            f"  tor{n}: {{interface: eth{n}, neighbor: {{{neighbors[n]}}}, neighbor_asn: 6500{n}}}"
            for n in (1, 2)
        ),
        "paths:",
        f"  interval: {load.interval_s * 1000:.0f}ms",
        *([f"  suspect_interval: {suspect}"] if suspect else []),
        "  damping: {suppress: off}",  # It goes dark many times, one after the other.
    ]
    if load.targets:
        lines += ["  beyond:", "    of:"] + [
            f"      - {{icmp: {_TARGET[family].format(n=n)}}}"
            for family in load.families
            for n in range(1, load.targets + 1)
        ]
    if load.checks:
        address, port = _WEB
        lines += [
            "services:",
            "  web:",
            f"    prefixes: [{address}/32]",
            f"    interval: {_CHECK_INTERVAL_S * 1000:.0f}ms",
            "    checks:",
            *(f'      - {{http: "http://{address}:{port}/{n}"}}' for n in range(load.checks)),
        ]
    return "\n".join([*lines, ""])


@dataclass(frozen=True, slots=True)
class Jitter:
    """How far the sending of probes is from an even rhythm, in seconds."""

    median_s: float
    p99_s: float
    longest_s: float


def jitter(streams: Iterable[Sequence[float]], interval_s: float) -> Jitter | None:
    """Compare the times at which each probe was sent with an even rhythm.

    The rhythm is a multiple of the interval plus the phase that half of the probe's sends were
    before, half after. So a constant lateness is no jitter, and a drift is.

    Args:
        streams: for each probe the times when it was sent, in seconds.
        interval_s: how often each one is to be sent.
    """
    off: list[float] = []
    for times in streams:
        if len(times) < 2:  # noqa: PLR2004 - one alone has no rhythm
            continue
        # Twice: the first send may itself have been far off.
        begin = times[0] + median(_phases(times, times[0], interval_s))
        off += [abs(phase) for phase in _phases(times, begin, interval_s)]
    if not off:
        return None
    return Jitter(median(off), percentile(off, 0.99), max(off))


def _phases(times: Sequence[float], begin: float, interval_s: float) -> list[float]:
    return [(t - begin) - round((t - begin) / interval_s) * interval_s for t in times]


def percentile(values: Sequence[float], ratio: float) -> float:
    """Return the smallest of the values that so many of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * ratio // 1) - 1)]


@dataclass(slots=True)
class Bench:
    """The nodes, while the benchmark runs."""

    seconds: float
    rounds: int
    progress: Callable[[str], None]
    driver: Driver = field(default_factory=lambda: NamespaceDriver(topology.load(TOPOLOGY)))

    def run(self) -> dict[str, Any]:
        """Bring the nodes up, measure everything, and take them down.

        Raises:
            LabError: Something could not be measured.
        """
        on = machine()
        up = lab_up(self.driver, self.progress, converges=False)
        with up, ExitStack() as stack:
            neighbors = {
                node: stack.enter_context(Agent(self.driver, node, ["neighbor", "eth1"]))
                for node in _NEIGHBORS
            }
            web = stack.enter_context(Agent(self.driver, _SERVER, ["web", *map(str, _WEB)]))
            # Below the repository, which every node sees; not so all of the host's directories.
            convergence.OUTPUT.mkdir(exist_ok=True)
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(dir=convergence.OUTPUT))
            )
            loads = [self._measure(load, directory, neighbors, web) for load in LOADS]
            detection = [
                self._detect(suspect, directory, neighbors[_DARK]) for suspect in (None, "off")
            ]
        return {
            "version": VERSION,
            "bench": "probes",
            "driver": self.driver.name,
            "machine": on,
            "seconds": self.seconds,
            "loads": [found for found in loads if "left_out" not in found],
            "left_out": [found for found in loads if "left_out" in found],
            "detection": detection,
            "passed": all(_is_clean(found) for found in loads if "left_out" not in found),
        }

    def _measure(
        self, load: Load, directory: Path, neighbors: Mapping[str, Agent], web: Agent
    ) -> dict[str, Any]:
        self.progress(f"{load.rate} {load.kind} a second, for {self.seconds:.0f} s")
        file = directory / f"{load.kind}-{load.rate}.yaml"
        file.write_text(file_for(load), encoding="utf-8")
        with Program(self.driver, _SERVER, file) as program:
            self._wait_up(program, len(_NEIGHBORS) * len(load.families))
            changed_before = len(program.verdicts)
            for neighbor in neighbors.values():
                neighbor.ask("forget")
            served = web.ask("count")["served"]
            before = program.ask("count")
            _last(self.seconds)
            after = program.ask("count")
            times = {node: agent.ask("times")["times"] for node, agent in neighbors.items()}
            changes = len(program.verdicts) - changed_before
            served = web.ask("count")["served"] - served
        if load.checks and not served:
            why = "no request has reached the server: this bgphealth does not run HTTP checks yet"
            return {"kind": load.kind, "rate": load.rate, "left_out": why}
        # One probe each: no uplink has a target twice.
        streams = [sent for by_target in times.values() for sent in by_target.values()]
        found = figures(load, before, after)
        rhythm = jitter(streams, load.interval_s)
        found["sends_seen"] = sum(map(len, streams))
        found["jitter_ms"] = rhythm and {
            "median": round(rhythm.median_s * 1000, 3),
            "p99": round(rhythm.p99_s * 1000, 3),
            "max": round(rhythm.longest_s * 1000, 3),
        }
        found["verdicts_changed"] = changes
        return found

    def _wait_up(self, program: Program, paths: int) -> None:
        def missing() -> list[str]:
            last = {(v.uplink, v.family): v.after for v in list(program.verdicts)}
            up = sum(level == "up" for level in last.values())
            return [] if up == paths else [f"{paths - up} of {paths} paths are not up", program.log]

        convergence.wait_until("the first verdict", missing, _FIRST_VERDICT_S)

    def _detect(self, suspect: str | None, directory: Path, neighbor: Agent) -> dict[str, Any]:
        """Measure how soon a path that goes dark is known to be down, at default settings."""
        load = Load("icmp", 60, 0.2, targets=2)
        file = directory / f"detect-{suspect}.yaml"
        file.write_text(file_for(load, suspect), encoding="utf-8")
        self.progress(f"{self.rounds} times dark, suspect_interval {suspect or 'default'}")
        found: list[float] = []
        with Program(self.driver, _SERVER, file) as program:
            # Each round has two verdicts, one of each family.
            for _ in range(self.rounds):
                self._wait_up(program, len(_NEIGHBORS) * len(load.families))
                # Anywhere between two probes, or all rounds would measure the same moment.
                _last(random.uniform(0, 2 * load.interval_s))  # noqa: S311
                at = neighbor.ask("dark")["at"]
                try:
                    found += self._wait_down(program, at)
                finally:
                    neighbor.ask("light")
        return {**_timing(file), **spans(found)}

    def _wait_down(self, program: Program, since: float) -> list[float]:
        def missing() -> list[str]:
            return [f"{f}: not down" for f, t in first_falls(program, since).items() if t is None]

        convergence.wait_until("the verdict", missing, _REACTION_S)
        return [t for t in first_falls(program, since).values() if t is not None]


def first_falls(program: Program, since: float) -> dict[str, float | None]:
    """Return, per family, when the dark uplink was first judged down."""
    seen = list(program.verdicts)
    return {f: watch.first_verdict(seen, f, [_DARK], since) for f in dual_tor.FAMILIES}


def _is_clean(found: Mapping[str, Any]) -> bool:
    """Tell whether a path that lost nothing was found to have lost nothing."""
    return not found["answers"]["failed"] and not found["verdicts_changed"]


def _timing(file: Path) -> dict[str, Any]:
    """Return the timing that the file stands for, and what may be expected of it."""
    settings = config.load(file)
    timing = settings.path_timing
    return {
        "suspect_interval_s": settings.suspect_interval_s,
        "interval_s": timing.interval_s,
        "timeout_s": timing.timeout_s,
        "fall": timing.fall,
        "bound_s": round(timing.fall * timing.interval_s + timing.timeout_s, 3),
    }


def spans(values: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a row of times in seconds."""
    return {
        "verdicts": len(values),
        "median_s": round(median(values), 4),
        "max_s": round(max(values), 4),
        "all_s": [round(value, 4) for value in values],
    }


def figures(load: Load, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the program used and counted between two of its reports."""
    wall_s = after["at"] - before["at"]
    prefix = "check" if load.checks else "icmp"
    answers = {
        verdict: after["counts"].get(f"{prefix}_{verdict}", 0)
        - before["counts"].get(f"{prefix}_{verdict}", 0)
        for verdict in ("ok", "failed", "unknown")
    }
    return {
        "kind": load.kind,
        "rate": load.rate,
        "interval_s": _CHECK_INTERVAL_S if load.checks else load.interval_s,
        "measured_rate": round(sum(answers.values()) / wall_s, 2),
        "cpu_share": round((after["cpu_s"] - before["cpu_s"]) / wall_s, 5),
        "rss_mib": round(after["rss_kib"] / 1024, 1),
        "answers": answers,
        "overdue": after["counts"].get("overdue", 0) - before["counts"].get("overdue", 0),
    }


def _last(duration_s: float) -> None:
    """Let a stretch of the measurement pass."""
    time.sleep(duration_s)
