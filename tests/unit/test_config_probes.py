"""What is asked: the short and the long forms of every kind, and where each of them belongs."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from bgphealth.config import InvalidFileError, extras, load
from bgphealth.core.settings import (
    DnsQuestion,
    ExecQuestion,
    Family,
    HttpQuestion,
    LinkQuestion,
    ProbeKind,
    ProbeSettings,
    Quality,
    Settings,
    Threshold,
)

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path

HOST = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: {ipv4: 10.255.10.1, ipv6: "2001:db8:10::1"}}
uplinks:
  tor1: {interface: eth1, neighbor: {ipv4: 10.0.1.0, ipv6: "2001:db8:1::"}, neighbor_asn: 65001}
"""
PLAIN = HttpQuestion(
    tls=False, path="/", host=None, status=(200,), body=None, verify=True, min_valid_s=0.0
)


def read(directory: Path, text: str) -> Settings:
    file = directory / "bgphealth.yaml"
    file.write_text(HOST + text, encoding="utf-8")
    return load(file)


def refused(directory: Path, text: str) -> list[str]:
    with pytest.raises(InvalidFileError) as caught:
        read(directory, text)
    return [str(problem).split(":", 1)[1] for problem in caught.value.problems]


def check(directory: Path, form: str) -> ProbeSettings:
    text = f"services: {{web: {{prefixes: [192.0.2.80/32], checks: [{form}]}}}}\n"
    (probe,) = read(directory, text).services[1].checks
    return probe


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        ("http://192.0.2.80", ("192.0.2.80", 80), "/"),
        ("https://192.0.2.80/", ("192.0.2.80", 443), "/"),
        ("https://192.0.2.80?a=b", ("192.0.2.80", 443), "/?a=b"),
        ("http://192.0.2.80:8080/a/%20?b=c:d@e", ("192.0.2.80", 8080), "/a/%20?b=c:d@e"),
        ("http://[2001:db8::80]:8080/x", ("2001:db8::80", 8080), "/x"),
    ],
)
def test_urls(url: str, target: tuple[str, int], path: str, tmp_path: Path) -> None:
    address, port = target
    question = replace(PLAIN, tls=url.startswith("https:"), path=path)
    probe = ProbeSettings(ProbeKind.HTTP, ip_address(address), port, question)
    assert check(tmp_path, f'{{http: "{url}"}}') == probe


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///x", "http://a@192.0.2.80/", "http://192.0.2.80:/", "http://192.0.2.80:0/",
     "HTTP://192.0.2.80/", "http://[192.0.2.80]/", "http://2001:db8::80/", "http://192.0.2.80/#x",
     "http://192.0.2.80/\u00e4", "http://[fe80::1%25eth0]/", "http://0.0.0.0/", "//192.0.2.80/",
     "http://192.0.2.80:80:80/", "http://192.0.2.080/", "file:///etc/passwd", ""],
)  # fmt: skip
def test_what_is_not_a_url(url: str, tmp_path: Path) -> None:
    text = f'services: {{web: {{prefixes: [192.0.2.80/32], checks: [{{http: "{url}"}}]}}}}\n'
    (message,) = refused(tmp_path, text)
    assert message.startswith("6: services.web.checks[0].http.url: ")


def test_every_key_of_http(tmp_path: Path) -> None:
    form = (
        "{http: {url: 'https://192.0.2.80/health', host: www.example, status: [200, 204], "
        "body: 'o+k', verify: true, min_valid: 14d}}"
    )
    assert check(tmp_path, form).question == HttpQuestion(
        tls=True,
        path="/health",
        host="www.example",
        status=(200, 204),
        body="o+k",
        verify=True,
        min_valid_s=14 * 86400.0,
    )


@pytest.mark.parametrize(
    "body", ["(", "[z-a]", "a{2,1}", "(?P<x", "a{99999999999999999999}", "(?z)"]
)
def test_what_is_not_a_regular_expression(body: str, tmp_path: Path) -> None:
    text = (
        "services: {web: {prefixes: [192.0.2.80/32], "
        f"checks: [{{http: {{url: 'http://192.0.2.80/', body: '{body}'}}}}]}}}}\n"
    )
    (message,) = refused(tmp_path, text)
    assert "is not a regular expression" in message


def test_every_key_of_dns(tmp_path: Path) -> None:
    smallest = check(tmp_path, "{dns: {server: 192.0.2.53, name: Health.example.}}")
    assert smallest == ProbeSettings(
        ProbeKind.DNS,
        ip_address("192.0.2.53"),
        53,
        DnsQuestion("Health.example", "A", "udp", "NOERROR", ()),
    )
    full = check(
        tmp_path,
        "{dns: {server: '2001:db8::53', port: 5353, name: ., type: aaaa, transport: tcp, "
        "answers: ['2001:db8::1']}}",
    )
    assert (str(full.target), full.port) == ("2001:db8::53", 5353)
    assert full.question == DnsQuestion(".", "AAAA", "tcp", "NOERROR", ("2001:db8::1",))


def test_both_forms_of_exec(tmp_path: Path) -> None:
    wanted = ProbeSettings(
        ProbeKind.EXEC, question=ExecQuestion(("/usr/lib/check", "-x", "$(reboot); two words"))
    )
    words = "[/usr/lib/check, -x, '$(reboot); two words']"
    assert check(tmp_path, f"{{exec: {words}}}") == wanted
    assert check(tmp_path, f"{{exec: {{command: {words}}}}}") == wanted


@pytest.mark.parametrize("command", ["/usr/lib/check", "[]", "[check]", "[/usr/lib/]", "[[/x]]"])
def test_what_is_not_a_command(command: str, tmp_path: Path) -> None:
    text = f"services: {{web: {{prefixes: [192.0.2.80/32], checks: [{{exec: {command}}}]}}}}\n"
    (message,) = refused(tmp_path, text)
    assert message.startswith("6: services.web.checks[0].exec.command: ")


