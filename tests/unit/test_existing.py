"""A part of frr.conf beside a configuration that is there, and what would change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bgphealth.config import load
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Family, OnDown, Settings
from bgphealth.doctor import frr, frr_lines
from bgphealth.frr.beside import remarks
from bgphealth.frr.changes import changes, route_maps, text
from bgphealth.frr.configuration import Line, lines, missing, used
from bgphealth.frr.existing import Existing, Rest, existing
from bgphealth.frr.render import render
from bgphealth.frr.setup import Daemon

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
THEIRS = (TESTS / "network" / "beside" / "frr.conf").read_text(encoding="utf-8")
FILE = Path("/etc/bgphealth/bgphealth.yaml")
NONE = "frr defaults traditional\n"
V4, V6 = Family.IPV4, Family.IPV6

HOSTS = ("dual-stack", "guarded", "ipv4-only", "ipv6-only", "services", "unnumbered")


def settings(host: str = "dual-stack") -> Settings:
    return load(GOLDEN / host / "bgphealth.yaml")


def of(conf: str) -> Existing:
    return existing([conf])


def bgp(*said: str, asn: int = 65101, family: str = "ipv4", defaults: str = "traditional") -> str:
    """Return a configuration; lines that begin with a space are those of the family."""
    block = [f" {line}" for line in said if not line.startswith(" ")]
    within = [f" {line}" for line in said if line.startswith(" ")]
    return "\n".join(
        [
            f"frr defaults {defaults}",
            f"router bgp {asn}",
            *block,
            f" address-family {family} unicast",
            *within,
            "",
        ]
    )


# ---- what is there


def test_a_neighbor_is_what_its_peer_group_is() -> None:
    there = of(THEIRS)
    assert there.asn == 65101
    assert there.neighbors() == [
        "10.0.1.0",
        "10.0.2.0",
        "198.51.100.1",
        "2001:db8:1::",
        "2001:db8:2::",
    ]
    for name in ("10.0.1.0", "10.0.2.0"):
        assert there.rest(name, V4, "out") == Rest("TO-TOR")
        assert there.speaks(name, V4)
        assert not there.speaks(name, V6)
    assert not there.speaks("2001:db8:1::", V4)
    assert there.attached("10.0.1.0", V4, "out") is None
    assert there.attached("10.0.2.0", V4, "out") == "neighbor 10.0.2.0 route-map TO-TOR out"
    assert there.zebra_route_map("ip") == "SOURCE"
    assert not there.is_part
    assert not there.has_ours


@pytest.mark.parametrize(
    ("conf", "is_permitted"),
    [
        (bgp("neighbor 10.0.1.0 remote-as 65001"), False),
        (bgp("neighbor 10.0.1.0 remote-as 65001", "no bgp ebgp-requires-policy"), True),
        (bgp("neighbor 10.0.1.0 remote-as 65001", defaults="datacenter"), True),
        (
            bgp(
                "neighbor 10.0.1.0 remote-as 65001",
                "bgp ebgp-requires-policy",
                defaults="datacenter",
            ),
            False,
        ),
        (bgp("neighbor 10.0.1.0 remote-as 65101"), True),
        (bgp("neighbor 10.0.1.0 remote-as internal"), True),
    ],
)
def test_without_a_route_map_everything_goes_or_nothing(conf: str, *, is_permitted: bool) -> None:
    assert of(conf).rest("10.0.1.0", V4, "out") == Rest(is_permitted=is_permitted)


def test_another_instance_is_not_looked_at() -> None:
    there = of("router bgp 65001 vrf blue\n neighbor 10.0.1.0 remote-as 65009\n")
    assert there.asn is None
    assert not there.has_neighbor("10.0.1.0")


# ---- the part


def entered(part: str, conf: str) -> Existing:
    """Return what FRR would have after the part was entered."""
    found = changes(lines(part), lines(conf), is_part=True)
    gone = {change.line for change in found if not change.is_added}
    return Existing(frozenset({*lines(conf), *lines(part)} - gone), of(conf).has_policy)


def entered_by(part: str, there: Existing) -> frozenset[Line]:
    """Return the same of what runs already."""
    found = changes(lines(part), tuple(there.lines), is_part=True)
    gone = {change.line for change in found if not change.is_added}
    return there.lines.union(c.line for c in found if c.is_added) - gone


@pytest.mark.parametrize("conf", [NONE, THEIRS], ids=["nothing", "theirs"])
@pytest.mark.parametrize("host", HOSTS)
def test_once_entered_it_is_found_again_as_a_whole(host: str, conf: str) -> None:
    there = settings(host)
    conf = conf.replace("65101", str(there.host.asn))
    part = render(there, FILE, beside=of(conf))
    after = entered(part, conf)
    assert after.is_part
    again = lines(render(there, FILE, beside=after))
    assert missing(again, after.lines) == ()
    assert changes(again, tuple(after.lines), is_part=True) == ()
    assert [x for x in again if x.text.startswith("call ")] == [
        x for x in lines(part) if x.text.startswith("call ")
    ]


def test_only_what_the_page_says_gives_way() -> None:
    part = render(settings(), FILE, beside=of(THEIRS))
    found = changes(lines(part), lines(THEIRS), is_part=True)
    assert sorted(change.line.text for change in found if not change.is_added) == [
        "ip protocol bgp route-map SOURCE",
        "neighbor 10.0.2.0 route-map TO-TOR out",
        "neighbor 2001:db8:2:: route-map TO-TOR out",
        "network 10.255.10.1/32",
        "network 2001:db8:10::1/128",
    ]
    for word in (
        "hostname",
        "frr defaults",
        "log ",
        "bgp router-id",
        "description",
        "timers 3 9\n n",
    ):
        assert f"\n{word}" not in part
    assert "FROM-TOR" not in part


def test_a_tor_gets_no_default_and_no_service_by_theirs() -> None:
    part = lines(render(settings(), FILE, beside=of(THEIRS)))
    entries = [x.text for x in part if x.text.startswith("route-map bgphealth-out-ipv4-tor1 ")]
    assert entries[-3:] == [
        "route-map bgphealth-out-ipv4-tor1 deny 60001",
        "route-map bgphealth-out-ipv4-tor1 deny 60002",
        "route-map bgphealth-out-ipv4-tor1 permit 65535",
    ]
    matched = {x.within[0].split()[-1]: x.text for x in part if x.within == (entries[-3],)}
    assert matched == {"60001": "match ip address prefix-list bgphealth-service-ipv4"}
    assert Line((entries[-1],), "call TO-TOR") in part


def test_on_unnumbered_links_each_next_hop_is_taken_from_its_own_tor() -> None:
    part = lines(render(settings("unnumbered"), FILE, beside=of(NONE)))
    first = ("route-map bgphealth-in-ipv4-tor1 deny 21",)
    assert Line(first, "match ip address prefix-list bgphealth-next-hop-ipv4-tor2") in part
    probe = ("route-map bgphealth-out-ipv4-tor1 deny 60011",)
    assert Line(probe, "match ip address prefix-list bgphealth-probe-ipv4-tor2") in part


def test_a_new_neighbor_speaks_nothing_unasked() -> None:
    part = render(settings("ipv6-only"), FILE, beside=of("frr defaults traditional\n"))
    for name in ("127.0.0.9", "2001:db8:1::"):
        assert f"  no neighbor {name} activate\n" in part
    silent = "frr defaults traditional\nrouter bgp 65101\n no bgp default ipv4-unicast\n"
    assert "no neighbor" not in render(settings("ipv6-only"), FILE, beside=of(silent))


def test_more_paths_than_uplinks_stay_and_fewer_do_not() -> None:
    def said(*given: str) -> list[str]:
        part = lines(render(settings("ipv4-only"), FILE, beside=of(bgp(*given))))
        return [line.text for line in part if line.text.startswith("maximum-paths")]

    assert said() == []
    assert said(" maximum-paths 8") == []
    assert said(" maximum-paths 1", " maximum-paths ibgp 64") == ["maximum-paths 2"]


def test_options_of_a_session_that_has_them_stay() -> None:
    there = settings("three-uplinks")
    wanted = next(u for u in there.uplinks if u.password_file is not None)
    name = str(wanted.paths[0].neighbor)
    secrets = {wanted.name: "secret"}
    bare = bgp(f"neighbor {name} remote-as {wanted.neighbor_asn}", asn=there.host.asn)
    assert f"neighbor {name} password secret" in render(there, FILE, secrets, of(bare))
    has = bare.replace(" address-family", f" neighbor {name} password theirs\n address-family", 1)
    assert "password" not in render(there, FILE, secrets, of(has)).replace("password_file", "")


def test_what_contradicts_each_other_is_refused_all_at_once() -> None:
    conf = THEIRS.replace("remote-as 65002", "remote-as 65009").replace("bgp 65101", "bgp 65200")
    with pytest.raises(ConfigurationError) as refused:
        render(settings(), FILE, beside=of(conf))
    assert str(refused.value).splitlines() == [
        f"{FILE}: host.asn: 65101, but bgpd runs with AS 65200",
        (
            f"{FILE}: uplinks.tor2.neighbor_asn: 65002, but bgpd has "
            "'neighbor 10.0.2.0 remote-as 65009'"
        ),
        (
            f"{FILE}: uplinks.tor2.neighbor_asn: 65002, but bgpd has "
            "'neighbor 2001:db8:2:: remote-as 65009'"
        ),
    ]


@pytest.mark.parametrize(
    ("conf", "remark"),
    [
        (bgp(" neighbor 10.0.1.0 prefix-list OWN out"), "'neighbor 10.0.1.0 prefix-list OWN out'"),
        ("ip route 0.0.0.0/0 10.0.9.1\n" + bgp(), "'ip route 0.0.0.0/0 10.0.9.1' comes before"),
        (bgp(" redistribute kernel"), "'redistribute kernel' (ipv4) must take no default"),
        (bgp(" redistribute connected"), "'redistribute connected' (ipv4) must not take 10.255"),
        (bgp("neighbor 192.0.2.1 remote-as 65101"), "'neighbor 192.0.2.1' is of the host's AS"),
        (bgp("neighbor 192.0.2.1 remote-as 65101"), "'neighbor 192.0.2.1' may be reached by"),
        (bgp("neighbor 192.0.2.1 ebgp-multihop 4"), "'neighbor 192.0.2.1' may be reached by"),
        (bgp("neighbor 10.0.9.0 remote-as 65009", defaults="datacenter"), "'neighbor 10.0.9.0' (i"),
        (
            bgp("neighbor 10.0.1.0 remote-as 65001", " neighbor 10.0.1.0 route-map TO out")
            + "route-map TO permit 10\n set as-path prepend 65101\nexit\n",
            "'route-map TO permit 10': no service gets its 'set as-path prepend 65101' any more",
        ),
        (bgp(" network 192.0.2.53/32"), "'network 192.0.2.53/32' may stay"),
        (bgp(" network 10.255.10.1/32"), "takes the place of 'network 10.255.10.1/32'"),
        (
            bgp("neighbor 10.0.1.0 remote-as 65001", " neighbor 10.0.1.0 activate", family="ipv6"),
            "'neighbor 10.0.1.0' speaks ipv6 as well",
        ),
    ],
)
def test_what_somebody_should_look_at_is_said(conf: str, remark: str) -> None:
    there = settings("dual-stack")
    assert any(remark in said for said in remarks(there, of(conf)))
    assert not any(remark in said for said in remarks(there, of(NONE)))
    assert remark in render(there, FILE, beside=of(conf))


@pytest.mark.parametrize(
    "conf",
    [
        bgp("neighbor 10.0.9.0 remote-as 65009"),
        bgp("neighbor 10.0.9.0 remote-as 65101", defaults="datacenter"),
        bgp(
            "neighbor 10.0.9.0 remote-as 65009",
            " neighbor 10.0.9.0 route-map TO out",
            defaults="datacenter",
        ),
        bgp(
            "neighbor 10.0.9.0 remote-as 65009",
            " neighbor 10.0.9.0 prefix-list OWN out",
            defaults="datacenter",
        ),
    ],
)
def test_a_neighbor_that_is_kept_from_something_is_not_said_to_hear_everything(conf: str) -> None:
    assert not [said for said in remarks(settings(), of(conf)) if "told everything" in said]


def test_what_theirs_sets_on_something_else_is_nobodys_loss() -> None:
    said = " ".join(remarks(settings(), of(THEIRS)))
    assert "'route-map TO-TOR permit 10': no service gets" in said
    assert "TO-TOR permit 30" not in said


def test_a_line_that_frr_refuses_when_it_has_it_is_entered_once() -> None:
    """`graceful-restart-disable`, of a session that has it: error 13 (FRR 8.4)."""
    line = "neighbor 127.0.0.2 graceful-restart-disable"
    part = render(settings(), FILE, beside=of(THEIRS))
    assert line in part
    assert line not in render(settings(), FILE, beside=entered(part, THEIRS))


def test_zebra_goes_on_resolving_by_the_default_for_a_neighbor_far_away() -> None:
    line = "no ip nht resolve-via-default\n"
    assert line in render(settings(), FILE, beside=of(NONE))
    assert line not in render(settings(), FILE, beside=of(THEIRS))


# ---- what is not ours any more


def guarded() -> Settings:
    """Return the file with what makes us look at what the ToRs send."""
    there = settings()
    services = tuple(dataclasses.replace(s, on_down=OnDown.GUARDED) for s in there.services)
    return dataclasses.replace(there, services=services)


def test_a_route_map_that_is_not_rendered_any_more_gives_way_to_theirs() -> None:
    """By the part itself, by --diff and by the doctor; one of a peer-group counts again."""
    with_guarded = render(guarded(), FILE, beside=of(THEIRS))
    after = entered(with_guarded, THEIRS)
    part = render(settings(), FILE, beside=after)
    back = "neighbor 10.0.2.0 route-map FROM-TOR in"
    off = "neighbor 10.0.1.0 route-map bgphealth-in-ipv4-tor1 in"
    assert f"\n  {back}\n" in part
    assert f"\n  no {off}\n" in part
    shown = list(text(changes(lines(part), tuple(after.lines), is_part=True)))
    assert f"+   {back}" in shown
    assert "-   neighbor 10.0.2.0 route-map bgphealth-in-ipv4-tor2 in" in shown
    assert f"-   {off}" in shown
    again = Existing(entered_by(part, after), after.has_policy)
    assert again.route_map("10.0.1.0", V4, "in") == "FROM-TOR"
    assert again.route_map("10.0.2.0", V4, "in") == "FROM-TOR"
    assert not [x for x in again.lines if used(x) and "bgphealth-in-" in x.text]
    assert "FROM-TOR in" not in render(settings(), FILE, beside=again)


def test_from_a_whole_frr_conf_to_the_part() -> None:
    """What the ToRs send is nobody's to look at any more; nothing is attached that is not there."""
    conf = render(settings(), FILE)
    assert "neighbor 10.0.1.0 route-map bgphealth-in-ipv4-tor1 in" in conf
    after = entered(render(settings(), FILE, beside=of(conf)), conf)
    there = route_maps(after.lines)
    assert {name for line in after.lines if (name := used(line))} <= there
    assert not [name for name in there if name.startswith("bgphealth-in-")]


