from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def needs(*programs: str) -> None:
    """Skip, or fail in CI, where these programs are not installed."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing and "CI" in os.environ:
        pytest.fail(f"packages must be tested in CI; not here: {', '.join(missing)}")
    if missing:
        pytest.skip(f"`lab/setup.sh package` installs {', '.join(missing)}")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a checkout as it is."""
    directory = tmp_path_factory.mktemp("wheel")
    pip(None, "wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    (built,) = directory.glob("*.whl")
    return built


def pip(environment: Path | None, *arguments: str) -> None:
    """Run our pip, for our own virtual environment or for another one, which needs none."""
    other = () if environment is None else ("--python", str(environment))
    subprocess.run(
        [sys.executable, "-m", "pip", *other, "--quiet", *arguments], check=True, timeout=300
    )
