"""The doctor in mode local: nothing on a healthy host, and each finding of its own when broken."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from tests.network.test_local import configuration
from tests.support.broken_host import BROKEN_LOCAL
from tests.support.doctor import Broken
from tests.support.neighbors import neighbors
from tests.support.netns import ip, isolated, sysctl
from tests.support.program import Run, program_over

pytestmark = pytest.mark.network

NOTHING: frozenset[str] = frozenset()


async def look(file: Path) -> list[dict[str, Any]]:
    def run() -> list[dict[str, Any]]:
        asked = ["-c", str(file), "doctor", "--json"]
        result = CliRunner().invoke(app, asked, env={"RUNTIME_DIRECTORY": str(file.parent)})
        found: list[dict[str, Any]] = json.loads(result.output)["findings"]
        assert result.exit_code == (1 if found else 0)
        return found

    return await asyncio.to_thread(run)


async def wait_found(
    file: Path, words: frozenset[str] = NOTHING, also: frozenset[str] = NOTHING
) -> list[dict[str, Any]]:
    """Wait until all these words are found, and nothing else that is not foreseen."""
    found: list[dict[str, Any]] = []
    for _ in range(100):
        found = await look(file)
        if words <= {finding["word"] for finding in found} <= words | also:
            return [finding for finding in found if finding["word"] in words]
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def shell(script: str, file: Path) -> None:
    # The commands of findings are about the file that is usually read.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "BGPHEALTH_CONFIG": str(file)}
    subprocess.run(["sh", "-c", script], check=True, env=environment)


def configure() -> None:
    """Set what a new namespace has not as a host should."""
    sysctl("net.ipv4.ping_group_range", "0 2147483647")
    for number in (1, 2):
        for family in ("ipv4", "ipv6"):
            sysctl(f"net.{family}.conf.eth{number}.ignore_routes_with_linkdown", "1")


@isolated
async def test_it_finds_what_is_broken() -> None:
    with neighbors(2), tempfile.TemporaryDirectory() as directory:
        configure()
        # As DHCP would make it: neither in the way, nor anybody's to take away.
        ip("route", "add", "default", "via", "10.0.1.0", "proto", "dhcp", "metric", "100")
        file = configuration(Path(directory))
        async with program_over(file) as run:
            await run.until(lambda: run.events("default_in_use"))
            await wait_found(file)
            for broken in BROKEN_LOCAL:
                await find(run, file, broken)


async def find(run: Run, file: Path, broken: Broken) -> None:
    """Break it while the program, which would mend it, is stopped; then do what is said."""
    run.process.send_signal(signal.SIGSTOP)
    try:
        shell(broken.how, file)
        for finding in await wait_found(file, broken.words, broken.also):
            shell(finding["mend"], file)
        await wait_found(file)
        shell(broken.undo, file)
    finally:
        run.process.send_signal(signal.SIGCONT)
    await wait_found(file)