def test_the_doctor_puts_theirs_back_before_a_route_map_goes() -> None:
    after = entered(render(guarded(), FILE, beside=of(THEIRS)), THEIRS)
    wanted = lines(render(settings(), FILE, beside=after))
    found = frr_lines.findings(wanted, tuple(after.lines), frr_lines.Loading("render", "load"))
    mends = {each.subject: each.mend or "" for each in found}
    for tor, first in (
        ("tor1", "no neighbor 10.0.1.0 route-map bgphealth-in-ipv4-tor1 in"),
        ("tor2", "neighbor 10.0.2.0 route-map FROM-TOR in"),
    ):
        mend = mends[f"route-map bgphealth-in-ipv4-{tor}"]
        entry = f"no route-map bgphealth-in-ipv4-{tor} permit 65535"
        assert 0 < mend.index(f"-c '{first}'") < mend.index(f"-c '{entry}'")


def test_a_route_map_that_does_not_exist_is_an_error() -> None:
    after = entered(render(settings(), FILE, beside=of(THEIRS)), THEIRS)
    block = ("router bgp 65101", "address-family ipv4 unicast")
    gone = Line(block, "neighbor 10.0.1.0 route-map bgphealth-in-ipv4-tor1 in")
    there = Existing(after.lines | {gone}, after.has_policy)
    wanted = lines(render(settings(), FILE, beside=there))
    (found,) = frr_lines.findings(wanted, tuple(there.lines), frr_lines.Loading("render", "load"))
    assert (found.word, found.severity) == ("frr_no_route_map", "error")
    assert f"-c 'no {gone.text}'" in (found.mend or "")


