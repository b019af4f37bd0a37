"""Compares faults with and without bgphealth: is any traffic ever worse off with it?

The same faults, made for the same time, on a topology and on its twin, where FRR alone, or a shell
script, does what it can. Compared is what the flows of a family and a direction went without:
`outage_s`, the longest time of the worst flow, and `lost_s`, all such times of a flow, on average
over the flows.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from lab import convergence, drivers, dual_tor, dual_wan, experiment, faults, meter, scene
from lab.dual_wan_faults import WAN_FAULTS
from lab.errors import LabError
from lab.faults import Expected
from lab.measured import lab_up, machine
from lab.meter import DIRECTIONS, Flow, Meter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab.driver import Driver
    from lab.experiment import Progress
    from lab.faults import Fault, Step

VERSION = 1

NOISE_S = 0.3
"""What two runs of the same fault may differ by: commands in nodes are not made at once, FRR's
timers have a phase, and the machine does other things."""

FLOWS = {"ipv4": 20, "ipv6": 20}
"""Which ToR a flow takes is chance: so many that some take each, of both families."""

FEW_FLOWS = {"ipv4": 4, "ipv6": 4}
"""Where all of them go the same way."""

INTERVAL_S = 2 * meter.INTERVAL_S
"""And no more datagrams than the lab's measurements send anyway."""

SECONDS = 6.0
MIN_SECONDS = 5.0
"""How long a fault lasts by default, and at least: the routes meanwhile are looked at, too."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault to compare."""

    name: str
    fault: Fault
    other_site: bool = False
    """Whether another site has the service too, which the core uses when this server has not."""
    pays_rise: bool = False
    """Whether the service comes back later by as long as its checks take to rise: nobody else has
    it meanwhile, and the file says that this is what a withdrawn service needs."""


def _case(name: str) -> Case:
    return Case(name, faults.FAULTS[name])


CASES = {
    case.name: case
    for case in (
        _case("uplink-blackhole"),
        _case("both-uplinks"),
        replace(_case("service-down"), other_site=True),
        replace(_case("service-down"), name="service-down-alone", pays_rise=True),
        _case("flap"),
        _case("tor-crash"),
        _case("link-down"),
    )
}

_UNTIL_THE_SCRIPT_HAS_MOVED_S = 25.0

WAN_CASES = {
    fault.name: Case(fault.name, fault)
    for fault in (
        replace(WAN_FAULTS["uplink-blackhole"], lasts_s=_UNTIL_THE_SCRIPT_HAS_MOVED_S),
        replace(WAN_FAULTS["link-down"], lasts_s=_UNTIL_THE_SCRIPT_HAS_MOVED_S),
        WAN_FAULTS["both-uplinks"],
        WAN_FAULTS["dhcp-default-deleted"],
        WAN_FAULTS["defaults-deleted"],
    )
}

NAMES = tuple(CASES | WAN_CASES)
"""Of all of them, on whatever topology."""


def cases_on(name: str, wanted: Sequence[str] = ()) -> list[Case]:
    """Return the cases of a topology; those of them that are wanted, if any are named.

    Raises:
        LabError: One that is wanted is not compared there.
    """
    there = WAN_CASES if name in dual_wan.NAMES else CASES
    if foreign := [case for case in wanted if case not in there]:
        raise LabError(f"{name}: {foreign[0]} is not compared there (there is {', '.join(there)})")
    return [there[case] for case in wanted or there]


Figures = dict[str, float]
Measured = dict[tuple[str, str], Figures]
"""`outage_s` and `lost_s` by direction and family."""


def figures(flows: Mapping[str, Sequence[Flow]]) -> Measured:
    """Return what flows went without, by direction and family."""
    found = {}
    for direction in DIRECTIONS:
        for family in dual_tor.FAMILIES:
            own = [flow for flow in flows[direction] if flow.family == family]
            found[direction, family] = {
                "outage_s": max(flow.outage_s(INTERVAL_S) for flow in own),
                "lost_s": fmean(sum(b - a for a, b in flow.gaps(INTERVAL_S)) for flow in own),
            }
    return found