def test_what_concerns_no_address_is_asked_in_each_family(tmp_path: Path) -> None:
    text = """\
paths:
  gateway: [{icmp: neighbor}, {bfd: neighbor}, {bgp: neighbor}, {link: carrier}, {link: address}]
  beyond: {need: 2, of: [{exec: [/x]}, {icmp: 198.51.100.1}, {icmp: "2001:db8:100::1"}]}
"""
    (uplink,) = read(tmp_path, text).uplinks
    for path, neighbor, target in zip(
        uplink.paths, ("10.0.1.0", "2001:db8:1::"), ("198.51.100.1", "2001:db8:100::1"), strict=True
    ):
        at = ip_address(neighbor)
        assert path.gateway == (
            ProbeSettings(ProbeKind.ICMP, at),
            ProbeSettings(ProbeKind.BFD, at),
            ProbeSettings(ProbeKind.BGP, at),
            ProbeSettings(ProbeKind.LINK, question=LinkQuestion("carrier")),
            ProbeSettings(ProbeKind.LINK, question=LinkQuestion("address")),
        )
        assert path.beyond == (
            ProbeSettings(ProbeKind.EXEC, question=ExecQuestion(("/x",))),
            ProbeSettings(ProbeKind.ICMP, ip_address(target)),
        )


def test_need_counts_what_each_family_has(tmp_path: Path) -> None:
    text = "paths: {beyond: {need: 2, of: [{exec: [/x]}, {icmp: 198.51.100.1}]}}\n"
    (message,) = refused(tmp_path, text)
    assert message.endswith(
        "2 answers are needed in each family, but the number of IPv6 targets is 1"
    )


@pytest.mark.parametrize("form", ['{tcp: "127.0.0.1:80"}', '{http: "http://[::1]/"}'])
def test_no_uplink_leads_into_this_host(form: str, tmp_path: Path) -> None:
    (message,) = refused(tmp_path, f"paths: {{beyond: {{of: [{form}]}}}}\n")
    assert "is inside this host; no uplink leads there" in message


@pytest.mark.parametrize(
    ("module", "form", "extra"),
    [
        ("httpx", '{http: "http://192.0.2.80/"}', "http"),
        ("dns", "{dns: {server: 192.0.2.53, name: health.example}}", "dns"),
    ],
)
def test_an_absent_library_is_an_error_of_the_file_that_needs_it(
    module: str, form: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> ModuleSpec | None:
        return None if name == module else find_spec(name)

    monkeypatch.setattr(extras, "find_spec", without)
    text = f"services:\n  web:\n    prefixes: [192.0.2.80/32]\n    checks:\n      - {form}\n"
    (message,) = refused(tmp_path, text)
    assert message.startswith(f"10: services.web.checks[0].{extra}: ")
    assert message.endswith(f"is not installed here: pip install 'bgphealth[{extra}]'")
    read(tmp_path, "")


@pytest.mark.parametrize(
    ("paths", "seconds"),
    [
        ("{}", 0.025),
        ("{suspect_interval: off}", None),
        ("{suspect_interval: 5ms}", 0.005),
        ("{interval: 25ms}", None),
        ("{interval: 26ms}", 0.025),
    ],
)
def test_suspicion(paths: str, seconds: float | None, tmp_path: Path) -> None:
    assert read(tmp_path, f"paths: {paths}\n").suspect_interval_s == seconds


@pytest.mark.parametrize("given", ["4ms", "200ms", "1h", "no", "25"])
def test_what_is_not_a_suspect_interval(given: str, tmp_path: Path) -> None:
    (message,) = refused(tmp_path, f"paths: {{suspect_interval: {given}}}\n")
    assert message.startswith("6: paths.suspect_interval: ")


@pytest.mark.parametrize(
    ("paths", "quality"),
    [
        ("{}", Quality(50, Threshold(0.1, 0.05), None)),
        ("{interval: 50ms}", Quality(200, Threshold(0.1, 0.05), None)),
        ("{interval: 5s}", Quality(20, Threshold(0.1, 0.05), None)),
        ("{interval: 10ms, degraded: {window: 1h}}", Quality(1000, Threshold(0.1, 0.05), None)),
        ("{degraded: {loss: {enter: 30%}}}", Quality(50, Threshold(0.3, 0.15), None)),
        ("{degraded: {loss: {leave: 0%}}}", Quality(50, Threshold(0.1, 0.0), None)),
        (
            "{degraded: {loss: {enter: 2.5%, leave: 1%}, latency: {enter: 100ms, leave: 50ms}}}",
            Quality(50, Threshold(0.025, 0.01), Threshold(0.1, 0.05)),
        ),
    ],
)
def test_degraded(paths: str, quality: Quality, tmp_path: Path) -> None:
    settings = read(tmp_path, f"paths: {paths}\n")
    assert settings.quality == quality
    assert settings.families == (Family.IPV4, Family.IPV6)


@pytest.mark.parametrize(
    "levels",
    [
        "loss: {enter: 0%}", "loss: {enter: 10%, leave: 10%}", "loss: {enter: 10}",
        "loss: {enter: 100.1%}", "loss: {enter: -1%}", "loss: 10%", "loss: {leave: 20%}",
        "latency: {enter: 10ms, leave: 20ms}", "latency: {leave: 20ms}", "latency: {enter: 0.1}",
    ],
)  # fmt: skip
def test_what_is_not_a_level(levels: str, tmp_path: Path) -> None:
    (message,) = refused(tmp_path, f"paths: {{degraded: {{{levels}}}}}\n")
    assert message.startswith("6: paths.degraded.l")