def test_a_tor_that_left_the_file_keeps_its_filter_while_there_is_none_of_theirs() -> None:
    """Else it would be told everything: the default, the services, the other ToR's prefixes."""
    there = settings()
    one = dataclasses.replace(there, uplinks=there.uplinks[:1])
    bare = "frr defaults datacenter\nrouter bgp 65101\n"
    after = entered(render(there, FILE, beside=of(bare)), bare)
    part = render(one, FILE, beside=after)
    assert "neighbor 10.0.2.0 route-map" not in part
    found = changes(lines(part), tuple(after.lines), is_part=True)
    assert not [x for x in found if "route-map bgphealth-out-ipv4-tor2" in str(x.line)]
    name = "route-map bgphealth-out-ipv4-tor2"
    said = frr_lines.findings(lines(part), tuple(after.lines), frr_lines.Loading("render", "load"))
    (mend,) = (x.mend for x in said if x.subject == name)
    assert (mend or "").startswith("'no neighbor 10.0.2.0', or a route-map of your own")
    with_theirs = entered(render(there, FILE, beside=of(THEIRS)), THEIRS)
    assert "  neighbor 10.0.2.0 route-map TO-TOR out\n" in render(one, FILE, beside=with_theirs)


def test_what_is_not_kept_any_more_and_a_family_that_is_gone_are_taken_away() -> None:
    after = entered(render(settings(), FILE, beside=of(THEIRS)), THEIRS)
    part = render(settings("ipv4-only"), FILE, beside=after)
    assert "  no network 2001:db8:10::1/128 route-map bgphealth-backup\n" in part
    assert "\nno ipv6 protocol bgp route-map bgphealth-zebra-ipv6\n" in part
    assert "  neighbor 2001:db8:2:: route-map TO-TOR out\n" in part


