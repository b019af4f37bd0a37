"""Two servers with one address: the service dies on one, then on both; and one is drained."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bgphealth.core.guard import HEALTHY
from lab import convergence, dual_tor, topology
from lab.errors import TimedOutError
from lab.faults import FAULTS
from lab.meter import Flow, Meter, summary
from lab.watch import RouteWatch

if TYPE_CHECKING:
    from lab.driver import Driver
    from lab.topology import Topology

NAME: Final = "anycast"
SERVERS: Final = ("server1", "server2")

_VERSION = 1
_BASELINE_S = 1.5
_REACTION_S = 20.0
_QUIET_S = 1.0
_INJECTOR = "127.0.0.2"
_SERVICE = "echo"

_SAME_TORS = """\
  tor1: {interface: eth3, neighbor: {ipv4: 10.0.5.0, ipv6: "2001:db8:5::"}, neighbor_asn: 65001}
  tor2: {interface: eth4, neighbor: {ipv4: 10.0.6.0, ipv6: "2001:db8:6::"}, neighbor_asn: 65002}
"""
"""The uplinks of server2 behind the ToRs of server1."""

_IGNORING = (
    "bgp community-list standard SHUTDOWN permit graceful-shutdown",
    "route-map FROM-SERVER permit 10",
    "set comm-list SHUTDOWN delete",
    "route-map FROM-SERVER permit 20",
    "set comm-list SHUTDOWN delete",
)
"""What makes an FRR router one that does not know RFC 8326."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Variation:
    """Where server2 is, of which AS, and whether ToRs act on GRACEFUL_SHUTDOWN."""

    same_tors: bool = False
    same_asn: bool = True
    honours: bool = True

    def __str__(self) -> str:
        """Return it in words."""
        tors = "the same ToRs" if self.same_tors else "different ToRs"
        asn = "the same AS" if self.same_asn else "different ASs"
        shutdown = "honoured" if self.honours else "ignored"
        return f"{tors}, {asn}, GRACEFUL_SHUTDOWN {shutdown}"


def varied(variation: Variation, directory: Path) -> Topology:
    """Return the topology with another file for server2; both are written to a directory."""
    shipped = topology.load(topology.find(NAME))
    (bind,) = (b for b in shipped.binds(SERVERS[1]) if b.target.name == "bgphealth.yaml")
    text = bind.source.read_text(encoding="utf-8")
    if variation.same_tors:
        head, uplinks, rest = text.partition("uplinks:\n")
        text = head + uplinks + _SAME_TORS + rest[rest.index("\n\n") + 1 :]
    if not variation.same_asn:
        text = text.replace("asn: 65101", "asn: 65102")
    file = directory / "server2.yaml"
    file.write_text(text, encoding="utf-8")
    # A driver may have the file read by another program: what is different must be written in it.
    whole = shipped.path.read_text(encoding="utf-8")
    here = shipped.path.parent
    for source in {b.source for node in shipped.nodes for b in shipped.binds(node)}:
        there = file if source == bind.source else source
        whole = whole.replace(f"- {source.relative_to(here)}:", f"- {there}:")
    path = directory / shipped.path.name
    path.write_text(whole, encoding="utf-8")
    return topology.load(path)


@dataclass(slots=True)
class _Seen:
    """What was seen; times are seconds since the service died, None for never."""

    withdrawn_s: float | None = None
    again_s: float | None = None
    flows: dict[str, list[Flow]] = field(default_factory=dict)
    drained_flows: dict[str, list[Flow]] = field(default_factory=dict)
    checks: list[tuple[str, bool]] = field(default_factory=list)


