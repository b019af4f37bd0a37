"""What the doctor makes of what FRR and ExaBGP are; each finding as a whole is in tests/network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgphealth.config import load
from bgphealth.core.settings import Family, Settings
from bgphealth.doctor import exabgp, frr, frr_lines
from bgphealth.doctor.exabgp import Text
from bgphealth.doctor.finding import Finding, Kind
from bgphealth.exabgp import running, sessions
from bgphealth.exabgp.configuration import statements
from bgphealth.exabgp.running import Helper, Running
from bgphealth.exabgp.sessions import Connection
from bgphealth.frr.configuration import lines, missing, resolves_via_default
from bgphealth.frr.setup import Daemon, Neighbor, managed, parse_daemon, parse_neighbors
from bgphealth.frr.state import UnreadableError
from tests.support.vtysh_output import objects, printed, spoilt

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
NETWORK = "".join(
    (TESTS / "network" / name).read_text(encoding="utf-8")
    for name in ("test_doctor_bgp.py", "test_direct.py")
)
FILE = Path("/etc/bgphealth/bgphealth.yaml")
WITH_FRR = sorted(file.parent.name for file in GOLDEN.glob("*/frr.conf"))
HOSTS = sorted(file.parent.name for file in GOLDEN.glob("*/exabgp.conf"))
INJECTED = (GOLDEN / "frr-8.4" / "bgp-injected.json").read_bytes()


def settings(host: str) -> Settings:
    return load(GOLDEN / host / "bgphealth.yaml")


@pytest.mark.parametrize("kind", [*frr.KINDS, *exabgp.KINDS], ids=lambda kind: kind.word)
def test_a_lab_is_broken_for_every_word(kind: Kind) -> None:
    assert f'"{kind.word}"' in NETWORK


# ---- FRR's configuration


def seen(conf: str, file: str | PermissionError | None = None) -> frr.Seen:
    daemons = dict.fromkeys(("zebra", "bgpd", "staticd", "bfdd"), Daemon((8, 4), conf))
    return frr.Seen(daemons, {}, "not asked", file, "somebody")


def frr_findings(host: str, conf: str) -> list[Finding]:
    return frr.examine(settings(host), FILE, seen(conf))


@pytest.mark.parametrize("host", WITH_FRR)
def test_every_line_of_frr_conf_is_missed(host: str) -> None:
    conf = (GOLDEN / host / "frr.conf").read_text()
    assert frr_findings(host, conf) == []
    rendered = lines(conf)
    assert len(rendered) > 50
    for line in set(rendered):
        there = [each for each in rendered if each != line]
        (found,) = frr_lines.findings(rendered, there, frr_lines.Loading("render", "load"))
        assert found.found == f"missing: '{line.text}'"
        # A password is not shown, so that the whole file is read again.
        assert found.mend is not None
        assert "render" in found.mend if line.text.endswith("***") else line.text in found.mend


def test_what_frr_may_print_otherwise_is_the_same() -> None:
    rendered = """
router bgp 65101
 neighbor 10.0.1.0 password one
 address-family ipv4 unicast
  maximum-paths 2
 exit-address-family
exit
ip prefix-list one seq 5 permit 192.0.2.53/32
route-map one permit 10
 set community 65101:2 65101:1
exit
"""
    running_config = """
ip prefix-list one seq 35 permit 192.0.2.53/32
!
route-map one permit 10
 set community 65101:1 65101:2
exit
!
router bgp 65101
 neighbor 10.0.1.0 password another
 !
 address-family ipv4 unicast
  maximum-paths 16
 exit-address-family