# ---- what would change


def test_changes_are_shown_block_by_block() -> None:
    wanted = """
ip prefix-list one permit 10.0.0.0/8
router bgp 65101
 neighbor 127.0.0.2 passive
 address-family ipv4 unicast
  neighbor 10.0.1.0 route-map bgphealth-out out
  maximum-paths 2
"""
    running = """
route-map bgphealth-old permit 10
 set metric 1
route-map theirs permit 10
 set metric 1
router bgp 65101
 neighbor 10.0.9.9 remote-as 65009
 address-family ipv4 unicast
  neighbor 10.0.1.0 route-map theirs out
  maximum-paths 64
"""
    part = changes(lines(wanted), lines(running), is_part=True)
    assert list(text(part)) == [
        "- route-map bgphealth-old permit 10",
        "-  set metric 1",
        "  router bgp 65101",
        "+  neighbor 127.0.0.2 passive",
        "   address-family ipv4 unicast",
        "-   neighbor 10.0.1.0 route-map theirs out",
        "+   neighbor 10.0.1.0 route-map bgphealth-out out",
        "+ ip prefix-list one permit 10.0.0.0/8",
    ]
    whole = list(text(changes(lines(wanted), lines(running), is_part=False)))
    assert "- route-map theirs permit 10" in whole
    assert "-  neighbor 10.0.9.9 remote-as 65009" in whole
    assert not [line for line in whole if "maximum-paths" in line]