def run(driver: Driver, variation: Variation, progress: Progress) -> dict[str, Any]:
    """Let the service die on one server, then on both, then drain one; return what came of it.

    Raises:
        LabError: The measurement could not be made.
    """
    if not variation.honours:
        _ignore_shutdown(driver)
    _wait("both servers announce", lambda: all(_is_usual(driver, server) for server in SERVERS))
    seen, watcher = _Seen(), RouteWatch(driver)
    watcher.start()
    try:
        convergence.wait_until(
            "route listeners", lambda: [] if watcher.is_ready() else ["a first report"], 15.0
        )
        _one_after_the_other(driver, seen, progress)
        _heal(driver, seen, progress)
        _both_at_once(driver, seen, progress)
        _heal(driver, seen, progress)
        _drain(driver, seen, progress)
    finally:
        watcher.stop()
    empty = [c for c in watcher.changes if c.route == "service" and not c.uplinks]
    seen.checks.append(("the core always has a route to the address", not empty))
    return _result(variation, seen)


def _one_after_the_other(driver: Driver, seen: _Seen, progress: Progress) -> None:
    progress("the service dies on server1")
    with _traffic(driver, seen.flows):
        _kill(driver, SERVERS[0])
        seen.withdrawn_s = _check(
            seen, "server1 withdraws", lambda: _announcing(driver) == {SERVERS[1]}
        )
        seen.checks.append(("tor1 and tor2 send nothing to it", not _lead_to_server1(driver)))
        seen.checks.append(("it is told by its ToRs, and tells nobody", _listens(driver)))
    progress("and on server2")
    _kill(driver, SERVERS[1])
    seen.again_s = _check(
        seen, "server1 announces again", lambda: SERVERS[0] in _announcing(driver)
    )
    seen.checks.append(("server2 announces all the same", SERVERS[1] in _announcing(driver)))


def _both_at_once(driver: Driver, seen: _Seen, progress: Progress) -> None:
    progress("the service dies on both at once")
    for server in SERVERS:
        _kill(driver, server)
    _check(seen, "both are last resorts", lambda: all(_is_last_resort(driver, s) for s in SERVERS))
    seen.checks.append(("both announce", _announcing(driver) == set(SERVERS)))


def _drain(driver: Driver, seen: _Seen, progress: Progress) -> None:
    progress("the service is drained on server1, and used again")
    with _traffic(driver, seen.drained_flows):
        driver.run(SERVERS[0], ["bgphealth", "drain", "service", _SERVICE])
        _check(seen, "drained, server1 withdraws", lambda: _announcing(driver) == {SERVERS[1]})
        time.sleep(_QUIET_S)
        driver.run(SERVERS[0], ["bgphealth", "undrain", "service", _SERVICE])
        _check(seen, "undrained, it announces as usual", lambda: _is_usual(driver, SERVERS[0]))
    lost = sum(flow.lost for flow in seen.drained_flows["in"])
    seen.checks.append(("the drain lost nothing", lost == 0))


@contextmanager
def _traffic(driver: Driver, flows: dict[str, list[Flow]]) -> Iterator[None]:
    """Send traffic, from a while before until a while after; `flows` is what became of it."""
    meter = Meter(driver)
    meter.start()
    try:
        time.sleep(_BASELINE_S)
        yield
        time.sleep(_QUIET_S)
        flows |= meter.stop()
    finally:
        meter.abandon()


def _heal(driver: Driver, seen: _Seen, progress: Progress) -> None:
    progress("healed")
    for server in SERVERS:
        for step in FAULTS["service-down"].heal:
            driver.run(server, step.arguments)
    _check(
        seen, "healed, both announce as usual", lambda: all(_is_usual(driver, s) for s in SERVERS)
    )


def _kill(driver: Driver, server: str) -> None:
    for step in FAULTS["service-down"].inject:
        driver.run(server, step.arguments)


def _ignore_shutdown(driver: Driver) -> None:
    lines = ("configure terminal", *_IGNORING)
    for tor in (node for node in driver.topology.nodes if node.startswith("tor")):
        driver.run(tor, ["vtysh", *(word for line in lines for word in ("-c", line))])


def _injected(driver: Driver, server: str) -> list[dict[str, Any]]:
    """Return the paths to the service that a server itself has injected, one per family."""
    return [
        path
        for family, address in dual_tor.SERVICE.items()
        for path in _paths(driver, server, f"show bgp {family} unicast {address} json")
        if path["peer"]["peerId"] == _INJECTOR
    ]


