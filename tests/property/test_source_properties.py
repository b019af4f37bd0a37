"""Whatever there is: defaults have a source, pins stand behind others, policies lead one source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    POLICY_RULES,
    Address,
    Family,
    Mode,
    Pin,
    Settings,
    SourcePolicy,
    SourceSettings,
)
from bgphealth.core.truth import HARMLESS_METRIC, Leg
from bgphealth.fallback import metrics, pins, policies, tables
from bgphealth.fallback.netlink import MAIN, Interface, Route, Rule
from tests.support.hosts import host, unnumbered_host

UPLINKS = 3
BOTH = tuple(Family)
PATHS = [PathKey(f"tor{n}", family) for n in range(1, UPLINKS + 1) for family in BOTH]
PINS = tuple(
    Pin(ip_network(to), ip_address(source))
    for to, source in (
        ("203.0.113.0/24", "10.255.10.9"),
        ("203.0.113.128/25", "10.255.10.1"),
        ("2001:db8:f00::/48", "2001:db8:10::9"),
    )
)
SOURCES: list[Address | None] = [ip_address("10.255.10.7"), ip_address("2001:db8:10::7"), None]
GATEWAYS: dict[PathKey, Leg | str] = {
    path: Leg(path.uplink.replace("tor", "eth"), ip_address(f"fe80::{path.uplink[3:]}"))
    for path in PATHS
}
HOSTS = [
    *(host(UPLINKS, BOTH, mode=mode) for mode in Mode),
    unnumbered_host(UPLINKS),
]


@st.composite
def settings(draw: st.DrawFn) -> Settings:
    """A host in any mode, with pins and policies and with fallback defaults where there are any."""
    base = draw(st.sampled_from(HOSTS))
    names = [uplink.name for uplink in base.uplinks]
    led = draw(st.lists(st.sampled_from(SOURCES), unique=True))
    chosen = tuple(
        SourcePolicy(source, draw(st.sampled_from(names)), draw(st.booleans())) for source in led
    )
    fallback = replace(base.fallback, defaults=base.mode is Mode.FRR)
    return replace(base, fallback=fallback, sources=SourceSettings(PINS, chosen))


@st.composite
def interfaces(draw: st.DrawFn) -> Mapping[str, Interface]:
    """The host's links, each with or without its addresses, up or not, and what is on lo."""
    found = {}
    for n in range(1, UPLINKS + 1):
        own = [ip_interface(f"10.0.{n}.1/31"), ip_interface(f"2001:db8:{n}::1/127")]
        addresses = tuple(address for address in own if draw(st.booleans()))
        found[f"eth{n}"] = Interface(n + 1, f"eth{n}", draw(st.booleans()), addresses)
    on_lo = ["10.255.10.1/32", "10.255.10.7/32", "10.255.10.9/32", "2001:db8:10::7/128",
             "2001:db8:10::9/128", *(f"10.255.11.{n}/32" for n in range(1, UPLINKS + 1)),
             *(f"2001:db8:11:{n}::1/128" for n in range(1, UPLINKS + 1))]  # fmt: skip
    there = tuple(ip_interface(address) for address in on_lo if draw(st.booleans()))
    return {**found, "lo": Interface(1, "lo", up=True, addresses=there)}


RANKS = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(Rank))


@given(settings(), interfaces(), RANKS)
def test_every_default_has_a_source_that_the_host_has(
    file: Settings, links: Mapping[str, Interface], ranks: Mapping[PathKey, Rank]
) -> None:
    addresses = {a.ip for interface in links.values() for a in interface.addresses}
    routes = {
        *tables.plan(file, links, GATEWAYS).routes,
        *metrics.plan(file, links, GATEWAYS, ranks, set()).wanted.values(),
    }
    for route in routes:
        assert route.prefix.prefixlen or route.source in addresses


