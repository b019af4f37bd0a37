"""200,000 changes of what is wanted, through one driver whose reader of replies is slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import churn
from tests.support.bgp_listener import listening
from tests.support.conversation import as_table, until
from tests.support.exabgp import Installed, Neighbor, exabgp

pytestmark = pytest.mark.contract

HOLD_TIME_S = 9
"""As in the rendered configuration: an ExaBGP that is stuck for longer loses its session."""

MUCH_S = 300
"""It takes half a minute; never waited for in full."""

GROWTH_KIB = 32 * 1024
"""A backlog of 200,000 changes would take several times as much, in either process."""


async def test_200_000_changes_through_a_slow_reader(installed: Installed, tmp_path: Path) -> None:
    """Nothing freezes, nothing piles up, and the neighbor ends with what was wanted last."""
    helper = "from tests.support.churn import main\nmain()\n"
    quiet = {"exabgp.log.level": "WARNING"}
    async with listening(hold_time_s=HOLD_TIME_S) as peer:
        neighbors = [Neighbor(peer.address, peer.port)]
        with exabgp(installed, tmp_path, helper, neighbors=neighbors, settings=quiet) as running:
            result_file = tmp_path / "result"
            await until(result_file.exists, running, MUCH_S)
            desired = as_table(churn.wanted(churn.ROUNDS - 1), peer)
            await until(lambda: peer.table == desired, running)

            result = json.loads(result_file.read_text())
            assert result["changes"] >= 200_000
            assert result["refused"] == 0
            assert (peer.sessions, peer.faults) == (1, [])
            for process, before in result["before"].items():
                most = result["after"][process]["VmHWM"]
                assert most - before["VmRSS"] < GROWTH_KIB, (process, result)

            running.process.terminate()
            assert running.status_within(10) is not None
