"""What a running program knows, as plain data; and what of it is wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from bgphealth.core.communities import Community
from bgphealth.core.events import Drained, ServiceChecked, Verdict
from bgphealth.core.orders import What
from bgphealth.core.settings import Family, Mode, OnDown
from bgphealth.core.truth import Drift, KernelDefault, Leg, Tier, Where
from bgphealth.core.truth import State as Seen
from bgphealth.daemon import snapshot, worst
from bgphealth.daemon.closed_loop import Truth
from bgphealth.daemon.draining import listed
from bgphealth.daemon.reporting import Troubles
from bgphealth.daemon.snapshot import Defaults, Known, Told
from bgphealth.exabgp.replies import NeighborState
from tests.support.control import Steered, steered
from tests.support.hosts import CHECK, CHECK_FALL, FALL, SETTLE_S, checked, host, round_of


async def seen(of: Steered, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of Known
    known: Known = of.known._replace(**changed)
    found = await snapshot.of(known, "/etc/bgphealth.yaml", listed(known.state, known.now))
    again: dict[str, Any] = json.loads(json.dumps(found))
    assert again == found
    return found


def told(of: Steered, **changed: Any) -> Told:  # noqa: ANN401 - fields of Told
    all_of_it = Told(of.state.intents, frozenset(), frozenset(), {}, {}, 0.0, 0, "")
    return all_of_it._replace(**changed)


def rank(found: dict[str, Any], of: str) -> str:
    return next(str(it["rank"]) for it in found["problems"] if it["of"] == of)


async def test_a_host_where_all_is_well_has_no_problems() -> None:
    found = await seen(steered(host(families=(Family.IPV4, Family.IPV6))))
    assert (found["healthy"], found["problems"], found["schema_version"]) == (True, [], 1)
    assert len(found["paths"]) == 4
    assert {path["verdict"] for path in found["paths"]} == {"up"}
    (dns,) = (s for s in found["services"] if s["name"] == "dns")
    assert dns["checks"][0]["check"] == "tcp 192.0.2.53:53"
    (route,) = (r for r in found["routes"] if r["route"] == "192.0.2.53/32")
    assert route["towards"] == {"tor1": "usual", "tor2": "usual"}
    assert route["announcement"]["communities"] == ["65101:1", "65101:2"]


async def test_since_is_the_last_change_of_the_verdict() -> None:
    of = steered()
    tor2 = of.state.settings.uplinks[1]
    of.feed(event for _ in range(FALL) for event in round_of(tor2, Verdict.FAILED, 90.0))
    found = await seen(of)
    up, down = found["paths"]
    assert down["since"] == down["reason_since"] == "2023-11-14T22:14:50.000+00:00"
    assert up["since"] == "2023-11-14T22:13:20.000+00:00"
    assert (up["falls"], down["falls"]) == (0, 1)
    assert (down["evidence"] != "", down["probes"][0]["failed_run"]) == (True, FALL)
    assert rank(found, "tor2 ipv4") == "lost"


async def test_the_last_path_of_a_family_is_an_outage_and_comes_first() -> None:
    of = steered()
    for uplink in of.state.settings.uplinks:
        of.feed(event for _ in range(FALL) for event in round_of(uplink, Verdict.FAILED, 90.0))
    of.feed([checked(Verdict.FAILED, 95.0)] * CHECK_FALL)
    found = await seen(of, troubles=of.known.troubles._replace(kernel={"tor1": "no permission"}))
    assert {rank(found, f"tor{n} ipv4") for n in (1, 2)} == {"outage"}
    assert rank(found, "dns") == "outage"
    ranks = [it["rank"] for it in found["problems"]]
    assert ranks == sorted(ranks, key=["outage", "lost", "warning"].index)
    assert found["problems"][-1]["says"] == "kernel: no permission"


async def test_what_is_drained_is_away_on_purpose() -> None:
    of = steered()
    tor2 = of.state.settings.uplinks[1]
    of.post(Drained(90.0, What.UPLINK, "tor2", 90.0))
    of.post(Drained(90.0, What.SERVICE, "dns", 90.0))
    of.feed(event for _ in range(FALL) for event in round_of(tor2, Verdict.FAILED, 95.0))
    found = await seen(of)
    assert (found["healthy"], found["paths"][1]["drain"]) == (True, "draining")
    assert [drain["name"] for drain in found["drains"]] == ["dns", "tor2"]
    (route,) = (r for r in found["routes"] if r["route"] == "192.0.2.53/32")
    assert route["towards"] == {"tor1": "prepended"}
    of.feed([])
    tor1 = of.state.settings.uplinks[0]
    # Nobody else works: the drained one stands in, and that is worth knowing.
    of.feed(event for _ in range(RISES) for event in round_of(tor2, Verdict.OK, 96.0))
    of.feed(event for _ in range(FALL) for event in round_of(tor1, Verdict.FAILED, 97.0))
    found = await seen(of)
    assert (found["paths"][1]["drain"], rank(found, "tor2 ipv4")) == ("suspended", "warning")


RISES = 10


@pytest.mark.parametrize(
    ("on_down", "decision", "towards"),
    [(OnDown.WITHDRAW, "withdrawn", {}), (OnDown.DEGRADE, "announced", {"tor1", "tor2"})],
)
async def test_a_service_that_is_down(
    on_down: OnDown, decision: str, towards: dict[str, str]
) -> None:
    of = steered(host(on_down=on_down))
    of.feed([checked(Verdict.FAILED, 90.0)] * CHECK_FALL)
    found = await seen(of)
    (route,) = (r for r in found["routes"] if r["route"] == "192.0.2.53/32")
    assert (route["decision"], route["towards"]) == (
        decision,
        dict.fromkeys(towards, "last_resort"),
    )


async def test_what_exabgp_and_bgpd_have_of_it() -> None:
    of = steered()
    first, second, *_ = of.state.decisions
    drift = Drift(second, Where.BGPD, Seen.MISSING, "next hop x", "no path from ExaBGP", "a hint")
    kernel = KernelDefault("bgp", 20, None, (Leg("eth1", None),))
    found = await seen(
        of,
        told=told(of, waiting={first}, neighbors={"127.0.0.1": NeighborState("127.0.0.1", "up")}),
        truth=Truth(99.0, "", {first: Seen.SEEN, second: Seen.MISSING}, (drift,)),
        defaults=Defaults({Family.IPV4: Tier.TOR}, {Family.IPV4: kernel}),
    )
    routes = {route["route"]: route for route in found["routes"]}
    assert (routes[str(first)]["exabgp"], routes[str(first)]["bgpd"]) == ("waiting", "seen")
    assert (routes[str(second)]["exabgp"], routes[str(second)]["bgpd"]) == (
        "acknowledged",
        "missing",
    )
    assert found["defaults"][0]["kernel"]["via"] == [{"interface": "eth1", "gateway": None}]
    assert rank(found, str(second)) == "lost"
    assert rank(found, "default ipv4") == "lost"
    assert found["drifts"][0]["hint"] == "a hint"


@pytest.mark.parametrize(
    ("changed", "of", "expected"),
    [
        ({"late_s": 7.0}, "ExaBGP", "outage"),
        ({"neighbors": {"n": NeighborState("n", "down", "out")}}, "neighbor n", "outage"),
    ],
)
async def test_an_exabgp_that_is_not_there(changed: dict[str, Any], of: str, expected: str) -> None:
    host_of = steered()
    assert rank(await seen(host_of, told=told(host_of, **changed)), of) == expected


async def test_what_was_refused() -> None:
    of = steered()
    first, *_ = of.state.decisions
    found = await seen(of, told=told(of, refused={first}))
    assert rank(found, str(first)) == "lost"


async def test_a_check_that_cannot_be_asked() -> None:
    of = steered()
    troubles = Troubles({}, {}, {}, {}, {}, {}, {("dns", str(CHECK)): "no ports left"})
    found = await seen(of, troubles=troubles)
    assert rank(found, "dns") == "warning"
    assert found["services"][1]["checks"][0]["unknown"] == "no ports left"


async def test_in_local_mode_one_is_in_use() -> None:
    found = await seen(steered(host(mode=Mode.LOCAL)))
    assert found["defaults"][0]["in_use"] == "tor1"
    assert [route["decision"] for route in found["routes"]] == ["in use", "spare"]
    assert found["exabgp"] is None


async def test_in_direct_mode_each_session_is_a_route() -> None:
    of = steered(host(mode=Mode.DIRECT))
    found = await seen(of)
    towards = [r["towards"] for r in found["routes"] if r["service"] == "dns"]
    assert towards == [{"tor1": "usual"}, {"tor2": "usual"}]
    of.post(Drained(90.0, What.SERVICE, "dns", 90.0))
    of.now += SETTLE_S
    towards = [r["towards"] for r in (await seen(of))["routes"] if r["service"] == "dns"]
    assert towards == [{"tor1": "prepended"}, {"tor2": "prepended"}]


async def test_a_thousand_services_leave_the_loop_to_others() -> None:
    settings = host()
    dns = settings.services[1]
    many = tuple(replace(dns, name=f"many{number}") for number in range(1000))
    of = steered(replace(settings, services=(*settings.services, *many)))
    for number in range(1000):
        of.post(ServiceChecked(90.0, f"many{number}", CHECK, Verdict.OK))
    known = of.known
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    found = await snapshot.of(known, "", [])
    counting.cancel()
    assert len(found["services"]) == 1002
    assert turns >= 1000 / snapshot.SLICE


def empty() -> dict[str, Any]:
    lists = ("paths", "services", "routes", "defaults", "drifts", "troubles")
    nothing = {"exabgp": None, "reload": None, "looked_up": None, "mode": "frr"}
    return {**{key: [] for key in lists}, **nothing}


def test_problems_of_an_empty_snapshot_are_none() -> None:
    assert worst.problems(empty()) == []


def down(family: str, *unknown: str | None) -> dict[str, Any]:
    probes = [{"probe": f"icmp {n}", "unknown": why} for n, why in enumerate(unknown)]
    of = {"uplink": "tor2", "family": family, "probes": probes}
    return {
        **of,
        "verdict": "down",
        "reason": "link_down",
        "since": "",
        "evidence": "",
        "drain": "",
    }


@pytest.mark.parametrize(
    ("paths", "of", "says"),
    [
        ([down("ipv4", "no", None)], "tor2 ipv4", "icmp 0 cannot be asked: no"),
        ([down("ipv4", "no", "no")], "tor2 ipv4", "2 of 2 probes cannot be asked: no"),
        (
            [down("ipv4", "no", "no"), down("ipv6", None, "never", "no")],
            "tor2",
            "4 of 5 probes cannot be asked: no; never",
        ),
        (
            [down("ipv4", None), down("ipv6", "no", "no")],
            "tor2 ipv6",
            "2 of 3 probes cannot be asked: no",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_once_per_uplink(
    paths: list[dict[str, Any]], of: str, says: str
) -> None:
    of_source = [
        {"what": "probe_source", "of": "tor2 ipv4", "why": why} for why in ("no", "another")
    ]
    wrong = worst.problems({**empty(), "paths": paths, "troubles": of_source})
    assert [(it["of"], it["says"]) for it in wrong if it["rank"] == "warning"] == [
        (of, says),
        ("tor2 ipv4", "probe_source: another"),
    ]
    assert Community(65101, 1)
