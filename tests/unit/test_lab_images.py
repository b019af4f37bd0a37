"""lab/images.py: where packages come from, and that an end half-way leaves nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from lab import images
from lab.errors import LabError, TimedOutError


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is looked into for programs first."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setattr(images, "RECIPE", directory)
    add(directory, "debootstrap", "exit 1")
    return directory


def add(directory: Path, name: str, script: str) -> None:
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("line", "mirror"),
    [
        ("Debian\tbookworm\tmain\thttp://near/debian", "http://near/debian"),
        ("Some Vendor\tbookworm\tmain\thttp://vendor/apt", ""),
        ("\t\t\thttp://flat/apt", ""),
    ],
)
def test_the_mirror_is_debians(programs: Path, line: str, mirror: str) -> None:
    add(programs, "apt-get", f"echo '{line}'")
    assert images.mirror() == mirror


def test_what_takes_too_long_cleans_up(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    cleans = f"trap 'rmdir {root}' EXIT; trap 'exit 143' TERM; mkdir {root}"
    add(programs, "base", f"{cleans}; sleep 600")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(images, "_BUILD_TIMEOUT_S", 1.0)
    with tempfile.TemporaryFile() as archive, pytest.raises(TimedOutError, match="still ran"):
        images.debootstrap(images.LATEST, archive)
    assert not root.exists()


def test_what_fails_is_said(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(programs, "base", "echo the archive; echo no such mirror >&2; exit 3")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with tempfile.TemporaryFile() as archive:
        with pytest.raises(LabError, match="of bookworm:\nno such mirror"):
            images.debootstrap(images.LATEST, archive)
        archive.seek(0)
        assert archive.read() == b"the archive\n"
