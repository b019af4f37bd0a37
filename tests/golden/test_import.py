"""Files of other health checkers, and what becomes of them."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from bgphealth.cli.app import app
from bgphealth.config import loads
from bgphealth.core.settings import LOOPBACK, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgphealth.core.settings import Settings

IMPORT = Path(__file__).parent / "import"
DOCS = Path(__file__).parents[2] / "docs"

HEALTHCHECK = "exabgp-healthcheck"
ANYCAST = "anycast-healthchecker"
SOURCE = "--source=10.255.10.1"

COMPLETE: dict[str, tuple[str, ...]] = {
    "dns-node": (
        HEALTHCHECK,
        "exabgp.conf",
        "dns-1.conf",
        "dns-2.conf",
        SOURCE,
        "--source=2001:db8:10::1",
        "--interface=10.0.1.0=eth1",
        "--interface=2001:db8:1::1=eth1",
    ),
    "guide": (
        HEALTHCHECK,
        "exabgp.conf",
        "dns.conf",
        SOURCE,
        "--interface=10.0.1.0=eth1",
        "--interface=10.0.2.0=eth2",
    ),
    "guide-anycast": (ANYCAST, "dns.conf", "--bird=bird.conf", SOURCE),
    "load-balancer": (HEALTHCHECK, "exabgp.conf", SOURCE),
    "old-style": (HEALTHCHECK, "exabgp.conf", SOURCE, "--interface=10.0.1.0=eth1"),
    "anycast-bird": (
        ANYCAST,
        "services.conf",
        "--bird=bird.conf",
        SOURCE,
        "--source=2001:db8:10::1",
    ),
}
INCOMPLETE: dict[str, tuple[str, ...]] = {
    "options": (HEALTHCHECK, "haproxy.conf"),
    "nginx": (HEALTHCHECK, "exabgp.conf"),
    "everything": (HEALTHCHECK, "every.conf"),
    "beside-a-daemon": (HEALTHCHECK, "exabgp.conf", "--source=10.255.10.1"),
    "anycast": (ANYCAST, ".", "--mode=direct"),
    "anycast-disabled": (ANYCAST, "services.conf"),
}


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    def run(case: str) -> Result:
        monkeypatch.chdir(IMPORT / case)
        return CliRunner().invoke(app, ["import", *(COMPLETE | INCOMPLETE)[case]])

    return run


def settings_of(result: Result) -> Settings:
    return loads("bgphealth.yaml", result.stdout.encode())


def test_every_example_is_imported() -> None:
    assert {each.name for each in IMPORT.iterdir()} == {*COMPLETE, *INCOMPLETE}


@pytest.mark.parametrize("case", COMPLETE)
def test_what_says_enough_becomes_a_whole_file(
    case: str, convert: Callable[[str], Result], golden: Callable[[str, str], None]
) -> None:
    result = convert(case)
    golden(f"import/{case}/bgphealth.yaml", result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert settings_of(result).uplinks


@pytest.mark.parametrize("case", INCOMPLETE)
def test_what_is_missing_is_a_place_to_fill_in(
    case: str, convert: Callable[[str], Result], golden: Callable[[str, str], None]
) -> None:
    result = convert(case)
    golden(f"import/{case}/bgphealth.yaml", result.stdout)
    golden(f"import/{case}/check.txt", result.stderr)
    assert result.exit_code == 1
    assert "FILL IN" in result.stdout


@pytest.mark.parametrize(
    ("page", "case"),
    [("migrate-exabgp-healthcheck", "guide"), ("migrate-anycast-healthchecker", "guide-anycast")],
)
def test_the_guides_quote_it(page: str, case: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for file in (IMPORT / case).iterdir():
        assert file.read_text(encoding="utf-8") in text, file.name


def test_a_node_for_dns(convert: Callable[[str], Result]) -> None:
    settings = settings_of(convert("dns-node"))
    assert settings.mode is Mode.DIRECT
    (uplink,) = settings.uplinks
    assert [str(path.neighbor) for path in uplink.paths] == ["10.0.1.0", "2001:db8:1::1"]
    assert [str(path.probe_source) for path in uplink.paths] == ["10.0.1.1", "2001:db8:1::2"]
    services = {each.name: each for each in settings.services if each.name != LOOPBACK}
    assert services.keys() == {"dns-1", "dns-2"}
    first, second = services.values()
    assert first.prefixes == (ip_network("192.0.2.53/32"), ip_network("2001:db8:53::1/128"))
    assert (first.timing.interval_s, first.timing.rise, first.timing.fall) == (1.0, 5, 2)
    assert second.timing.fall == 1, "the command line comes after the file"


def test_each_address_keeps_its_med_and_one_check(convert: Callable[[str], Result]) -> None:
    settings = settings_of(convert("load-balancer"))
    services = {each.name: each for each in settings.services if each.name != LOOPBACK}
    assert {
        str(each.prefixes[0]): (each.export.med, each.export.prepend, len(each.checks))
        for name, each in services.items()
        if name != "all"
    } == {
        "198.51.100.2/32": (100, 2, 1),
        "198.51.100.3/32": (150, 2, 0),
        "198.51.100.1/32": (200, 2, 0),
    }
    assert services["vip-2"].requires == services["vip-3"].requires == ("vip",)
    assert services["vip"].uplinks == services["vip-2"].uplinks == frozenset({"leaf-b"})


@pytest.mark.parametrize(
    ("case", "service", "known_s"), [("load-balancer", "vip", 3), ("dns-node", "dns-1", 2)]
)
def test_a_failure_is_known_as_soon_as_the_comment_says(
    case: str,
    service: str,
    known_s: int,
    convert: Callable[[str], Result],
    tmp_path: Path,
) -> None:
    text = convert(case).stdout
    assert f"is known after {known_s}s" in " ".join(text.replace("#", "").split())
    (tmp_path / "bgphealth.yaml").write_text(text)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(f"""\
scenario: 1
about: a service fails
config: bgphealth.yaml
steps:
  - {{at: 20s, service: {service}, checks: refused}}
expect:
  - {{at: 20s, service: {service}, verdict: up}}
  - {{at: {20 + known_s}.2s, service: {service}, verdict: down}}
""")
    result = CliRunner().invoke(app, ["simulate", str(scenario)])
    assert result.exit_code == 0, result.output