# ---- the doctor


def findings(conf: str, file: str | None = None) -> list[tuple[str, str | None]]:
    daemons = dict.fromkeys(("zebra", "bgpd", "staticd"), Daemon((8, 4), conf))
    seen = frr.Seen(daemons, {}, (), file, "somebody")
    return [(each.word, each.mend) for each in frr.examine(settings(), FILE, seen)]


def test_the_doctor_never_says_to_replace_a_frr_conf_that_is_somebodys() -> None:
    begin = f"bgphealth -c {FILE} render frr"
    assert findings(THEIRS) == [
        (
            "frr_not_rendered",
            f"{begin} --fragment -o /run && vtysh -f /run/frr-fragment.conf",
        )
    ]
    # Somebody has rendered a whole one, and FRR has not read it yet.
    whole = render(settings(), FILE)
    mends = [mend for word, mend in findings(THEIRS, whole) if word == "frr_not_rendered"]
    assert mends == [f"{begin} -o /etc/frr && vtysh -b"]


def test_the_doctor_says_what_is_contradictory() -> None:
    (found,) = findings(THEIRS.replace("bgp 65101", "bgp 65200"))
    assert found == ("frr_not_rendered", None)


def test_the_router_id_is_told_or_is_of_its_own_choice() -> None:
    assert existing(["router bgp 65101\n bgp router-id 10.255.10.1\n"]).has_router_id
    assert not existing(["router bgp 65101\n no bgp ebgp-requires-policy\n"]).has_router_id
