"""What becomes of single options, and what is said of files that are wrong."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from bgphealth.config import InvalidFileError, loads
from bgphealth.config.writing import Noted
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import AddressUse, Mode, OnDown
from bgphealth.imports import anycast_healthchecker, bird, exabgp_conf, exabgp_healthcheck
from bgphealth.imports.better import suggestion
from bgphealth.imports.draft import Input, Known, slug, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgphealth.core.settings import ServiceSettings

KNOWN = Known(
    None,
    (ip_address("10.255.10.1"), ip_address("2001:db8:10::1")),
    {ip_address("10.0.1.0"): "eth1"},
)
NOTHING = Known()
CONF = """\
neighbor 10.0.1.0 {
  router-id 10.255.10.1; local-address 10.0.1.1; local-as 65101; peer-as 65001;
}
neighbor 2001:db8:1::1 { local-address 2001:db8:1::2; local-as 65101; peer-as 65001; }
process p { run exabgp healthcheck --ip 192.0.2.1/32 --cmd true OPTIONS; }
"""
INI = """\
[web]
check_cmd = /bin/true
check_disabled = false
ip_prefix = 192.0.2.1/32
"""


def healthcheck(options: str, conf: str = CONF, known: Known = KNOWN) -> str:
    conf = conf.replace("OPTIONS", options)
    return exabgp_healthcheck.convert([Input("exabgp.conf", conf)], known, lambda _: None)


def service(options: str) -> ServiceSettings:
    settings = loads("bgphealth.yaml", healthcheck(options).encode())
    return next(each for each in settings.services if each.name != "loopback")


def option_file(text: str) -> str:
    return exabgp_healthcheck.convert([Input("o.conf", text)], NOTHING, lambda _: None)


def anycast(ini: str, bird_conf: str = "") -> str:
    birds = [Input("bird.conf", bird_conf)] if bird_conf else []
    return anycast_healthchecker.convert([Input("a.conf", ini)], birds, NOTHING)


def problems(error: pytest.ExceptionInfo[InvalidFileError]) -> list[str]:
    assert error.value.exit_status == 78
    return [str(problem) for problem in error.value.problems]


# ---- exabgp healthcheck --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ("", 1.0),
        ("-i 7 -f 0.25", 0.25),
        ("-i 7 --rise 1 --fall 1", 7.0),
        ("-i 7 -f 0", 7.0),
        ("-i 0 -f 2", 2.0),
        ("-i 0 -f 0", 1.0),
        ("-i 0.001 -f 0.001", 0.01),
        ("-i 9000 --rise 1 --fall 1", 3600.0),
    ],
)
def test_the_interval_is_the_one_between_the_answers_that_count(
    options: str, seconds: float
) -> None:
    assert service(options).timing.interval_s == seconds


@pytest.mark.parametrize(("options", "seconds"), [("", 5.0), ("-t 2", 2.0), ("-t 10", 10.0)])
def test_the_timeout(options: str, seconds: float) -> None:
    assert service(options).timing.timeout_s == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lambda: healthcheck("-t 15"), "--timeout: was 15s"),
        (lambda: healthcheck("-t 0"), "--timeout 0: was none"),
        (lambda: anycast(INI + "check_timeout = 30\n"), "check_timeout: was 30s"),
    ],
)
def test_a_timeout_that_is_too_long_is_a_place_to_mend(text: Callable[[], str], said: str) -> None:
    """A check that takes 12 s is up there, and would always be down here."""
    whole = text()
    assert f"timeout: FILL IN  # {said}; here at most 10s\n" in whole
    with pytest.raises(InvalidFileError, match="timeout: must be"):
        loads("bgphealth.yaml", whole.encode())


def test_options_are_read_as_argparse_reads_them() -> None:
    timing = service("--ris=7 --fal 2 -t3").timing
    assert (timing.rise, timing.fall, timing.timeout_s) == (7, 2, 3.0)


@pytest.mark.parametrize(
    ("options", "use"),
    [
        ("", AddressUse.ADD),
        ("--no-ip-setup", AddressUse.EXPECT),
        ("--dynamic-ip-setup", AddressUse.ADD),
        ("--ip-ifname 192.0.2.1%eth0", AddressUse.EXPECT),
    ],
)
def test_addresses_are_added_as_they_were(options: str, use: AddressUse) -> None:
    assert service(options).address is use


@pytest.mark.parametrize(
    ("options", "on_down"), [("", OnDown.DEGRADE), ("--withdraw-on-down", OnDown.WITHDRAW)]
)
def test_what_becomes_of_a_service_that_is_down(options: str, on_down: OnDown) -> None:
    assert service(options).on_down is on_down


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ("", 0),
        ('--as-path "65101 65101"', 1),
        ('--as-path "[ 65101, 65101, 65101 ]"', 2),
        ('--as-path "65101"', 0),
        ('--as-path "65001 65001"', 0),
        ('--as-path 65101 --up-as-path "65101 65101"', 1),
    ],
)
def test_our_own_as_in_a_path_is_prepending(options: str, times: int) -> None:
    assert service(options).export.prepend == times


def test_without_a_command_it_is_announced_all_the_time() -> None:
    text = option_file("ip = 192.0.2.1/32\n")
    assert "announced all the time" in text
    assert "checks:" not in text
    assert "interval:" not in text


def test_a_file_of_options_is_named_or_given() -> None:
    conf = CONF.replace("--cmd true OPTIONS", "--config /etc/exabgp/p.conf")
    named = Input("p.conf", "command = /bin/check\nname = web\n")
    files = [Input("exabgp.conf", conf), named]
    text = exabgp_healthcheck.convert(files, KNOWN, lambda _: named)
    assert text.count("/bin/check") == 1
    with pytest.raises(InvalidFileError) as error:
        exabgp_healthcheck.convert(files[:1], KNOWN, lambda _: None)
    assert problems(error) == [
        "exabgp.conf:5: --config: /etc/exabgp/p.conf is not here: give it as another FILE"
    ]


def test_every_wrong_line_of_a_file_is_named() -> None:
    with pytest.raises(InvalidFileError) as error:
        option_file("rise = two\n\n# a remark\nnonsense = 1\nip = 192.0.2.1/24\ninterval = nan\n")
    assert [each.split(": ")[0] for each in problems(error)] == [
        "o.conf:1",
        "o.conf:4",
        "o.conf:5",
        "o.conf:6",
    ]
    assert "invalid int value: 'two'" in problems(error)[0]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("neighbor x {\n}\n", "exabgp.conf:1: must be an IP address, not 'x'"),
        (
            CONF + "neighbor 10.0.2.0 {",
            "exabgp.conf:6: neighbor 10.0.2.0: there is no } for this {",
        ),
        (CONF + "process q", "exabgp.conf:6: 'process q' does not end in ; or { on its line"),
        (CONF + "process q { encoder text; }", "exabgp.conf:6: process q: has no run"),
        (
            CONF + "# it's\nprocess 'q {",
            "exabgp.conf:7: there is no second ' on this line; ExaBGP has no quotes inside quotes",
        ),
        (CONF.replace("65001;", "x;", 1), "exabgp.conf:2: peer-as must be a number, not 'x'"),
        ("process p { run /bin/true; }", "exabgp.conf:1: no process here runs exabgp healthcheck"),
        (
            CONF + "neighbor 10.0.2.0 { local-as 65102; peer-as 65002; }",
            (
                "exabgp.conf:6: local-as 65102 here, 65101 on line 1: a file of bgphealth is for "
                "one AS; import a file for each, with its own neighbors and processes"
            ),
        ),
    ],
)
def test_a_wrong_exabgp_conf(conf: str, message: str) -> None:
    with pytest.raises(InvalidFileError) as error:
        healthcheck("", conf)
    assert problems(error) == [message]


def test_a_wrong_option_has_the_line_of_its_process() -> None:
    with pytest.raises(InvalidFileError) as error:
        healthcheck("--rise two")
    assert problems(error) == ["exabgp.conf:5: argument --rise: invalid int value: 'two'"]


def test_two_exabgp_confs_are_too_many() -> None:
    with pytest.raises(InvalidFileError) as error:
        exabgp_healthcheck.convert([Input("a", CONF), Input("b", CONF)], KNOWN, lambda _: None)
    assert problems(error) == ["b:1: a is an exabgp.conf already; import one at a time"]


def test_too_many_addresses_are_refused_rather_than_written() -> None:
    with pytest.raises(InvalidFileError) as error:
        healthcheck("--ip 10.0.0.0/16 --deaggregate-networks")
    assert "exabgp.conf:5: --deaggregate-networks: more than 1000" in problems(error)[0]


def test_an_interface_of_nobody_is_a_mistake() -> None:
    known = Known(None, (), {ip_address("10.0.9.9"): "eth9"})
    with pytest.raises(ConfigurationError, match=r"--interface: there is no '10\.0\.9\.9'"):
        healthcheck("", known=known)


def test_words_of_exabgp_conf() -> None:
    text = """\
