"""The comparison with the peers: its statistics, its turns, its tables and its plot."""

from __future__ import annotations

import io
import json
import re
import subprocess
import threading
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lab import contenders, dual_tor, faults, rounds, rounds_report, rounds_table, watch
from lab.contenders import CONTENDERS, Contender, topology_of
from lab.faults import FAULTS
from lab.meter import Flow
from lab.namespaces import NamespaceDriver
from lab.rounds import INTERVAL_S, Turn


def flow(answers: str) -> Flow:
    return Flow("ipv4", "10.255.10.1", 4000, [i * INTERVAL_S for i in range(len(answers))], answers)


def test_the_worst_flow_counts() -> None:
    flows = [flow("1" * 50 + "0" * lost + "1" * 50) for lost in (0, 20, 10)]

    assert rounds.outage(flows) == pytest.approx(0.4)


def test_what_was_lost_before_the_fault_does_not_count() -> None:
    lossy = flow("0" * 30 + "1" * 20 + "0" * 10 + "1" * 40)

    seen = rounds.since(lossy, 49.5 * INTERVAL_S)

    assert (len(seen.times), seen.answers[:11]) == (50, "0" * 10 + "1")
    assert rounds.outage([seen]) == pytest.approx(0.2)


def test_a_flow_that_has_not_come_back_has_no_outage() -> None:
    assert rounds.outage([flow("1" * 100), flow("1" * 50 + "0" * 50)]) is None
    # The last datagrams may be on their way.
    assert rounds.outage([flow("1" * 50 + "0" * 20 + "1" * 27 + "000")]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("figures", "median", "spread"),
    [
        ([0.6, 0.5, 0.9], 0.6, (0.5, 0.9)),
        ([0.6, 0.5, None], 0.6, (0.5, None)),
        ([0.6, None, None], None, (0.6, None)),
        ([None, None], None, (None, None)),
        ([0.5, None], None, (0.5, None)),
    ],
)
def test_never_is_longer_than_anything(
    figures: list[float | None],
    median: float | None,
    spread: tuple[float | None, float | None],
) -> None:
    assert rounds.middle(figures) == median
    assert rounds.spread(figures) == spread


def test_faults_are_spread_over_the_time_between_two_checks() -> None:
    slow = Contender("slow", "slow", period_s=10.0)

    assert [rounds.phase_s(slow, number, 5) for number in range(5)] == [1.0, 3.0, 5.0, 7.0, 9.0]


def test_it_is_said_how_long_it_takes() -> None:
    assert 15 * 60 < rounds.estimate_s(tuple(CONTENDERS.values()), 5) <= 25 * 60


def test_faults_that_are_compared_are_there() -> None:
    assert all(FAULTS[name].expected for name in rounds.NAMES)


@pytest.mark.parametrize("contender", CONTENDERS.values(), ids=list(CONTENDERS))
def test_a_contender_is_told_by_files_that_there_are(contender: Contender) -> None:
    made = topology_of(contender)

    for node in (dual_tor.SERVER, *dual_tor.TOR_BEHIND.values()):
        binds = made.binds(node)
        assert [b.source for b in binds if not b.source.is_file()] == []
        assert len({b.target for b in binds}) == len(binds)
    started = [b.source for b in made.binds(dual_tor.SERVER) if b.target.name == "start-server"]
    assert [path.stat().st_mode & 0o111 for path in started] == [0o111]
    assert contender.moves <= set(watch.ROUTES)


@pytest.mark.parametrize("contender", CONTENDERS.values(), ids=list(CONTENDERS))
def test_everything_but_the_server_is_the_same(contender: Contender) -> None:
    made, usual = topology_of(contender), topology_of(CONTENDERS["bgphealth"])

    assert made.links == usual.links
    assert made.nodes[dual_tor.CORE] == usual.nodes[dual_tor.CORE]
    if not contender.tor_files:
        assert {n: made.nodes[n].binds for n in dual_tor.TOR_BEHIND.values()} == {
            n: usual.nodes[n].binds for n in dual_tor.TOR_BEHIND.values()
        }


def test_every_file_is_used() -> None:
    used = {
        contenders.HERE / source
        for contender in CONTENDERS.values()
        for source in (*contender.files.values(), *contender.tor_files.values())
    }

    assert used == {path for path in contenders.HERE.rglob("*") if path.is_file()}


