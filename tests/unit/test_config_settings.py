"""From a right file to `Settings`: defaults, numbers, families, and what is read as what."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from bgphealth.config import InvalidFileError, load
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import (
    AllDown,
    Damping,
    Export,
    FallbackSettings,
    Family,
    HostSettings,
    InjectorLoss,
    Mode,
    Pin,
    ProbeKind,
    ProbeSettings,
    Quality,
    ServiceSettings,
    Settings,
    SourcePolicy,
    SourceSettings,
    Threshold,
    Timing,
    UplinkPath,
    UplinkSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: 10.255.10.1}
uplinks:
  tor1: {interface: eth1, neighbor: 10.0.1.0, neighbor_asn: 65001}
"""


def read(directory: Path, text: str) -> Settings:
    file = directory / "bgphealth.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def refused(directory: Path, text: str) -> str:
    with pytest.raises(InvalidFileError) as caught:
        read(directory, text)
    return "\n".join(f"{p.path}: {p.message}" for p in caught.value.problems)


def test_every_default(tmp_path: Path) -> None:
    neighbor = ip_address("10.0.1.0")
    assert read(tmp_path, SMALLEST) == Settings(
        mode=Mode.FRR,
        host=HostSettings(
            asn=65101,
            router_id=IPv4Address("10.255.10.1"),
            source=(ip_address("10.255.10.1"),),
            community_asn=65101,
            discard_next_hop=(ip_address("192.0.0.8"), ip_address("100::1")),
            injector=IPv4Address("127.0.0.2"),
        ),
        uplinks=(
            UplinkSettings(
                name="tor1",
                number=1,
                interface="eth1",
                neighbor_asn=65001,
                paths=(
                    UplinkPath(
                        family=Family.IPV4,
                        neighbor=neighbor,
                        next_hop=neighbor,
                        probe_source=None,
                        gateway=(ProbeSettings(ProbeKind.ICMP, neighbor),),
                        beyond=(),
                        beyond_need=0,
                    ),
                ),
                password_file=None,
                ttl_security=False,
            ),
        ),
        path_timing=Timing(interval_s=0.2, timeout_s=0.2, fall=3, rise=10),
        suspect_interval_s=0.025,
        quality=Quality(window=50, loss=Threshold(enter=0.1, leave=0.05), latency_s=None),
        damping=Damping(half_life_s=60.0, suppress=2500, reuse=750, max_suppress_s=300.0),
        services=(
            ServiceSettings(
                name="loopback",
                prefixes=(ip_network("10.255.10.1/32"),),
                checks=(),
                need=0,
                timing=Timing(interval_s=1.0, timeout_s=1.0, fall=3, rise=3),
                damping=None,
                on_injector_loss=InjectorLoss.KEEP,
            ),
        ),
        all_down=AllDown.KEEP_LAST,
        drain_settle_s=10.0,
        guarded_settle_s=5.0,
        fallback=FallbackSettings(enabled=True, table=17900, rule_priority=1790, defaults=True),
        control_socket=None,
    )


def test_direct_mode_has_both_ends_of_each_session(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """\
version: 1
mode: direct
host: {asn: 4200000101, router_id: 127.0.0.2, source: 192.0.0.8}
uplinks:
  tor1:
    interface: eth1
    neighbor: {ipv4: 10.0.1.0, ipv6: "2001:db8:1::"}
    neighbor_asn: 65001
    probe_source: {ipv4: 10.0.1.1, ipv6: "2001:db8:1::1"}
    password_file: /etc/bgphealth/tor1.password
    ttl_security: true
services: {dns: {prefixes: ["2001:db8::53/128"]}}
""",
    )
    (uplink,) = settings.uplinks
    assert settings.mode is Mode.DIRECT
    assert [(str(p.neighbor), str(p.probe_source)) for p in uplink.paths] == [
        ("10.0.1.0", "10.0.1.1"),
        ("2001:db8:1::", "2001:db8:1::1"),
    ]
    assert (uplink.password_file, uplink.ttl_security) == ("/etc/bgphealth/tor1.password", True)


def test_what_a_service_says_of_uplinks_and_of_other_services(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        SMALLEST
        + """\
  tor2: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002}
services:
  one: {prefixes: [192.0.2.1/32], requires: [three]}
  two: {prefixes: [192.0.2.2/32], uplinks: [tor2], min_uplinks: 1}
  three: {prefixes: [192.0.2.3/32], requires: [two]}
""",
    )
    _, one, two, three = settings.services
    assert (one.uplinks, one.min_uplinks, one.requires) == (None, 0, ("two", "three"))
    assert (two.uplinks, two.min_uplinks, two.requires) == (frozenset({"tor2"}), 1, ())
    assert three.requires == ("two",)


