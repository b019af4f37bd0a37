"""`bgphealth render`: to stdout, or as whole files into a directory."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bgphealth.cli import render as render_module
from bgphealth.cli.app import app
from bgphealth.fallback import view
from bgphealth.frr import setup
from bgphealth.frr.setup import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden"
HOST = GOLDEN / "dual-stack"
PROGRAM = "/usr/bin/bgphealth"


def bgphealth(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    copied = tmp_path / "in" / "bgphealth.yaml"
    copied.parent.mkdir()
    copied.write_bytes((HOST / "bgphealth.yaml").read_bytes())
    return copied


def expected(name: str, file: Path) -> str:
    text = (GOLDEN / name).read_text(encoding="utf-8")
    return text.replace("/etc/bgphealth/bgphealth.yaml", str(file))


def test_frr_to_stdout(file: Path) -> None:
    result = bgphealth("-c", file, "render", "frr")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == expected("dual-stack/frr.conf", file)


def test_exabgp_to_stdout(file: Path) -> None:
    result = bgphealth("-c", file, "render", "exabgp", "--program", "/usr/bin/bgphealth")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == expected("dual-stack/exabgp.conf", file)


def test_frr_into_a_directory(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "etc"
    result = bgphealth("-c", file, "render", "frr", "-o", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"wrote {out}/frr.conf\n"
    assert sorted(p.name for p in out.iterdir()) == ["frr.conf"]
    assert (out / "frr.conf").read_text() == expected("dual-stack/frr.conf", file)


def test_exabgp_into_a_directory(file: Path, tmp_path: Path) -> None:
    result = bgphealth(
        "-c", file, "render", "exabgp", "-o", tmp_path, "--program", "/usr/bin/bgphealth"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"wrote {tmp_path}/exabgp.conf\nwrote {tmp_path}/exabgp.env\n"
    assert (tmp_path / "exabgp.conf").read_text() == expected("dual-stack/exabgp.conf", file)
    assert (tmp_path / "exabgp.env").read_text() == expected("exabgp.env", file)


def test_a_relative_file_is_rendered_as_an_absolute_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    result = bgphealth("-c", "bgphealth.yaml", "render", "exabgp", "--program", "/x")
    assert f"run /x -c {file} run;" in result.stdout


def test_a_wrong_file_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for what in ("frr", "exabgp"):
        result = bgphealth("-c", GOLDEN / "errors" / "prefix.yaml", "render", what, "-o", out)
        assert (result.exit_code, result.stdout) == (78, "")
        assert "has host bits set" in result.stderr
    assert not out.exists()


def test_a_program_that_is_no_word_writes_nothing(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for program in ("bgphealth", "/bin/sh; rm", ""):
        result = bgphealth("-c", file, "render", "exabgp", "--program", program, "-o", out)
        assert result.exit_code == 78, program
    assert not out.exists()


def test_an_old_file_keeps_its_mode_and_is_replaced_as_a_whole(file: Path, tmp_path: Path) -> None:
    old = tmp_path / "frr.conf"
    old.write_text("old")
    old.chmod(0o640)
    with old.open() as still_open:
        assert bgphealth("-c", file, "render", "frr", "-o", tmp_path).exit_code == 0
        assert still_open.read() == "old"
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert old.read_text() == expected("dual-stack/frr.conf", file)


def test_a_new_file_can_be_read_by_other_users(file: Path, tmp_path: Path) -> None:
    bgphealth("-c", file, "render", "frr", "-o", tmp_path)
    assert stat.S_IMODE((tmp_path / "frr.conf").stat().st_mode) == 0o644


@pytest.fixture
def direct(tmp_path: Path) -> Path:
    """Return a file in direct mode whose password is beside it."""
    file = tmp_path / "in" / "bgphealth.yaml"
    file.parent.mkdir()
    text = (GOLDEN / "direct" / "bgphealth.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("/etc/bgphealth", str(file.parent)), encoding="utf-8")
    password = file.with_name("tor1.password")
    password.write_text("not/a+secret=\n", encoding="ascii")
    password.chmod(0o640)
    return file


def test_direct_exabgp_into_a_directory_keeps_the_password_from_others(
    direct: Path, tmp_path: Path
) -> None:
    result = bgphealth("-c", direct, "render", "exabgp", "-o", tmp_path, "--program", PROGRAM)
    assert result.exit_code == 0
    assert result.output == f"wrote {tmp_path}/exabgp.conf\nwrote {tmp_path}/exabgp.env\n"
    conf, env = tmp_path / "exabgp.conf", tmp_path / "exabgp.env"
    assert conf.read_text() == expected("direct/exabgp.conf", direct)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (conf, env)] == [0o640, 0o644]


def test_an_old_file_that_others_could_read_no_longer_can(direct: Path, tmp_path: Path) -> None:
    old = tmp_path / "exabgp.conf"
    old.write_text("old")
    old.chmod(0o664)
    assert bgphealth("-c", direct, "render", "exabgp", "-o", tmp_path).exit_code == 0
    assert stat.S_IMODE(old.stat().st_mode) == 0o660


def test_a_password_is_not_shown(direct: Path) -> None:
    result = bgphealth("-c", direct, "render", "exabgp")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "would show the password of tor1; with -o DIRECTORY" in result.stderr
    assert "secret" not in result.stderr


def test_a_password_that_everybody_can_read_is_said(direct: Path, tmp_path: Path) -> None:
    password = direct.with_name("tor1.password")
    password.chmod(0o644)
    result = bgphealth("-c", direct, "render", "exabgp", "-o", tmp_path)
    assert result.exit_code == 0
    assert f"{password}: everybody on this host can read it: chmod o= {password}" in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "{}: no such file (uplinks.tor1.password_file)"),
        (b"", "{}:1: is empty; it must hold the password and nothing else"),
        (b"\n", "{}:1: is empty; it must hold the password and nothing else"),
        (b"hush" * 20 + b"h\n", "{}:1: is longer than 80 characters"),
        (b"hush; run /bin/sh\n", "{}:1: must be one line of letters, digits and "),
        (b'hush"\n', "{}:1: must be one line of letters, digits and "),
        (b"hush\n\n", "{}:1: must be one line of letters, digits and "),
        (b"hush\nhush\n", "{}:1: must be one line of letters, digits and "),
        (b"hush\xc3\xa9\n", "{}:1: must be one line of letters, digits and "),
    ],
)
def test_a_wrong_password_is_said_without_saying_it_and_writes_nothing(
    direct: Path, tmp_path: Path, content: bytes | None, said: str
) -> None:
    password, out = direct.with_name("tor1.password"), tmp_path / "out"
    password.unlink()
    if content is not None:
        password.write_bytes(content)
    result = bgphealth("-c", direct, "render", "exabgp", "-o", out)
    assert (result.exit_code, out.exists()) == (78, False)
    assert result.stderr.startswith(said.format(password))
    assert "hush" not in result.output


def test_the_longest_password_is_written(direct: Path, tmp_path: Path) -> None:
    direct.with_name("tor1.password").write_bytes(b"x" * 80 + b"\r\n")
    assert bgphealth("-c", direct, "render", "exabgp", "-o", tmp_path).exit_code == 0
    assert f'md5-password "{"x" * 80}";' in (tmp_path / "exabgp.conf").read_text()


def test_without_frr_there_is_no_frr_conf(direct: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = bgphealth("-c", direct, "render", "frr", "-o", out)
    assert (result.exit_code, out.exists()) == (78, False)
    assert result.stderr == (
        f"{direct}: mode: direct has no FRR on this host; 'bgphealth render exabgp' writes all "
        "that it needs\n"
    )


def test_with_frr_the_password_is_in_frr_conf_alone(direct: Path, tmp_path: Path) -> None:
    text = direct.read_text(encoding="utf-8").replace("mode: direct", "mode: frr")
    direct.write_text(text.replace("asn: 4200000101", "asn: 65101"), encoding="utf-8")
    for what in ("frr", "exabgp"):
        assert bgphealth("-c", direct, "render", what, "-o", tmp_path).exit_code == 0
    assert "neighbor 10.0.1.0 password not/a+secret=" in (tmp_path / "frr.conf").read_text()
    assert "secret" not in (tmp_path / "exabgp.conf").read_text()
    modes = [(tmp_path / name).stat().st_mode for name in ("frr.conf", "exabgp.conf")]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o640, 0o644]
    assert bgphealth("-c", direct, "render", "frr").exit_code == 2


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_text("old")
    (tmp_path / "frr.conf").symlink_to("real.conf")
    bgphealth("-c", file, "render", "frr", "-o", tmp_path)
    assert (tmp_path / "frr.conf").is_symlink()
    assert real.read_text() == expected("dual-stack/frr.conf", file)


def test_nothing_is_left_behind_when_writing_fails(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    out.mkdir()
    (out / "frr.conf").write_text("old")
    monkeypatch.setattr(os, "fsync", no_space)
    result = bgphealth("-c", file, "render", "frr", "-o", out)
    assert result.exit_code == 75
    assert result.stderr == f"{out}/frr.conf: cannot be written: No space left on device\n"
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("frr.conf", "old")]


def test_a_directory_that_is_none(file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    assert bgphealth("-c", file, "render", "frr", "-o", tmp_path / "out").exit_code == 2


def test_this_program_when_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bgphealth"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "render"])
    assert render_module.this_program() == [str(program)]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bgphealth", "render"])
    assert render_module.this_program() == [str(program)]


def test_this_program_when_run_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bgphealth/__main__.py", "render"])
    assert render_module.this_program() == [sys.executable, "-m", "bgphealth"]


def test_a_part_and_what_would_change_are_asked_of_the_frr_that_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = (GOLDEN / "dual-stack" / "frr.conf").read_text(encoding="utf-8")

    async def daemons(_: object, names: Iterable[str]) -> dict[str, Daemon]:
        return {name: Daemon((8, 4), running) for name in names}

    monkeypatch.setattr(setup, "daemons", daemons)
    same = bgphealth("-c", file, "render", "frr", "--diff")
    assert (same.exit_code, same.stdout) == (0, "nothing would change\n")
    other = bgphealth("-c", file, "render", "frr", "--diff", "--fragment")
    assert (other.exit_code, "set weight 65535" in other.stdout) == (1, True)
    written = bgphealth("-c", file, "render", "all", "--fragment", "-o", tmp_path)
    assert written.exit_code == 0
    part = (tmp_path / "frr-fragment.conf").read_text(encoding="utf-8")
    assert part == bgphealth("-c", file, "render", "frr", "--fragment").stdout
    assert not (tmp_path / "frr.conf").exists()


def test_what_would_change_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async def daemons(_: object, names: Iterable[str]) -> dict[str, Daemon]:
        return {name: Daemon((8, 4), "neighbor 10.0.1.0 password theirs") for name in names}

    monkeypatch.setattr(setup, "daemons", daemons)
    done = bgphealth("-c", GOLDEN / "three-uplinks" / "bgphealth.yaml", "render", "frr", "--diff")
    assert done.exit_code == 1
    assert "password ***" in done.stdout
    assert "theirs" not in done.stdout


@pytest.mark.parametrize(
    ("why", "status"),
    [("bgpd is not running", 69), ("no permission for /var/run/frr/bgpd.vty: our user", 77)],
)
def test_without_frr_there_is_no_part(
    file: Path, monkeypatch: pytest.MonkeyPatch, why: str, status: int
) -> None:
    async def daemons(_: object, names: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(names, why)

    monkeypatch.setattr(setup, "daemons", daemons)
    for options in (["--fragment"], ["--diff"]):
        done = bgphealth("-c", file, "render", "frr", *options)
        assert (done.exit_code, done.stdout, done.stderr) == (status, "", f"{why}\n")


def test_what_would_change_is_not_written(file: Path, tmp_path: Path) -> None:
    done = bgphealth("-c", file, "render", "frr", "--diff", "-o", tmp_path)
    assert (done.exit_code, "--diff writes no file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("allowed", "is_given"),
    [("1 0", True), ("0 2147483647", False), ("100 200", True), (None, True)],
)
def test_raw_sockets_are_allowed_where_the_host_allows_no_others(
    allowed: str | None, *, is_given: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "sysctl", lambda _: allowed)
    asked = ("-c", file, "render", "systemd", "--user", "nobody-here")
    line = "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW\n"
    assert (line in bgphealth(*asked).stdout) is is_given
    assert line in bgphealth(*asked, "--raw-icmp").stdout
    assert line not in bgphealth(*asked, "--no-raw-icmp").stdout
