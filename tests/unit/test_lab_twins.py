"""With and without bgphealth: what is compared, what the words mean, and that the twin is fair."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from bgphealth import config
from bgphealth.frr.render import render
from lab import dual_tor, dual_wan, scene, topology, twins, twins_table
from lab.errors import LabError
from lab.meter import DIRECTIONS, Flow
from lab.topology import Node
from lab.twins import NOISE_S

CASE = twins.CASES["both-uplinks"]
GONE = {"outage_s": 6.0, "lost_s": 4.5}
BRIEF = {"outage_s": 0.6, "lost_s": 0.4}
NOTHING = {"outage_s": 0.0, "lost_s": 0.0}
UNIMPAIRED: twins.Measured = {(d, f): NOTHING for d in DIRECTIONS for f in dual_tor.FAMILIES}


def test_each_topology_has_its_own_cases() -> None:
    assert [case.name for case in twins.cases_on("dual-tor")] == list(twins.CASES)
    assert [case.name for case in twins.cases_on(dual_wan.NAME, ["link-down"])] == ["link-down"]
    with pytest.raises(LabError, match=r"dual-wan: flap is not compared there \(there is uplink-"):
        twins.cases_on(dual_wan.NAME, ["link-down", "flap"])


def later(figures: twins.Figures, by_s: float) -> twins.Figures:
    return {name: value + by_s for name, value in figures.items()}


@pytest.mark.parametrize(
    ("with_it", "without", "price_s", "word"),
    [
        (BRIEF, GONE, 0.0, "better"),
        (GONE, GONE, 0.0, "same"),
        (NOTHING, NOTHING, 0.0, "same"),
        (later(GONE, NOISE_S - 0.01), GONE, 0.0, "same"),
        (later(GONE, NOISE_S + 0.01), GONE, 0.0, "worse"),
        (GONE, BRIEF, 0.0, "worse"),
        # One long outage instead of many short ones, and many instead of one: each can be harm.
        ({"outage_s": 2.0, "lost_s": 1.0}, {"outage_s": 1.0, "lost_s": 4.0}, 0.0, "worse"),
        ({"outage_s": 1.0, "lost_s": 4.0}, {"outage_s": 2.0, "lost_s": 1.5}, 0.0, "worse"),
        (later(GONE, 3.0), GONE, 3.0, "costs"),
        (later(GONE, 3.0 + NOISE_S + 0.01), GONE, 3.0, "worse"),
        (GONE, GONE, 3.0, "same"),
    ],
)
def test_the_word_for_it(
    with_it: twins.Figures, without: twins.Figures, price_s: float, word: str
) -> None:
    assert twins.verdict(with_it, without, price_s) == word


def flow(family: str, answers: str) -> Flow:
    times = [i * twins.INTERVAL_S for i in range(len(answers))]
    return Flow(family, "10.255.10.1", 4000, times, answers)


def test_no_family_and_no_direction_hides_behind_another() -> None:
    well, twice = "1" * 100, "1" * 10 + "0" * 20 + "1" * 10 + "0" * 10 + "1" * 50
    flows = {d: [flow(f, well) for f in dual_tor.FAMILIES for _ in range(2)] for d in DIRECTIONS}
    flows["out"][-1] = flow("ipv6", twice)

    found = twins.figures(flows)

    hit = found.pop(("out", "ipv6"))
    assert hit == pytest.approx({"outage_s": 0.4, "lost_s": 0.3})
    assert all(figures == NOTHING for figures in found.values())
    assert len(found) == 3


def test_the_median_of_the_rounds_counts() -> None:
    assert twins.middle([NOTHING, GONE, BRIEF]) == BRIEF


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", dual_tor.FAMILIES)
def test_harm_to_one_family_in_one_direction_is_found(family: str, direction: str) -> None:
    harmed = UNIMPAIRED | {(direction, family): GONE}

    rows = list(twins.rows("dual-tor", CASE, [harmed], [UNIMPAIRED]))

    assert [(r["direction"], r["family"]) for r in rows if r["verdict"] == "worse"] == [
        (direction, family)
    ]
    assert len(rows) == 4


def test_a_price_is_what_the_file_says_and_for_its_own_case_alone() -> None:
    (row, *_) = twins.rows(
        "dual-tor", twins.CASES["service-down-alone"], [UNIMPAIRED], [UNIMPAIRED]
    )
    assert row["price_s"] == 3.0
    assert [case.name for case in twins.CASES.values() if case.pays_rise] == ["service-down-alone"]


def test_how_far_rounds_are_apart_is_told() -> None:
    harmed = UNIMPAIRED | {("in", "ipv6"): BRIEF}

    rows = list(twins.rows("dual-tor", CASE, [harmed, UNIMPAIRED], [UNIMPAIRED]))

    (row,) = (r for r in rows if (r["direction"], r["family"]) == ("in", "ipv6"))
    assert row["range_s"] == {"with": (0.0, 0.6), "without": (0.0, 0.0)}
    assert " 0.30 (0.00–0.60) / 0.20 " in shown(rows)


def shown(rows: list[dict[str, object]]) -> str:
    result = {
        "seconds": 6.0,
        "rounds": 1,
        "noise_s": NOISE_S,
        "machine": {"cpus": 2, "load_before": 0.1},
        "rows": rows,
    }
    out = io.StringIO()

    twins_table.show(result, Console(file=out, width=120))
    return out.getvalue()


def test_the_table_says_what_is_worse() -> None:
    harmed = UNIMPAIRED | {("in", "ipv6"): GONE}

    said = shown(list(twins.rows("dual-tor", CASE, [harmed], [UNIMPAIRED])))

    (worse,) = (line for line in said.splitlines() if "worse " in line)
    assert worse.split()[:8] == ["both-uplinks", "ipv6", "6.00", "/", "4.50", "0.00", "/", "0.00"]
    assert "never worse" not in said


def test_the_table_does_not_hide_the_price() -> None:
    case = twins.CASES["service-down-alone"]
    later_back = UNIMPAIRED | {("in", "ipv4"): {"outage_s": 3.0, "lost_s": 3.0}}

    said = shown(list(twins.rows("dual-tor", case, [later_back], [UNIMPAIRED])))

    assert "costs" in said
    assert said.endswith(
        "never worse than without bgphealth, but for what the file says it costs\n"
    )
    whole = shown(list(twins.rows("dual-tor", CASE, [UNIMPAIRED], [UNIMPAIRED])))
    assert whole.endswith("never worse than without bgphealth\n")


def server_without(node: Node, *words: str) -> Node:
    """Return a node without the binds and exec lines that contain any of the words."""

    def other(line: str) -> bool:
        return not any(word in line for word in words)

    return node.model_copy(
        update={
            "binds": tuple(filter(other, node.binds)),
            "exec": tuple(filter(other, node.exec)),
            "sysctls": {k: v for k, v in node.sysctls.items() if other(k)},
        }
    )


@pytest.mark.parametrize(("name", "plain"), scene.TWINS.items())
def test_the_twin_differs_in_nothing_but_bgphealth(name: str, plain: str) -> None:
    with_it, without = (topology.load(topology.find(n)) for n in (name, plain))
    own = ("start-server", "run-exabgp", "bgphealth.yaml", "server1/frr.conf", "ping_group_range",
           "run-bgphealth", "server1/failover")  # fmt: skip
    probe_addresses = ("10.255.11.", "2001:db8:11:")

    assert with_it.links == without.links
    nodes = dict(with_it.nodes), dict(without.nodes)
    servers = [server_without(n.pop(dual_tor.SERVER), *own, *probe_addresses) for n in nodes]
    assert nodes[0] == nodes[1]
    assert servers[0] == servers[1]


@pytest.mark.parametrize(("name", "plain"), dual_tor.PLAIN.items())
def test_the_twin_has_the_same_sessions_with_the_tors(name: str, plain: str) -> None:
    file = topology.HERE / name / "server1" / "bgphealth.yaml"
    settings = config.load(file)
    own = (topology.HERE / plain / "server1" / "frr.conf").read_text(encoding="utf-8")

    # Whatever makes FRR faster with bgphealth must be there without it, too.
    said = [
        line.replace("external", "65002")
        for line in render(settings, file).splitlines()
        if re.match(
            r" +(neighbor|maximum-paths \d|bgp bestpath)|zebra|bfd| profile|interface", line
        )
        and not re.search(r"route-map|description|127\.0\.0\.2", line)
    ]

    assert len(said) > 8
    assert [line for line in said if line not in own.splitlines()] == []
