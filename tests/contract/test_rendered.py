"""Each exabgp.conf that is rendered is taken by both versions of ExaBGP."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.test_render import HOSTS, exabgp_conf
from tests.support.exabgp import Installed

pytestmark = pytest.mark.contract


def validated(installed: Installed, conf: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "exabgp.conf"
    file.write_text(conf, encoding="utf-8")
    program = installed.directory / "bin" / "exabgp"
    return subprocess.run(
        [program, "--test" if installed.is_4 else "validate", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("host", HOSTS)
def test_exabgp_takes_exabgp_conf(installed: Installed, host: str, tmp_path: Path) -> None:
    # ExaBGP looks for the program, and ours need not be installed.
    done = validated(installed, exabgp_conf(host, program=sys.executable), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "right", "wrong"),
    [
        ("dual-stack", "add-path", "ad-path"),
        ("direct", "md5-password", "password"),
        ("direct", "incoming-ttl 255", "incoming-ttl 256"),
        ("direct", "neighbor-changes", "neighbour-changes"),
    ],
)
def test_exabgp_would_say_so_if_it_did_not(
    installed: Installed, tmp_path: Path, host: str, right: str, wrong: str
) -> None:
    conf = exabgp_conf(host, program=sys.executable)
    assert right in conf
    assert validated(installed, conf.replace(right, wrong), tmp_path).returncode != 0
