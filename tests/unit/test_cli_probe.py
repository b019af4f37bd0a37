"""`bgphealth probe`: what it prints of what it found, what it says to look at, its exit status."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.cli.hints import Context, hints
from bgphealth.core.errors import PermissionDeniedError
from bgphealth.core.events import Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    DnsQuestion,
    ExecQuestion,
    Family,
    HttpQuestion,
    LinkQuestion,
    ProbeKind,
    ProbeSettings,
    Question,
    Role,
)
from bgphealth.daemon import once
from bgphealth.daemon.once import Asked, Once, PathFacts
from bgphealth.fallback.missing import Missing
from bgphealth.fallback.netlink import Route, Rule
from bgphealth.probes.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

FILE = Path(__file__).parents[1] / "golden" / "ipv4-only" / "bgphealth.yaml"
V4, V6 = Family.IPV4, Family.IPV6
SILENCE = "no answer within 200 ms"
NO_TABLE = Missing(
    17902,
    frozenset({Rule(V4, "eth2", 17902, 1792)}),
    frozenset({Route(17902, ip_network("0.0.0.0/0"), 3, ip_address("10.0.2.0"))}),
    0,
)


def facts(
    number: int = 1,
    *,
    family: Family = V4,
    source: str | None = None,
    missing: Missing | None = None,
    strict: bool = False,
) -> PathFacts:
    own, theirs = (
        ("10.0.{}.1", "10.0.{}.0") if family is V4 else ("2001:db8:{}::1", "2001:db8:{}::")
    )
    return PathFacts(
        path=PathKey(f"tor{number}", family),
        interface=f"eth{number}",
        neighbor=ip_address(theirs.format(number)),
        source=source or ip_address(own.format(number)),
        missing=missing,
        strict_reverse_path=strict,
    )


def probe(
    kind: ProbeKind,
    target: str | None = None,
    port: int | None = None,
    question: Question | None = None,
) -> ProbeSettings:
    return ProbeSettings(kind, None if target is None else ip_address(target), port, question)


def ok(rtt_s: float | None = 0.0004) -> Outcome:
    return Outcome(Verdict.OK, rtt_s=rtt_s)


def failed(detail: str = SILENCE) -> Outcome:
    return Outcome(Verdict.FAILED, detail)


def unknown(detail: str) -> Outcome:
    return Outcome(Verdict.UNKNOWN, detail)


def icmp(number: int, role: Role) -> ProbeSettings:
    target = f"10.0.{number}.0" if role is Role.GATEWAY else f"198.51.100.{number}"
    return probe(ProbeKind.ICMP, target)


def asked(subject: PathFacts | str, role: Role | None, what: ProbeSettings, *got: Outcome) -> Asked:
    return Asked(subject, role, what, got)


@pytest.fixture
def bgphealth(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command on what the test says that was found."""
    monkeypatch.chdir(FILE.parent)

    def run(found: Once, *arguments: str) -> Result:
        async def ask_all(*_: object, **__: object) -> Once:
            return found

        monkeypatch.setattr("bgphealth.cli.probe.ask_all", ask_all)
        return CliRunner().invoke(app, ["-c", FILE.name, "probe", *arguments])

    return run


def everything() -> Once:
    """Return a bit of everything: two uplinks, one without its table, and a service."""
    one, two = facts(1), facts(2, missing=NO_TABLE, strict=True)
    six = facts(2, family=V6, source="eth2 has no ipv6 address in the subnet of 2001:db8:2::")
    beyond = [icmp(1, Role.BEYOND), icmp(2, Role.BEYOND)]
    six_target = probe(ProbeKind.ICMP, "2001:db8:2::")
    bgp = probe(ProbeKind.BGP, "10.0.2.0")
    link = probe(ProbeKind.LINK, question=LinkQuestion("carrier"))
    return Once(
        paths=(one, two, six),
        asked=(
            asked(one, Role.GATEWAY, icmp(1, Role.GATEWAY), ok()),
            asked(one, Role.BEYOND, beyond[0], ok(0.012)),
            asked(one, Role.BEYOND, beyond[1], failed()),
            asked(two, Role.GATEWAY, icmp(2, Role.GATEWAY), failed()),
            asked(two, Role.GATEWAY, bgp, failed("BGP session is Active, for 3 s")),
            asked(two, Role.GATEWAY, link, ok(None)),
            asked(two, Role.BEYOND, beyond[0], failed()),
            asked(six, Role.GATEWAY, six_target, unknown(str(six.source))),
            asked(
                "dns", None, probe(ProbeKind.TCP, "192.0.2.53", 53), failed("Connection refused")
            ),
        ),
        added=(),
    )


