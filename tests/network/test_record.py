"""A run that was recorded, with real probes, is replayed to the same decisions."""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.core.policy import intents
from tests.support.neighbors import Neighbor, configuration, neighbors
from tests.support.netns import isolated
from tests.support.program import BOTH_UP, Run, program_over
from tests.support.recordings import logged, played, told

pytestmark = pytest.mark.network

WEB = "192.0.2.80/32"


@contextmanager
def places() -> Iterator[tuple[Path, Path]]:
    """Give a configuration, and where to record to."""
    with tempfile.TemporaryDirectory() as directory:
        yield configuration(Path(directory)), Path(directory) / "recording.jsonl"


async def goes_away_and_comes_back(run: Run, tor2: Neighbor) -> None:
    await run.until(lambda: len(run.table()) == 4)
    tor2.go_dark()
    await run.until(lambda: run.events("withdraw"))
    await run.until(lambda: len(run.table()) == 3)  # Its log and its commands come by two ways.
    tor2.come_back()
    await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
    tor2.ip("link", "set", "eth0", "down")
    await run.until(lambda: len(run.events("withdraw")) == 2)
    tor2.ip("link", "set", "eth0", "up")
    await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))


async def ends(run: Run) -> None:
    run.process.send_signal(signal.SIGTERM)
    assert await run.ends() == 0


@isolated
async def test_a_recorded_run_is_replayed_to_the_same_decisions() -> None:
    with neighbors(2) as (_, tor2), places() as (file, recording):
        async with program_over(file, "-v", "--record", str(recording)) as run:
            await goes_away_and_comes_back(run, tor2)
            await ends(run)
        result = played(recording)
        assert told(result) == logged(run.log)
        assert {str(key.prefix) for key in intents(result.state.decisions)} == {
            route.split()[0] for route in run.table()
        }


@isolated
async def test_so_is_one_whose_file_was_changed_on_the_way() -> None:
    with neighbors(2) as (_, tor2), places() as (file, recording):
        before = file.read_text()
        async with program_over(file, "-v", "--record", str(recording)) as run:
            await goes_away_and_comes_back(run, tor2)
            file.write_text(before.replace("{dns: {", f"{{web: {{prefixes: [{WEB}]}}, dns: {{"))
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: WEB in run.table())
            file.write_text(before.replace("interval: 50ms", "interval: 60ms"))
            run.process.send_signal(signal.SIGHUP)
            await run.until(lambda: len(run.events("reloaded")) == 2)
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            await ends(run)
        assert told(played(recording)) == logged(run.log)
        result = CliRunner().invoke(app, ["simulate", str(recording)])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.count("another configuration") == 2


@isolated
async def test_in_mode_direct_as_well() -> None:
    with neighbors(2) as (_, tor2), places() as (file, recording):
        text = file.read_text().replace("mode: frr", "mode: direct")
        file.write_text(re.sub(r"(10\.0\.\d)\.0, ", r"\1.0, probe_source: \1.1, ", text))
        async with program_over(file, "-v", "--record", str(recording)) as run:
            await run.until(lambda: len(run.events("announce")) == 4)
            tor2.go_dark()
            await run.until(lambda: len(run.events("withdraw")) == 2)
            await ends(run)
        assert told(played(recording)) == logged(run.log)


async def recorded(file: Path, recording: Path, how: signal.Signals) -> list[dict[str, object]]:
    """Run until all is announced, end it so, and return what it logged."""
    environment = {"BGPHEALTH_RECORD": str(recording)}
    async with program_over(file, "-v", environment=environment) as run:
        await run.until(lambda: len(run.table()) == 4)
        run.process.send_signal(how)
        await run.ends()
    return logged(run.log)


@isolated
async def test_each_start_adds_a_run() -> None:
    with neighbors(2), places() as (file, recording):
        killed = await recorded(file, recording, signal.SIGKILL)
        ended = await recorded(file, recording, signal.SIGTERM)
        first = told(played(recording, 1))
        assert first
        assert first == killed[: len(first)]
        assert told(played(recording, 2)) == ended


@isolated
async def test_what_cannot_be_recorded_does_not_stop_it() -> None:
    with neighbors(2), places() as (file, _):
        async with program_over(file, "--record", "/dev/full") as run:
            await run.until(lambda: len(run.table()) == 4)
            (event,) = run.events("recording_stopped")
            assert (event["file"], event["why"]) == ("/dev/full", "it is no regular file")
            await ends(run)
