"""`bgphealth check`: what it prints, where, and its exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden"
ROOT = Path(__file__).parents[2]
HOSTS = sorted(file.parent.name for file in GOLDEN.glob("*/bgphealth.yaml"))


def bgphealth(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("host", HOSTS)
def test_summary(
    host: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN / host)
    result = bgphealth("-c", "bgphealth.yaml", "check")
    assert (result.exit_code, result.stderr) == (0, "")
    golden(f"{host}/check.txt", result.stdout)


@pytest.mark.parametrize("host", HOSTS)
def test_json(
    host: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN / host)
    result = bgphealth("-c", "bgphealth.yaml", "check", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["schema_version"] == 1
    golden(f"{host}/check.json", result.stdout)


def test_errors_go_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "errors")
    result = bgphealth("-c", "several.yaml", "check")
    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr == Path("several.txt").read_text(encoding="utf-8")


def test_errors_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "errors")
    result = bgphealth("-c", "unknown-key.yaml", "check", "--json")
    assert (result.exit_code, result.stderr) == (78, "")
    said = json.loads(result.stdout)
    assert said["valid"] is False
    assert [(error["line"], error["path"]) for error in said["errors"]] == [
        (10, "services.dns.intervl"),
        (11, "polizy"),
    ]
    assert said["errors"][1]["message"].startswith("unknown key; did you mean 'policy'?")


def test_no_such_file(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    result = bgphealth("-c", str(file), "check")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr == f"{file}: no such file\n"


def test_no_such_file_as_json(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    result = bgphealth("-c", str(file), "check", "--json")
    assert (result.exit_code, result.stderr) == (78, "")
    assert json.loads(result.stdout)["errors"] == [
        {"file": str(file), "line": None, "path": "", "message": "no such file"}
    ]


AS_NOBODY = """
import os
import shutil

import bgphealth.__main__
import bgphealth.cli.app
import bgphealth.cli.check

if os.geteuid() == 0:  # File modes do not stop root.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
bgphealth.__main__.main()
"""


def as_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )


def test_a_file_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "bgphealth.yaml"
        file.write_bytes((GOLDEN / "ipv4-only" / "bgphealth.yaml").read_bytes())
        file.chmod(0o644)
        seen = as_nobody("-c", file, "check")
        assert seen.returncode == 0, seen.stderr  # So what follows is about the mode alone.
        file.chmod(0)
        done = as_nobody("-c", file, "check")
        assert (done.returncode, done.stdout) == (77, "")
        assert done.stderr == f"{file}: permission denied\n"


def test_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    file = GOLDEN / "ipv4-only" / "bgphealth.yaml"
    monkeypatch.setenv("BGPHEALTH_CONFIG", str(file))
    result = bgphealth("check")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{file}: valid\n")


def test_version_and_help() -> None:
    assert bgphealth("--version").stdout.startswith("bgphealth ")
    for arguments in (["--help"], ["check", "-h"], ["render", "--help"], ["run", "--help"]):
        assert bgphealth(*arguments).exit_code == 0


def test_usage_errors_have_status_2() -> None:
    assert bgphealth("chk").exit_code == 2
    assert bgphealth("check", "--jsn0").exit_code == 2


def test_a_file_called_run_does_not_take_stdout_away(tmp_path: Path) -> None:
    """`run` takes stdout away before the command line is read; other commands get it back."""
    shutil.copy(GOLDEN / HOSTS[0] / "bgphealth.yaml", tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "bgphealth", "-c", "run", "check"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run: valid")
