"""F7: with zebra's kernel nexthop objects (its default), a look-up bound to eth2 does not fall
through from the BGP default on eth1 to a worse default on eth2: probes bound to eth2 get no answer
once its BGP default is withdrawn, and the uplink never recovers. ``ip rule oif ethN lookup T`` with
a default in table T works in every case tried (also ``from <link address> lookup T``, but only for
sockets bound to that address).
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import (
    FAMILIES,
    FILE,
    HERE,
    IPV4,
    IPV6,
    WITH_INJECTOR,
    Family,
    Lab,
    each_family,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

METRIC = (254 << 24) + 2
PROBES = 4


NO_OBJECTS = "sed -i '1i no zebra nexthop kernel enable' /etc/frr/frr.conf"
"""From the start: changed while zebra runs, it makes zebra fail to install routes."""


@pytest.fixture
def probed(lab: Lab) -> Iterator[Lab]:
    """Give the lab without tor2's default, and with the rules and tables of bgphealth."""
    with _probed(lab):
        yield lab


@pytest.fixture
def probed_without_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give the same in a lab whose zebra uses no kernel nexthop objects."""
    render = next(command for command in WITH_INJECTOR if " render frr " in command)
    after = WITH_INJECTOR.index(render) + 1
    commands = (*WITH_INJECTOR[:after], NO_OBJECTS, *WITH_INJECTOR[after:])
    with running(tmp_path_factory, commands) as lab:
        lab.settle()
        with _probed(lab):
            yield lab


@contextmanager
def _probed(lab: Lab) -> Iterator[None]:
    lab.server(sys.executable, str(HERE / "apply_tables.py"), FILE)
    lab.say(*(family.withdrawn_path(2) for family in FAMILIES))
    for family in FAMILIES:
        lab.eventually(
            f"tor1's {family} default alone is left",
            lambda f: (d := lab.default(f)) is not None and d.interfaces == ("eth1",),
            family,
        )
    yield
    for family in FAMILIES:
        lab.server("ip", family.option, "rule", "flush", "protocol", "179")


def ping(lab: Lab, family: Family, source: str | None = None) -> list[str]:
    """Probe a target beyond tor2 as bgphealth does; return each verdict and its detail."""
    source = source or family.links[1]
    program = (sys.executable, str(HERE / "ping.py"))
    output = lab.server(*program, "eth2", source, family.target, str(PROBES))
    return [f"{o['verdict']} {o['detail']}".strip() for o in json.loads(output)]


@contextmanager
def without_rule(lab: Lab, family: Family) -> Iterator[None]:
    rules = json.loads(lab.server("ip", "-json", family.option, "rule"))
    (rule,) = [rule for rule in rules if rule.get("oif") == "eth2"]
    where = ("oif", "eth2", "lookup", rule["table"])
    words = (*where, "pref", str(rule["priority"]), "protocol", rule["protocol"])
    lab.server("ip", family.option, "rule", "del", *words)
    try:
        yield
    finally:
        lab.server("ip", family.option, "rule", "add", *words)


@contextmanager
def worse_default(lab: Lab, family: Family) -> Iterator[None]:
    words = ("default", "via", family.tors[1], "dev", "eth2", "metric", str(METRIC))
    with lab.route(family, *words):
        yield


@each_family
def test_f7_with_our_rule_a_probe_of_a_withdrawn_uplink_gets_its_answer(
    probed: Lab, family: Family
) -> None:
    assert ping(probed, family) == ["ok"] * PROBES, probed.evidence()


def test_f7_without_the_rule_it_gets_none_though_a_worse_default_is_there(probed: Lab) -> None:
    with without_rule(probed, IPV4), worse_default(probed, IPV4):
        assert "nhid" in probed.server("ip", "-4", "route", "show", "default")
        answers = ping(probed, IPV4)
        assert all(answer.startswith("failed") for answer in answers), (
            f"{answers}\n{probed.evidence()}"
        )
    assert ping(probed, IPV4) == ["ok"] * PROBES, probed.evidence()


def test_f7_without_nexthop_objects_it_falls_through_to_the_worse_default(
    probed_without_objects: Lab,
) -> None:
    probed = probed_without_objects
    with without_rule(probed, IPV4), worse_default(probed, IPV4):
        assert "nhid" not in probed.server("ip", "-4", "route", "show", "default")
        assert ping(probed, IPV4) == ["ok"] * PROBES, probed.evidence()


def test_f7_without_the_rule_an_ipv6_probe_cannot_even_be_sent(probed: Lab) -> None:
    with without_rule(probed, IPV6):
        answers = ping(probed, IPV6)
        assert all("unreachable" in answer for answer in answers), f"{answers}\n{probed.evidence()}"
    assert ping(probed, IPV6) == ["ok"] * PROBES, probed.evidence()


def test_f7_ipv6_does_fall_through_to_a_worse_default(probed: Lab) -> None:
    """The IPv6 look-up differs: there the rule is needed only where no worse default is."""
    with without_rule(probed, IPV6), worse_default(probed, IPV6):
        assert ping(probed, IPV6) == ["ok"] * PROBES, probed.evidence()


@each_family
def test_f7_a_rule_from_the_link_address_serves_sockets_with_that_address_alone(
    probed: Lab, family: Family
) -> None:
    rules = json.loads(probed.server("ip", "-json", family.option, "rule"))
    (table,) = [rule["table"] for rule in rules if rule.get("oif") == "eth2"]
    words = ("from", family.links[1], "lookup", table, "pref", "1700")
    with without_rule(probed, family):
        probed.server("ip", family.option, "rule", "add", *words)
        try:
            assert ping(probed, family) == ["ok"] * PROBES, probed.evidence()
            assert "ok" not in ping(probed, family, family.loopback), probed.evidence()
        finally:
            probed.server("ip", family.option, "rule", "del", *words)
