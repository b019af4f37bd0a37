"""What scenarios make of every kind of probe, and what the policy makes of many situations."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.config.problems import InvalidFileError
from bgphealth.config.scenario_load import load_scenario
from bgphealth.simulation.expectations import compare
from bgphealth.simulation.play import play
from bgphealth.simulation.world import World

EXAMPLE = Path(__file__).parents[2] / "examples" / "scenarios" / "link-down.yaml"
HOST = {"asn": 65101, "router_id": "10.255.10.1", "source": "10.255.10.1"}
UPLINKS = {
    f"tor{n}": {
        "interface": f"eth{n}",
        "neighbor": f"10.0.{n}.0",
        "neighbor_asn": 65000 + n,
        "probe_source": f"10.0.{n}.1",
    }
    for n in (1, 2)
}
CHECK = {"tcp": "192.0.2.53:53"}
PATHS = {"interval": "400ms", "rise": 5, "beyond": {"need": 1, "of": [{"icmp": "198.51.100.1"}]}}
CONFIG = {
    "version": 1,
    "mode": "frr",
    "host": HOST,
    "uplinks": UPLINKS,
    "paths": PATHS,
    "services": {"dns": {"prefixes": ["192.0.2.53/32"], "checks": [CHECK]}},
}


def holds(tmp_path: Path, scenario: dict[str, object]) -> list[str]:
    """Play a scenario and return what was not as expected."""
    file = tmp_path / "scenario.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"scenario": 1, "about": "x", "config": CONFIG, **scenario}))
    read = load_scenario(file, None, file)
    assert read.expectations
    compared = compare(play(read), read.expectations)
    return [f"{each.subject}: {each.wanted}, {each.saw}" for each in compared if not each.held]


KINDS: dict[str, object] = {
    "icmp neighbor": {"icmp": "neighbor"},
    "tcp": {"tcp": "198.51.100.1:443"},
    "http": {"http": "http://198.51.100.1/"},
    "dns": {"dns": {"server": "198.51.100.1", "name": "health.example"}},
    "exec": {"exec": ["/bin/true"]},
    "bfd": {"bfd": "neighbor"},
    "bgp": {"bgp": "neighbor"},
    "link": {"link": "carrier"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_probe_fails_and_comes_back(tmp_path: Path, kind: str) -> None:
    # A state counts when it is next looked at; an answer that does not come takes three timeouts.
    known_at = "10.45s" if kind in ("bfd", "bgp", "link") else "12s"
    config = {**CONFIG, "paths": {**PATHS, "gateway": [KINDS[kind]]}}
    scenario: dict[str, object] = {
        "config": config,
        "steps": [
            {"at": "10s", "uplink": "tor2", "gateway": "failed"},
            {"at": "20s", "uplink": "tor2", "gateway": "ok"},
        ],
        "expect": [
            {"at": "9s", "path": "all", "verdict": "up"},
            {"at": known_at, "path": "tor2", "verdict": "down", "reason": "gateway_failed"},
            {"at": "12s", "path": "tor1", "verdict": "up"},
            {"at": "25s", "path": "all", "verdict": "up"},
        ],
    }
    assert holds(tmp_path, scenario) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_is_gone_is_gone_whatever_is_asked(tmp_path: Path, kind: str) -> None:
    scenario: dict[str, object] = {
        "config": {**CONFIG, "paths": {"gateway": [KINDS[kind]]}},
        "steps": [
            {"at": "10s", "uplink": "tor2", "link": "down"},
            {"at": "20s", "uplink": "tor2", "all": "ok"},
        ],
        "expect": [
            {"at": "10s", "path": "tor2", "verdict": "down", "reason": "link_down"},
            {"at": "19s", "path": "tor2", "verdict": "down", "reason": "link_down"},
            {"at": "25s", "path": "tor2", "verdict": "up"},
        ],
    }
    assert holds(tmp_path, scenario) == []


class Situation(NamedTuple):
    """How both uplinks and the service are, and what the file says."""

    tor1: str
    tor2: str
    service: str
    all_down: str
    mode: str

    def __str__(self) -> str:
        return " ".join(self)


SITUATIONS = [
    Situation(*each)
    for each in product(
        ("up", "degraded", "down"),
        ("up", "degraded", "down"),
        ("up", "down"),
        ("keep_last", "withdraw"),
        ("frr", "direct"),
    )
]

BEHAVES: dict[str, dict[str, object]] = {
    "up": {"loss": "0%"},
    "degraded": {"loss": "25%"},
    "down": {"beyond": "failed"},
}


def carriers(situation: Situation) -> list[str]:
    """Return who carries a prefix that needs no service: the rules, said another way.

    tor1 becomes what it is before tor2 does, so that tor2 is the last one there is.
    """
    levels = {"tor1": situation.tor1, "tor2": situation.tor2}
    for level in ("up", "degraded"):
        if at_level := [name for name, its in levels.items() if its == level]:
            return at_level
    return ["tor2"] if situation.all_down == "keep_last" else []


def expected(situation: Situation) -> list[dict[str, object]]:
    carried = carriers(situation)
    expect: list[dict[str, object]] = [
        {"path": "tor1", "verdict": situation.tor1},
        {"path": "tor2", "verdict": situation.tor2},
        {"service": "dns", "verdict": situation.service},
        {"route": "10.255.10.1/32", "announced": bool(carried), "uplinks": carried},
    ]
    served = carried if situation.service == "up" else []
    dns: dict[str, object] = {"route": "192.0.2.53/32", "announced": bool(served)}
    if situation.service == "down":
        dns["reason"] = "service_down"
    elif {situation.tor1, situation.tor2} == {"down"}:
        kept = situation.all_down == "keep_last"
        dns["reason"] = "all_down_keep_last" if kept else "all_down_withdraw"
    else:
        dns["reason"] = "service_up"
    expect.append({**dns, "uplinks": served})
    if situation.mode == "frr":
        for name, level in (("tor1", situation.tor1), ("tor2", situation.tor2)):
            if level == "degraded":
                expect.append({"default": name, "announced": True, "local_pref": 90})
            else:
                expect.append({"default": name, "announced": name in carried})
    return expect


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_situation(tmp_path: Path, situation: Situation) -> None:
    steps: list[dict[str, object]] = [
        {"at": "10s", "uplink": "tor1", **BEHAVES[situation.tor1]},
        {"at": "40s", "uplink": "tor2", **BEHAVES[situation.tor2]},
    ]
    if situation.service == "down":
        steps.append({"at": "70s", "service": "dns", "checks": "refused"})
    config = {**CONFIG, "mode": situation.mode, "policy": {"all_down": situation.all_down}}
    scenario: dict[str, object] = {
        "config": config,
        "steps": steps,
        "expect": [{"at": "80s", **each} for each in expected(situation)],
    }
    assert holds(tmp_path, scenario) == []


ADDRESSES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "expect": ({}, {"announced": False, "reason": "address_missing"}),
    "add": ({"address": "add"}, {"announced": False, "reason": "address_missing"}),
    "ignore": ({"address": "ignore"}, {"uplinks": ["tor1", "tor2"], "reason": "service_up"}),
    "keep": ({"on_injector_loss": "keep"}, {"announced": False, "reason": "address_missing"}),
    "draining": ({"drain": "service dns"}, {"announced": False, "reason": "address_missing"}),
    "drained": ({"drain": "host"}, {"announced": False, "reason": "drained"}),
    "down": ({"checks": "refused"}, {"announced": False, "reason": "address_missing"}),
    "tor2 down": ({"uplink": "tor2"}, {"announced": False, "reason": "address_missing"}),
    "all down": ({"uplink": "all"}, {"announced": False, "reason": "address_missing"}),
}
"""What else there is, and what becomes of the service whose address is missing."""


@pytest.mark.parametrize(
    ("name", "mode"),
    # Without FRR there is nothing that could keep it.
    [each for each in product(ADDRESSES, ("frr", "direct")) if each != ("keep", "direct")],
)
def test_a_missing_address(tmp_path: Path, name: str, mode: str) -> None:
    also, expect = ADDRESSES[name]
    dns: dict[str, object] = {"prefixes": ["192.0.2.53/32"], "checks": [CHECK]}
    dns |= {key: also[key] for key in ("address", "on_injector_loss") if key in also}
    web = {"prefixes": ["192.0.2.80/32", "192.0.2.128/25"]}
    steps: list[dict[str, object]] = []
    if "drain" in also:
        steps.append({"at": "20s" if name == "drained" else "38s", "drain": also["drain"]})
    if "checks" in also:
        steps.append({"at": "20s", "service": "dns", "checks": "refused"})
    if "uplink" in also:
        steps.append({"at": "20s", "uplink": also["uplink"], "beyond": "failed"})
    there = "refused" if "checks" in also else "ok"
    if name != "ignore":
        steps += [
            {"at": "39s", "service": "dns", "address": "missing"},
            {"at": "50s", "service": "dns", "address": "there", "checks": there},
        ]
    web_too = {"announced": name != "drained"}
    scenario: dict[str, object] = {
        "config": {**CONFIG, "mode": mode, "services": {"dns": dns, "web": web}},
        "steps": steps,
        "expect": [
            {"at": "19s", "route": "192.0.2.53/32", "uplinks": ["tor1", "tor2"]},
            {"at": "39s", "route": "192.0.2.53/32", **expect},
            # Nobody else goes with it.
            {"at": "39s", "route": "192.0.2.80/32", **web_too},
            {"at": "39s", "route": "192.0.2.128/25", **web_too},
            {"at": "39s", "route": "10.255.10.1/32", "announced": True},
            {
                "at": "55s",
                "route": "192.0.2.53/32",
                "announced": name not in ("draining", "drained", "down"),
            },
        ],
    }
    assert holds(tmp_path, scenario) == []


def test_an_address_that_nobody_looks_at_cannot_be_missing(tmp_path: Path) -> None:
    dns = {"prefixes": ["192.0.2.53/32"], "address": "ignore"}
    scenario: dict[str, object] = {
        "config": {**CONFIG, "services": {"dns": dns}},
        "steps": [{"at": "1s", "service": "dns", "address": "missing"}],
    }
    with pytest.raises(InvalidFileError, match="the configuration looks at no address of it"):
        holds(tmp_path, scenario)


def test_a_mistake_of_ours_is_not_played_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: object, __: object) -> None:
        raise AssertionError("a mistake")

    read = load_scenario(EXAMPLE, None, EXAMPLE)
    monkeypatch.setattr(World, "happens", breaks)
    with pytest.raises(AssertionError, match="a mistake"):
        play(read)


def test_an_hour_does_not_take_an_hour(tmp_path: Path) -> None:
    file = tmp_path / "hour.yaml"
    file.write_text(json.dumps({"scenario": 1, "about": "x", "config": CONFIG, "end": "1h"}))
    result = CliRunner().invoke(app, ["simulate", str(file), "--json"])
    assert json.loads(result.stdout)["span_s"] == 3600
