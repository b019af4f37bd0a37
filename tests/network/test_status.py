"""How a running program stands, and why, asked with the real commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from tests.network.test_control import file_of, is_up
from tests.support.neighbors import neighbors
from tests.support.netns import isolated
from tests.support.program import Run, program_over

pytestmark = pytest.mark.network

BAD_FILE = "version: 1\nmode: frr\n"


async def bgphealth(file: Path, *arguments: str) -> Process:
    kept = {"STATE_DIRECTORY": str(file.parent), "RUNTIME_DIRECTORY": str(file.parent)}
    # Whoever starts the tests in the background may have it ignored.
    return await asyncio.create_subprocess_exec(
        *(
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "bgphealth",
            "-c",
            str(file),
            *arguments,
        ),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **kept},
    )


async def say(file: Path, *arguments: str) -> tuple[int, str, str]:
    process = await bgphealth(file, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def snapshot(file: Path) -> tuple[int, dict[str, Any]]:
    status, out, err = await say(file, "status", "--json")
    assert err == ""
    return status, json.loads(out)


async def hears(watching: Process, words: str) -> str:
    """Read what it prints until there is a line with these words; return all of it."""
    assert watching.stdout is not None
    seen = ""
    async with asyncio.timeout(20):
        while words not in seen:
            line = await watching.stdout.readline()
            assert line, seen
            seen += line.decode()
    return seen


async def listens(run: Run, file: Path) -> None:
    await run.until(file.with_name("bgphealth.socket").is_socket)
    await run.until(lambda: is_up(run))


@isolated
async def test_what_fails_is_seen_explained_and_seen_to_heal() -> None:
    with neighbors(2) as (_, tor2), file_of() as file:
        status, _, err = await say(file, "status")
        assert (status, "nothing listens" in err) == (75, True)
        async with program_over(file) as run:
            await listens(run, file)
            watching = await bgphealth(file, "watch", "--interval", "0.2")
            await hears(watching, "2 of 2 uplinks up")
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            status, found = await snapshot(file)
            assert (status, found["healthy"], found["pid"]) == (1, False, run.process.pid)
            paths = {path["uplink"]: path for path in found["paths"]}
            assert (paths["tor1"]["verdict"], paths["tor2"]["verdict"]) == ("up", "down")
            assert paths["tor2"]["reason"] == "beyond_failed"
            assert paths["tor2"]["falls"] == 1
            assert {p["last"] for p in paths["tor2"]["probes"]} == {"ok", "failed"}
            assert (found["problems"][0]["of"], found["problems"][0]["rank"]) == (
                "tor2 ipv4",
                "lost",
            )
            (dns,) = (route for route in found["routes"] if route["service"] == "dns")
            assert (dns["decision"], dns["towards"]) == ("announced", {"tor1": "usual"})
            status, said, _ = await say(file, "explain", "tor2")
            assert status == 0
            assert "icmp 198.51.100.2 (beyond) is down: 3 failed in a row (fall 3)" in said
            assert "It comes up after 3 answers in a row" in said
            status, said, _ = await say(file, "explain", "192.0.2.53")
            assert (
                "tor1 is to get it.\ntor2 does not: its ipv4 path is down (beyond_failed)." in said
            )
            status, _, err = await say(file, "explain", "tor3")
            assert (status, "did you mean tor" in err) == (2, True)
            seen = await hears(watching, "route 0.0.0.0/0 path 2: announced, path_up → withdrawn")
            assert "tor2 ipv4: up, probes_ok → down, beyond_failed (icmp" in seen
            tor2.come_back()
            await run.until(lambda: is_up(run))
            run.process.kill()
            await run.process.wait()
        await hears(watching, "not running: ")
        async with program_over(file) as run:
            await listens(run, file)
            await hears(watching, f"pid {run.process.pid}: ")
            watching.send_signal(signal.SIGINT)
            async with asyncio.timeout(20):
                _, err_bytes = await watching.communicate()
            assert (watching.returncode, err_bytes) == (0, b"")


@isolated
async def test_a_refused_reload_is_seen_until_one_is_applied() -> None:
    with neighbors(2), file_of() as file:
        good = file.read_text()
        async with program_over(file) as run:
            await listens(run, file)
            assert (await snapshot(file))[1]["reload"] is None
            file.write_text(BAD_FILE)
            run.process.send_signal(1)
            await run.until(lambda: run.events("reload_refused"))
            # Where it listens is known without the file, which is wrong now.
            status, found = await snapshot(file)
            assert (status, found["reload"]["applied"]) == (1, False)
            assert "host" in " ".join(found["reload"]["problems"])
            assert "reload" in {it["of"] for it in found["problems"]}
            added = "services: {web: {prefixes: [192.0.2.80/32]}, "
            file.write_text(good.replace("services: {", added))
            run.process.send_signal(1)
            await run.until(lambda: run.events("reloaded"))
            await run.until(lambda: "192.0.2.80/32" in run.table())
            _, found = await snapshot(file)
            assert found["reload"]["applied"] is True
            assert {service["name"] for service in found["services"]} == {"loopback", "dns", "web"}
            assert "reload" not in {it["of"] for it in found["problems"]}