def test_table(bgphealth: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    result = bgphealth(everything())
    assert (result.exit_code, result.stderr) == (1, "")
    golden("probe/table.txt", result.stdout)


def test_json(bgphealth: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    result = bgphealth(everything(), "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout)["schema_version"] == 1
    golden("probe/probe.json", result.stdout)


def test_asked_several_times(
    bgphealth: Callable[..., Result], golden: Callable[[str, str], None]
) -> None:
    path = facts()
    gateway, beyond = icmp(1, Role.GATEWAY), icmp(1, Role.BEYOND)
    found = Once(
        (path,),
        (
            asked(path, Role.GATEWAY, gateway, ok(0.001), ok(0.003), ok(0.002), ok(0.9), ok(0.001)),
            asked(
                path, Role.BEYOND, beyond, ok(), failed(), unknown("we were stalled"), ok(), ok()
            ),
        ),
        ("added 10.0.1.0/31 to table 17901",),
    )
    result = bgphealth(found, "--count", "5", "--tables")
    assert result.exit_code == 1
    golden("probe/count.txt", result.stdout)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([ok()], 0),
        ([ok(), failed()], 1),
        ([ok(), unknown("we were stalled for 3.0 s")], 75),
        ([unknown("no ICMP socket: the sysctl net.ipv4.ping_group_range does ...")], 77),
        ([unknown("no ICMP socket: the sysctl net.ipv4.ping_group_range ..."), failed()], 1),
    ],
)
def test_exit_status(
    outcomes: list[Outcome], status: int, bgphealth: Callable[..., Result]
) -> None:
    path = facts()
    rows = tuple(asked(path, Role.GATEWAY, icmp(1, Role.GATEWAY), o) for o in outcomes)
    for arguments in ([], ["--json"]):
        result = bgphealth(Once((path,), rows, ()), *arguments)
        assert result.exit_code == status, result.output


def test_a_missing_table_is_said_even_when_all_is_well(bgphealth: Callable[..., Result]) -> None:
    path = facts(2, missing=NO_TABLE)
    row = asked(path, Role.GATEWAY, icmp(2, Role.GATEWAY), ok())
    result = bgphealth(Once((path,), (row,), ()))
    assert result.exit_code == 0
    assert "tor2 ipv4 is not kept on eth2: no rule 'oif eth2 lookup 17902'" in result.stdout
    assert "may leave through another uplink" in result.stdout


def test_a_hint_for_many_is_said_once_and_names_them(bgphealth: Callable[..., Result]) -> None:
    path, other = facts(), facts(2)
    silent, reached = icmp(1, Role.BEYOND), icmp(2, Role.BEYOND)
    found = Once(
        (path, other),
        (
            asked(path, Role.BEYOND, silent, failed()),
            asked(path, Role.BEYOND, reached, failed()),
            asked(other, Role.BEYOND, silent, failed()),
            asked(other, Role.BEYOND, reached, ok()),
        ),
        (),
    )

    below = bgphealth(found).stdout.partition("\n\n")[2]
    blocks = [block.splitlines() for block in below.split("\n\n")]

    def named(hint: str) -> list[str]:
        (block,) = (b for b in blocks if any(line.startswith(f"  {hint}") for line in b))
        return [line.partition(", failed")[0] for line in block if not line.startswith(" ")]

    assert named("does tor1 have a route back to 10.0.1.1") == [
        "tor1 ipv4 beyond, icmp 198.51.100.1",
        "tor1 ipv4 beyond, icmp 198.51.100.2",
    ]
    assert named("ip -4 route get 198.51.100.2 from 10.0.1.1") == [
        "tor1 ipv4 beyond, icmp 198.51.100.2"
    ]
    assert named("does tor2 have a route back") == ["tor2 ipv4 beyond, icmp 198.51.100.1"]
    said = [line for block in blocks for line in block if line.startswith("  ")]
    assert len(said) == len(set(said))
    # For programs each probe has all of its own.
    probes = json.loads(bgphealth(found, "--json").stdout)["probes"]
    assert [len(p["hints"]) for p in probes] == [3, 3, 3, 0]


def test_errors_of_the_host_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_all(*_: object, **__: object) -> Once:
        raise PermissionDeniedError("CAP_NET_ADMIN is missing")

    monkeypatch.setattr("bgphealth.cli.probe.ask_all", ask_all)
    result = CliRunner().invoke(app, ["-c", str(FILE), "probe", "--tables"])
    assert (result.exit_code, result.stdout, result.stderr) == (
        77,
        "",
        "CAP_NET_ADMIN is missing\n",
    )


def test_a_wrong_file_ends_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-c", str(tmp_path / "none.yaml"), "probe"])
    assert (result.exit_code, result.stdout) == (78, "")


# ---- hints ---------------------------------------------------------------------------------------


def hinted(row: Asked, *, gateway_ok: bool = True) -> str:
    return "\n".join(hints(row, Context(gateway_ok=gateway_ok)))


def beyond_of(path: PathFacts, outcome: Outcome) -> Asked:
    return asked(path, Role.BEYOND, icmp(1, Role.BEYOND), outcome)


def test_nothing_to_look_at_when_it_is_ok() -> None:
    assert hinted(beyond_of(facts(missing=NO_TABLE, strict=True), ok())) == ""


def test_a_silent_gateway() -> None:
    said = hinted(asked(facts(), Role.GATEWAY, icmp(1, Role.GATEWAY), failed()))
    assert "ip -4 neigh show dev eth1" in said
    assert "cable" in said
    assert "ICMP" in said
    tcp = probe(ProbeKind.TCP, "2001:db8:1::", 179)
    said = hinted(asked(facts(family=V6), Role.GATEWAY, tcp, failed()))
    assert "ip -6 neigh" in said
    assert "ICMP" not in said


def test_a_silent_target_beyond() -> None:
    said = hinted(beyond_of(facts(), failed()))
    assert "ip -4 route get 198.51.100.1 from 10.0.1.1 oif eth1" in said
    assert "does tor1 have a route back to 10.0.1.1" in said
    assert "traceroute -4 -n -i eth1 -s 10.0.1.1 198.51.100.1" in said
    assert "rp_filter" not in said
    assert "--tables" not in said


def test_beyond_a_gateway_that_failed_there_is_nothing_to_look_at() -> None:
    said = hinted(beyond_of(facts(), failed()), gateway_ok=False)
    assert said == "tor1's gateway is not ok either: start there"


def test_what_this_host_does_to_replies() -> None:
    assert "rp_filter=2" in hinted(beyond_of(facts(strict=True), failed()))
    # The way back to the gateway is the link itself, and a refusal did come back.
    gateway = asked(facts(strict=True), Role.GATEWAY, icmp(1, Role.GATEWAY), failed())
    assert "rp_filter" not in hinted(gateway)
    assert "rp_filter" not in hinted(beyond_of(facts(strict=True), failed("Connection refused")))


def test_a_table_that_is_missing_or_somebody_elses() -> None:
    assert "bgphealth probe --tables" in hinted(beyond_of(facts(missing=NO_TABLE), failed()))
    taken = Missing(17901, frozenset(), frozenset(), 2)
    said = hinted(beyond_of(facts(missing=taken), failed()))
    assert "--tables" not in said
    assert "fallback.table" in said


@pytest.mark.parametrize(
    ("detail", "hint"),
    [
        (
            "no ICMP socket: the sysctl net.ipv4.ping_group_range does not include our group",
            "sysctl -w net.ipv4.ping_group_range",
        ),
        ("eth1 has no ipv4 address in the subnet of 10.0.1.0", "ip -4 addr show dev eth1"),
        ("10.0.9.9 is not an address of this host", "ip -4 addr show dev eth1"),
        ("cannot send: Network is unreachable", "ip -4 route get 198.51.100.1 oif eth1"),
        ("cannot send: Operation not permitted", "nft list ruleset"),
        ("we were stalled for 3.0 s", "load"),
        ("something new", "ip -4 addr show dev eth1; ip -4 rule"),
    ],
)
def test_what_could_not_be_asked(detail: str, hint: str) -> None:
    assert hint in hinted(beyond_of(facts(), unknown(detail)))


@pytest.mark.parametrize(
    ("detail", "hint"),
    [
        ("bgpd is not running (nobody listens on /run/frr/bgpd.vty)", "/etc/frr/daemons"),
        ("no permission for /run/frr/bgpd.vty: our user must be in FRR's group frrvty", "usermod"),
        ("vtysh is not installed", "package"),
        ("bgpd has no neighbor 10.0.1.0", "show bgp summary"),
        ("bgpd did not answer vtysh within 2 s", "vtysh -c 'show bgp neighbors 10.0.1.0'"),
    ],
)
def test_what_frr_does_not_say(detail: str, hint: str) -> None:
    bgp = probe(ProbeKind.BGP, "10.0.1.0")
    assert hint in hinted(asked(facts(), Role.GATEWAY, bgp, unknown(detail)))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (ProbeKind.BGP, "vtysh -c 'show bgp neighbors 10.0.1.0'"),
        (ProbeKind.BFD, "vtysh -c 'show bfd peer 10.0.1.0'"),
        (ProbeKind.LINK, "ip -s addr show dev eth1"),
    ],
)
def test_a_state_that_failed(kind: ProbeKind, hint: str) -> None:
    # Nothing was sent: tables have nothing to do with it.
    said = hinted(
        asked(facts(missing=NO_TABLE), Role.GATEWAY, probe(kind, "10.0.1.0"), failed("x"))
    )
    assert hint in said
    assert "--tables" not in said


