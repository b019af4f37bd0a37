"""What the Debian package refuses before anything of it is unpacked.

dpkg-query and systemctl are stand-ins: the real ones would answer about this machine.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREINST = ROOT / ".packaging" / "debian" / "bgphealth.preinst"
OURS = ROOT / "bgphealth" / "share" / "systemd" / "exabgp.service"


def preinst(
    directory: Path, *arguments: str, package: str = "", active: str = "inactive", unit: str = ""
) -> tuple[int, str]:
    """Run it where the package exabgp and exabgp.service are so; return status and stderr."""
    for name, answers in (
        # As dpkg-query does of a name that was never heard of.
        ("dpkg-query", f"echo -n {package}\n[ {package or 'none'} != none ]"),
        ("systemctl", f"case $1 in is-active) echo {active}; false ;; show) echo {unit} ;; esac"),
    ):
        program = directory / name
        program.write_text(f"#!/bin/sh\n{answers}\n")
        program.chmod(0o755)
    done = subprocess.run(
        ["sh", PREINST, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": f"{directory}:{os.environ['PATH']}"},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("installed", "the package exabgp is installed"),
        ("half-configured", "the package exabgp is installed"),
        # Its links are still there, and would enable our unit; to purge it later would disable it.
        ("config-files", "the package exabgp was removed, and not purged"),
    ],
)
def test_debians_exabgp_is_to_be_purged_first(tmp_path: Path, package: str, said: str) -> None:
    status, stderr = preinst(tmp_path, "install", package=package)
    assert status == 1
    assert f"bgphealth: {said}. Nothing was changed. " in stderr
    assert "apt purge exabgp" in stderr


@pytest.mark.parametrize("active", ["active", "activating", "reloading"])
def test_another_exabgp_that_runs_is_to_be_stopped_first(tmp_path: Path, active: str) -> None:
    theirs = tmp_path / "exabgp.service"
    theirs.write_text("[Unit]\nDescription=ExaBGP\n")
    status, stderr = preinst(tmp_path, "install", active=active, unit=str(theirs))
    assert (status, f"another exabgp.service runs, {theirs}. " in stderr) == (1, True)
    assert "systemctl stop exabgp" in stderr


@pytest.mark.parametrize("package", ["", "not-installed"])
def test_nothing_is_in_the_way(tmp_path: Path, package: str) -> None:
    assert preinst(tmp_path, "install", package=package) == (0, "")
    assert preinst(tmp_path, "install", package=package, active="''") == (0, "")


def test_a_unit_of_ours_may_run(tmp_path: Path) -> None:
    """Of a virtual environment: installing the package stops nothing."""
    assert preinst(tmp_path, "install", active="active", unit=str(OURS)) == (0, "")


def test_an_upgrade_is_not_refused(tmp_path: Path) -> None:
    assert preinst(tmp_path, "upgrade", "0.1.0", package="config-files") == (0, "")
    assert preinst(tmp_path, "upgrade", "0.1.0", active="active") == (0, "")
