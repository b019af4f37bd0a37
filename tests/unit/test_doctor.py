"""What the doctor makes of what it sees; each finding as a whole is in tests/network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgphealth.cli import doctor as command
from bgphealth.cli.app import app
from bgphealth.core.errors import HostError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import AddressUse, Family, Mode, Settings
from bgphealth.core.truth import FRR_STATIC, OURS, KernelDefault, Leg
from bgphealth.doctor import addresses, examine, host, links, process, sysctls
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.process import Process
from bgphealth.doctor.words import sysctl
from bgphealth.fallback.netlink import Route
from bgphealth.fallback.tables import plan
from bgphealth.fallback.view import OtherRoute, OtherRule, Table, View
from tests.support import hosts
from tests.support.broken_host import BROKEN, BROKEN_LOCAL
from tests.support.healthy import DEFAULT, SETTINGS, healthy, interface

V4, V6 = Family.IPV4, Family.IPV6
FILE = Path(__file__).parents[1] / "golden" / "ipv4-only" / "bgphealth.yaml"


def found(seen: View, settings: Settings = SETTINGS) -> list[Finding]:
    return list(host.judge(settings, seen))


def words(seen: View, settings: Settings = SETTINGS) -> list[str]:
    return [finding.word for finding in found(seen, settings)]


def with_sysctls(**changed: str) -> View:
    """Return a healthy host with others; ``__`` stands for a slash."""
    seen = healthy()
    given = {path.replace("__", "/"): value for path, value in changed.items()}
    return replace(seen, sysctls={**seen.sysctls, **given})


def with_defaults(*given: KernelDefault) -> View:
    seen = healthy()
    return replace(seen, defaults={**seen.defaults, V4: given})


def test_every_word_is_broken_somewhere() -> None:
    of_host = {kind.word for kind in (examine.CANNOT_LOOK, *host.KINDS, *process.KINDS)}
    broken = (*BROKEN, *BROKEN_LOCAL)
    assert {word for each in broken for word in each.words} == of_host


def test_a_healthy_host_has_nothing() -> None:
    assert found(healthy()) == []


def test_a_kernel_without_a_sysctl_has_it_right() -> None:
    assert words(replace(healthy(), sysctls={})) == []


# ---- links


def test_a_link_without_carrier_cannot_be_mended_here() -> None:
    down = interface(1, "10.0.1.1/31", "2001:db8:1::1/127", up=False)
    (finding,) = links.judge(SETTINGS, healthy(eth1=down))
    assert (finding.word, finding.mend) == ("uplink_down", None)


def test_the_mtu_of_most_is_right() -> None:
    three = hosts.host(uplinks=3)
    seen = healthy(three, eth3=interface(3, "10.0.3.1/31", mtu=9000))
    (finding,) = links.judge(three, seen)
    assert (finding.subject, finding.mend) == ("eth3", "ip link set dev eth3 mtu 1500")


@pytest.mark.parametrize("state", ["stale", "delay", "probe", "permanent", "noarp"])
def test_a_tor_that_has_answered_once_is_there(state: str) -> None:
    seen = replace(healthy(), neighbors={(1, IPv4Address("10.0.1.0")): state})
    assert words(seen) == []


# ---- addresses


def test_what_is_not_expected_is_not_missed() -> None:
    (loopback, dns) = SETTINGS.services
    other = replace(dns, prefixes=(ip_network("192.0.2.99/32"),))
    for use, expected in (
        (AddressUse.IGNORE, []),
        (AddressUse.EXPECT, ["service_address_missing"]),
        (AddressUse.ADD, ["service_address_missing"]),
    ):
        settings = replace(SETTINGS, services=(loopback, replace(other, address=use)))
        seen = healthy()
        assert words(seen, settings) == expected
    # By hand it would be somebody else's, and never taken away again.
    (finding,) = found(seen, settings)
    assert finding.mend is not None
    assert "ip address add" not in finding.mend


def test_an_address_of_an_interface_that_is_set_down_is_not_there() -> None:
    seen = healthy()
    lo = replace(seen.interfaces["lo"], enabled=False)
    seen = replace(seen, interfaces={**seen.interfaces, "lo": lo})
    assert set(words(seen)) == {"loopback_missing", "service_address_missing"}


def test_the_kernel_may_choose_another_one_of_several() -> None:
    both = interface(1, "10.0.1.1/31", "2001:db8:1::1/127", "2001:db8:1::5/64")
    seen = replace(healthy(eth1=both), chosen={("tor1", V6): ip_address("2001:db8:1::5")})
    (finding,) = (f for f in found(seen) if f.word == "several_addresses")
    assert "the probes take 2001:db8:1::1, the kernel chooses 2001:db8:1::5" in finding.found
    assert finding.mend == "in the file: uplinks.tor1.probe_source: {ipv6: 2001:db8:1::5}"


def test_exabgps_end_of_the_session_is_on_the_link() -> None:
    (tor1, tor2) = SETTINGS.uplinks
    (v4, v6) = tor1.paths
    ours = replace(v4, probe_source=ip_address("10.255.10.1"))
    uplinks = (replace(tor1, paths=(ours, v6)), tor2)
    direct = replace(SETTINGS, mode=Mode.DIRECT, uplinks=uplinks, fallback=hosts.host().fallback)
    seen = healthy()
    seen = replace(seen, plan=plan(direct, seen.interfaces, seen.gateways))
    (finding,) = addresses.judge(direct, seen)
    assert (finding.word, finding.mend) == (
        "no_probe_source",
        "ip address add 10.255.10.1/LENGTH dev eth1",
    )


# ---- defaults


@pytest.mark.parametrize("protocol", ["dhcp", "ra", "static", "boot", "kernel", "99"])
@pytest.mark.parametrize("distance", [0, 19, 199])
def test_a_default_with_a_better_distance_evicts(protocol: str, distance: int) -> None:
    other = KernelDefault(protocol, (distance << 24) + 100, None, DEFAULT.legs)
    (finding,) = found(with_defaults(other, DEFAULT))
    assert finding.word == "foreign_default"
    assert f"that is distance {distance} to zebra" in finding.found


def test_a_static_default_of_frrs_goes_out_of_frr() -> None:
    other = KernelDefault(FRR_STATIC, 20, None, DEFAULT.legs)
    (finding,) = found(with_defaults(other))
    assert "that is distance 1 to zebra" in finding.found
    assert finding.mend == (
        "vtysh -c 'configure terminal' -c 'no ip route 0.0.0.0/0 10.0.1.0' "
        "-c 'no ip route 0.0.0.0/0 10.0.2.0'  # and out of frr.conf"
    )


@pytest.mark.parametrize("metric", [200 << 24, 255 << 24])
def test_a_default_behind_bgps_does_no_harm(metric: int) -> None:
    other = KernelDefault("static", metric, None, DEFAULT.legs)
    assert words(with_defaults(DEFAULT, other)) == []


def test_beside_exabgp_alone_any_default_will_do_that_has_the_source() -> None:
    direct = replace(
        SETTINGS, mode=Mode.DIRECT, fallback=replace(SETTINGS.fallback, defaults=False)
    )
    seen = replace(healthy(direct), own_defaults=frozenset())
    static = replace(DEFAULT, protocol="static", metric=0)
    assert words(replace(seen, defaults={V4: (static,), V6: seen.defaults[V6]}), direct) == []
    bare = replace(static, source=None)
    (finding,) = found(replace(seen, defaults={V4: (bare,), V6: seen.defaults[V6]}), direct)
    assert finding.word == "default_source_link"


def test_a_default_whose_links_are_down_is_none() -> None:
    assert words(with_defaults(replace(DEFAULT, legs=()))) == ["no_default"]


def test_the_fallback_has_the_source_of_the_link() -> None:
    fallback = KernelDefault(OURS, 254 << 24, ip_address("10.0.1.1"), DEFAULT.legs)
    assert words(with_defaults(fallback)) == ["only_fallback"]


def test_a_source_of_the_fallback_that_is_not_there_is_found() -> None:
    given = replace(SETTINGS.fallback, source=(ip_address("10.255.9.9"),))
    settings = replace(SETTINGS, fallback=given)
    seen = healthy(settings)
    mends = {f.mend for f in found(seen, settings) if f.word == "fallback_missing"}
    assert mends == {"ip address add 10.255.9.9/32 dev lo"}


# ---- tables and rules


def test_nothing_is_wanted_where_the_file_forbids_it() -> None:
    off = replace(SETTINGS, fallback=replace(SETTINGS.fallback, enabled=False))
    seen = healthy()
    nothing = Table(frozenset(), ())
    bare = replace(seen, tables=dict.fromkeys(seen.tables, nothing), own_rules=frozenset())
    assert words(bare, off) == []
    assert set(words(bare)) == {"rule_missing", "table_default_missing", "table_route_missing"}


def test_routes_of_others_are_deleted_one_by_one() -> None:
    seen = healthy()
    other = OtherRoute(17901, ip_network("198.51.100.0/24"), 7, "blackhole")
    stale = Route(17901, ip_network("203.0.113.0/24"), 1)
    table = seen.tables["tor1", V4]
    both = Table(table.ours | {stale}, (other,))
    (finding,) = found(replace(seen, tables={**seen.tables, ("tor1", V4): both}))
    assert finding.word == "table_others"
    assert finding.mend == (
        "ip -4 route delete 203.0.113.0/24 table 17901 && "
        "ip -4 route delete blackhole 198.51.100.0/24 table 17901 metric 7"
    )


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (OtherRule(100, 254), True),
        (OtherRule(100, None), True),
        (OtherRule(100, 50, source=ip_network("10.0.1.0/24")), True),
        (OtherRule(100, 50, source=ip_network("10.9.0.0/24")), False),
        (OtherRule(100, 50, destination=ip_network("198.51.100.0/24")), True),
        (OtherRule(100, 50, destination=ip_network("203.0.113.0/24")), False),
        (OtherRule(100, 50, incoming="lo"), True),
        (OtherRule(100, 50, incoming="eth1"), False),
        (OtherRule(100, 50, outgoing="eth1"), True),
        (OtherRule(100, 50, outgoing="eth9"), False),
        (OtherRule(100, 50, mark=1, mask=0xFF), False),
        (OtherRule(100, 50, mark=0, mask=0xFF), True),
        (OtherRule(100, 50, mark=51820, mask=0xFFFFFFFF, is_inverted=True), True),
        (OtherRule(100, 50, is_inverted=True), False),
        (OtherRule(100, 50, is_narrow=True), False),
        (OtherRule(1791, 50), True),
        (OtherRule(1792, 50, outgoing="eth1"), False),
        (OtherRule(1793, 254), False),
        (OtherRule(0, 255), False),
    ],
    ids=str,
)
def test_a_rule_that_comes_first_and_holds_for_probes(rule: OtherRule, *, holds: bool) -> None:
    seen = healthy()
    seen = replace(seen, other_rules={**seen.other_rules, V4: (rule,)})
    assert words(seen) == (["rule_captures"] if holds else [])


def test_a_rule_that_leaves_no_room_can_only_go() -> None:
    seen = healthy()
    for priority, mend in (
        (2, "ip -4 rule delete priority 2"),
        (9, "ip -4 rule delete priority 9  # or in the file: fallback.rule_priority: 6"),
    ):
        rules: Mapping[Family, tuple[OtherRule, ...]] = {V4: (OtherRule(priority, 254),), V6: ()}
        (finding,) = found(replace(seen, other_rules=rules))
        assert finding.mend == mend


# ---- sysctls


@pytest.mark.parametrize(
    ("of_all", "own", "strict"),
    [(0, 0, False), (1, 0, True), (0, 1, True), (1, 1, True), (2, 1, False), (1, 2, False)],
)
def test_the_larger_rp_filter_counts(of_all: int, own: int, *, strict: bool) -> None:
    seen = with_sysctls(
        ipv4__conf__all__rp_filter=str(of_all),
        ipv4__conf__eth1__rp_filter=str(own),
        ipv4__conf__eth2__rp_filter="2",
    )
    assert words(seen) == (["rp_filter"] if strict else [])


@pytest.mark.parametrize(
    ("accept_ra", "forwarding", "defrtr", "takes"),
    [(0, 0, 1, False), (1, 0, 1, True), (1, 1, 1, False), (2, 1, 1, True), (1, 0, 0, False)],
)
def test_who_forwards_takes_no_advertisement(
    accept_ra: int, forwarding: int, defrtr: int, *, takes: bool
) -> None:
    seen = with_sysctls(
        ipv6__conf__eth1__accept_ra=str(accept_ra),
        ipv6__conf__eth1__accept_ra_defrtr=str(defrtr),
        ipv6__conf__eth1__forwarding=str(forwarding),
    )
    assert words(seen) == (["accept_ra"] if takes else [])


def test_one_uplink_alone_is_no_transit() -> None:
    assert words(with_sysctls(ipv4__conf__eth1__forwarding="1")) == []


def test_an_interface_with_a_dot_is_written_with_slashes() -> None:
    assert sysctl({"ipv4/conf/eth1.7/rp_filter": 2, "ipv4/ping_group_range": "0 1"}) == (
        "sysctl -w net/ipv4/conf/eth1.7/rp_filter=2 net.ipv4.ping_group_range='0 1'"
        "  # and into /etc/sysctl.d/60-bgphealth.conf"
    )


def test_unnumbered_links_speak_no_arp() -> None:
    settings = hosts.unnumbered_host(families=(V4,))
    seen = with_sysctls(ipv4__conf__all__arp_ignore="0", ipv4__conf__all__arp_announce="0")
    assert list(sysctls.judge(settings, seen)) == []


def test_a_path_without_its_probe_address_has_none() -> None:
    settings = hosts.unnumbered_host(families=(V4,))
    seen = healthy()
    gateways: Mapping[PathKey, Leg | str] = {
        PathKey("tor1", V4): "no router was seen on eth1 yet",
        PathKey("tor2", V4): Leg("eth2", ip_address("fe80::2")),
    }
    seen = replace(seen, gateways=gateways, plan=plan(settings, seen.interfaces, gateways))
    said = [(f.word, f.subject) for f in addresses.judge(settings, seen)]
    assert said == [
        ("no_gateway", "eth1"),
        ("no_probe_source", "tor2 ipv4"),
    ]


# ---- the process


@pytest.mark.parametrize(
    ("capabilities", "groups", "ping_range", "lacks"),
    [
        (1 << 12 | 1 << 13, {0}, "1 0", []),
        (1 << 12, {0}, "0 0", []),
        (1 << 12, {100, 200}, "200 300", []),
        (1 << 12, {100, 400}, "200 300", ["no_icmp"]),
        (1 << 13, {0}, "1 0", ["no_net_admin"]),
        (0, {0}, "1 0", ["no_net_admin", "no_icmp"]),
        (1 << 12, {0}, None, []),
    ],
)
def test_what_a_process_lacks(
    capabilities: int, groups: set[int], ping_range: str | None, lacks: list[str]
) -> None:
    it = Process(7, capabilities, frozenset(groups))
    assert [f.word for f in process.judge(SETTINGS, it, ping_range)] == lacks


# ---- all of it


async def test_an_area_that_cannot_be_looked_at_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refuse(_: Settings) -> list[Finding]:
        raise HostError("reading the rules: Operation not permitted")

    monkeypatch.setattr(host, "findings", refuse)
    said = await examine.examine(SETTINGS, FILE, tmp_path / "nobody.sock")
    assert ("cannot_look", "the host") in {(f.word, f.subject) for f in said}
    assert all(f.why for f in said)


ERROR = Kind("one", Severity.ERROR, "means one", "why one")
NOTE = Kind("two", Severity.NOTE, "means two", "why two")


def run(monkeypatch: pytest.MonkeyPatch, given: list[Finding], *options: str) -> tuple[int, str]:
    async def examined(_: Settings, __: Path, ___: Path) -> list[Finding]:
        return given

    monkeypatch.setattr(command, "examine", examined)
    result = CliRunner().invoke(app, ["-c", str(FILE), "doctor", *options])
    return result.exit_code, result.output


def test_why_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [ERROR.found("a", "is so", "do it"), ERROR.found("b", "too"), NOTE.found("c", "well")]
    status, said = run(monkeypatch, given)
    assert status == 1
    assert said.splitlines() == [
        "error: a: is so (one)",
        "  why: why one",
        "  mend: do it",
        "error: b: too (one)",
        "note: c: well (two)",
        "  why: why two",
        "",
        "2 errors, 1 note",
    ]


def test_notes_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    status, _ = run(monkeypatch, [NOTE.found("c", "well")])
    assert status == 0
    assert run(monkeypatch, []) == (0, "nothing found\n")


def test_what_is_ignored_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [sysctls.FORWARDING.found("ipv4", "forwarding is on")]
    assert run(monkeypatch, given, "--ignore", "forwarding") == (0, "nothing found\n")
    status, said = run(monkeypatch, given, "--ignore", "forwarding_")
    assert status == 2
    assert "forwarding_" in said