def test_what_a_service_carries_and_how_a_degraded_uplink_does(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        SMALLEST
        + """\
services:
  plain: {prefixes: [192.0.2.1/32]}
  full:
    prefixes: [192.0.2.2/32]
    announce:
      communities: [65000:100, 65101:1002]
      large_communities: [4294967295:0:1]
      med: 0
      prepend: 2
    on_degraded: {med: 5}
  words: {prefixes: [192.0.2.3/32], on_degraded: withdraw}
""",
    )
    _, plain, full, words = settings.services
    for service in (plain, words):
        assert (service.communities, service.large_communities) == ((), ())
        assert (service.export, service.degraded_export) == (Export(0, None), None)
    assert full.communities == (Community(65000, 100), Community(65101, 1002))
    assert full.large_communities == (LargeCommunity(4294967295, 0, 1),)
    assert full.export == Export(prepend=2, med=0)
    assert full.degraded_export == Export(prepend=2, med=5)


def test_targets_go_to_the_paths_of_their_family(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: {ipv4: 10.255.10.1, ipv6: "2001:db8:10::1"}}
uplinks:
  tor1:
    interface: eth1
    neighbor: {ipv4: 10.0.1.0, ipv6: "2001:db8:1::"}
    neighbor_asn: external
    next_hop: {ipv6: "2001:db8:ff::1"}
    probe_source: 10.0.1.1
paths:
  gateway: [{icmp: neighbor}, {tcp: "10.0.1.0:179"}]
  beyond: {need: 2, of: [{icmp: 198.51.100.1}, {tcp: "198.51.100.2:443"}]}
""",
    )
    (uplink,) = settings.uplinks
    four, six = uplink.paths
    assert uplink.neighbor_asn is None
    assert settings.families == (Family.IPV4, Family.IPV6)
    assert [str(probe) for probe in four.gateway] == ["icmp 10.0.1.0", "tcp 10.0.1.0:179"]
    assert [str(probe) for probe in six.gateway] == ["icmp 2001:db8:1::"]
    assert [str(probe) for probe in four.beyond] == ["icmp 198.51.100.1", "tcp 198.51.100.2:443"]
    assert (four.beyond_need, six.beyond, six.beyond_need) == (2, (), 0)
    assert (str(four.next_hop), str(six.next_hop)) == ("10.0.1.0", "2001:db8:ff::1")
    assert (str(four.probe_source), six.probe_source) == ("10.0.1.1", None)
    assert [str(prefix) for prefix in settings.services[0].prefixes] == [
        "10.255.10.1/32",
        "2001:db8:10::1/128",
    ]


UNNUMBERED = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: {ipv4: 10.255.10.1, ipv6: "2001:db8:10::1"}}
uplinks:
  tor1:
    interface: eth1
    neighbor: unnumbered
    neighbor_asn: external
    next_hop: {ipv4: 10.255.0.1, ipv6: "2001:db8:ff::1"}
    probe_source: {ipv4: 10.255.11.1, ipv6: "2001:db8:11:1::1"}
paths: {gateway: [{icmp: neighbor}, {bgp: neighbor}, {bfd: neighbor}]}
"""


def test_an_unnumbered_uplink_has_the_families_of_its_next_hop(tmp_path: Path) -> None:
    (uplink,) = read(tmp_path, UNNUMBERED).uplinks
    assert uplink.is_unnumbered
    assert [path.family for path in uplink.paths] == [Family.IPV4, Family.IPV6]
    assert [path.neighbor for path in uplink.paths] == [None, None]
    assert [str(path.next_hop) for path in uplink.paths] == ["10.255.0.1", "2001:db8:ff::1"]
    assert [str(path.probe_source) for path in uplink.paths] == ["10.255.11.1", "2001:db8:11:1::1"]


def test_the_neighbor_of_an_unnumbered_link_is_asked_by_its_loopback(tmp_path: Path) -> None:
    (uplink,) = read(tmp_path, UNNUMBERED).uplinks
    assert [[str(probe) for probe in path.gateway] for path in uplink.paths] == [
        ["icmp 10.255.0.1", "bgp neighbor", "bfd neighbor"],
        ["icmp 2001:db8:ff::1", "bgp neighbor", "bfd neighbor"],
    ]


