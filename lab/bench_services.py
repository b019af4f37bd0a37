"""Benchmark: what many services cost, and how soon a bgphealth with that many says how it stands.

A ``dual-tor`` lab whose server has so many services more, each with a prefix of its own and one
check that connects to an address on lo. The program is the real one, under the real ExaBGP, and its
routes are looked up in the real bgpd. Its memory and its share of a processor are the kernel's own
figures (proc(5)), taken from outside.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab import convergence, dual_tor, topology
from lab.bench_agents import Agent
from lab.bench_prefixes import prefixes
from lab.measured import lab_up, machine
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.driver import Driver

VERSION = 1

RSS_GOAL_MIB = 60.0
STATUS_GOAL_S = 0.2

_FILE = "/run/many.yaml"
_PORT = 8053
_ASKS = 15
_FIRST_S = 300.0
_CONFIGURE = f"""\
set -eu
bgphealth -c {_FILE} render frr -o /etc/frr >/dev/null
bgphealth -c {_FILE} render exabgp -o /etc/exabgp >/dev/null
grep prefix-list /etc/frr/frr.conf | grep -v match >/run/prefix-lists
vtysh -f /run/prefix-lists
sed -i 's#-c [^ ]* run#-c {_FILE} run#' /etc/exabgp/exabgp.conf
kill $(cat /run/exabgp.pid)
"""


def file_with(own: str, count: int) -> str:
    """Return a file with so many services more, each with one prefix and one check."""
    services = "".join(
        f"  many{number}:\n"
        f"    prefixes: [{prefix}]\n"
        f"    address: ignore\n"
        f'    checks: [{{tcp: "127.0.0.1:{_PORT}"}}]\n'
        for number, prefix in enumerate(prefixes(count))
    )
    found = own.replace("\nservices:\n", f"\nservices:\n{services}")
    assert found != own  # noqa: S101 - the file has services
    return found


@dataclass(slots=True)
class Bench:
    """The lab, while the benchmark runs."""

    count: int
    seconds: float
    progress: Callable[[str], None]
    driver: Driver = field(
        default_factory=lambda: NamespaceDriver(topology.load(topology.find(dual_tor.NAME)))
    )

    def run(self) -> dict[str, Any]:
        """Bring ``dual-tor`` up with so many services, measure, and take it down.

        Raises:
            LabError: It could not be measured.
        """
        on = machine()
        with (
            lab_up(self.driver, self.progress),
            Agent(self.driver, dual_tor.SERVER, ["acceptor", "127.0.0.1", str(_PORT)]),
            Agent(self.driver, dual_tor.SERVER, ["asking", _FILE]) as asking,
        ):
            found = self._measure(asking)
        median_s = found["status"]["command_s"]["median"]
        return {
            "version": VERSION,
            "bench": "services",
            "driver": self.driver.name,
            "machine": on,
            "services": self.count,
            **found,
            "goal": {"rss_mib": RSS_GOAL_MIB, "status_s": STATUS_GOAL_S},
            "passed": found["rss_mib"] <= RSS_GOAL_MIB
            and median_s <= STATUS_GOAL_S
            and not found["verdicts_changed"],
        }

    def _measure(self, asking: Agent) -> dict[str, Any]:
        own = self._shell("cat /etc/bgphealth/bgphealth.yaml")
        self._shell(f"cat >{_FILE} <<'END'\n{file_with(own, self.count)}END\n")
        self.progress(f"{self.count} services: until all are up, announced and seen")
        self._shell(_CONFIGURE, timeout_s=_FIRST_S)
        convergence.wait_until("every service is up and seen", self._missing, _FIRST_S)
        pid = self._status()["pid"]
        falls = self._falls()
        self.progress(f"the steady state, {self.seconds:.0f} s")
        began, before = time.monotonic(), self._cpu_s(pid)
        time.sleep(self.seconds)
        share = (self._cpu_s(pid) - before) / (time.monotonic() - began)
        self.progress("how it stands, asked again and again")
        times = asking.ask(str(_ASKS))
        memory = self._shell(f"cat /proc/{pid}/status")
        return {
            "checks_per_s": self._checks_per_s(),
            "cpu_share": round(share, 4),
            "rss_mib": _mib(memory, "VmRSS"),
            "peak_rss_mib": _mib(memory, "VmHWM"),
            "answer_kib": round(len(json.dumps(self._status())) / 1024),
            "status": {name: _figures(values) for name, values in times.items()},
            "verdicts_changed": self._falls() - falls,
        }

    def _missing(self) -> list[str]:
        found = self._status()
        if not found:
            return ["no answer"]
        routes = found["routes"]
        wanted = [route for route in routes if route["decision"] == "announced"]
        seen = [route for route in wanted if route["bgpd"] == "seen"]
        missing = [it["says"] for it in found["problems"][:5]]
        if len(seen) < self.count:
            missing.append(f"{len(seen)} of {len(routes)} routes are seen in bgpd")
        return missing

    def _falls(self) -> int:
        found = self._status()
        return sum(thing["falls"] for thing in (*found["paths"], *found["services"]))

    def _checks_per_s(self) -> float:
        shown = json.loads(self._shell(f"bgphealth -c {_FILE} check --json"))
        rates = [len(s["checks"]) / s["timing"]["interval_s"] for s in shown["services"]]
        return float(round(sum(rates), 1))

    def _status(self) -> dict[str, Any]:
        said = self._shell(f"bgphealth -c {_FILE} status --json || true")
        return dict(json.loads(said)) if said else {}

    def _cpu_s(self, pid: int) -> float:
        stat = self._shell(f"cat /proc/{pid}/stat").rpartition(")")[2].split()
        ticks: int = os.sysconf("SC_CLK_TCK")
        return (int(stat[11]) + int(stat[12])) / ticks

    def _shell(self, script: str, timeout_s: float = 30.0) -> str:
        command = ["sh", "-c", script]
        return self.driver.run(dual_tor.SERVER, command, timeout_s=timeout_s).stdout


def _mib(status: str, field_name: str) -> float:
    return round(int(status.partition(f"{field_name}:")[2].split()[0]) / 1024, 1)


def _figures(values: list[float]) -> dict[str, Any]:
    ordered = sorted(values)
    return {
        "median": round(ordered[len(ordered) // 2], 4),
        "max": round(ordered[-1], 4),
        "all": [round(value, 4) for value in values],
    }
