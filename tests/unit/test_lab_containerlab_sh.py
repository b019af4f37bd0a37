"""lab/containerlab.sh: which containerlab does, and what is said when none can be built."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lab" / "containerlab.sh"
REFUSED = """\
case $1 in
env) echo go1.26.0 ;;
*) printf '{\\n\\t"Path": "github.com/x",\\n\\t"Error": "403 Forbidden"\\n}\\n'; exit 1 ;;
esac
"""


def add(program: Path, script: str) -> None:
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a tree of its own, with nothing in the machine's own places."""
    text = SCRIPT.read_text(encoding="utf-8").replace("/usr/bin/containerlab", f"{tree}/usr/clab")
    text = text.replace("/usr/local/bin/containerlab", f"{tree}/local/clab")
    add(tree / "lab" / "containerlab.sh", text)
    return subprocess.run(
        ["/bin/sh", str(tree / "lab" / "containerlab.sh"), *arguments],
        env={"PATH": f"{tree}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("version", "is_enough"),
    [("0.75.1", False), ("0.76.0", True), ("0.80.0", True), ("0.100.2", True), ("1.0.0", True)],
)
def test_an_old_one_does_not_do(tmp_path: Path, version: str, is_enough: bool) -> None:  # noqa: FBT001
    add(tmp_path / "local" / "clab", f'echo "art"; echo; echo "    version: {version}"')
    done = run(tmp_path, "check")
    assert (done.returncode == 0, done.stdout, done.stderr) == (is_enough, "", "")


def test_one_that_was_built_here_does(tmp_path: Path) -> None:
    assert run(tmp_path, "check").returncode == 1
    add(tmp_path / ".containerlab" / "containerlab", "")
    assert run(tmp_path, "check").returncode == 0
    assert run(tmp_path).returncode == 0


def test_what_go_says_is_said(tmp_path: Path) -> None:
    add(tmp_path / "bin" / "go", REFUSED)
    done = run(tmp_path)
    assert done.returncode == 69
    assert "no github.com/srl-labs/containerlab@v0.79.0: 403 Forbidden" in done.stderr
    assert list((tmp_path / ".containerlab").iterdir()) == []