def test_an_unnumbered_uplink_may_carry_one_family(tmp_path: Path) -> None:
    text = UNNUMBERED.replace('{ipv4: 10.255.0.1, ipv6: "2001:db8:ff::1"}', "10.255.0.1")
    text = text.replace('{ipv4: 10.255.11.1, ipv6: "2001:db8:11:1::1"}', "10.255.11.1")
    text = text.replace('{ipv4: 10.255.10.1, ipv6: "2001:db8:10::1"}', "10.255.10.1")
    assert read(tmp_path, text).families == (Family.IPV4,)


def test_unnumbered_and_numbered_links_stand_side_by_side(tmp_path: Path) -> None:
    text = UNNUMBERED.replace(
        "paths:", "  tor2: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002}\npaths:"
    )
    assert [uplink.is_unnumbered for uplink in read(tmp_path, text).uplinks] == [True, False]


@pytest.mark.parametrize("name", ["1.2.3.4", "4", "#x", "!", "(x"])
def test_an_interface_that_names_a_session_is_a_word_to_frr(name: str, tmp_path: Path) -> None:
    found = refused(tmp_path, UNNUMBERED.replace("interface: eth1", f"interface: '{name}'"))
    assert found.startswith("uplinks.tor1.interface: ")


def test_numbers_follow_the_order_of_the_file(tmp_path: Path) -> None:
    text = SMALLEST + "  b: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002}\n"
    text += "  a: {interface: eth3, neighbor: 10.0.3.0, neighbor_asn: 65003}\n"
    numbers = [(uplink.name, uplink.number) for uplink in read(tmp_path, text).uplinks]
    assert numbers == [("tor1", 1), ("b", 2), ("a", 3)]


def test_given_numbers_are_kept(tmp_path: Path) -> None:
    text = SMALLEST.replace("neighbor_asn: 65001", "neighbor_asn: 65001, number: 7")
    text += "  b: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002, number: 3}\n"
    assert [uplink.number for uplink in read(tmp_path, text).uplinks] == [7, 3]


def test_the_file_is_yaml_1_2(tmp_path: Path) -> None:
    # In YAML 1.1, 010 is eight, yes is true and 1:30 is ninety.
    assert "must be true or false, not 'yes'" in refused(
        tmp_path, SMALLEST + "fallback: {enabled: yes}\n"
    )
    assert read(tmp_path, SMALLEST + "paths: {fall: 010}\n").path_timing.fall == 10
    assert "not '1:30'" in refused(tmp_path, SMALLEST + "paths: {interval: 1:30}\n")


def test_anchors_and_aliases_work(tmp_path: Path) -> None:
    text = SMALLEST + "paths: {interval: &t 300ms, timeout: *t}\n"
    timing = read(tmp_path, text).path_timing
    assert (timing.interval_s, timing.timeout_s) == (0.3, 0.3)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10ms", 0.01), ("200ms", 0.2), ("1.5s", 1.5), ("2s", 2.0), ("30m", 1800.0), ("1h", 3600.0)],
)
def test_durations(text: str, seconds: float, tmp_path: Path) -> None:
    read_back = read(tmp_path, SMALLEST + f"paths: {{interval: {text}}}\n").path_timing.interval_s
    assert read_back == seconds


@pytest.mark.parametrize(
    "text",
    ["200", "0.2", "9ms", "61m", "1d", "-1s", "1 s", "1e3ms", "1_0s", "\u0663s", '""', "[1s]"],
)
def test_what_is_not_a_duration(text: str, tmp_path: Path) -> None:
    assert "paths.interval" in refused(tmp_path, SMALLEST + f"paths: {{interval: {text}}}\n")


@pytest.mark.parametrize("asn", [1, 23455, 65534, 65536, 4294967294])
def test_as_numbers(asn: int, tmp_path: Path) -> None:
    text = SMALLEST.replace("65101", f"{asn}, community_asn: 1")
    assert read(tmp_path, text).host.asn == asn


@pytest.mark.parametrize(
    "asn", ["0", "23456", "65535", "4294967295", "4294967296", "-1", "1.10", "true", "'65101'", "x"]
)
def test_what_is_not_an_as_number(asn: str, tmp_path: Path) -> None:
    assert refused(tmp_path, SMALLEST.replace("65101", asn)).startswith("host.asn: ")
    assert "uplinks.tor1.neighbor_asn: " in refused(tmp_path, SMALLEST.replace("65001", asn))


