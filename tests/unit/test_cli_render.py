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

if TYPE_CHECKING:
    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden"
HOST = GOLDEN / "dual-stack"


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
