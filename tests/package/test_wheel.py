"""The wheel in a fresh virtual environment: it runs without the checkout that it was built from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import bgphealth
from tests.package.conftest import ROOT, pip

EXAMPLES = sorted(file.name for file in (ROOT / "bgphealth" / "share" / "examples").iterdir())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel; return the directory of its program."""
    environment = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    constraints = str(ROOT / ".packaging" / "constraints.txt")
    ours = f"pytest=={pytest.__version__}"
    pip(environment, "install", "--constraint", constraints, f"{wheel}[http,dns,pytest]", ours)
    return environment


def run(installed: Path, *arguments: str, into: Path) -> str:
    done = subprocess.run(
        [installed / "bin" / "bgphealth", *arguments],
        cwd=into,  # Not the checkout, which Python would import from.
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def examples(installed: Path) -> Path:
    (directory,) = installed.glob("lib/python3*/site-packages/bgphealth/share/examples")
    return directory


def test_everything_that_is_no_code_is_in_it(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        names = set(opened.namelist())
    share = ROOT / "bgphealth" / "share"
    for file in share.rglob("*"):
        assert file.is_dir() or str(file.relative_to(ROOT)) in names
    for file in (ROOT / "frr-templates").iterdir():
        assert f"bgphealth/templates/{file.name}" in names
    assert not [name for name in names if name.startswith(("tests/", "lab/", "docs/"))]


def test_the_version_is_that_of_the_code(installed: Path, wheel: Path, tmp_path: Path) -> None:
    assert wheel.name.startswith(f"bgphealth-{bgphealth.__version__}-")
    assert run(installed, "--version", into=tmp_path) == f"bgphealth {bgphealth.__version__}\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_checked_and_rendered(
    installed: Path, example: str, tmp_path: Path
) -> None:
    file = str(examples(installed) / example)
    assert "valid" in run(installed, "-c", file, "check", into=tmp_path)
    run(installed, "-c", file, "render", "all", "-o", "rendered", into=tmp_path)
    unit = "bgphealth.service" if example == "local.yaml" else "exabgp.service"
    rendered = {each.name: each.read_text() for each in (tmp_path / "rendered").iterdir()}
    assert str(installed) in rendered[unit]  # It names the ExaBGP, or itself, of this environment.
    assert ("frr.conf" in rendered) == (example == "frr.yaml")


def test_the_schema_is_printed(installed: Path, tmp_path: Path) -> None:
    assert "$schema" in json.loads(run(installed, "schema", into=tmp_path))


def test_pytest_has_the_plugin(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.clab.yml").write_text("name: mine\n")
    (tmp_path / "test_mine.py").write_text(
        "import pytest\npytestmark = pytest.mark.clab('mine.clab.yml')\ndef test_it(clab): pass\n"
    )
    done = subprocess.run(
        [installed / "bin" / "pytest", "--strict-markers", "--clab-command", "/nowhere/sudo"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "/nowhere/sudo is not installed" in done.stdout, done.stdout + done.stderr