exit
"""
    assert missing(lines(rendered), lines(running_config)) == ()
    assert [line.text for line in missing(lines(running_config), lines(rendered))] == [
        "maximum-paths 16"
    ]
    assert "another" not in str(lines(running_config))


def test_what_is_in_our_objects_and_nobody_rendered_is_taken_out() -> None:
    conf = (GOLDEN / "dual-stack" / "frr.conf").read_text()
    extra = "route-map bgphealth-zebra-ipv4 permit 5\n match interface eth1\nexit\n"
    theirs = "route-map theirs permit 5\n match interface eth1\nexit\n"
    (found,) = frr_findings("dual-stack", conf + extra + theirs)
    assert found.word == "frr_set_src"
    assert found.mend == (
        "vtysh -c 'configure terminal' -c 'no route-map bgphealth-zebra-ipv4 permit 5'"
    )


def test_another_as_takes_a_restart() -> None:
    conf = (GOLDEN / "dual-stack" / "frr.conf").read_text()
    (found,) = frr_findings("dual-stack", conf.replace("router bgp 65101", "router bgp 65102"))
    assert found.word == "frr_not_rendered"
    assert found.mend is not None
    assert found.mend.endswith("render frr -o /etc/frr && systemctl restart frr")


@pytest.mark.parametrize(
    ("conf", "is_on"),
    [
        ("frr defaults datacenter", False),
        ("frr defaults datacenter\nip nht resolve-via-default", True),
        ("frr defaults datacenter\nipv6 nht resolve-via-default", False),
        ("frr defaults traditional", True),
        ("frr defaults traditional\nno ip nht resolve-via-default", False),
    ],
)
def test_what_zebra_resolves_with_depends_on_its_profile(conf: str, *, is_on: bool) -> None:
    assert resolves_via_default(conf, "ip", (10, 3)) is is_on
    # FRR 8.4 prints it where it is on, whatever the profile.
    assert resolves_via_default(conf, "ip", (8, 4)) is ("\nip nht resolve" in conf)


def test_a_daemon_is_read_or_refused() -> None:
    said = b"FRRouting 10.3.1 (host) on Linux(6.1).\n\nCurrent configuration:\n!\nend\n"
    assert parse_daemon(said, name="zebra").version == (10, 3)
    with pytest.raises(UnreadableError):
        parse_daemon(b"% Unknown command\n", name="zebra")


def test_what_mgmtd_has_is_configuration_of_zebra() -> None:
    zebra = Daemon((10, 3), "frr defaults datacenter\n")
    manager = Daemon((10, 3), "ip route 192.0.0.8/32 blackhole\nip nht resolve-via-default\n")
    found = managed({"zebra": zebra, "staticd": Daemon((10, 3), ""), "mgmtd": manager})
    assert list(found) == ["zebra", "staticd"]
    both = found["zebra"]
    assert isinstance(both, Daemon)
    assert [line.text for line in lines(both.configuration)] == [
        "ip route 192.0.0.8/32 blackhole",
        "ip nht resolve-via-default",
    ]
    assert resolves_via_default(both.configuration, "ip", both.version)


def test_mgmtd_is_missed_where_frr_has_one() -> None:
    gone = "mgmtd is not running"
    old, new = Daemon((8, 4), ""), Daemon((10, 3), "")
    assert managed({"zebra": new, "mgmtd": gone}) == {"zebra": new, "mgmtd": gone}
    assert managed({"zebra": old, "mgmtd": gone}) == {"zebra": old}
    assert managed({"zebra": "zebra is not running", "mgmtd": new}) == {
        "zebra": "zebra is not running"
    }
    assert managed({"bgpd": new, "mgmtd": gone}) == {"bgpd": new}


# ---- FRR's sessions


def neighbors() -> Mapping[str, Neighbor]:
    return parse_neighbors(printed(objects(INJECTED)[:1]))


def test_what_was_negotiated_with_the_injector() -> None:
    (neighbor,) = neighbors().values()
    both = frozenset({Family.IPV4, Family.IPV6})
    assert neighbor.session.is_up
    assert neighbor.families == neighbor.many_paths == neighbor.takes_many_paths == both
    assert neighbor.keeps_for_s is None


def test_whatever_vtysh_prints_is_parsed_or_refused() -> None:
    sample = (GOLDEN / "frr-8.4" / "bgp-neighbors-up.json").read_bytes()
    for output in spoilt(sample, times=500):
        try:
            parse_neighbors(output)
        except UnreadableError as error:
            assert str(error)  # noqa: PT017 - or it was parsed


def test_sessions_are_judged_one_by_one() -> None:
    conf = (GOLDEN / "dual-stack" / "frr.conf").read_text()
    name, neighbor = next(iter(neighbors().items()))
    without = replace(neighbor, takes_many_paths=frozenset({Family.IPV4}))
    given = replace(seen(conf), neighbors={name: without})
    (found,) = frr.examine(settings("dual-stack"), FILE, given)
    assert (found.word, found.found) == ("frr_add_path", "bgpd does not offer it for ipv6")


# ---- ExaBGP


def exabgp_seen(conf: str, **changes: object) -> exabgp.Seen:
    it = Running(
        pid=7,
        version="5.0.15",
        conf=Path("/etc/exabgp/exabgp.conf"),
        started_at=1000.0,
        environment={"exabgp_api_terminate": "true"},
        env_file=Path("/etc/exabgp/exabgp.env"),
        helper=Helper(8, 0, frozenset({0})),
        unit="exabgp.service",
    )
    connected = frozenset(
        Connection(path.probe_source, path.neighbor)
        for uplink in settings("direct").uplinks
        for path in uplink.paths
        if path.probe_source is not None and path.neighbor is not None
    )
    good = exabgp.Seen(it, Text(None), Text(conf), 100, "always", connected)
    return replace(good, **changes)  # type: ignore[arg-type]


def exabgp_findings(host: str, given: exabgp.Seen) -> list[Finding]:
    return list(exabgp.examine(settings(host), FILE, given))


@pytest.mark.parametrize("host", HOSTS)
def test_what_was_rendered_is_right(host: str) -> None:
    assert exabgp_findings(host, exabgp_seen((GOLDEN / host / "exabgp.conf").read_text())) == []


@pytest.mark.parametrize("host", ["direct", "dual-stack"])
def test_every_statement_of_exabgp_conf_is_missed(host: str) -> None:
    rendered = (GOLDEN / host / "exabgp.conf").read_text().splitlines()
    for at, line in enumerate(rendered):
        is_statement = line.strip().endswith(";") and "description" not in line
        if is_statement:
            without = [*rendered[:at], *rendered[at + 1 :]]
            (found,) = exabgp_findings(host, exabgp_seen("\n".join(without)))
            assert found.word == "exabgp_conf"


def test_a_password_is_in_no_statement() -> None:
    conf = 'neighbor 10.0.1.0 {\n md5-password "not/a+secret="; # {\n hold-time 9;\n}'
    assert [each.text for each in statements(conf)] == ["md5-password ***", "hold-time 9"]


def test_another_program_is_no_difference_and_other_neighbors_are_others_affair() -> None:
    conf = (GOLDEN / "dual-stack" / "exabgp.conf").read_text()
    other = conf.replace("run /usr/bin/bgphealth ", "run /usr/bin/env A=b /opt/bgphealth ")
    assert other != conf
    theirs = "neighbor 192.0.2.1 {\n local-as 65001;\n}\n"
    assert exabgp_findings("dual-stack", exabgp_seen(other + theirs)) == []


CONF = (GOLDEN / "dual-stack" / "exabgp.conf").read_text()
GOOD = exabgp_seen(CONF)
IT = GOOD.exabgp
assert IT is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (replace(GOOD, exabgp=None), ["exabgp_not_running"]),
        (replace(GOOD, restart=None), []),
        (replace(GOOD, restart="on-failure"), ["exabgp_not_restarted"]),
        (replace(GOOD, restart=""), ["exabgp_not_restarted"]),
        (replace(GOOD, exabgp=replace(IT, version="4.2.25")), []),
        (replace(GOOD, exabgp=replace(IT, version="4.20.1")), ["exabgp_version"]),
        (replace(GOOD, exabgp=replace(IT, version=None)), []),
        (replace(GOOD, exabgp=replace(IT, helper=None)), ["exabgp_without_bgphealth"]),
        (
            replace(GOOD, exabgp=replace(IT, helper=Helper(8, 5, frozenset({5})))),
            ["exabgp_no_frrvty"],
        ),
        (replace(GOOD, exabgp=replace(IT, helper=Helper(8, 5, frozenset({5, 100})))), []),
        (replace(GOOD, conf=Text(CONF, written_at=1001.0)), []),
        (replace(GOOD, conf=Text(CONF, written_at=1005.0)), ["exabgp_conf_newer"]),
        (replace(GOOD, conf=Text(None, "permission denied")), ["exabgp_not_read"]),
        (replace(GOOD, exabgp=replace(IT, environment=None)), ["exabgp_not_read"]),
        (replace(GOOD, exabgp=replace(IT, environment={})), ["exabgp_terminate"]),
    ],
)
def test_what_is_wrong_with_exabgp(given: exabgp.Seen, words: list[str]) -> None:
    assert [finding.word for finding in exabgp_findings("dual-stack", given)] == words


def test_each_session_of_a_direct_host() -> None:
    conf = (GOLDEN / "direct" / "exabgp.conf").read_text()
    given = exabgp_seen(conf, connections=frozenset())
    found = exabgp_findings("direct", given)
    paths = [path for uplink in settings("direct").uplinks for path in uplink.paths]
    assert [finding.word for finding in found] == ["exabgp_session_down"] * len(paths)


@pytest.mark.parametrize(
    ("environment", "env_file", "is_on"),
    [
        ({}, None, False),
        ({}, "[exabgp.api]\nterminate = true\n", True),
        ({}, "[exabgp.api]\nterminate = 'on'\n", True),
        ({}, "this is no file of settings", False),
        ({"exabgp_api_terminate": "false"}, "[exabgp.api]\nterminate = true\n", False),
        ({"exabgp.api.terminate": "true", "exabgp_api_terminate": "false"}, None, True),
    ],
)
def test_the_environment_counts_before_the_file(
    environment: dict[str, str], env_file: str | None, *, is_on: bool
) -> None:
    assert running.setting("api.terminate", environment, env_file) is is_on


# ---- what the kernel says of processes and connections

UNIT = "0::/system.slice/exabgp.service"


def process(proc: Path, pid: int, parent: int, *arguments: str, **environment: str) -> None:
    here = proc / str(pid)
    here.mkdir(parents=True)
    (here / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in arguments))
    words = [f"{name}={value}\0" for name, value in environment.items()]
    (here / "environ").write_text("".join(words))
    ids = "\t0\t33\t0\t0"
    (here / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nUid:{ids}\nGid:{ids}\nGroups:\t5 \n")
    (here / "stat").write_text(f"{pid} (a b) c) S {parent} {'0 ' * 17}250 0\n")
    (here / "cgroup").write_text(f"{UNIT}\n")
    (here / "cwd").symlink_to("/srv")
    (proc / "stat").write_text("cpu 1 2\nbtime 1000\n")


HELPER = ("/usr/bin/python3", "/usr/bin/bgphealth", "-c", str(FILE), "run")


def test_the_exabgp_that_runs_bgphealth_is_found(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, "/sbin/init")
    process(tmp_path, 5, 1, "python3", "-u", "/opt/x/bin/exabgp", "cli")
    process(tmp_path, 6, 1, "/opt/x/bin/exabgp", "server", "other.conf")
    process(tmp_path, 7, 1, "python3", "/opt/y/bin/exabgp", "--env-file", "e", "server", "y.conf")
    process(tmp_path, 8, 7, *HELPER)
    process(tmp_path, 9, 1, "vi", "exabgp")
    (tmp_path / "9" / "cmdline").write_bytes(b"")  # A thread of the kernel has none.
    found = running.find(tmp_path)
    assert found is not None
    assert (found.pid, found.conf, found.env_file) == (7, Path("/srv/y.conf"), Path("/srv/e"))
    assert found.helper == Helper(8, 33, frozenset({33, 5}))
    assert found.unit == "exabgp.service"
    assert found.started_at == pytest.approx(1002.5)


def test_the_exabgp_of_another_network_namespace_is_not_ours(tmp_path: Path) -> None:
    process(tmp_path, 6, 1, "/opt/x/bin/exabgp", "one.conf")
    process(tmp_path, 7, 1, "/opt/x/bin/exabgp", "two.conf")
    process(tmp_path, 8, 7, *HELPER)
    for name, namespace in (("self", 1), ("6", 1), ("7", 2)):
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns" / "net").symlink_to(f"net:[{namespace}]")
    found = running.find(tmp_path)
    assert found is not None
    assert (found.pid, found.helper) == (6, None)


@pytest.mark.parametrize(
    ("arguments", "environment", "env_file"),
    [
        (("/opt/y/bin/exabgp", "server", "c"), {}, "/opt/y/etc/exabgp/exabgp.env"),
        (("/opt/y/bin/exabgp", "c"), {"EXABGP_ENVFILE": "/e"}, "/e"),
        (("/opt/y/bin/exabgp", "--env-file=/f", "c"), {"EXABGP_ENVFILE": "/e"}, "/f"),
        (("/usr/bin/exabgp", "c"), {}, "/usr/etc/exabgp/exabgp.env"),
    ],
)
def test_where_exabgp_5_looks_for_its_environment(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], env_file: str
) -> None:
    process(tmp_path, 7, 1, *arguments, **environment)
    found = running.find(tmp_path)
    assert found is not None
    assert (str(found.env_file), found.helper) == (env_file, None)


@pytest.mark.parametrize(
    ("option", "env_file"),
    [((), "etc/exabgp/exabgp.env"), (("--env", "e"), "etc/exabgp/e"), (("--env", "/e"), "/e")],
)
def test_where_exabgp_4_looks_for_its_environment(
    tmp_path: Path, option: tuple[str, ...], env_file: str
) -> None:
    root = tmp_path / "root"
    installed = root / "lib" / "python3.11" / "site-packages" / "exabgp-4.2.25.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: exabgp\nVersion: 4.2.25\n")
    process(tmp_path / "proc", 7, 1, f"{root}/bin/exabgp", *option, "c", EXABGP_ENVFILE="/other")
    found = running.find(tmp_path / "proc")
    assert found is not None
    assert (found.version, found.env_file) == ("4.2.25", root / env_file)


def test_no_exabgp(tmp_path: Path) -> None:
    process(tmp_path, 1, 0, "/sbin/init")
    process(tmp_path, 8, 1, *HELPER)
    assert running.find(tmp_path) is None


def test_the_connections_to_bgp_speakers(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx_queue\n"
    rows = [
        "   0: 0101000A:9C40 0001000A:00B3 01 0:0",
        "   1: 0102000A:9C40 0002000A:00B3 02 0:0",  # SYN-SENT.
        "   2: 0103000A:00B3 0003000A:9C40 01 0:0",  # Accepted: to our own port.
    ]
    (tmp_path / "tcp").write_text(head + "\n".join(rows) + "\n")
    local, remote = ("B80D0120000000000000000001000000", "B80D0120000000000000000000000000")
    (tmp_path / "tcp6").write_text(f"{head}   0: {local}:9C40 {remote}:00B3 01 0:0\n")
    assert sessions.connections(tmp_path) == {
        Connection(ip_address("10.0.1.1"), ip_address("10.0.1.0")),
        Connection(ip_address("2001:db8::1"), ip_address("2001:db8::")),
    }