process "a b" { run x 'one two' "th#ree" 4"th" [ 5 ] \\
  si\\;x sev\\u0065n; # not { this
}
"""
    (process,) = exabgp_conf.read(Input("exabgp.conf", text)).processes
    assert process.name == "a b"
    assert process.line == 1
    assert process.words == ("x", "one two", "th#ree", "4th", "[", "5", "]", "si")


def test_mode_follows_the_peers() -> None:
    assert loads("x", healthcheck("").encode()).mode is Mode.DIRECT
    known = Known(Mode.FRR, KNOWN.sources, KNOWN.interfaces)
    assert "mode: frr" in healthcheck("", known=known)


def test_interfaces_that_differ_tell_two_routers_of_one_as_apart() -> None:
    assert len(loads("x", healthcheck("").encode()).uplinks) == 1
    both = {ip_address("10.0.1.0"): "eth1", ip_address("2001:db8:1::1"): "eth2"}
    text = healthcheck("", known=Known(None, KNOWN.sources, both))
    assert [each.interface for each in loads("x", text.encode()).uplinks] == ["eth1", "eth2"]


def test_a_family_that_no_router_has_is_a_place_to_fill_in() -> None:
    conf = "\n".join(line for line in CONF.splitlines() if not line.startswith("neighbor 2001"))
    text = healthcheck("--ip 2001:db8::1/128", conf)
    assert "neighbor: {ipv4: 10.0.1.0, ipv6: FILL IN}" in text
    assert "probe_source: {ipv4: 10.0.1.1, ipv6: FILL IN}" in text


def test_who_is_not_told_of_a_process_does_not_get_its_service() -> None:
    other = "neighbor 10.0.2.0 { local-address 10.0.2.1; local-as 65101; peer-as 65002; API }\n"
    known = Known(None, KNOWN.sources, {**KNOWN.interfaces, ip_address("10.0.2.0"): "eth2"})
    for api, uplinks in (("", None), ("api { processes [ p ]; }", frozenset({"tor2"}))):
        text = healthcheck("", CONF + other.replace("API", api), known)
        services = loads("x", text.encode()).services
        assert [each.uplinks for each in services if each.name == "p"] == [uplinks]


# ---- anycast-healthchecker -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("/bin/true", "'"), "a.conf:2: [web] check_cmd: No closing quotation"),
        (("check_cmd", "cmd"), "a.conf:1: [web]: check_cmd is missing"),
        (("192.0.2.1/32", "192.0.2.1/24"), "a.conf:4: [web] ip_prefix: must be an IP prefix"),
        (("= false", "= perhaps"), "a.conf:3: [web] check_disabled: must be true or false"),
        (("/bin/true", "a %b"), "a.conf:2: [web] check_cmd: '%' must be followed by"),
        (("[web]\n", "[web]\ncheck_rise = x\n"), "a.conf:2: [web] check_rise: must be a whole"),
        (("[web]\n", "[DEFAULT]\ncheck_fail = x\n[web]\n"), "a.conf:2: [web] check_fail: must be"),
        (("[web]\n", "[web]\ncheck_timeout = inf\n"), "a.conf:2: [web] check_timeout: must be a"),
        (("[web]\n", "[web]\non_disabled = x\n"), "a.conf:2: [web] on_disabled: must be withdraw"),
        (("[web]\n", ""), "a.conf:1: must be a [section]"),
        (("[web]\n", "[web]\nnonsense\n"), "a.conf:2: must be a [section]"),
        (("[web]\n", "[web]\nip_prefix = 192.0.2.2\n"), "a.conf:5: ip_prefix is given twice"),
        (("[web]", "[web]\n[web]"), "a.conf:2: [web] is given twice"),
        (
            ("[web]", "[daemon]\nipv4 = false\n[web]"),
            "a.conf:6: [web] ip_prefix: 192.0.2.1/32, but",
        ),
        (("[web]", "[daemon]"), "a.conf:1: there is no section of a service"),
    ],
)
def test_a_wrong_ini_file(change: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidFileError) as error:
        anycast(INI.replace(*change))
    assert len(problems(error)) == 1
    assert problems(error)[0].startswith(message)


def test_one_prefix_has_one_service() -> None:
    with pytest.raises(InvalidFileError) as error:
        anycast(INI + INI.replace("[web]", "[other]"))
    assert problems(error) == ["a.conf:8: [other] ip_prefix: 192.0.2.1/32 is [web]'s already"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("protocol bgp a { neighbor x as 1; }", "must be an IP address, not 'x'"),
        ("protocol bgp a { local as y; }", "must be an AS number, not 'y'"),
        ("protocol bgp a {", "there is no } for this {"),
        ("router id z;", "must be an IP address, not 'z'"),
        (
            "protocol bgp a { local as 1; }\nprotocol bgp b { local as 2; }",
            "local as 1, 2: a file of bgphealth is for one AS; import what belongs to one",
        ),
    ],
)
def test_a_wrong_bird_conf(text: str, message: str) -> None:
    with pytest.raises(InvalidFileError) as error:
        bird.read([Input("bird.conf", text)])
    assert problems(error) == [f"bird.conf:1: {message}"]


def test_templates_of_bird_reach_through_files() -> None:
    speaker = bird.read(
        [
            Input("a", "define N = 10.0.1.0;\ntemplate bgp t { local as 65101; multihop 2; }"),
            Input("b", "template bgp u from t { ttl security on; }\n/* { */"),
            Input("c", "protocol bgp p from u { neighbor N port 1179 as 65001; # }\n }"),
        ]
    )
    (peer,) = speaker.peers
    assert (speaker.asn, peer.asn, str(peer.address)) == (65101, 65001, "10.0.1.0")
    assert peer.ttl_security


@pytest.mark.parametrize("option", sorted(anycast_healthchecker.DAEMON_OPTIONS))
def test_every_option_of_the_daemon_is_named(option: str) -> None:
    text = anycast(f"[daemon]\n{option} = true\n{INI}")
    assert re.search(rf"^# \[daemon\].*\b{option}\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("check_cmd", "/bin/other"),
        ("check_interval", "3.5"),
        ("check_timeout", "1"),
        ("check_rise", "5"),
        ("check_fail", "5"),
        ("check_disabled", "true"),
        ("on_disabled", "advertise"),
        ("ip_prefix", "192.0.2.2/32"),
        ("ip_check_disabled", "true"),
        ("interface", "dummy0"),
        ("custom_bird_reconfigure_cmd", "/bin/hook"),
        ("custom_bird_reconfigure_cmd_timeout", "5"),
        ("unheard_of", "1"),
    ],
)
def test_every_option_of_a_service_changes_a_key_or_a_comment(option: str, value: str) -> None:
    """Those of 0.9.10."""
    base = "".join(line for line in INI.splitlines(keepends=True) if not line.startswith(option))
    assert anycast(f"{base}{option} = {value}\n") != anycast(INI)


# ---- names and suggestions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("foo.bar.com", "foo-bar-com"),
        ("42 Web", "web"),
        ("ok_name-1", "ok_name-1"),
        ("x" * 40, "x" * 31),
        ("ü", ""),
    ],
)
def test_names(text: str, name: str) -> None:
    assert slug(text) == name


def test_names_are_nobody_elses() -> None:
    assert unique("web", {"dns"}) == "web"
    assert unique("web", {"web"}) == "web-2"
    assert unique("loopback", {"service"}) == "service-2"
    assert unique("", set()) == "service"
    assert unique("x" * 31, {"x" * 31}) == f"{'x' * 26}-2"


@pytest.mark.parametrize(
    ("command", "check"),
    [
        ("curl -sf http://127.0.0.1/up", '{http: "http://127.0.0.1/up"}'),
        ("timeout 2 curl -o /dev/null 'http://[::1]:80/x?a=1&b' 2>&1", "http://[::1]:80/x?a=1&b"),
        ("wget -q -O /dev/null http://localhost", '{http: "http://127.0.0.1/"}'),
        ("curl http://www.example/", None),
        ("curl http://127.0.0.1/ | grep ok", None),
        ("curl http://u:p@127.0.0.1/", None),
        ("curl http://127.0.0.1/ http://127.0.0.2/", None),
        ("dig +short example.com. SOA @::1", '{server: "::1", name: "example.com", type: SOA}'),
        ("dig @localhost example.com", '{server: "127.0.0.1", name: "example.com"}'),
        ("dig example.com", None),
        ("nc -z -w2 127.0.0.1 25", '{tcp: "127.0.0.1:25"}'),
        ("nc -z ::1 25", '{tcp: "[::1]:25"}'),
        ("nc -u 127.0.0.1 514", None),
        ("/usr/local/bin/check $(hostname)", None),
        ("pgrep nginx", None),
        ("'", None),
    ],
)
def test_a_better_check_is_suggested_only_where_it_asks_the_same(
    command: str, check: str | None
) -> None:
    found = suggestion(command)
    assert found is None if check is None else found is not None and check in found
    if found is not None:
        text = healthcheck("", CONF).replace('{exec: [/bin/sh, -c, "true"]}', found)
        assert found in text
        loads("bgphealth.yaml", text.encode())


def test_a_comment_is_no_place_for_control_characters() -> None:
    assert Noted("x", beside="a").beside == "a"
    with pytest.raises(InvalidFileError) as error:
        option_file("command = a\x1b[31m\n")
    assert problems(error) == ["o.conf:1: --command: has a control character in it"]