@pytest.mark.parametrize("number", [1, 16383])
def test_the_steering_community_is_as_and_number(number: int, tmp_path: Path) -> None:
    text = SMALLEST.replace("65001", f"65001, number: {number}")
    assert read(tmp_path, text).uplinks[0].number == number


def test_a_rule_that_would_come_after_the_main_table(tmp_path: Path) -> None:
    text = SMALLEST.replace("65001", "65001, number: 2")
    rule = "fallback: {rule_priority: 32764}\n"
    assert refused(tmp_path, text + rule).startswith("fallback.rule_priority: ")
    read(tmp_path, text + rule.replace("}", ", enabled: false}"))


def test_where_fallback_defaults_come_from(tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST).fallback.source_for(Family.IPV4) is None
    fallback = read(tmp_path, SMALLEST + "fallback: {source: 10.255.10.1}\n").fallback
    assert (fallback.defaults, str(fallback.source_for(Family.IPV4))) == (True, "10.255.10.1")
    assert not read(tmp_path, SMALLEST + "fallback: {defaults: false}\n").fallback.defaults


@pytest.mark.parametrize("name", ["eth1", "enp1s0f0np0", "eth0.100", "br-lan", "a" * 15, "wg@x"])
def test_interface_names(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST.replace("eth1", name)).uplinks[0].interface == name


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a:1x", ".", "..", "a b", "''", "ä" * 8, "1"])
def test_what_is_not_an_interface_name(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, SMALLEST.replace("eth1", name)).startswith("uplinks.tor1.interface: ")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 -- Nothing is bound here.
        "0.1.2.3",
        "127.0.0.1",
        "169.254.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "010.0.0.1",
        "10.0.0",
        "'::'",
        "'::1'",
        "fe80::1",
        "fe80::1%eth0",
        "ff02::1",
        "'::ffff:10.0.1.0'",
        "10.0.1.0/31",
        "tor1",
        "167772160",
    ],
)
def test_what_is_not_a_neighbor(address: str, tmp_path: Path) -> None:
    text = SMALLEST.replace("neighbor: 10.0.1.0", f"neighbor: {address}")
    assert "uplinks.tor1.neighbor: " in refused(tmp_path, text)


@pytest.mark.parametrize(
    "prefix",
    ["10.0.0.0/255.0.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/0008", "224.0.0.0/4", "fe80::/10",
     "127.0.0.0/8", "'::1/128'", "fe80::1%a/128", "10.0.0.0/8/8", "'::/0'", "10.1.0.0/8"],
)  # fmt: skip
def test_what_is_not_a_prefix(prefix: str, tmp_path: Path) -> None:
    text = SMALLEST + f"services: {{dns: {{prefixes: [{prefix}]}}}}\n"
    assert "services.dns.prefixes[0]: " in refused(tmp_path, text)


@pytest.mark.parametrize(
    "target",
    ["192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:", ":53", "[192.0.2.1]:53",
     "2001:db8::1:53", "[2001:db8::1]", "[2001:db8::1]:x", "ns:53", "0.0.0.0:53", "[ff02::1]:53",
     "192.0.2.1:\uff15\uff13", "[fe80::1%lo]:53"],
)  # fmt: skip
def test_what_is_not_a_tcp_target(target: str, tmp_path: Path) -> None:
    text = (
        SMALLEST + f"services: {{dns: {{prefixes: [192.0.2.1/32], checks: [{{tcp: '{target}'}}]}}}}"
    )
    assert refused(tmp_path, text.replace("X", target)).startswith("services.dns.checks[0].tcp: ")


def test_a_service_may_be_checked_inside_the_host(tmp_path: Path) -> None:
    text = SMALLEST + "services: {d: {prefixes: [192.0.2.1/32], checks: [{tcp: '127.0.0.1:53'}]}}"
    assert str(read(tmp_path, text).services[1].checks[0]) == "tcp 127.0.0.1:53"


def test_a_path_may_not(tmp_path: Path) -> None:
    text = SMALLEST + "paths: {beyond: {of: [{icmp: 127.0.0.1}]}}\n"
    assert refused(tmp_path, text).startswith("paths.beyond.of[0]: ")


