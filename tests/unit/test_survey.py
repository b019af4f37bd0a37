"""The file that init writes: a guess from what was seen, for hosts of every kind."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgphealth.cli import init as command
from bgphealth.cli.app import app
from bgphealth.config import load
from bgphealth.config.writing import write
from bgphealth.core.settings import Family, Mode, Settings
from bgphealth.core.truth import FRR_STATIC, KernelDefault, Leg
from bgphealth.fallback.netlink import Interface
from bgphealth.frr import peers, setup
from bgphealth.frr.peers import Peer, Speaker, parse_routes, parse_speaker
from bgphealth.survey.guess import guess
from bgphealth.survey.look import exabgp_speaker, listening, look
from bgphealth.survey.seen import Listening, Seen

GOLDEN = Path(__file__).parents[1] / "golden"
V4, V6 = Family.IPV4, Family.IPV6
LOOPBACK, SERVICE = ip_address("10.255.10.1"), ip_address("192.0.2.53")
ROUTER_ID = IPv4Address("10.255.10.1")
ANY = IPv4Address(0)
SSH = frozenset({Listening("tcp", ANY, 22)})


def interface(index: int, name: str, *addresses: str) -> Interface:
    return Interface(index, name, up=True, addresses=tuple(map(ip_interface, addresses)))


def interfaces(*given: Interface) -> dict[str, Interface]:
    return {each.name: each for each in given}


LINKS = interfaces(
    interface(1, "lo", "127.0.0.1/8", "10.255.10.1/32", "192.0.2.53/32", "::1/128"),
    interface(3, "eth2", "10.0.2.1/31"),
    interface(2, "eth1", "10.0.1.1/31", "fe80::1/64"),
)


def peer(name: str, asn: int | None = 65001, **given: Any) -> Peer:  # noqa: ANN401 - any field
    address = None if name.startswith("eth") else ip_address(name)
    known: dict[str, Any] = {
        "address": address,
        "local": None,
        "is_internal": False,
        "is_up": True,
        "families": frozenset({V4}),
        "defaults": frozenset({V4}),
    }
    return Peer(name=name, asn=asn, **{**known, **given})


TORS = (peer("10.0.2.0", 65002, hostname="tor2.example.net"), peer("10.0.1.0", description="tor1"))


def bgpd(*peers: Peer, asn: int | None = 65101) -> Speaker:
    return Speaker(asn, ROUTER_ID, peers or TORS, has_router_id=True)


def seen(**given: Any) -> Seen:  # noqa: ANN401 - any field
    listens = frozenset({Listening("tcp", SERVICE, 53), Listening("udp", SERVICE, 53)})
    known: dict[str, Any] = {
        "interfaces": LINKS,
        "defaults": {},
        "bgpd": bgpd(),
        "listening": listens,
    }
    return Seen(**{**known, **given})


def default(interface: str, gateway: str, protocol: str, metric: int) -> KernelDefault:
    return KernelDefault(protocol, metric, None, (Leg(interface, ip_address(gateway)),))


def text(host: Seen) -> str:
    found = guess(host)
    assert found.document is not None, found.missing
    return write(found.document, found.head)


def settings(host: Seen, directory: Path) -> Settings:
    """Return what `check` makes of the file: it accepts it."""
    file = directory / "bgphealth.yaml"
    file.write_text(text(host), encoding="utf-8")
    return load(file)


# ---- with bgpd


def test_a_host_with_two_tors(tmp_path: Path) -> None:
    there = settings(seen(), tmp_path)
    assert (there.mode, there.host.asn, there.host.router_id) == (Mode.FRR, 65101, ROUTER_ID)
    assert there.host.source == (LOOPBACK,)
    assert [(u.name, u.number, u.interface, u.neighbor_asn) for u in there.uplinks] == [
        ("tor1", 1, "eth1", 65001),
        ("tor2", 2, "eth2", 65002),
    ]
    *_, dns = there.services
    assert (dns.name, dns.prefixes) == ("dns", (ip_network("192.0.2.53/32"),))
    assert [(check.kind, check.port) for check in dns.checks] == [("tcp", 53)]
    assert '   checks: [{dns: {server: "192.0.2.53:53", name: example.net}}]' in text(seen())


def test_who_gives_no_default_is_no_uplink_while_others_do() -> None:
    odd = (
        peer("10.0.1.1", 65009, defaults=frozenset(), description="metallb"),
        peer("203.0.113.1", 65000, defaults=frozenset()),
        peer("10.255.10.9", 65101, is_internal=True),
        peer("127.0.0.2", 65101, is_internal=True),
        peer("10.0.2.0", 65003),
    )
    said = text(seen(bgpd=bgpd(*TORS, *odd)))
    for why in (
        "neighbor 10.0.1.1 (metallb) on eth1 gives no default, and others do",
        "neighbor 203.0.113.1 is not on a link of this host",
        "neighbor 10.255.10.9 is of this host's own AS",
        "neighbor 10.0.2.0 is the second one on eth2",
    ):
        assert why in " ".join(said.replace("#", "").split())
    assert "127.0.0.2" not in said
    # Not in a comment alone.
    assert len(guess(seen(bgpd=bgpd(*TORS, *odd))).doubtful) == 4


DOWN: dict[str, Any] = {"is_up": False, "defaults": frozenset()}


def test_a_tor_that_is_down_is_an_uplink_beside_one_that_gives_a_default(tmp_path: Path) -> None:
    host = seen(bgpd=bgpd(replace(TORS[1], **DOWN), TORS[0]))
    assert [uplink.name for uplink in settings(host, tmp_path).uplinks] == ["tor1", "tor2"]
    said = text(host)
    assert (
        "# Neighbor 10.0.1.0 is on this link.\n  # With 10.0.1.0, its session is down now." in said
    )
    assert "# Neighbor 10.0.2.0 gives a default.\n  tor2:" in said
    assert guess(host).doubtful == ()


def test_who_is_down_does_not_take_the_place_of_who_gives_a_default(tmp_path: Path) -> None:
    host = seen(bgpd=bgpd(peer("10.0.1.1", 65009, **DOWN), *TORS))
    assert [uplink.neighbor_asn for uplink in settings(host, tmp_path).uplinks] == [65001, 65002]
    assert guess(host).doubtful == (
        "left out: neighbor 10.0.1.1 is the second one on eth1: no uplink",
    )


def test_an_unnumbered_tor_that_is_down_is_in_the_file_as_a_comment() -> None:
    silent = unnumbered(2, loopbacks=frozenset(), **DOWN)
    host = seen(interfaces=UNNUMBERED, bgpd=bgpd(unnumbered(1), silent))
    assert "With eth2, its session is down now." in text(host)
    assert "uplinks.uplink2.next_hop.ipv4: the ToR's own" in text(host)


def test_a_neighbor_whose_link_has_lost_its_addresses_is_said() -> None:
    host = seen(bgpd=bgpd(*TORS, peer("2001:db8:1::", **DOWN)))
    assert guess(host).doubtful == (
        (
            "left out: neighbor 2001:db8:1:: is not on a link of this host now, and its session is "
            "down: no uplink"
        ),
    )


def test_while_no_session_is_up_every_neighbor_on_a_link_is_an_uplink(tmp_path: Path) -> None:
    down = [replace(each, is_up=False, defaults=frozenset()) for each in TORS]
    assert len(settings(seen(bgpd=bgpd(*down)), tmp_path).uplinks) == 2


def unnumbered(number: int, **given: Any) -> Peer:  # noqa: ANN401 - any field
    hears = {f"10.255.11.{number}/32", "10.255.10.1/32", "192.0.2.53/32"}
    known: dict[str, Any] = {
        "address": ip_address(f"fe80::{number}"),
        "router_id": IPv4Address(f"10.255.0.{number}"),
        "loopbacks": frozenset({ip_network(f"10.255.0.{number}/32")}),
        "hears": frozenset(map(ip_network, hears)),
    }
    return peer(f"eth{number}", 65000 + number, **{**known, **given})


UNNUMBERED = interfaces(
    interface(1, "lo", "10.255.10.1/32", "10.255.11.1/32", "10.255.11.2/32", "192.0.2.53/32"),
    interface(2, "eth1", "fe80::11/64"),
    interface(3, "eth2", "fe80::12/64"),
)


def test_unnumbered_links(tmp_path: Path) -> None:
    host = seen(interfaces=UNNUMBERED, bgpd=bgpd(unnumbered(1), unnumbered(2)))
    there = settings(host, tmp_path)
    assert [
        (path.neighbor, str(path.next_hop), str(path.probe_source))
        for uplink in there.uplinks
        for path in uplink.paths
    ] == [(None, f"10.255.0.{n}", f"10.255.11.{n}") for n in (1, 2)]
    assert [s.name for s in there.services] == ["loopback", "dns"]


def test_an_unnumbered_uplink_of_which_too_little_is_known_is_left_out(tmp_path: Path) -> None:
    """Of the other one enough is known for a file."""
    silent = unnumbered(2, loopbacks=frozenset())
    host = seen(interfaces=UNNUMBERED, bgpd=bgpd(unnumbered(1), silent))
    assert [uplink.name for uplink in settings(host, tmp_path).uplinks] == ["uplink1"]
    assert guess(host).missing == (
        "uplinks.uplink2.next_hop.ipv4: the ToR's own loopback: it announces none to this host",
    )


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        (seen(bgpd=bgpd(asn=None)), "host.asn: no session says which AS this host is"),
        (
            seen(bgpd=replace(bgpd(), router_id=None), listening=frozenset()),
            (
                "host.source.ipv4: which address on lo is this host's own? On lo: 10.255.10.1, "
                "192.0.2.53; `bgp router-id` would tell"
            ),
        ),
        (
            seen(
                interfaces=UNNUMBERED, bgpd=bgpd(unnumbered(1, loopbacks=frozenset(), hears=set()))
            ),
            "uplinks.uplink1.next_hop.ipv4: the ToR's own loopback: it announces none to this host",
        ),
    ],
)
def test_without_what_is_needed_there_is_no_file(host: Seen, missing: str) -> None:
    found = guess(host)
    assert found.document is None
    assert missing in found.missing


FROM_SERVICE = KernelDefault("bgp", 20, SERVICE, (Leg("eth1", ip_address("10.0.1.0")),))
NOT_TOLD = replace(bgpd(), router_id=IPv4Address(SERVICE), has_router_id=False)
DNS_ON_ALL = frozenset({Listening("udp", ip_address("::"), 53), Listening("tcp", ANY, 179)})
ONLY_ANYCAST = LINKS | {"lo": interface(1, "lo", "192.0.2.53/32")}


def test_the_source_of_the_default_is_the_hosts_own_address(tmp_path: Path) -> None:
    host = seen(bgpd=NOT_TOLD, defaults={V4: (FROM_SERVICE,)}, listening=frozenset())
    assert settings(host, tmp_path).host.source == (SERVICE,)


@pytest.mark.parametrize(
    "given",
    [
        {"bgpd": NOT_TOLD},
        {"defaults": {V4: (FROM_SERVICE,)}},
        {"bgpd": NOT_TOLD, "defaults": {V4: (FROM_SERVICE,)}},
        {"defaults": {V4: (FROM_SERVICE,)}, "listening": DNS_ON_ALL},
    ],
    ids=["router id of its own choice", "source", "both", "source, and listens on all"],
)
def test_an_address_of_a_service_is_not_the_hosts_own(given: Any, tmp_path: Path) -> None:  # noqa: ANN401 - any field
    there = settings(seen(**given), tmp_path)
    assert (there.host.source, there.host.router_id) == ((LOOPBACK,), ROUTER_ID)
    assert SERVICE not in there.host.source


@pytest.mark.parametrize(
    "given",
    [
        {"interfaces": ONLY_ANYCAST, "listening": DNS_ON_ALL},
        {"interfaces": ONLY_ANYCAST},
        {"listening": DNS_ON_ALL},
        # Told as the router id, and listened on: whose the other one is, nobody says.
        {"bgpd": replace(NOT_TOLD, has_router_id=True)},
    ],
    ids=["alone, and listens on all", "alone, and listens on it", "two", "contradiction"],
)
def test_which_address_is_the_hosts_own_is_asked(given: Any) -> None:  # noqa: ANN401 - any field
    found = guess(seen(**{"bgpd": NOT_TOLD, **given}))
    assert found.document is None
    assert found.missing[0].startswith("host.source.ipv4: which address on lo is this host's own?")


def test_the_only_address_is_a_guess_that_is_said() -> None:
    host = seen(interfaces=ONLY_ANYCAST, bgpd=NOT_TOLD, listening=SSH)
    assert guess(host).doubtful == ("host.source.ipv4: 192.0.2.53 is a guess: the only one on lo",)
    assert "# ipv4: a guess: the only one on lo." in text(host)


def test_a_source_of_the_default_that_may_be_a_services_is_a_guess_that_is_said() -> None:
    used = {"bgpd": NOT_TOLD, "defaults": {V4: (FROM_SERVICE,)}}
    assert guess(seen(**used, listening=SSH)).doubtful == ()
    assert guess(seen(**used, listening=DNS_ON_ALL)).doubtful == (
        "host.source.ipv4: 192.0.2.53 is a guess: on lo, and the source of the default",
    )


def test_a_router_id_that_bgpd_has_taken_by_itself_is_mentioned() -> None:
    assert "# bgpd was told none, and has taken 192.0.2.53." in text(seen(bgpd=NOT_TOLD))


def test_an_as_of_four_bytes_needs_another_number_in_communities(tmp_path: Path) -> None:
    there = settings(seen(bgpd=bgpd(asn=4200000101)), tmp_path)
    assert there.host.community_asn == 4200000101 & 0xFFFF


def test_what_is_announced_and_not_listened_on_is_a_service_without_checks(tmp_path: Path) -> None:
    hears = frozenset({ip_network("192.0.2.53/32")})
    host = seen(bgpd=bgpd(*(replace(t, hears=hears) for t in TORS)), listening=frozenset())
    *_, service = settings(host, tmp_path).services
    assert (service.name, service.checks) == ("service", ())
    assert "No check is known" in text(host)


def test_what_nobody_announces_or_listens_on_is_only_mentioned(tmp_path: Path) -> None:
    more = interface(1, "lo", "10.255.10.1/32", "192.0.2.53/32", "192.0.2.99/32")
    host = seen(interfaces=LINKS | {"lo": more})
    assert "# On lo, and neither announced nor listened on: 192.0.2.99." in text(host)
    assert len(settings(host, tmp_path).services) == 2


def test_what_listens_everywhere_is_only_mentioned() -> None:
    every = {Listening("tcp", IPv6Address(0), port) for port in (22, 179)}
    assert "listens on TCP 22: not counted" in text(seen(listening=seen().listening | every))


def test_options_of_a_session(tmp_path: Path) -> None:
    with_all = replace(TORS[1], options=frozenset({"bfd", "password", "ttl-security"}))
    host = seen(bgpd=bgpd(with_all, TORS[0]))
    tor1, tor2 = settings(host, tmp_path).uplinks
    assert (tor1.ttl_security, tor1.bfd is not None) == (True, True)
    assert (tor2.ttl_security, tor2.bfd is not None) == (False, False)
    assert "#    password_file: /etc/bgphealth/tor1.password" in text(host)


# ---- without


def test_exabgp_that_speaks_to_the_tors(tmp_path: Path) -> None:
    conf = exabgp_speaker((GOLDEN / "direct" / "exabgp.conf").read_text())
    six = LINKS | interfaces(
        interface(1, "lo", "10.255.10.1/32", "2001:db8:10::1/128"),
        interface(2, "eth1", "10.0.1.1/31", "2001:db8:1::1/127"),
    )
    host = seen(bgpd="FRR is not installed", exabgp=conf, interfaces=six)
    there = settings(host, tmp_path)
    assert (there.mode, there.host.asn) == (Mode.DIRECT, 4200000101)
    assert [(u.name, u.ttl_security, len(u.paths)) for u in there.uplinks] == [
        ("tor1", True, 2),
        ("tor2", False, 1),
    ]
    assert [str(p.probe_source) for u in there.uplinks for p in u.paths] == [
        "10.0.1.1",
        "2001:db8:1::1",
        "10.0.2.1",
    ]


TWO = (default("eth2", "10.0.2.254", "static", 200), default("eth1", "10.0.1.254", "dhcp", 100))


def test_two_gateways_and_no_bgp(tmp_path: Path) -> None:
    own = default("eth2", "10.0.2.254", "bgphealth", 1)
    host = seen(bgpd="FRR is not installed", defaults={V4: (own, *TWO)})
    there = settings(host, tmp_path)
    assert there.mode is Mode.LOCAL
    assert [(u.name, u.interface, u.paths[0].neighbor) for u in there.uplinks] == [
        ("gw1", "eth1", None),
        ("gw2", "eth2", ip_address("10.0.2.254")),
    ]


@pytest.mark.parametrize("protocol", ["bgp", FRR_STATIC, "11", "188"])
def test_the_defaults_of_a_routing_daemon_are_no_gateways(protocol: str) -> None:
    routed = tuple(replace(each, protocol=protocol) for each in TWO)
    found = guess(seen(bgpd="bgpd does not answer vtysh", defaults={V4: routed}))
    assert found.document is None
    assert found.missing[-2:] == (
        "mode local: the default through eth1, eth2 is a routing daemon's: no gateway",
        "mode local: no interface has a default with a gateway, and two are needed",
    )


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        (
            seen(bgpd="bgpd is not running", defaults={V4: TWO[:1]}),
            (
                "mode frr: bgpd is not running",
                "mode direct: there is no /etc/exabgp/exabgp.conf",
                "mode local: eth2 alone has a default, and two are needed",
            ),
        ),
        (
            seen(bgpd=Speaker(65101, None, ())),
            (
                "mode frr: bgpd has no neighbors",
                "mode direct: there is no /etc/exabgp/exabgp.conf",
                "mode local: no interface has a default with a gateway, and two are needed",
            ),
        ),
    ],
)
def test_a_host_with_too_little_is_told_what_each_mode_needs(
    host: Seen, missing: tuple[str, ...]
) -> None:
    assert (guess(host).document, guess(host).missing) == (None, missing)


# ---- looking


def test_neighbors_are_read_as_frr_prints_them() -> None:
    neighbors = (GOLDEN / "frr-8.4" / "bgp-neighbors-up.json").read_bytes()
    said = {n: each for n, each in json.loads(neighbors).items() if isinstance(each, dict)}
    names = list(said)
    # An unnumbered one goes by its link-local address in the table.
    first = said[names[0]].get("bgpNeighborAddr", names[0])
    given = json.dumps({"prefix": "0.0.0.0/0", "paths": [{"peer": {"peerId": first}}]})
    found = parse_speaker(neighbors + given.encode() + b"{}")
    assert [each.name for each in found.peers] == names
    assert found.peers[0].defaults == {V4}
    assert found.asn == said[names[0]]["localAs"]


def test_routes_are_read_as_frr_prints_them() -> None:
    told: dict[str, Any] = {"advertisedRoutes": {"192.0.2.53/32": {}, "0.0.0.0/0": {}, "odd": {}}}
    gets = {
        "routes": {
            "10.255.0.1/32": [{"path": "65001"}],
            "10.255.0.9/32": [{"path": "65001 65000"}],
            "10.0.0.0/8": [{"path": "65001"}],
        }
    }
    output = (json.dumps(told) + json.dumps(gets)).encode()
    found = parse_routes(output, peer=TORS[1])
    assert found.loopbacks == {ip_network("10.255.0.1/32")}
    assert found.hears == {ip_network("192.0.2.53/32"), ip_network("0.0.0.0/0")}


def test_sockets_are_read_as_the_kernel_prints_them(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st\n"
    (tmp_path / "tcp").write_text(
        f"{head}   0: 350200C0:0035 00000000:0000 0A\n   1: 350200C0:0036 350200C0:1234 01\n"
    )
    (tmp_path / "udp6").write_text(
        f"{head}   0: B80D0120000000000000000053000000:0035 {'0' * 32}:0000 07\n"
        f"   1: 0000000000000000FFFF0000350200C0:0035 {'0' * 32}:0000 07\n"
    )
    assert set(listening(tmp_path)) == {
        Listening("tcp", SERVICE, 53),
        Listening("udp", ip_address("2001:db8::53"), 53),
        Listening("udp", SERVICE, 53),
    }


def test_what_may_not_be_read_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """bgpd is asked twice, and refuses twice."""
    why = "no permission for /var/run/frr/bgpd.vty: our user must be in FRR's group frrvty"

    async def refused(*_: object) -> str:
        return why

    monkeypatch.setattr(peers, "speaker", refused)
    monkeypatch.setattr(setup, "daemon", refused)
    assert asyncio.run(look()).unread == (why,)


# ---- the command


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked() -> Seen:
        return seen()

    monkeypatch.setattr(command, "look", looked)


@pytest.mark.usefixtures("host")
def test_the_command_writes_once_and_replaces_only_by_force(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "bgphealth.yaml"
    assert CliRunner().invoke(app, ["init"]).stdout == text(seen())
    assert CliRunner().invoke(app, ["init", "-o", str(file)]).exit_code == 0
    assert file.read_text() == text(seen())
    file.write_text("mine")
    refused = CliRunner().invoke(app, ["init", "-o", str(file)])
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert CliRunner().invoke(app, ["init", "-o", str(file), "--force"]).exit_code == 0
    assert file.read_text() == text(seen())


def test_the_command_says_what_is_missing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked() -> Seen:
        return seen(bgpd="bgpd is not running")

    monkeypatch.setattr(command, "look", looked)
    file = tmp_path / "bgphealth.yaml"
    done = CliRunner().invoke(app, ["init", "-o", str(file)])
    assert (done.exit_code, done.stdout, file.exists()) == (1, "", False)
    assert "mode frr: bgpd is not running\n" in done.stderr
    assert done.stderr.endswith("not enough for a file: nothing was written\n")


def test_without_the_right_to_look_nothing_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "no permission for /var/run/frr/bgpd.vty: our user must be in FRR's group frrvty"

    async def looked() -> Seen:
        return seen(bgpd=why, defaults={V4: TWO}, unread=(why,))

    monkeypatch.setattr(command, "look", looked)
    file = tmp_path / "bgphealth.yaml"
    done = CliRunner().invoke(app, ["init", "-o", str(file)])
    assert (done.exit_code, done.stdout, file.exists()) == (77, "", False)
    assert done.stderr == f"{why}\nroot may read all of it: nothing was written\n"


def test_an_exabgp_conf_is_needed_only_where_bgpd_has_no_uplinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "no permission to read /etc/exabgp/exabgp.conf"
    found = seen(exabgp=why, unread=(why,))

    async def looked() -> Seen:
        return found

    monkeypatch.setattr(command, "look", looked)
    done = CliRunner().invoke(app, ["init"])
    assert (done.exit_code, done.stdout) == (0, text(seen()))
    assert done.stderr == f"{why}: not looked at, bgpd has the uplinks\n"
    found = seen(bgpd=bgpd(peer("10.255.0.9")), exabgp=why, defaults={V4: TWO}, unread=(why,))
    file = tmp_path / "bgphealth.yaml"
    done = CliRunner().invoke(app, ["init", "-o", str(file)])
    assert (done.exit_code, done.stdout, file.exists()) == (77, "", False)


def test_the_command_says_what_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    async def looked() -> Seen:
        return seen(interfaces=ONLY_ANYCAST, bgpd=NOT_TOLD, listening=SSH)

    monkeypatch.setattr(command, "look", looked)
    done = CliRunner().invoke(app, ["init"])
    assert done.exit_code == 0
    assert done.stderr == "host.source.ipv4: 192.0.2.53 is a guess: the only one on lo\n"


def test_the_page_shows_what_is_written() -> None:
    """docs/init.md has the host of docs/existing-frr.md; blank lines are a matter of taste."""
    v6 = ip_address("2001:db8::53")
    both = [
        replace(each, name=f"2001:db8:{n}::", address=ip_address(f"2001:db8:{n}::"))
        for n, each in ((2, TORS[0]), (1, TORS[1]))
    ]
    collector = peer("198.51.100.1", 65000, description="collector", defaults=frozenset())
    links = interfaces(
        interface(1, "lo", "10.255.10.1/32", "192.0.2.53/32", "2001:db8:10::1/128", f"{v6}/128"),
        interface(2, "eth1", "10.0.1.1/31", "2001:db8:1::1/127"),
        interface(3, "eth2", "10.0.2.1/31", "2001:db8:2::1/127"),
    )
    used = replace(default("eth1", "10.0.1.0", "bgp", 20), source=LOOPBACK)
    host = seen(
        interfaces=links,
        bgpd=bgpd(*TORS, *both, collector),
        defaults={V4: (used,)},
        listening=frozenset(Listening(p, a, 7) for p in ("tcp", "udp") for a in (SERVICE, v6)),
    )
    page = (GOLDEN.parents[1] / "docs" / "init.md").read_text(encoding="utf-8")
    shown = page.split("```yaml\n")[1].split("```")[0]
    assert list(filter(None, text(host).splitlines())) == list(filter(None, shown.splitlines()))
