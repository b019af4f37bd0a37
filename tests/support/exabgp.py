"""A real ExaBGP for contract tests, of either version: no root, one helper of the test's choice."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

ROOT = Path(__file__).parents[2]

LOCAL_ASN = 65101

_CONFIGURATION = """
process helper {{
    run {run};
    encoder {encoder};
}}
"""

_NEIGHBOR = """
neighbor {address} {{
    router-id 127.0.0.2;
    local-address {local};
    local-as {local_asn};
    peer-as {asn};
    connect {port};
    adj-rib-out true;
    family {{ ipv4 unicast; ipv6 unicast; }}
    capability {{ add-path send; {capabilities} }}
    api {{ processes [ helper ]; {events} }}
}}
"""

T = TypeVar("T")

Encoder = Literal["text", "json"]


@dataclass(frozen=True)
class Installed:
    """One version of ExaBGP, in a virtual environment that ``make setup`` makes."""

    version: str
    directory: Path

    def __str__(self) -> str:
        """Return the name that tests have for it: ``exabgp-4.2.25``."""
        return f"exabgp-{self.version}"

    @property
    def is_4(self) -> bool:
        """Whether this is ExaBGP 4, which lacks what 5 learnt."""
        return self.version.startswith("4.")

    @property
    def absent(self) -> str:
        """Why it cannot be run; empty when it can."""
        if not [*self.directory.glob(f"lib/python*/site-packages/{self}.dist-info")]:
            return f"{self} is not in {self.directory.relative_to(ROOT)}: run `make setup`"
        return ""

    def command(self, configuration: Path) -> list[str]:
        """Return the command that starts it."""
        program = str(self.directory / "bin" / "exabgp")
        return [program, *([] if self.is_4 else ["server"]), str(configuration)]


def versions() -> Iterator[Installed]:
    """Yield what pyproject.toml pins, oldest first."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for name in sorted(groups):
        _, dash, minor = name.partition("exabgp-")
        if dash:
            (pinned,) = groups[name]
            yield Installed(pinned.removeprefix("exabgp=="), ROOT / ".exabgp" / minor)


@dataclass(frozen=True)
class Neighbor:
    """Whom ExaBGP speaks to. By default nobody answers: the port is the discard service's."""

    address: str = "127.0.0.1"
    port: int = 9
    asn: int = LOCAL_ASN
    events: str = ""
    """What the helper is told of it, as ExaBGP's `api` section says it."""
    capabilities: str = ""
    """What ExaBGP offers besides ADD-PATH, as its `capability` section says it."""
    local: str = ""
    """ExaBGP's own address, if not the usual one."""

    @property
    def section(self) -> str:
        """Return it as a section of exabgp.conf."""
        local = self.local or local_address(self.address)
        return _NEIGHBOR.format(**{**vars(self), "local": local}, local_asn=LOCAL_ASN)


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

    def logged(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]


@contextmanager
def exabgp(  # noqa: PLR0913 - what of ExaBGP's configuration a test may choose
    installed: Installed,
    directory: Path,
    helper: str,
    *,
    neighbors: Sequence[Neighbor] = (Neighbor(),),
    encoder: Encoder = "text",
    settings: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[RunningExabgp]:
    """Run ExaBGP with a Python helper, given as source text; end both on leaving.

    Args:
        installed: the version.
        directory: where its files are written; the helper finds it in the environment, as ``OUT``.
        helper: a Python script.
        neighbors: whom it speaks to.
        encoder: how events are written to the helper.
        settings: of ExaBGP's environment, and others that only the helper reads.
        python: what runs the helper; by default that of the tests, which has bgphealth.
    """
    script = directory / "helper.py"
    script.write_text(helper)
    configuration = directory / "exabgp.conf"
    configuration.write_text(
        _CONFIGURATION.format(run=f"{python} {script}", encoder=encoder)
        + "".join(neighbor.section for neighbor in neighbors)
    )
    log = directory / "exabgp.log"
    defaults = {
        "exabgp.api.ack": "true",
        "exabgp.api.cli": "false",
        "exabgp.api.respawn": "true",
        "exabgp.api.terminate": "true",
        "exabgp.daemon.user": getpass.getuser(),
        "exabgp.log.destination": "stderr",
        "exabgp.log.level": "DEBUG",
        "exabgp.tcp.bind": "",
        "PYTHONPATH": str(ROOT),
        "OUT": str(directory),
    }
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            installed.command(configuration),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, **defaults, **(settings or {})},
            start_new_session=True,
        )
    try:
        yield RunningExabgp(process, log)
    finally:
        _end(process)


def local_address(neighbor: str) -> str:
    """Return ExaBGP's own address on the session to a neighbor, both on loopback."""
    return "::1" if ":" in neighbor else "127.0.0.1"


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