class Sending(NamespaceDriver):
    """A lab that is not there; what its senders are told is kept."""

    def __init__(self, contender: Contender) -> None:
        super().__init__(topology_of(contender))
        self.orders: list[tuple[str, io.StringIO]] = []

    def run(self, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "[]", "")

    def popen(self, node: str, *_: object, **__: object) -> subprocess.Popen[str]:
        order = io.StringIO()
        self.orders.append((node, order))
        started = SimpleNamespace(stdin=order, stdout=io.StringIO("started\n"))
        return cast("subprocess.Popen[str]", started)


def whole(driver: NamespaceDriver) -> watch.RouteWatch:
    """Return what has seen every route over both ToRs."""
    watcher = watch.RouteWatch(driver)
    for route in watch.ROUTES:
        node = dual_tor.SERVER if route == "default" else dual_tor.CORE
        for family in dual_tor.FAMILIES:
            told = {"at": 1.0, "route": f"{route} {family}", "interfaces": ["eth1", "eth2"]}
            watcher.heard(node, {**told, "source": None})
    return watcher


@pytest.mark.parametrize(("name", "keeps"), [("keepalived", False), ("bgphealth", True)])
def test_where_the_source_moves_each_datagram_chooses(name: str, keeps: bool) -> None:  # noqa: FBT001
    contender = CONTENDERS[name]
    driver = Sending(contender)

    rounds.meter_of(contender, driver).start()

    assert contender.source_moves is not keeps
    (inward, _), (outward, order) = driver.orders
    assert (inward, outward) == (dual_tor.CORE, dual_tor.SERVER)
    assert {flow["connected"] for flow in json.loads(order.getvalue())["flows"]} == {keeps}


@pytest.mark.parametrize("name", rounds.NAMES)
def test_who_is_told_is_told_while_the_fault_is_made(name: str) -> None:
    both = threading.Barrier(2)

    class Waiting(Sending):
        def run(self, *said: object, **_: object) -> subprocess.CompletedProcess[str]:
            both.wait(timeout=10)  # Each until the other has begun.
            return super().run(*said)

    floor = CONTENDERS["bare-helper"]
    faults.run_steps(Waiting(floor), rounds.steps(floor, FAULTS[name]))
    assert rounds.steps(CONTENDERS["frr"], FAULTS[name]) == FAULTS[name].inject


