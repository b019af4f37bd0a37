"""A helper that keeps dying, or cannot start, under a real ExaBGP: ExaBGP and its routes stay."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bgphealth.daemon import starts
from tests.support.exabgp import Installed, eventually, exabgp

pytestmark = pytest.mark.contract

# The first one announces a route, those after it die as soon as they steer, the last one looks.
MORTAL = """
import os, pathlib, signal, sys
from bgphealth.__main__ import guard_stdout
fd = guard_stdout()
import asyncio
from bgphealth.daemon import life, log
from bgphealth.exabgp import pipe

out = pathlib.Path(os.environ["OUT"])

async def steer(self, _):
    with (out / "deaths").open("a") as deaths:
        deaths.write(".")
    count = len((out / "deaths").read_text())
    if count == 1:
        await self._lifeline.writer.write(b"announce route 203.0.113.2/32 next-hop 192.0.0.8\\n")
        await asyncio.sleep(0.5)
    if count > int(os.environ["DEATHS"]):
        lines = []
        self._lifeline.listen(lines.append)
        await self._lifeline.writer.write(b"show adj-rib out\\n")
        while not any("203.0.113.2" in line for line in lines):
            await asyncio.sleep(0.05)
        (out / "table").write_text("203.0.113.2")
        await asyncio.sleep(60)
    os.kill(os.getpid(), signal.SIGKILL)

async def first_good_file(self):
    return None

life.Life._steer = steer
life.Life._first_good_file = first_good_file
configured = log.configure(verbose=False)

async def main():
    stdout = os.fdopen(fd, "wb", 0)
    await life.Life(out / "bgphealth.yaml", configured).run(sys.stdin.buffer, stdout)

asyncio.run(main())
"""

DEATHS = 7
"""More than ExaBGP bears within its 64 s."""

REAL = """
import os, sys
os.execv(sys.executable, [
    sys.executable, "-m", "bgphealth", "-c", os.environ["OUT"] + "/bgphealth.yaml", "run"
])
"""


@pytest.mark.minutes
def test_a_helper_that_keeps_dying_takes_neither_exabgp_nor_its_routes_with_it(
    installed: Installed, tmp_path: Path
) -> None:
    kept = {"STATE_DIRECTORY": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    began = time.monotonic()
    with exabgp(installed, tmp_path, MORTAL, settings={**kept, "DEATHS": str(DEATHS)}) as running:
        looked = eventually((tmp_path / "table").exists, 3 * starts.WINDOW_S)
        assert looked, running.logged()
        assert running.status_within(0) is None
        assert len((tmp_path / "deaths").read_text()) == DEATHS + 1
        assert time.monotonic() - began > starts.WINDOW_S
        assert '"event": "crash_loop"' in running.log.read_text(errors="replace")


def test_a_file_that_is_wrong_ends_neither_of_them(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "bgphealth.yaml").write_text("version: 2\n")
    kept = {"STATE_DIRECTORY": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    with exabgp(installed, tmp_path, REAL, settings=kept) as running:

        def refused() -> int:
            return running.log.read_text(errors="replace").count('"event": "file_refused"')

        assert eventually(refused), running.logged()
        assert running.status_within(3) is None
        assert refused() == 1
        running.process.terminate()
        assert running.status_within(10) is not None
        assert '"reason": "exabgp_shutdown"' in running.log.read_text(errors="replace")