def _paths(driver: Driver, node: str, command: str) -> list[dict[str, Any]]:
    output = driver.run(node, ["vtysh", "-c", command]).stdout
    paths: list[dict[str, Any]] = json.loads(output or "{}").get("paths", [])
    return paths


def _announcing(driver: Driver) -> set[str]:
    """Return the servers that announce the service, in both families or in one."""
    return {server for server in SERVERS if _injected(driver, server)}


def _is_usual(driver: Driver, server: str) -> bool:
    return _marks(driver, server) == {str(HEALTHY)}


def _is_last_resort(driver: Driver, server: str) -> bool:
    """Tell whether a server has looked for others for long enough, and found none."""
    log = driver.run(server, ["tail", "-n", "40", dual_tor.EXABGP_LOG]).stdout
    reasons = [line for line in log.splitlines() if '"reason": "' in line and "192.0.2.53" in line]
    return bool(reasons) and '"guarded_last_resort"' in reasons[-1]


def _marks(driver: Driver, server: str) -> set[str]:
    found = _injected(driver, server)
    listed = [path.get("largeCommunity", {}).get("list", []) for path in found]
    marks = {each.split(":")[1] for of_path in listed for each in of_path}
    return marks if len(found) == len(dual_tor.FAMILIES) else set()


def _lead_to_server1(driver: Driver) -> list[str]:
    """Return the routes of its own ToRs that lead to the server whose service is dead."""
    return [
        line
        for tor in dual_tor.TOR_BEHIND.values()
        for option, address in (("-4", dual_tor.SERVICE["ipv4"]), ("-6", dual_tor.SERVICE["ipv6"]))
        for line in driver.run(tor, ["ip", option, "route", "show", address]).stdout.splitlines()
        if "dev eth1" in line
    ]


def _listens(driver: Driver) -> bool:
    """Tell whether server1 knows the other one's path, and neither uses it nor passes it on."""
    server, ends = SERVERS[0], {"10.0.1.1", "2001:db8:1::1"}
    for family, option in (("ipv4", "-4"), ("ipv6", "-6")):
        address = dual_tor.SERVICE[family]
        command = f"show bgp {family} unicast {address} json"
        used = driver.run(server, ["ip", option, "route", "get", address]).stdout
        passed_on = {path["peer"]["peerId"] for path in _paths(driver, "tor1", command)} & ends
        if not _paths(driver, server, command) or passed_on or not used.startswith("local "):
            return False
    return True


def _wait(what: str, holds: Callable[[], bool]) -> None:
    convergence.wait_until(what, lambda: [] if holds() else ["it is not so"], _REACTION_S)


def _check(seen: _Seen, what: str, holds: Callable[[], bool]) -> float | None:
    """Wait for something and return how long; None, which is a finding, when it did not come."""
    since = time.monotonic()
    try:
        _wait(what, holds)
    except TimedOutError:
        seen.checks.append((what, False))
        return None
    seen.checks.append((what, True))
    return round(time.monotonic() - since, 3)


def _result(variation: Variation, seen: _Seen) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "topology": NAME,
        "variation": str(variation),
        "direction": {name: summary(flows) for name, flows in seen.flows.items()},
        "drain": {name: summary(flows) for name, flows in seen.drained_flows.items()},
        "withdrawn_s": seen.withdrawn_s,
        "again_s": seen.again_s,
        "checks": [{"what": what, "held": held} for what, held in seen.checks],
        "passed": all(held for _, held in seen.checks),
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield a result in words."""
    yield f"anycast: {found['variation']}"
    moved = found["direction"]["in"]
    yield (
        f"  server1's service dies: outage {moved['outage_s']:.2f} s (worst flow), "
        f"{moved['lost']} of {moved['sent']} datagrams lost; withdrawn after "
        f"{found['withdrawn_s']} s"
    )
    yield f"  server2's as well: announced by server1 again after {found['again_s']} s"
    drained = found["drain"]["in"]
    yield f"  drained on server1: {drained['lost']} of {drained['sent']} datagrams lost"
    yield from (f"  {'ok ' if c['held'] else 'NOT'} {c['what']}" for c in found["checks"])