@pytest.mark.parametrize(
    ("down", "missing"),
    [
        ("10.0.1.0", ["BFD with 10.0.1.0 is not up"]),
        ("2001:db8:2::", ["BFD with 2001:db8:2:: is not up"]),
        (None, []),
    ],
)
def test_nothing_is_measured_before_bfd_is_up(down: str | None, missing: list[str]) -> None:
    tors = ("10.0.1.0", "10.0.2.0", "2001:db8:1::", "2001:db8:2::")
    peers = [{"peer": each, "status": "down" if each == down else "up"} for each in tors]

    class Watched(Sending):
        def run(self, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess([], 0, json.dumps(peers), "")

    for name, wanted in (("frr-bfd", missing), ("frr", [])):
        driver = Watched(CONTENDERS[name])
        assert rounds.unready(driver, whole(driver), CONTENDERS[name]) == wanted


def test_bfd_that_does_not_answer_is_not_up() -> None:
    class Silent(Sending):
        def run(self, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess([], 1, "bfdd is not running\n", "")

    bfd = CONTENDERS["frr-bfd"]
    driver = Silent(bfd)
    assert rounds.unready(driver, whole(driver), bfd) == [
        "BFD: this is not JSON: 'bfdd is not running'"
    ]


def test_who_is_not_installed_says_how_to_get_there() -> None:
    absent = Contender("x", "x", programs={"no-such-program": "make peers"})

    assert absent.missing() == "not installed: no-such-program (make peers)"
    assert CONTENDERS["frr"].missing() is None


def turn(
    outage_s: float | None, lasted_s: float = 12.0, acted_s: float | None = None
) -> dict[str, Any]:
    keys = [(d, f) for d in ("in", "out") for f in dual_tor.FAMILIES]
    moved = [(r, f) for r in ("service", "default") for f in dual_tor.FAMILIES]
    return Turn(
        lasted_s,
        dict.fromkeys(keys, outage_s),
        dict.fromkeys(keys, 1.0),
        dict.fromkeys(moved, outage_s),
        dict.fromkeys(moved, acted_s) if acted_s is not None else {},
    ).as_json()


def result(**contenders_: list[float | None]) -> dict[str, Any]:
    found = []
    for name, outages in contenders_.items():
        acted_s = 0.07 if name == "bgphealth" else None
        each = [turn(outage, acted_s=acted_s) for outage in outages]
        found.append(rounds.summary(Contender(name, f"{name} <&>"), each))
    return {
        "version": rounds.VERSION,
        "machine": {"cpus": 2, "load_before": 0.1},
        "fault": "uplink-blackhole",
        "summary": "tor2 silently drops everything",
        "seconds": 25.0,
        "rounds": 3,
        "contenders": found,
        "absent": {"keepalived": "not installed: keepalived (make peers)"},
    }


RESULT = result(bgphealth=[0.5, 0.62, 0.54], slow=[9.0, None, 13.0], frr=[None, None, None])


def test_the_table_has_medians_spread_and_who_never_came_back() -> None:
    out = io.StringIO()

    rounds_table.show(RESULT, Console(file=out, width=160))

    lines = out.getvalue().splitlines()
    (ours,) = (line for line in lines if line.strip().startswith("bgphealth <&>"))
    assert ours.count("0.54 (0.50–0.62)") == 4
    assert any(line.count("13.00 (9.00–never)") == 4 for line in lines)
    assert any(line.count("never (12 s)") == 4 for line in lines)
    assert "left out: keepalived: not installed: keepalived (make peers)" in lines


def test_the_page_has_the_same() -> None:
    page = "\n".join(rounds_table.markdown(RESULT))

    assert "| bgphealth <&> | 0.54 (0.50–0.62) |" in page
    assert "| frr <&> | never (12 s) |" in page
    assert "| keepalived | left out: not installed" in page
    assert page.count("| bgphealth <&> | 0.07 | 0.07 | 0.07 | 0.07 |") == 1
    assert page.count("| frr <&> |") == 2  # It decides nothing.
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_the_plot_has_a_dot_for_each_round_and_never_apart() -> None:
    drawn = ET.fromstring(rounds_report.svg(RESULT))  # noqa: S314 - made here

    tips = [title.text or "" for title in drawn.iter() if title.tag.endswith("title")]
    assert len(tips) == 3 * 2 * 3
    assert "slow <&>, in, round 2: never" in tips
    places: dict[bool, list[float]] = {True: [], False: []}
    for circle in drawn.iter():
        if circle.tag.endswith("circle") and len(circle):
            places["never" in (circle[0].text or "")].append(float(circle.attrib["cx"]))
    assert max(places[False]) + 20 < min(places[True])
    at = {float(re.sub(r".*: | s", "", t)): t for t in tips if "never" not in t}
    assert sorted(at) == [0.5, 0.54, 0.62, 9.0, 13.0]


def test_the_report_holds_everything_and_escapes_it() -> None:
    page = rounds_report.html(RESULT)

    assert "<svg" in page
    assert "bgphealth &lt;&amp;&gt;" in page
    assert "<&>" not in page
    assert 'class="never">never (12 s)<' in page
    assert page.count("<td>0.07</td>") == 4


class Logged(Sending):
    """A lab whose server has this log."""

    def run(self, *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        changed = {"event": "path_changed", "uplink": "tor2", "from": "up", "reason": "failed"}
        log = [
            {**changed, "at": 99.0, "family": "ipv4", "to": "down"},  # before the fault
            {**changed, "at": 100.4, "family": "ipv4", "to": "down"},
            {**changed, "at": 100.5, "family": "ipv6", "to": "down"},
            {"event": "told", "at": 100.1},
        ]
        lines = "".join(f"exabgp: {json.dumps(event)}\n" for event in log)
        return subprocess.CompletedProcess([], 0, lines, "")


@pytest.mark.parametrize(
    ("name", "fault", "wanted"),
    [
        ("bgphealth", "uplink-blackhole", {"ipv4": 0.4, "ipv6": 0.5}),
        ("bare-helper", "uplink-blackhole", {"ipv4": 0.1, "ipv6": 0.1}),
        ("frr", "uplink-blackhole", {}),
        ("bgphealth", "link-down", {}),
    ],
)
def test_when_it_was_clear_what_to_do(name: str, fault: str, wanted: dict[str, float]) -> None:
    who = CONTENDERS[name]

    found = rounds.decided(Logged(who), who, FAULTS[fault], 100.0)

    assert found == pytest.approx(wanted)