def test_a_misspelt_uplink_does_not_make_its_family_disappear(tmp_path: Path) -> None:
    text = SMALLEST.replace(
        "source: 10.255.10.1", "source: {ipv4: 10.255.10.1, ipv6: '2001:db8::1'}"
    )
    text += "  tor2: {interfaces: eth2, neighbor: '2001:db8:2::', neighbor_asn: 65002}\n"
    assert refused(tmp_path, text).startswith("uplinks.tor2.interfaces: unknown key")
    assert "host.source" not in refused(tmp_path, text)


def test_a_misspelt_required_key_is_one_error(tmp_path: Path) -> None:
    assert refused(tmp_path, SMALLEST.replace("{asn:", "{asnn:")).count("\n") == 0


def test_many_aliases_are_not_expanded_for_ever(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "has more than" in refused(tmp_path, "\n".join(lines))


def test_a_thousand_services(tmp_path: Path) -> None:
    text = SMALLEST + "services:\n"
    text += "".join(
        f"  s{i}: {{prefixes: [203.0.{i >> 8}.{i & 255}/32], checks: [{{tcp: '127.0.0.1:80'}}]}}\n"
        for i in range(1000)
    )
    assert len(read(tmp_path, text).services) == 1001


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file") as caught:
        load(tmp_path / "none.yaml")
    assert caught.value.exit_status == 78


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)


def test_more_uplinks_than_frr_can_use_at_once(tmp_path: Path) -> None:
    more = [
        f"  u{i}: {{interface: e{i}, neighbor: 10.1.0.{i}, neighbor_asn: 65002}}\n"
        for i in range(1, 65)
    ]
    assert len(read(tmp_path, SMALLEST + "".join(more[:63])).uplinks) == 64
    assert refused(tmp_path, SMALLEST + "".join(more)).startswith("uplinks: has 65 uplinks")


def test_where_operators_are_listened_to(tmp_path: Path) -> None:
    given = SMALLEST + "control: {socket: /run/bgphealth/control.sock}\n"
    assert read(tmp_path, given).control_socket == "/run/bgphealth/control.sock"
    for wrong, said in (("control.sock", "absolute path of a socket"), (f"/{'x' * 103}", "long")):
        message = refused(tmp_path, f"{SMALLEST}control: {{socket: {wrong}}}\n")
        assert message.startswith("control.socket: ")
        assert said in message


def test_the_settle_time_of_a_drain(tmp_path: Path) -> None:
    for text, seconds in (("0s", 0.0), ("500ms", 0.5), ("1h", 3600.0)):
        given = f"{SMALLEST}policy: {{drain_settle: {text}}}\n"
        assert read(tmp_path, given).drain_settle_s == seconds
    wrong = refused(tmp_path, f"{SMALLEST}policy: {{drain_settle: 2h}}\n")
    assert wrong == "policy.drain_settle: must be at most 1h, not '2h'"


def test_sources(tmp_path: Path) -> None:
    assert read(tmp_path, SMALLEST).sources == SourceSettings()
    text = """\
sources:
  pins: [{to: 203.0.113.0/24, from: 10.255.10.9}]
  policies: [{from: 192.0.2.10, uplink: tor1, strict: true}, {from: link, uplink: tor1}]
"""
    sources = read(tmp_path, SMALLEST + text).sources
    assert sources.pins == (Pin(ip_network("203.0.113.0/24"), ip_address("10.255.10.9")),)
    assert sources.policies == (
        SourcePolicy(ip_address("192.0.2.10"), "tor1", is_strict=True),
        SourcePolicy(None, "tor1", is_strict=False),
    )


def test_an_inner_pin_may_go_back_to_the_source_of_an_outer_one(tmp_path: Path) -> None:
    pins = [("203.0.113.0/24", 1), ("203.0.113.128/25", 2), ("203.0.113.192/26", 1)]
    text = "".join(f"    - {{to: {to}, from: 10.255.10.{n}}}\n" for to, n in pins)
    assert len(read(tmp_path, f"{SMALLEST}sources:\n  pins:\n{text}").sources.pins) == 3


def test_the_rules_of_policies_come_before_the_main_table(tmp_path: Path) -> None:
    text = "sources: {policies: [{from: link, uplink: tor1}]}\nfallback: {rule_priority: 16379}\n"
    assert read(tmp_path, SMALLEST + text).fallback.rule_priority == 16379
    assert "must be at most 16379" in refused(tmp_path, SMALLEST + text.replace("79}", "80}"))
