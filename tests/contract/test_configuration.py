"""What of a configuration only one of the versions takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.exabgp import Installed, Neighbor

pytestmark = pytest.mark.contract


def takes(installed: Installed, configuration: str, directory: Path) -> bool:
    """Return whether ExaBGP takes a configuration."""
    file = directory / "exabgp.conf"
    file.write_text(configuration)
    done = subprocess.run(
        [installed.directory / "bin" / "exabgp", "--test" if installed.is_4 else "validate", file],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


PROCESS = "process helper { run /bin/cat; encoder text; }\n"


def test_the_configuration_of_these_tests_is_taken(installed: Installed, tmp_path: Path) -> None:
    assert takes(installed, PROCESS + Neighbor().section, tmp_path)


@pytest.mark.parametrize(
    ("given", "auto"),
    [("local-address 127.0.0.1;", "local-address auto;"), ("peer-as 65101;", "peer-as auto;")],
    ids=["local-address", "peer-as"],
)
def test_auto_is_new_in_5(installed: Installed, given: str, auto: str, tmp_path: Path) -> None:
    section = Neighbor().section
    assert given in section
    assert takes(installed, PROCESS + section.replace(given, auto), tmp_path) != installed.is_4
