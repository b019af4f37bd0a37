"""`bgphealth source`: what it says of what the kernel said, its errors and its exit status."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.core.lookup import (
    HOST,
    LINK,
    Choosable,
    Held,
    Hop,
    Kind,
    Looked,
    Matched,
    Question,
    Refused,
    Taken,
)
from bgphealth.core.lookup_rules import Action, Rule
from bgphealth.core.truth import HARMLESS_METRIC, BgpPath, BgpRoute, Leg
from bgphealth.fallback.lookup import NoSuchInterfaceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden"
FILE = Path("dual-stack", "bgphealth.yaml")
UNNUMBERED, DIRECT = (Path(name, "bgphealth.yaml") for name in ("unnumbered", "direct"))

A, A6 = ip_address("198.51.100.1"), ip_address("2001:db8:100::1")
LOOPBACK, SERVICE = ip_address("10.255.10.1"), ip_address("192.0.2.53")
ONE, TWO = (Leg(f"eth{n}", ip_address(f"10.0.{n}.0")) for n in (1, 2))
LINK1, LINK2 = ip_address("10.0.1.1"), ip_address("10.0.2.1")
ONE6, TWO6 = (Leg(f"eth{n}", ip_address(f"2001:db8:{n}::")) for n in (1, 2))
LOOPBACK6 = ip_address("2001:db8:10::1")
ADDRESSES = (
    Held(ip_interface("127.0.0.1/8"), "lo", scope=HOST),
    Held(ip_interface("10.255.10.1/32"), "lo"),
    Held(ip_interface("192.0.2.53/32"), "lo"),
    Held(ip_interface("10.0.1.1/31"), "eth1"),
    Held(ip_interface("10.0.2.1/31"), "eth2"),
)
ADDRESSES6 = (
    Held(ip_interface("2001:db8:10::1/128"), "lo"),
    Held(ip_interface("2001:db8:1::1/127"), "eth1"),
    Held(ip_interface("fe80::1/64"), "eth1", scope=LINK),
)
RULES = (
    Rule(0, Action.LOOKUP, 255),
    Rule(1792, Action.LOOKUP, 17902, interface="eth2"),
    Rule(32766, Action.LOOKUP, 254),
)


def default(*legs: Leg, **more: object) -> Matched:
    route = Matched(254, ip_network("0.0.0.0/0"), Kind.UNICAST, "bgp", 20, source=LOOPBACK)
    return replace(route, **{"hops": tuple(map(Hop, legs))} | more)  # type: ignore[arg-type]


def default6(leg: Leg, **more: object) -> Matched:
    return default(leg, **{"prefix": ip_network("::/0"), "source": LOOPBACK6} | more)


def taken(route: Matched, leg: Leg | None = None, question: Question | None = None) -> Looked:
    """Return what one route for all questions gives, with its own source."""
    asked = question or Question(A)
    first = Taken(leg or route.hops[0].leg, route.source, route)
    source = asked.source or route.source
    return Looked(
        asked,
        first,
        tuple(Choosable(source, each) for each in first.legs(asked)),
        () if asked.source or not route.source else (route.source,),
        () if asked.source or not route.source else (first,),
        ADDRESSES if asked.destination.version == 4 else ADDRESSES6,
        RULES,
        hash_policy=1,
    )


BOTH = taken(default(ONE, TWO, nexthop_id=40))
PATH = BgpPath(1, (ip_address("10.0.1.0"),), 100, frozenset(), is_valid=True, is_selected=True)
INJECTED = BgpRoute((PATH,))
PLAIN = default(ONE, source=None, protocol="dhcp", metric=100)
FROM_LINK = Looked(
    Question(A),
    Taken(ONE, LINK1, PLAIN),
    (Choosable(LINK1, ONE),),
    (LINK1,),
    (Taken(ONE, None, PLAIN),),
    ADDRESSES,
    RULES,
)
OTHER = replace(default(TWO, source=None), table=100)
BY_SOURCE = (*RULES[:1], Rule(50, Action.LOOKUP, 100, source=ip_network("10.0.1.1/32")), RULES[2])
BY_SOURCE6 = (*RULES[:1], Rule(50, Action.LOOKUP, 100, source=ip_network(LOOPBACK6)), RULES[2])
BLACKHOLE = Matched(254, ip_network("198.51.100.0/24"), Kind.BLACKHOLE, "static")
IN_TABLE = replace(default(TWO, source=LINK2, protocol="bgphealth", metric=1), table=17902)
ITSELF = replace(
    default(Leg("lo", None), prefix=ip_network("192.0.2.53/32"), source=SERVICE),
    table=255,
    kind=Kind.LOCAL,
    protocol="kernel",
    metric=0,
    scope=HOST,
)
ANY = default(ONE, TWO, source=None)


class Case(NamedTuple):
    """What the kernel and bgpd said, and the warnings that must come of it."""

    looked: Looked
    warned: tuple[str, ...] = ()
    bgp: BgpRoute | str = INJECTED
    file: Path | None = FILE


CASES = {
    "injected, both uplinks": Case(BOTH),
    "the ToR's own": Case(taken(default(ONE)), bgp=BgpRoute()),
    "bgpd cannot be asked": Case(taken(default(ONE)), bgp="vtysh is not installed"),
    "without a file": Case(BOTH, file=None),
    "fallback": Case(
        taken(default(ONE, source=LINK1, protocol="bgphealth", metric=HARMLESS_METRIC + 1)),
        ("fallback",),
    ),
    "somebody else's default": Case(FROM_LINK, ("link_source", "foreign_default")),
    "somebody else's default, in mode direct": Case(FROM_LINK, ("link_source",), file=DIRECT),
    "bgphealth's default, in mode direct": Case(
        taken(default(ONE, source=LINK1, protocol="bgphealth")), file=DIRECT
    ),
    "somebody else's default, without a file": Case(FROM_LINK, file=None),
    "a service's address": Case(taken(default(ONE, source=SERVICE)), ("anycast_source",)),
    "asked for a service's address": Case(taken(default(ONE), question=Question(A, SERVICE))),
    "bound to an interface": Case(taken(IN_TABLE, question=Question(A, None, "eth2"))),
    "a link's address, by another uplink": Case(
        taken(default(ONE, TWO), question=Question(A, LINK2)), ("other_uplink",)
    ),
    "a destination of the host's own": Case(taken(ITSELF, question=Question(SERVICE))),
    "a source from elsewhere": Case(
        Looked(
            Question(A, ip_address("10.77.0.1")),
            Refused(errno.EADDRNOTAVAIL),
            addresses=ADDRESSES,
            rules=RULES,
        ),
        ("source_not_here",),
    ),
    "a source that has left the host": Case(
        taken(default6(ONE6, source=ip_address("2001:db8:77::1")), question=Question(A6)),
        ("source_not_here",),
    ),
    "no route": Case(
        Looked(Question(A), Refused(errno.ENETUNREACH), addresses=ADDRESSES, rules=RULES),
        ("no_route",),
    ),
    "blackhole": Case(
        Looked(Question(A), Refused(errno.EINVAL), rules=RULES, refusing=(BLACKHOLE,)),
        ("no_route",),
    ),
    "refused by a rule": Case(
        Looked(Question(A), Refused(errno.EACCES), rules=(Rule(9, Action.PROHIBIT), *RULES)),
        ("no_route",),
    ),
    "refused by nobody knows what": Case(
        Looked(Question(A), Refused(errno.EACCES), rules=RULES), ("no_route",)
    ),
    "IPv4 asks again with the source": Case(
        replace(FROM_LINK, seconds=(Taken(TWO, None, OTHER),), rules=BY_SOURCE),
        ("link_source", "two_ways"),
    ),
    "IPv4 is refused when it asks again": Case(
        replace(FROM_LINK, seconds=(Refused(errno.EACCES),)), ("no_route", "two_ways")
    ),
    "IPv6 keeps the first answer": Case(
        replace(
            taken(default6(ONE6), question=Question(A6)),
            seconds=(Taken(TWO6, LOOPBACK6, default6(TWO6, table=100)),),
            rules=BY_SOURCE6,
        ),
        ("two_ways",),
    ),
    "IPv6 keeps the first answer, and has no second": Case(
        replace(taken(default6(ONE6), question=Question(A6)), seconds=(Refused(errno.EACCES),)),
        ("two_ways",),
    ),
    "IPv6 has a way with a source alone": Case(
        Looked(
            Question(A6),
            Refused(errno.ENETUNREACH),
            sources=(LOOPBACK6,),
            seconds=(Taken(TWO6, LOOPBACK6, default6(TWO6, table=100, source=None)),),
            addresses=ADDRESSES6[:1],
            rules=BY_SOURCE6,
        ),
    ),
    "no route, and bound to an interface": Case(
        Looked(
            Question(A, None, "eth1"),
            Taken(Leg("eth1", None), LINK1, None),
            (Choosable(LINK1, Leg("eth1", None)),),
            (LINK1,),
            (Taken(Leg("eth1", None), None, None),),
            ADDRESSES,
            RULES,
        ),
        ("assumed_on_link",),
    ),
    "each next hop its own source": Case(
        Looked(
            Question(A),
            Taken(TWO, LINK2, ANY),
            (Choosable(LINK1, ONE), Choosable(LINK2, TWO)),
            (LINK2, LINK1),
            (Taken(TWO, None, ANY), Taken(ONE, None, ANY)),
            ADDRESSES,
            RULES,
            hash_policy=0,
        ),
        ("link_source", "link_source"),
    ),
    "no address at all": Case(
        Looked(
            Question(A),
            Taken(ONE, None, PLAIN),
            (Choosable(None, ONE),),
            addresses=ADDRESSES[:1],
            rules=RULES,
        ),
        ("no_source",),
        file=None,
    ),
    "no carrier": Case(
        taken(default(hops=(Hop(ONE, has_carrier=False), Hop(TWO, is_used=False)))),
        ("no_carrier",),
    ),
    "strict reverse path": Case(
        replace(taken(default(ONE)), strict_reverse_path=frozenset({"eth1", "eth2"})),
        ("strict_rp_filter",),
    ),
    "a rule that a question leaves open": Case(
        replace(
            taken(default(ONE)),
            rules=(Rule(9, Action.LOOKUP, 100, others=("dport",)), *RULES),
        )
    ),
    "next hops that are not shown": Case(taken(default(nexthop_id=40), leg=ONE)),
}


@pytest.fixture
def bgphealth(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command on what the test says that the kernel said."""
    monkeypatch.chdir(GOLDEN)

    def run(case: Case, *arguments: str) -> Result:
        async def look_up(_: Question) -> Looked:
            return case.looked

        async def injected(*_: object) -> object:
            return case.bgp if isinstance(case.bgp, str) else _Injected(case.bgp)

        monkeypatch.setattr("bgphealth.cli.source.look_up", look_up)
        monkeypatch.setattr("bgphealth.cli.source.injected", injected)
        file = [] if case.file is None else ["-c", str(case.file)]
        return CliRunner().invoke(app, [*file, "source", *arguments])

    return run