def middle(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    return {name: round(median(figures[name] for figures in rounds), 3) for name in rounds[0]}


def verdict(with_it: Figures, without: Figures, price_s: float = 0.0) -> str:
    """Say what bgphealth is for this traffic: `better`, `same`, `worse`, or what it `costs`.

    Args:
        with_it: the figures with bgphealth.
        without: and without it.
        price_s: by how much more it may be away, for a reason that the file gives.
    """
    more = [with_it[name] - without[name] for name in without]
    if max(more) > NOISE_S + price_s:
        return "worse"
    if max(more) > NOISE_S:
        return "costs"
    return "better" if min(more) < -NOISE_S else "same"


def measure(driver: Driver, case: Case, seconds: float) -> Measured:
    """Measure one fault on a lab that is up.

    Args:
        driver: the lab.
        case: what to measure.
        seconds: how long the fault lasts; longer if it is one that has its own time.

    Raises:
        LabError: It could not be or the lab did not recover.
    """
    # Nothing ends it early: who reacts must not get a shorter fault than who does not.
    fault = replace(
        case.fault, expected=Expected(), calm=False, lasts_s=max(seconds, case.fault.lasts_s)
    )
    with _other_site(driver) if case.other_site else nullcontext():
        flows = FLOWS if scene.of(driver.topology.name).spreads else FEW_FLOWS
        traffic = Meter(driver, flows, INTERVAL_S)
        record = experiment.run(driver, fault, lambda _: None, traffic)
    convergence.wait_converged(driver)
    return figures(record.flows)


_SITE = """\
ip netns add site2
ip link add site2 type veth peer name eth0 netns site2
ip addr add 10.1.3.0/31 dev site2
ip addr add 2001:db8:13::/127 dev site2 nodad
ip link set site2 up
ip -n site2 link set lo up
ip -n site2 link set eth0 up
ip -n site2 addr add 10.1.3.1/31 dev eth0
ip -n site2 addr add 2001:db8:13::1/127 dev eth0 nodad
ip -n site2 route add default via 10.1.3.0
ip -n site2 route add default via 2001:db8:13::
"""
"""A host behind the core that has the service as well, in a namespace of the core's node."""

_SITE_ROUTES = (
    "ip route {ipv4}/32 10.1.3.1 250",
    "ipv6 route {ipv6}/128 2001:db8:13::1 250",
)
"""Worse than anything that BGP says (distance 20): used when nobody announces the service."""


@contextmanager
def _other_site(driver: Driver) -> Iterator[None]:
    own = "\n".join(f"ip -n site2 addr add {a} dev lo" for a in dual_tor.SERVICE.values())
    service = " ".join(dual_tor.SERVICE.values())
    serve = (
        f"setsid ip netns exec site2 python3 /etc/lab/echo.py {service} >/dev/null 2>&1 "
        "</dev/null & echo $! >/run/site2.pid"
    )
    routes = [line.format(**dual_tor.SERVICE) for line in _SITE_ROUTES]
    make = (_shell(f"set -e\n{_SITE}{own}\n{serve}"), _vtysh(routes))
    undo = (
        _vtysh([f"no {line}" for line in routes]),
        _shell("kill $(cat /run/site2.pid); ip link del site2; ip netns del site2"),
    )
    faults.run_steps(driver, make)
    try:
        yield
    finally:
        faults.run_steps(driver, undo)


def _shell(script: str) -> Step:
    return faults.Step(dual_tor.CORE, ("sh", "-c", script))


def _vtysh(lines: Sequence[str]) -> Step:
    words = [word for line in ("configure terminal", *lines) for word in ("-c", line)]
    return faults.Step(dual_tor.CORE, ("vtysh", *words))


def run(
    names: Sequence[str],
    wanted: Sequence[str],
    seconds: float,
    rounds: int,
    progress: Progress,
) -> dict[str, Any]:
    """Measure cases on each topology and its twin, in labs of their own.

    Args:
        names: the topologies.
        wanted: the names of the cases; none for all.
        seconds: how long each fault lasts, at least.
        rounds: how often each is measured.
        progress: told what is done from now on.

    Raises:
        LabError: A lab is up already, or something could not be measured.
    """
    on = machine()
    found: list[dict[str, Any]] = []
    chosen = {name: cases_on(name, wanted) for name in names}
    for name, cases in chosen.items():
        with_it = _measure_all(name, cases, seconds, rounds, progress)
        without = _measure_all(scene.TWINS[name], cases, seconds, rounds, progress)
        for case in cases:
            found += rows(name, case, with_it[case.name], without[case.name])
    return {
        "version": VERSION,
        "driver": drivers.chosen(),
        "machine": on,
        "seconds": seconds,
        "rounds": rounds,
        "noise_s": NOISE_S,
        "rows": found,
        "passed": all(row["verdict"] != "worse" for row in found),
    }


def _measure_all(
    name: str, cases: Sequence[Case], seconds: float, rounds: int, progress: Progress
) -> dict[str, list[Measured]]:
    driver = drivers.of(name)
    found: dict[str, list[Measured]] = {}
    with lab_up(driver, progress):
        for case in cases:
            progress(f"{name}: {case.name}")
            found[case.name] = [measure(driver, case, seconds) for _ in range(rounds)]
    return found


def rows(
    name: str, case: Case, with_it: Sequence[Measured], without: Sequence[Measured]
) -> Iterator[dict[str, Any]]:
    """Return one comparison per family and direction.

    Args:
        name: the topology with bgphealth.
        case: what was measured.
        with_it: each round on that topology.
        without: each round on its twin.
    """
    price_s = _rise_s(name) if case.pays_rise else 0.0
    for family in dual_tor.FAMILIES:
        for direction in DIRECTIONS:
            mine = middle([measured[direction, family] for measured in with_it])
            plain = middle([measured[direction, family] for measured in without])
            outages = {
                side: sorted(round(measured[direction, family]["outage_s"], 3) for measured in all_)
                for side, all_ in (("with", with_it), ("without", without))
            }
            yield {
                "topology": name,
                "case": case.name,
                "fault": case.fault.name,
                "family": family,
                "direction": direction,
                "with": mine,
                "without": plain,
                "range_s": {side: (each[0], each[-1]) for side, each in outages.items()},
                "price_s": price_s,
                "verdict": verdict(mine, plain, price_s),
            }


def _rise_s(name: str) -> float:
    """Return how long the service of a topology takes to be up again."""
    (service,) = (s for s in scene.settings(name).services if s.checks)
    return service.timing.interval_s * service.timing.rise
