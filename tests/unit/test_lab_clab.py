"""lab/clab.sh, with a stand-in for the lab: its status, and whose daemon it ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lab" / "clab.sh"
PYTHON = """\
#!/bin/sh
case "$1 $2 $3" in
-c*) exit $ANSWERS ;;
*"lab images") echo one; [ -z "$FAILS" ] || exit 69; echo two ;;
esac
echo "$BGPHEALTH_LAB_IMAGE $*" >>log
"""


def run(directory: Path, **environment: str) -> tuple[int, list[str]]:
    """Run the script in a tree of its own; return its status, and what it ran."""
    (directory / "lab").mkdir()
    (directory / "lab" / "clab.sh").write_bytes(SCRIPT.read_bytes())
    python = directory / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    script = str(directory / "lab" / "clab.sh")
    environment = {"ANSWERS": "1", "FAILS": "", **environment}
    done = subprocess.run(["/bin/sh", script], env=environment, capture_output=True, check=False)
    log = directory / "log"
    return done.returncode, log.read_text().splitlines() if log.exists() else []


DEMOS = [f"{image} -m lab demo --driver containerlab" for image in ("one", "two")]


@pytest.mark.parametrize(("answers", "end"), [("1", [" -m lab docker down"]), ("0", [])])
def test_only_a_daemon_that_it_started_ends(tmp_path: Path, answers: str, end: list[str]) -> None:
    assert run(tmp_path, ANSWERS=answers) == (0, [" -m lab images", *DEMOS, *end])


def test_images_that_are_not_built_are_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, FAILS="1") == (69, [" -m lab docker down"])
