"""`bgphealth probe` against a kernel with neighbors."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.neighbors import Neighbor, configuration, neighbors
from tests.support.netns import ip, isolated, sysctl

pytestmark = pytest.mark.network

GATEWAY = "paths: {gateway: [{icmp: neighbor}, {link: carrier}, {link: address}], "
BOTH_TARGETS = ("198.51.100.1/32", "198.51.100.2/32")


class Host:
    """The host under test, and its two neighbors."""

    def __init__(self, file: Path, tors: list[Neighbor]) -> None:
        self.file = file
        self.tors = tors

    async def probe(self, *arguments: str, wrapper: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Return the exit status, stdout and stderr of the command."""
        command = [sys.executable, "-m", "bgphealth", "-c", str(self.file), "probe", *arguments]
        process = await asyncio.create_subprocess_exec(*wrapper, *command, stdout=PIPE, stderr=PIPE)
        try:
            async with asyncio.timeout(30):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def found(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return the exit status and what was found."""
        status, out, err = await self.probe("--json", *arguments)
        assert out, err
        return status, json.loads(out)


def row(found: dict[str, Any], uplink: str, probe: str) -> dict[str, Any]:
    rows = [r for r in found["probes"] if (r["uplink"], r["probe"]) == (uplink, probe)]
    assert len(rows) == 1, found
    return dict(rows[0])


@asynccontextmanager
async def host() -> AsyncIterator[Host]:
    """Return a host whose every target is behind either neighbor."""
    with tempfile.TemporaryDirectory() as directory, neighbors(2) as tors:
        for number, tor in enumerate(tors, 1):
            other = next(t for t in BOTH_TARGETS if not t.startswith(f"198.51.100.{number}/"))
            tor.ip("addr", "add", other, "dev", "lo")
        file = configuration(Path(directory))
        text = (
            file.read_text().replace("paths: {", GATEWAY).replace("timeout: 100ms", "timeout: 1s")
        )
        file.write_text(text)
        yield Host(file, tors)


@isolated
async def test_all_is_well_with_the_tables_that_it_makes() -> None:
    async with host() as here:
        status, found = await here.found("--tables")
        assert status == 0, found
        assert found["ok"]
        assert len(found["added"]) == 6
        assert [path["missing"] for path in found["paths"]] == [None, None]
        probed = row(found, "tor2", "icmp 198.51.100.1")
        assert (probed["interface"], probed["source"], probed["verdict"]) == (
            "eth2",
            "10.0.2.1",
            "ok",
        )
        assert 0 < probed["rtt_s"] < 1
        assert "oif eth2 lookup 17902" in ip("rule")

        status, found = await here.found("--tables", "--count", "3")
        assert (status, found["added"]) == (0, [])
        assert [len(probed["answers"]) for probed in found["probes"]] == [3] * 10

        status, out, err = await here.probe()
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].split() == ["what", "target", "device", "source", "result", "time"]
        assert lines[1].startswith("tor1 ipv4 gateway  icmp 10.0.1.0      eth1    10.0.1.1  ok  ")
        assert lines[-1] == "10 asked: 10 ok"


@isolated
async def test_without_tables_it_says_so_and_writes_nothing() -> None:
    async with host() as here:
        _, found = await here.found()
        for path, number in zip(found["paths"], (1, 2), strict=True):
            assert f"no rule 'oif eth{number} lookup 1790{number}'" in path["missing"]
        # The neighbors themselves need no table.
        assert row(found, "tor1", "icmp 10.0.1.0")["verdict"] == "ok"
        _, out, _ = await here.probe()
        assert "tor1 ipv4 is not kept on eth1: no rule" in out
        assert "1790" not in ip("rule") + ip("route", "show", "table", "all")


@isolated
async def test_tables_adds_and_never_deletes() -> None:
    """A program that runs on another file has rules and tables, too, with the same mark."""
    async with host() as here:
        ip("rule", "add", "oif", "eth9", "lookup", "17909", "priority", "1799", "protocol", "179")
        ip("route", "add", "192.0.2.0/24", "dev", "eth1", "table", "17909", "proto", "179")
        status, _ = await here.found("--tables")
        assert status == 0
        assert "oif eth9 [detached] lookup 17909" in ip("rule")
        assert "192.0.2.0/24" in ip("route", "show", "table", "17909")

        # In a table that it needs: it does not touch it, and says what is wrong.
        ip("route", "add", "192.0.2.0/24", "dev", "eth1", "table", "17901")
        status, _, err = await here.probe("--tables")
        assert (status, "table 17901 holds 1 routes that are not of this file" in err) == (75, True)
        _, found = await here.found()
        assert "17901 holds 1 routes" in found["paths"][0]["missing"]
        assert found["paths"][1]["missing"] is None


@isolated
async def test_what_fails_and_what_to_look_at() -> None:
    async with host() as here:
        await here.found("--tables")
        here.tors[0].go_dark()
        status, found = await here.found()
        silent = row(found, "tor1", "icmp 198.51.100.1")
        assert (status, silent["verdict"]) == (1, "failed")
        assert silent["hints"][0] == "ip -4 route get 198.51.100.1 from 10.0.1.1 oif eth1"
        assert row(found, "tor2", "icmp 198.51.100.1")["verdict"] == "ok"

        here.tors[1].ip("link", "set", "eth0", "down")
        status, found = await here.found()
        assert row(found, "tor2", "link carrier")["detail"] == "eth2 has no carrier"
        assert row(found, "tor2", "link address")["verdict"] == "ok"
        # The kernel keeps the routes of a link that is down: nobody else made them.
        assert found["paths"][1]["missing"] is None


@isolated
async def test_a_strict_reverse_path_filter_is_found_and_its_hint_helps() -> None:
    async with host() as here:
        await here.found("--tables")
        ip("route", "add", "default", "via", "10.0.1.0")
        sysctl("net.ipv4.conf.eth2.rp_filter", "1")
        status, found = await here.found()
        silent = row(found, "tor2", "icmp 198.51.100.2")
        assert (status, silent["verdict"]) == (1, "failed")
        (hint,) = (hint for hint in silent["hints"] if "rp_filter" in hint)
        name, _, value = hint.rpartition("sysctl -w ")[2].partition("=")
        sysctl(name.replace("/", "."), value)
        status, found = await here.found()
        assert status == 0, found


@isolated
async def test_permissions() -> None:
    async with host() as here:
        await here.found("--tables")
        sysctl("net.ipv4.ping_group_range", "1 0")
        without = ("setpriv", "--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-net_admin")
        status, out, _ = await here.probe(wrapper=without)
        assert status == 77, out
        assert "sysctl -w net.ipv4.ping_group_range" in out
        # To look needs no capability; to write does.
        sysctl("net.ipv4.ping_group_range", "0 2147483647")
        status, out, err = await here.probe(wrapper=without)
        assert (status, err) == (0, ""), out
        ip("rule", "del", "oif", "eth1", "lookup", "17901")
        status, out, err = await here.probe("--tables", wrapper=without)
        assert (status, out, "CAP_NET_ADMIN" in err) == (77, "", True)


@isolated
async def test_an_interface_that_does_not_exist() -> None:
    async with host() as here:
        here.file.write_text(here.file.read_text().replace("eth2", "eth7"))
        status, out, err = await here.probe()
        assert (status, out) == (78, "")
        assert "uplinks.tor2.interface: eth7 does not exist on this host" in err


@isolated
async def test_tables_that_the_file_forbids() -> None:
    async with host() as here:
        here.file.write_text(here.file.read_text() + "fallback: {enabled: false}\n")
        status, out, err = await here.probe("--tables")
        assert (status, out, "fallback.enabled is false" in err) == (78, "", True)
        assert "1790" not in ip("rule")
