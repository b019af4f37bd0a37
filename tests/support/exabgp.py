"""A real ExaBGP for contract tests: no root, no peer, one helper of the test's choice."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

# The neighbor never answers: the port is the discard service's, on loopback.
_CONFIGURATION = """
process helper {{
    run {run};
    encoder text;
}}
neighbor 127.0.0.1 {{
    router-id 127.0.0.2;
    local-address 127.0.0.1;
    local-as 65101;
    peer-as 65101;
    connect 9;
    adj-rib-out true;
    family {{ ipv4 unicast; ipv6 unicast; }}
    capability {{ add-path send; }}
    api {{ processes [ helper ]; }}
}}
"""

T = TypeVar("T")

_PROGRAM = Path(sys.executable).with_name("exabgp")


@dataclass(frozen=True)
class RunningExabgp:
    """An ExaBGP that runs, and what it wrote to its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def status_within(self, seconds: float) -> int | None:
        """Return its exit status, or None when it still runs after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def exabgp(tmp_path: Path, helper: str, *, respawn: bool = True) -> Iterator[RunningExabgp]:
    """Run ExaBGP with a Python helper, given as source text; end both on leaving."""
    script = tmp_path / "helper.py"
    script.write_text(helper)
    configuration = tmp_path / "exabgp.conf"
    configuration.write_text(_CONFIGURATION.format(run=f"{sys.executable} {script}"))
    log = tmp_path / "exabgp.log"
    settings = {
        "exabgp.api.ack": "true",
        "exabgp.api.cli": "false",
        "exabgp.api.respawn": str(respawn).lower(),
        "exabgp.api.terminate": "true",
        "exabgp.daemon.user": getpass.getuser(),
        "exabgp.log.destination": "stderr",
        "exabgp.log.level": "DEBUG",
        "exabgp.tcp.bind": "",
    }
    environment = {**os.environ, **settings, "PYTHONPATH": str(Path.cwd()), "OUT": str(tmp_path)}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [_PROGRAM, "server", configuration],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
    try:
        yield RunningExabgp(process, log)
    finally:
        _end(process)


def eventually(what: Callable[[], T], seconds: float = 20) -> T:
    """Return what the call returns once that is true; the last answer when time is up."""
    deadline = time.monotonic() + seconds
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