class _Injected:
    def __init__(self, route: BgpRoute) -> None:
        self.routes = dict.fromkeys(map(ip_network, ("0.0.0.0/0", "::/0")), route)


def test_every_answer(bgphealth: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    said = []
    for name, case in CASES.items():
        result = bgphealth(case, str(case.looked.question.destination))
        assert result.stderr == "", name
        assert result.exit_code == (1 if case.warned else 0), result.output
        said.append(f"# {name}\n{result.stdout}")
    golden("source/answers.txt", "\n".join(said))


@pytest.mark.parametrize("name", CASES)
def test_warnings(bgphealth: Callable[..., Result], name: str) -> None:
    result = bgphealth(CASES[name], str(CASES[name].looked.question.destination), "--json")
    warned = tuple(warning["word"] for warning in json.loads(result.stdout)["warnings"])
    assert warned == CASES[name].warned


def test_json(bgphealth: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    golden(
        "source/source.json", bgphealth(CASES["injected, both uplinks"], str(A), "--json").stdout
    )
    refused = json.loads(bgphealth(CASES["blackhole"], str(A), "--json").stdout)
    assert (refused["errno"], refused["source"], refused["choices"]) == (errno.EINVAL, None, [])


def test_a_probe_source_belongs_to_its_uplink(bgphealth: Callable[..., Result]) -> None:
    probe_source = ip_address("10.255.11.2")
    case = Case(taken(default(ONE, source=probe_source)), file=UNNUMBERED)
    result = bgphealth(case, str(A))
    assert "10.255.11.2 belongs to uplink" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["198.51.100.0/24"], "is a prefix: ask for an address in it, like 198.51.100.0"),
        (["www.example"], "is no address; names are not looked up"),
        (["224.0.0.1"], "224.0.0.1 is not the address of one host"),
        (["255.255.255.255"], "255.255.255.255 is not the address of one host"),
        (["::"], ":: is not the address of one host"),
        (["::ffff:192.0.2.1"], "is an IPv4 packet: ask for 192.0.2.1"),
        (["fe80::1"], "fe80::1 is there on every link: say which one, fe80::1%INTERFACE"),
        (["fe80::1%eth1", "--oif", "eth2"], "fe80::1%eth1 is on eth1"),
        (["192.0.2.1", "--from", "::1"], "are of two families"),
        (["192.0.2.1", "--from", "eth1"], "'eth1' is no address"),
        (["192.0.2.1", "--mark", "-1"], "'-1' is no mark: a number below 2^32, like 7 or 0x7"),
        (["192.0.2.1", "--mark", "red"], "'red' is no mark"),
        ([], "Missing argument 'DEST'"),
    ],
)
def test_usage(bgphealth: Callable[..., Result], arguments: list[str], said: str) -> None:
    result = bgphealth(Case(BOTH), *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def look_up(question: Question) -> Looked:
        asked.append(question)
        raise NoSuchInterfaceError("eth9 does not exist on this host; interfaces: eth1, lo")

    monkeypatch.setattr("bgphealth.cli.source.look_up", look_up)
    file = ["-c", str(GOLDEN / FILE), "source"]
    result = CliRunner().invoke(app, [*file, "fe80::1%eth9", "--from", "fe80::2", "--mark", "0x10"])
    assert asked == [Question(ip_address("fe80::1"), ip_address("fe80::2"), "eth9", 16)]
    assert result.exit_code == 2
    assert "Invalid value for '--oif': eth9 does not exist on this host" in result.stderr


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_file_that_is_named_must_be_there(
    bgphealth: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    missing = Path("nowhere.yaml")
    if how == "environment":
        monkeypatch.setenv("BGPHEALTH_CONFIG", str(missing))
    result = bgphealth(Case(BOTH, file=missing if how == "option" else None), str(A))
    assert result.exit_code == 78
    assert "nowhere.yaml" in result.stderr


def test_a_file_that_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nmoed: frr\n")
    monkeypatch.setattr("bgphealth.cli.source.look_up", None)
    result = CliRunner().invoke(app, ["-c", str(wrong), "source", str(A)])
    assert result.exit_code == 78
    assert "wrong.yaml:2" in result.stderr