def placed(
    file: Settings, path: PathKey, ranks: Mapping[PathKey, Rank], was: Rank | None = None
) -> Rank:
    """Return where a path's route belongs: one without a verdict is not before those that carry."""
    first = metrics.come_first(file)
    carried = any(key.family is path.family and r is Rank.CARRIES for key, r in ranks.items())
    if path in ranks:
        return ranks[path]
    if was is not None and not (first and carried):
        return was
    return Rank.WORKS if first or carried else Rank.CARRIES


@given(settings(), interfaces(), RANKS, RANKS)
def test_pins_are_in_the_order_of_the_ranks_behind_all_others(
    file: Settings,
    links: Mapping[str, Interface],
    before: Mapping[PathKey, Rank],
    ranks: Mapping[PathKey, Rank],
) -> None:
    ours = {
        route
        for _, _, planned in pins.plan(file, links, GATEWAYS, before, set())
        for route in planned.wanted.values()
    }
    numbers = {uplink.name: uplink.number for uplink in file.uplinks}
    for pin, there, planned in pins.plan(file, links, GATEWAYS, ranks, ours):
        assert {route.prefix for route in there} <= {pin.to}
        assert not planned.kept
        places: dict[int, tuple[Rank, int]] = {}
        for path, route in planned.wanted.items():
            assert (route.table, route.prefix, route.source) == (MAIN, pin.to, pin.source)
            assert route.metric >= HARMLESS_METRIC
            rank = placed(file, path, ranks, placed(file, path, before))
            places[route.metric] = rank, numbers[path.uplink]
        assert len(places) == len(planned.wanted)
        assert [places[place] for place in sorted(places)] == sorted(places.values())


@given(settings(), interfaces(), RANKS, st.data())
def test_policies_lead_their_source_and_nothing_else(
    file: Settings,
    links: Mapping[str, Interface],
    ranks: Mapping[PathKey, Rank],
    data: st.DataObject,
) -> None:
    sources = tables.plan(file, links, GATEWAYS).sources
    carry = dict.fromkeys(PATHS, Rank.CARRIES)
    before = policies.plan(file, links, sources, carry, set()).rules
    there = {rule for rule in before if data.draw(st.booleans())}
    planned = policies.plan(file, links, sources, ranks, there)
    first = file.fallback.rule_priority + POLICY_RULES
    uplinks = {uplink.name: uplink for uplink in file.uplinks}
    for policy, rules in planned.wanted.items():
        uplink = uplinks[policy.uplink]
        table = file.fallback.table + uplink.number
        for source in {rule.source for rule in rules}:
            assert source is not None
            family = Family.of(source)
            path = PathKey(uplink.name, family)
            assert source in (policy.source, sources.get(path))
            wanted = {
                Rule(family, "", MAIN, first, source, but_default=True),
                Rule(family, "", table, first + 1, source),
            }
            forbidding = Rule(family, "", None, first + 2, source)
            of_source = {rule for rule in rules if rule.source == source}
            assert of_source == (wanted | {forbidding} if policy.is_strict else wanted)
            stays = path not in ranks and of_source & there
            serving = {Rank.CARRIES, *([Rank.WORKS] if file.mode is Mode.LOCAL else [])}
            assert policy.is_strict or ranks.get(path) in serving or stays


@given(settings(), interfaces(), RANKS)
def test_once_more_changes_nothing(
    file: Settings, links: Mapping[str, Interface], ranks: Mapping[PathKey, Rank]
) -> None:
    def routes(ours: set[Route]) -> set[Route]:
        planned = pins.plan(file, links, GATEWAYS, ranks, ours)
        return {route for _, _, of_pin in planned for route in of_pin.wanted.values()}

    sources = tables.plan(file, links, GATEWAYS).sources
    rules = policies.plan(file, links, sources, ranks, set()).rules
    assert policies.plan(file, links, sources, ranks, set(rules)).rules == rules
    assert policies.plan(file, links, sources, {}, set(rules)).rules == rules
    written = routes(set())
    assert routes(written) == written