@pytest.mark.parametrize(
    ("question", "kind", "hint"),
    [
        (
            HttpQuestion(True, "/x?a=1", "www.example", (200,), None, True, 0.0),  # noqa: FBT003
            ProbeKind.HTTP,
            "curl -v --interface eth1 --connect-to ::198.51.100.2: 'https://www.example:8443/x?a=1'",
        ),
        (
            DnsQuestion("health.example", "A", "tcp", "NOERROR", ()),
            ProbeKind.DNS,
            "dig @198.51.100.2 -p 8443 -b 10.0.1.1 +tcp health.example A",
        ),
        (ExecQuestion(("/usr/lib/check", "-v")), ProbeKind.EXEC, "/usr/lib/check -v"),
        (None, ProbeKind.TCP, "nc -vz -s 10.0.1.1 198.51.100.2 8443"),
    ],
)
def test_how_to_ask_by_hand(question: Question | None, kind: ProbeKind, hint: str) -> None:
    what = probe(kind, "198.51.100.2", 8443, question)
    assert hint in hinted(asked(facts(), Role.BEYOND, what, failed("wrong")))


def test_services() -> None:
    tcp = probe(ProbeKind.TCP, "192.0.2.53", 53)
    said = hinted(asked("dns", None, tcp, failed("192.0.2.53 is not an address of this host")))
    assert said.startswith("ip addr add 192.0.2.53/32 dev lo")
    assert "ss -ltnp 'sport = :53'" in hinted(asked("dns", None, tcp, failed("Connection refused")))
    http = probe(ProbeKind.HTTP, "2001:db8::53", 80, HttpQuestion(
        False, "/", None, (200,), None, True, 0.0))  # noqa: FBT003  # fmt: skip
    assert hinted(asked("www", None, http, failed("status 500"))) == (
        "curl -v 'http://[2001:db8::53]:80/'"
    )


@pytest.mark.parametrize(
    ("everywhere", "here", "strict"),
    [("0", "0", ""), ("1", "0", "strict"), ("0", "1", "strict"), ("1", "2", ""), ("2", "1", "")],
)
def test_the_larger_rp_filter_counts(
    everywhere: str, here: str, strict: str, tmp_path: Path
) -> None:
    for name, value in (("all", everywhere), ("eth1", here)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rp_filter").write_text(f"{value}\n")
    assert once._is_strict("eth1", tmp_path) is bool(strict)  # noqa: SLF001
    assert once._is_strict("gone", tmp_path) is False  # noqa: SLF001


def test_a_gateway_that_nobody_has_told_is_looked_for_among_the_defaults() -> None:
    why = "no ipv4 gateway is known on eth1: … (DHCP, a router advertisement or you would make one)"
    asked = Asked(
        facts(source=why),
        Role.GATEWAY,
        ProbeSettings(ProbeKind.ICMP),
        (Outcome(Verdict.UNKNOWN, why, None),),
    )
    (hint, *_) = hints(asked, Context())
    assert hint.startswith("ip -4 route show default dev eth1")
