"""E6: whom ExaBGP's helper runs as.

These alone of the contract tests need root, to give it away.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.exabgp import Installed, Neighbor, eventually

pytestmark = pytest.mark.contract

NOBODY = pwd.getpwnam("nobody")

_IDS = ("--reuid", str(NOBODY.pw_uid), "--regid", str(NOBODY.pw_gid))
AS_NOBODY = ("setpriv", *_IDS, "--clear-groups")

PROCESS = "process helper { run /bin/cat; encoder text; }\n"
"""Waits for lines that never come."""

CAPABILITIES = "+net_admin,+net_raw"
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
"""Numbers of linux/capability.h."""


@pytest.fixture(autouse=True)
def _possible(installed: Installed) -> None:
    """Skip, or fail in CI, where privileges cannot be given away."""
    program = installed.directory / "bin" / "python"
    if os.geteuid() != 0:
        why = "ExaBGP has no privileges to drop: run as root"
    elif subprocess.run([*AS_NOBODY, program, "-c", "import exabgp"], check=False).returncode != 0:
        why = f"nobody may not read {installed.directory}"
    else:
        return
    if "CI" in os.environ:
        pytest.fail(f"contract tests must run in CI: {why}")
    pytest.skip(why)


class Rights(NamedTuple):
    """Of a process: its user and group, effective ones too, and its effective capabilities."""

    uids: set[int]
    gids: set[int]
    capabilities: int


def rights(pid: int) -> Rights:
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return Rights(
        {*map(int, fields["Uid"].split())},
        {*map(int, fields["Gid"].split())},
        int(fields["CapEff"], 16),
    )


def helper_of(pid: int) -> int | None:
    """Return the pid of ExaBGP's helper, when it is what it is to be."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text() == "cat\n":
            return int(child)
    return None


@contextmanager
def started(
    installed: Installed, prefix: Sequence[str] = (), **settings: str
) -> Iterator[tuple[int, int]]:
    """Run ExaBGP as this prefix makes it run; yield its pid and that of its helper."""
    environment = {
        "PATH": os.environ["PATH"],
        "exabgp_api_cli": "false",
        "exabgp_log_destination": "stderr",
        "exabgp_tcp_bind": "",
        **settings,
    }
    # pytest's own directories are not for others to read.
    with tempfile.TemporaryDirectory() as text, tempfile.TemporaryFile("w+") as log:
        directory = Path(text)
        directory.chmod(0o755)
        configuration = directory / "exabgp.conf"
        configuration.write_text(PROCESS + Neighbor().section)
        process = subprocess.Popen(
            [*prefix, *installed.command(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
        try:
            helper = eventually(lambda: process.poll() is None and helper_of(process.pid))
            log.seek(0)
            assert helper, log.read()
            yield process.pid, helper
        finally:
            process.terminate()
            process.wait(20)


def test_e6_started_as_root_it_is_nobody_before_it_starts_its_helper(
    installed: Installed,
) -> None:
    """Unless it is told another user. Tables, rules and raw sockets are then out of reach."""
    nobody = Rights({NOBODY.pw_uid}, {NOBODY.pw_gid}, 0)
    with started(installed) as pids:
        assert [rights(pid) for pid in pids] == [nobody] * 2


def test_e6_started_as_its_own_user_it_passes_ambient_capabilities_on(
    installed: Installed,
) -> None:
    """As the rendered unit starts it."""
    ambient = ("--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES)
    own = Rights({NOBODY.pw_uid}, {NOBODY.pw_gid}, 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW)
    with started(installed, (*AS_NOBODY, *ambient), exabgp_daemon_user="nobody") as pids:
        assert [rights(pid) for pid in pids] == [own] * 2
