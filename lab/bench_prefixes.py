"""Benchmark: how soon many prefixes have left a ToR, against the floor.

The floor is a helper that writes the same batches with nothing to decide and nothing to read
(`lab.agents.bare`), in place of bgphealth: same ExaBGP, same bgpd, same ToR, same run. Both are
timed from what made them write (bgphealth: the verdict) until the kernel of the server has the last
UPDATE for bgpd, and until the kernel of the ToR has the last withdrawal from bgpd.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from bgphealth import config
from bgphealth.core.settings import Family
from lab import convergence, dual_tor, faults, topology, watch
from lab.bench_agents import Agent
from lab.measured import lab_up, machine
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bgphealth.core.settings import Prefix
    from lab.driver import Driver

VERSION = 1

GOAL = 1.2
"""What a move may cost, as a multiple of the floor."""

_TOR, _UPLINK = "tor2", "eth1"
_BLACKHOLE = faults.FAULTS["uplink-blackhole"]

_FILE = "/run/many.yaml"
_CONFIGURE = f"""\
set -eu
bgphealth -c {_FILE} check >/dev/null
bgphealth -c {_FILE} render frr -o /etc/frr >/dev/null
bgphealth -c {_FILE} render exabgp -o /etc/exabgp >/dev/null
grep prefix-list /etc/frr/frr.conf | grep -v match >/run/prefix-lists
vtysh -f /run/prefix-lists
"""
_RESTART_EXABGP = "kill $(cat /run/exabgp.pid)"
_BARE = f"s#^\\trun .*#\\trun {sys.executable} -m lab.agents.bare {{count}} {{next_hop}} {{asn}};#"


def prefixes(count: int) -> list[Prefix]:
    """Return so many host routes of the range for benchmarks (RFC 2544, appendix C.2.2)."""
    return [IPv4Network(address) for address in islice(IPv4Network("198.18.0.0/15"), count)]


@dataclass(frozen=True, slots=True)
class Move:
    """One move off the ToR, in seconds from what made the helper write."""

    bgpd_s: float
    tor_s: float


def reached(updates: list[dict[str, Any]], what: str, count: int, since: float) -> float | None:
    """Return when so many prefixes had been ``announced`` or ``withdrew``, counted from `since`."""
    so_far = 0
    for update in sorted(updates, key=lambda u: u["at"]):
        if update["at"] >= since:
            so_far += update[what]
            if so_far >= count:
                return float(update["at"]) - since
    return None


class _Wire:
    """What has arrived at bgpd from ExaBGP, and at the ToR from bgpd."""

    def __init__(self, driver: Driver, stack: ExitStack) -> None:
        def agent(node: str, interface: str) -> Agent:
            return stack.enter_context(Agent(driver, node, ["updates", interface]))

        self._agents = {"lo": agent(dual_tor.SERVER, "lo"), _UPLINK: agent(_TOR, _UPLINK)}
        self._updates: dict[str, list[dict[str, Any]]] = {}
        self.forget()

    def forget(self) -> None:
        for interface, agent in self._agents.items():
            agent.ask("forget")
            self._updates[interface] = []

    def at_bgpd(self, count: int, since: float) -> float | None:
        return reached(self._updates["lo"], "announced", count, since)

    def at_tor(self, what: str, count: int, since: float = 0.0) -> float | None:
        return reached(self._updates[_UPLINK], what, count, since)

    def wait(self, what: str, count: int) -> None:
        """Wait until the ToR has been told so many; looked at seldom, to disturb little."""

        def missing() -> list[str]:
            for interface, agent in self._agents.items():
                self._updates[interface] += agent.ask("messages")[interface]["updates"]
            return [] if self.at_tor(what, count) else [f"{what} {count} prefixes to {_TOR}"]

        convergence.wait_until(f"{_TOR} knows", missing)


@dataclass(slots=True)
class Bench:
    """The lab, while the benchmark runs."""

    count: int
    rounds: int
    progress: Callable[[str], None]
    driver: Driver = field(
        default_factory=lambda: NamespaceDriver(topology.load(topology.find(dual_tor.NAME)))
    )

    def run(self) -> dict[str, Any]:
        """Bring ``dual-tor`` up, move the prefixes in both ways, and take it down.

        Raises:
            LabError: It could not be measured.
        """
        on = machine()
        with lab_up(self.driver, self.progress), ExitStack() as stack:
            wire = _Wire(self.driver, stack)
            self._shell(f"cat >{_FILE} <<'END'\n{self._file()}END\n")
            self._shell(_CONFIGURE)
            ours = list(self._ours(wire))
            floor = list(self._floor(wire))
        ratio = {
            where: round(_median(ours, where) / _median(floor, where), 3)
            for where in ("bgpd_s", "tor_s")
        }
        return {
            "version": VERSION,
            "bench": "prefixes",
            "driver": self.driver.name,
            "machine": on,
            "prefixes": self.count,
            "bgphealth": _figures(ours),
            "floor": _figures(floor),
            "ratio": ratio,
            "goal": GOAL,
            "passed": ratio["tor_s"] <= GOAL,
        }

    def _file(self) -> str:
        """Return the server's own file with one service more, which has all the prefixes."""
        own = self._shell("cat /etc/bgphealth/bgphealth.yaml")
        many = ", ".join(str(prefix) for prefix in prefixes(self.count))
        service = f"  many:\n    prefixes: [{many}]\n    address: ignore\n"
        found = own.replace("\nservices:\n", f"\nservices:\n{service}")
        assert found != own  # noqa: S101 - the file has services
        return found

    def _ours(self, wire: _Wire) -> Iterator[Move]:
        self._restart(wire, f"s#-c [^ ]* run#-c {_FILE} run#")
        for number in range(self.rounds):
            self.progress(f"bgphealth, {number + 1} of {self.rounds}")
            self._wait_up()
            wire.forget()
            begin = self._verdicts()[-1].at
            faults.run_steps(self.driver, _BLACKHOLE.inject)
            try:
                wire.wait("withdrew", self.count)
            finally:
                faults.run_steps(self.driver, _BLACKHOLE.heal)
            fall = [v for v in self._verdicts() if v.at > begin and v.after == "down"]
            yield self._moved(wire, next(v.at for v in fall if v.family == Family.IPV4))
            wire.wait("announced", self.count)

    def _floor(self, wire: _Wire) -> Iterator[Move]:
        settings = config.load(topology.HERE / "dual-tor" / "server1" / "bgphealth.yaml")
        self._restart(
            wire,
            _BARE.format(
                count=self.count,
                next_hop=settings.host.discard_next_hop_for(Family.IPV4),
                asn=settings.host.community_asn,
            ),
        )
        for number in range(self.rounds):
            self.progress(f"the floor, {number + 1} of {self.rounds}")
            wire.forget()
            self._shell("kill -USR1 $(cat /run/bare.pid)")
            wire.wait("withdrew", self.count)
            at = json.loads(self._shell("tail -n 1 /run/bare.log"))["at"]
            yield self._moved(wire, at)
            self._shell("kill -USR2 $(cat /run/bare.pid)")
            wire.wait("announced", self.count)

    def _moved(self, wire: _Wire, since: float) -> Move:
        bgpd_s = wire.at_bgpd(self.count, since)
        tor_s = wire.at_tor("withdrew", self.count, since)
        assert bgpd_s is not None and tor_s is not None  # noqa: S101, PT018 - it was waited for
        return Move(bgpd_s, tor_s)

    def _restart(self, wire: _Wire, edit: str) -> None:
        """Restart ExaBGP with an edited configuration; wait until the ToR has all prefixes."""
        self._shell(f"sed -i '{edit}' /etc/exabgp/exabgp.conf")
        wire.forget()
        self._shell(_RESTART_EXABGP)
        wire.wait("announced", self.count)

    def _wait_up(self) -> None:
        def missing() -> list[str]:
            last = {(v.uplink, v.family): v.after for v in self._verdicts()}
            return [f"{path} is {level}" for path, level in last.items() if level != "up"]

        convergence.wait_until("all paths are up", missing)

    def _verdicts(self) -> list[watch.Verdict]:
        return watch.read_verdicts(self.driver)

    def _shell(self, script: str) -> str:
        return self.driver.run(dual_tor.SERVER, ["sh", "-c", script]).stdout


def _median(moves: list[Move], where: str) -> float:
    return float(median(getattr(move, where) for move in moves))


def _figures(moves: list[Move]) -> dict[str, Any]:
    return {
        where: {
            "median": round(_median(moves, where), 4),
            "all": [round(getattr(move, where), 4) for move in moves],
        }
        for where in ("bgpd_s", "tor_s")
    }
