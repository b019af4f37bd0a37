"""No room left on the disk: what cannot be remembered or logged is no reason to steer worse."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.neighbors import configuration, neighbors
from tests.support.netns import isolated
from tests.support.program import BOTH_UP, Run, program_over

pytestmark = pytest.mark.network

FULL = 'mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero >"$0/full" && exec "$@"'
"""Make the directory in $0 a full disk, in a mount namespace of its own."""


def is_up(run: Run) -> bool:
    return set(BOTH_UP) <= set(run.table().values())


def remembered(directory: Path) -> set[str]:
    file = directory / "bgphealth.routes.json"
    routes = json.loads(file.read_text())["routes"] if file.exists() else []
    return {route["prefix"] for route in routes}


@isolated
async def test_what_cannot_be_remembered_is_said_once_and_remembered_later() -> None:
    with neighbors(2) as (_, tor2), TemporaryDirectory() as where, TemporaryDirectory() as state:
        file = configuration(Path(where), 2)
        full = ("unshare", "--mount", "sh", "-c", FULL, state)
        async with program_over(file, wrapper=full, environment={"STATE_DIRECTORY": state}) as run:
            await run.until(lambda: is_up(run))
            await run.until(lambda: run.events("state_not_kept"))
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            (said,) = run.events("state_not_kept")
            assert "No space left on device" in str(said["why"])
            kept = Path(f"/proc/{run.process.pid}/root{state}")
            assert remembered(kept) == set()
            (kept / "full").unlink()
            text = file.read_text()
            file.write_text(text.replace("{dns: {", "{web: {prefixes: [192.0.2.80/32]}, dns: {"))
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: "192.0.2.80/32" in remembered(kept))


@isolated
async def test_a_log_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    with neighbors(2) as (_, tor2), TemporaryDirectory() as where:
        full = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
        async with program_over(configuration(Path(where), 2), wrapper=full) as run:
            await run.until(lambda: is_up(run))
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            tor2.come_back()
            await run.until(lambda: is_up(run))
            run.process.terminate()
            await run.ends()
