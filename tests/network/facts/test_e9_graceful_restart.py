"""E9: graceful restart (RFC 4724) on the injector session, between ExaBGP and a real bgpd.

bgpd keeps what an ExaBGP that died had announced, wherever that leads, and drops it when the next
ExaBGP sends its End-of-RIB, which is before bgphealth has a verdict. So it is off.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.exabgp import (
    LOCAL_ASN,
    Installed,
    Neighbor,
    RunningExabgp,
    eventually,
    exabgp,
    versions,
)
from tests.support.frr import Frr, frr
from tests.support.netns import isolated

INJECTOR = "127.0.0.2"
PREFIX = "203.0.113.1/32"

RESTART_S = 600
"""Longer than bgpd is ever waited for: nothing here is gone because time is up."""

BGPD = f"""frr defaults datacenter
hostname server1
ip route 192.0.0.8/32 blackhole
router bgp {LOCAL_ASN}
 bgp router-id 10.255.10.1
 neighbor {INJECTOR} remote-as {LOCAL_ASN}
 neighbor {INJECTOR} passive
 neighbor {INJECTOR} update-source lo
"""

ANNOUNCES = f"""
import sys
print("announce route {PREFIX} next-hop 192.0.0.8", flush=True)
sys.stdin.read()
"""
SILENT = "import sys\nsys.stdin.read()\n"


class Scene:
    """bgpd, and the ExaBGPs that speak to it one after the other."""

    def __init__(self, bgpd: Frr, installed: Installed, directory: Path, restart: str) -> None:
        self.bgpd = bgpd
        self._installed = installed
        self._directory = directory
        self._neighbor = Neighbor(port=179, local=INJECTOR, capabilities=restart)

    @contextmanager
    def exabgp(self, helper: str) -> Iterator[RunningExabgp]:
        """Run an ExaBGP until its session is up, and to the end of the block."""
        before = self.sessions()
        with exabgp(
            self._installed, self._directory, helper, neighbors=[self._neighbor]
        ) as running:
            assert eventually(lambda: self.sessions() > before and self.is_up()), running.logged()
            yield running

    def show(self, command: str) -> Any:  # noqa: ANN401 - FRR's JSON
        asked = ("vtysh", "--vty_socket", str(self.bgpd.directory), "-c", f"{command} json")
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return json.loads(done.stdout or "{}") if done.returncode == 0 else {}

    def neighbor(self) -> dict[str, Any]:
        found: dict[str, Any] = self.show(f"show bgp neighbors {INJECTOR}").get(INJECTOR, {})
        return found

    def is_up(self) -> bool:
        return self.neighbor().get("bgpState") == "Established"

    def sessions(self) -> int:
        return int(self.neighbor().get("connectionsEstablished", 0))

    def paths(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.show(f"show bgp ipv4 unicast {PREFIX}").get("paths", [])
        return found

    def is_stale(self) -> bool:
        return any(path.get("stale") for path in self.paths())

    def is_there(self) -> bool:
        return any(not path.get("stale") for path in self.paths())

    def evidence(self) -> str:
        return f"{self.paths()}\n{self.neighbor()}\n{self.bgpd.log()}"


def played(installed: Installed, restart: str, act: Callable[[Scene], None]) -> None:
    """Play an act with a bgpd of its own, in a network namespace of its own."""
    if installed.absent:
        if "CI" in os.environ:
            pytest.fail(f"network tests must run in CI: {installed.absent}")
        pytest.skip(installed.absent)

    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        directory.chmod(0o755)  # FRR's daemons are not root.

        @isolated
        async def play() -> None:
            with frr(directory / "frr", BGPD) as bgpd:
                act(Scene(bgpd, installed, directory, restart))

        play()


each_version = pytest.mark.parametrize("installed", list(versions()), ids=str)


@each_version
def test_e9_without_graceful_restart_what_a_dead_exabgp_announced_is_gone(
    installed: Installed,
) -> None:
    def act(scene: Scene) -> None:
        with scene.exabgp(ANNOUNCES) as running:
            assert eventually(scene.is_there), scene.evidence()
            running.process.kill()
            assert eventually(lambda: not scene.is_up()), scene.evidence()
            assert eventually(lambda: not scene.paths()), scene.evidence()

    played(installed, "", act)


@each_version
def test_e9_with_it_bgpd_keeps_what_leads_nowhere_until_the_next_end_of_rib(
    installed: Installed,
) -> None:
    def act(scene: Scene) -> None:
        with scene.exabgp(ANNOUNCES) as running:
            assert eventually(scene.is_there), scene.evidence()
            running.process.kill()
            assert eventually(scene.is_stale), scene.evidence()
            assert not scene.is_up()
        with scene.exabgp(SILENT):
            assert eventually(lambda: not scene.paths()), scene.evidence()
            assert scene.is_up()

    played(installed, f"graceful-restart {RESTART_S};", act)


@each_version
def test_e9_with_it_even_an_orderly_end_of_exabgp_leaves_its_routes(installed: Installed) -> None:
    def act(scene: Scene) -> None:
        with scene.exabgp(ANNOUNCES) as running:
            assert eventually(scene.is_there), scene.evidence()
            running.process.terminate()
            assert running.status_within(20) is not None
            assert eventually(scene.is_stale), scene.evidence()

    played(installed, f"graceful-restart {RESTART_S};", act)
