from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bgphealth.cli.app import app
from bgphealth.config import load

CONF = """\
neighbor 10.0.1.0 {
  router-id 10.255.10.1; local-address 10.0.1.1; local-as 65101; peer-as 65001;
}
process p { run exabgp healthcheck --config PATH; }
"""
OPTIONS = "ip = 192.0.2.1/32\ncommand = true\n"
KNOWN = ("--source=10.255.10.1", "--interface=10.0.1.0=eth1")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "p.conf").write_text(OPTIONS)
    file = tmp_path / "exabgp.conf"
    file.write_text(CONF.replace("PATH", str(tmp_path / "p.conf")))
    return file


def test_a_whole_file_is_written_and_right(conf: Path, tmp_path: Path) -> None:
    target = tmp_path / "bgphealth.yaml"
    result = run("exabgp-healthcheck", conf, "-o", target, *KNOWN)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"wrote {target}\n")
    assert load(target).uplinks[0].interface == "eth1"


def test_what_exists_is_left_alone_unless_asked(conf: Path, tmp_path: Path) -> None:
    target = tmp_path / "bgphealth.yaml"
    target.write_text("mine")
    result = run("exabgp-healthcheck", conf, "-o", target, *KNOWN)
    assert (result.exit_code, target.read_text()) == (2, "mine")
    assert "exists; --force overwrites it" in result.stderr
    assert run("exabgp-healthcheck", conf, "-o", target, "--force", *KNOWN).exit_code == 0
    assert load(target).uplinks


def test_an_options_file_of_elsewhere_is_given(conf: Path, tmp_path: Path) -> None:
    conf.write_text(CONF.replace("PATH", "/nonexistent/p.conf"))
    result = run("exabgp-healthcheck", conf, *KNOWN)
    assert result.exit_code == 78
    assert result.stderr == (
        f"{conf}:4: --config: /nonexistent/p.conf is not here: give it as another FILE\n"
    )
    assert run("exabgp-healthcheck", conf, tmp_path / "p.conf", *KNOWN).exit_code == 0


def test_what_is_missing_is_listed_and_told_by_the_status(conf: Path) -> None:
    result = run("exabgp-healthcheck", conf)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "to fill in or to mend: 2"
    assert ": host.source: must be an IP address, not 'FILL IN'" in result.stderr


def test_a_directory_is_read_as_anycast_healthchecker_reads_it(tmp_path: Path) -> None:
    assert run("anycast-healthchecker", tmp_path).stderr == (
        f"{tmp_path}:1: there is no *.conf in it\n"
    )
    section = "check_cmd = /bin/true\ncheck_disabled = false\nip_prefix = 192.0.2.{}\n"
    for number, name in enumerate(["b.conf", "a.conf", "c.off"], 1):
        (tmp_path / name).write_text(f"[{name[0]}]\n{section.format(number)}")
    result = run("anycast-healthchecker", tmp_path)
    services = result.stdout.partition("\nservices:\n")[2]
    assert result.exit_code == 1
    assert services.index("\n  a:") < services.index("\n  b:")
    assert "192.0.2.3" not in services


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \xff\n", ":1: is not a text file in UTF-8 (byte 0xff)"),
        (b"rise = x\n", ":1: argument --rise: invalid int value: 'x'"),
        (None, ": no such file"),
    ],
)
def test_a_wrong_file_ends_with_78(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "o.conf"
    if content is not None:
        file.write_bytes(content)
    result = run("exabgp-healthcheck", file)
    assert (result.exit_code, result.stderr) == (78, f"{file}{message}\n")


@pytest.mark.parametrize(
    "option", ["--interface=eth1", "--interface=x=eth1", "--interface=10.0.1.0=", "--source=x"]
)
def test_a_wrong_option_is_a_matter_of_usage(conf: Path, option: str) -> None:
    assert run("exabgp-healthcheck", conf, option).exit_code == 2


def test_an_interface_of_an_unknown_neighbor(conf: Path) -> None:
    result = run("exabgp-healthcheck", conf, "--interface=10.0.9.9=eth9")
    assert result.exit_code == 78
    assert "--interface: there is no '10.0.9.9'" in result.stderr


def test_a_target_that_cannot_be_written(conf: Path) -> None:
    result = run("exabgp-healthcheck", conf, "-o", conf / "file", *KNOWN)
    assert result.exit_code == 75
    assert f"{conf / 'file'}: cannot be written: " in result.stderr


@pytest.fixture
def of_strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("of_strict_umask")
def test_the_user_of_the_unit_can_read_what_is_written(conf: Path, tmp_path: Path) -> None:
    target = tmp_path / "etc" / "bgphealth" / "bgphealth.yaml"
    assert run("exabgp-healthcheck", conf, "-o", target, *KNOWN).exit_code == 0
    made = (target, target.parent, target.parent.parent)
    assert [stat.S_IMODE(each.stat().st_mode) for each in made] == [0o644, 0o755, 0o755]
