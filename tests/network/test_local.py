"""Local mode: the whole program between a kernel and two gateways, and nobody else."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bgphealth.cli.control import ask
from tests.network.test_life import Manager
from tests.support.neighbors import Neighbor, neighbors
from tests.support.netns import ip, isolated
from tests.support.program import Run, program_over

pytestmark = pytest.mark.network

TARGET = "198.51.100.9"
"""Behind no gateway: where it is sent says which one is used."""
STABLE_S = 2.0


def configuration(directory: Path, **instead: str) -> Path:
    sections = {
        "uplinks": "{one: {interface: eth1, gateway: 10.0.1.0},"
        " two: {interface: eth2, gateway: 10.0.2.0}}",
        "paths": "{interval: 50ms, timeout: 100ms, fall: 3, rise: 3, damping: {suppress: off},"
        " beyond: {of: [{icmp: 198.51.100.1}, {icmp: 198.51.100.2}]}}",
        "policy": f"{{stable_for: {STABLE_S:g}s}}",
    }
    file = directory / "bgphealth.yaml"
    lines = [f"{key}: {value}" for key, value in (sections | instead).items()]
    file.write_text("\n".join(["version: 1", "mode: local", *lines]) + "\n")
    return file


@asynccontextmanager
async def alone(
    *defaults: tuple[str, ...], **environment: str
) -> AsyncIterator[tuple[Run, list[Neighbor], Path]]:
    """Run it beside defaults of somebody else, until the first uplink is in use."""
    with neighbors(2) as both, tempfile.TemporaryDirectory() as directory:
        for default in defaults:
            ip("route", "add", "default", *default)
        file = configuration(Path(directory))
        async with program_over(file, environment=environment) as run:
            await run.until(lambda: in_use(run) == "one")
            await run.until(lambda: leaves_through("eth1"))
            await run.until(lambda: any(line.endswith("metric 1") for line in ours()))
            yield run, both, file


def in_use(run: Run) -> object:
    return next((entry["uplink"] for entry in reversed(run.events("default_in_use"))), None)


def leaves_through(interface: str) -> bool:
    return f"dev {interface}" in ip("route", "get", TARGET)


def of_others() -> list[str]:
    lines = ip("-o", "route", "show", "default").splitlines()
    return [line.strip() for line in lines if "proto 179" not in line]


def ours() -> list[str]:
    lines = ip("-o", "route", "show", "default").splitlines()
    return [line.strip() for line in lines if "proto 179" in line]


@isolated
async def test_leaves_a_gateway_that_leads_nowhere_and_comes_back_when_it_is_stable() -> None:
    theirs = ("via", "10.0.1.0", "dev", "eth1", "proto", "dhcp", "metric", "100")
    async with alone(theirs) as (run, (one, _), _):
        before = of_others()
        one.go_dark()
        await run.until(lambda: leaves_through("eth2"))
        await run.until(lambda: in_use(run) == "two")
        left = run.events("default_spare")[-1]
        assert (left["uplink"], left["reason"]) == ("one", "path_down")
        one.come_back()
        await run.until(lambda: run.events("default_spare")[-1]["reason"] == "not_stable")
        assert leaves_through("eth2")
        await run.until(lambda: leaves_through("eth1"))
        await run.until(lambda: in_use(run) == "one")
        up_at = next(e["at"] for e in reversed(run.events("path_changed")) if e["to"] == "up")
        back_at = run.events("default_in_use")[-1]["at"]
        assert isinstance(up_at, float)
        assert isinstance(back_at, float)
        assert back_at - up_at >= STABLE_S
        assert of_others() == before
        assert run.commands == []


@isolated
async def test_nothing_changes_while_both_lead_nowhere_and_what_is_there_stays_at_the_end() -> None:
    async with alone() as (run, both, _):
        used = ours()[0]
        for neighbor in both:
            neighbor.go_dark()
        await run.until(
            lambda: len([e for e in run.events("path_changed") if e["to"] == "down"]) == 2
        )
        await run.until(lambda: str(run.events("default_in_use")[-1]["reason"]).startswith("all_"))
        await asyncio.sleep(0.3)  # Whatever it might still do.
        assert leaves_through("eth1")
        there = ours()
        assert there[0] == used
        run.process.send_signal(signal.SIGTERM)
        assert await run.ends(within_s=5) == 0
        assert run.events("stopped")[0]["reason"] == "SIGTERM"
        assert ours() == there
        assert "oif eth2 lookup 17902" in ip("rule")


@isolated
async def test_a_default_without_metric_is_beaten_and_stays() -> None:
    theirs = ("via", "10.0.1.0", "dev", "eth1")
    async with alone(theirs, (*theirs, "metric", "1024")) as (run, (one, _), _):
        before = of_others()
        assert not any("scope site" in line for line in ours())
        one.go_dark()
        await run.until(lambda: leaves_through("eth2"))
        # Not by turns, as it would be between two of the same scope.
        ip(
            "neigh",
            "replace",
            "10.0.2.0",
            "lladdr",
            "02:00:00:00:00:01",
            "dev",
            "eth2",
            "nud",
            "stale",
        )
        for last in range(1, 9):
            assert "dev eth2" in ip("route", "get", f"203.0.113.{last}")
        # Somebody puts another one before ours.
        ip("route", "prepend", "default", *theirs, "src", "10.0.1.1")
        await run.until(lambda: leaves_through("eth2"))
        ip("route", "del", "default", *theirs, "src", "10.0.1.1")
        one.come_back()
        await run.until(lambda: in_use(run) == "one")
        await run.until(lambda: leaves_through("eth1"))
        await run.until(lambda: not any("scope site" in line for line in ours()))
        assert of_others() == before


@isolated
async def test_what_others_delete_is_said_and_traffic_goes_on() -> None:
    theirs = ("via", "10.0.1.0", "dev", "eth1", "proto", "dhcp", "metric", "100")
    async with alone(theirs) as (run, _, _):
        ip("route", "del", "default", *theirs)
        await run.until(lambda: run.events("foreign_default_gone"))
        said = run.events("foreign_default_gone")[0]
        assert said["default"] == "via 10.0.1.0 dev eth1, no src, proto dhcp, metric 100"
        assert "proto bgphealth, metric 1" in str(said["used"])
        assert leaves_through("eth1")
        ip("route", "add", "default", *theirs)
        await run.until(lambda: run.events("foreign_default"))
        # Ours as well: it is there again.
        ip("route", "flush", "table", "main", "proto", "179")
        await run.until(lambda: len(ours()) == 2)
        # One that ours cannot come before is said.
        ip("route", "del", "default", "proto", "179", "metric", "1")
        ip("route", "add", "default", "via", "10.0.2.0", "dev", "eth2", "metric", "1")
        await run.until(lambda: run.events("fallback_absent"))
        assert "somebody else's default has its metric" in str(
            run.events("fallback_absent")[-1]["why"]
        )
        ip("route", "del", "default", "via", "10.0.2.0", "metric", "1")
        await run.until(lambda: len(ours()) == 2)


@isolated
async def test_what_else_it_writes_on_request() -> None:
    async with alone() as (run, (one, _), file):
        configuration(
            file.parent,
            fallback="{mptcp: true}",
            policy=f"{{stable_for: {STABLE_S:g}s, flush_conntrack: true}}",
        )
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: "10.0.2.1 id 253 subflow" in ip("mptcp", "endpoint"))
        await run.until(lambda: run.events("reloaded"))
        assert "10.0.1.1 id 255 subflow dev eth1" in ip("mptcp", "endpoint")
        one.go_dark()
        await run.until(lambda: run.events("connections_flushed"))
        flushed = run.events("connections_flushed")[0]
        assert (flushed["addresses"], flushed["count"]) == (["10.0.1.1"], 0)
        assert leaves_through("eth2")
        configuration(file.parent)
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: ip("mptcp", "endpoint").strip() == "")
        # And over a restart.
        configuration(file.parent, fallback="{mptcp: true}")
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: "10.0.2.1 id 253 subflow" in ip("mptcp", "endpoint"))
        run.process.send_signal(signal.SIGTERM)
        assert await run.ends(within_s=5) == 0
        assert "10.0.2.1 id 253 subflow" in ip("mptcp", "endpoint")
        configuration(file.parent)
        async with program_over(file) as again:
            await again.until(lambda: ip("mptcp", "endpoint").strip() == "")


@isolated
async def test_a_reload_with_other_priorities_changes_what_is_in_use() -> None:
    async with alone() as (run, _, file):
        swapped = (
            "{one: {interface: eth1, gateway: 10.0.1.0, priority: 2},"
            " two: {interface: eth2, gateway: 10.0.2.0, priority: 1}}"
        )
        await asyncio.sleep(0)
        configuration(file.parent, uplinks=swapped, policy="{stable_for: 0s}")
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: run.events("reloaded"))
        await run.until(lambda: in_use(run) == "two")
        await run.until(lambda: leaves_through("eth2"))
        await run.until(lambda: len(ours()) == 2)
        file.write_text("version: 1\nmode: frr\n")
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: run.events("reload_refused"))
        assert leaves_through("eth2")


@isolated
async def test_each_family_goes_its_own_way_and_a_kill_takes_nothing_away() -> None:
    with neighbors(2) as (one, two), tempfile.TemporaryDirectory() as directory:
        for neighbor in (one, two):
            n = neighbor.number
            ip("addr", "add", f"2001:db8:{n}::1/127", "dev", f"eth{n}", "nodad")
            neighbor.ip("addr", "add", f"2001:db8:{n}::/127", "dev", "eth0", "nodad")
            neighbor.ip("addr", "add", "2001:db8:100::1/128", "dev", "lo")
        # As the kernel makes it from a router advertisement.
        theirs = ("via", "2001:db8:1::", "dev", "eth1", "proto", "ra", "metric", "1024")
        ip("-6", "route", "add", "default", *theirs)
        uplinks = ", ".join(
            f"{name}: {{interface: eth{n}, gateway: {{ipv4: 10.0.{n}.0, ipv6: '2001:db8:{n}::'}}}}"
            for n, name in enumerate(("one", "two"), 1)
        )
        beyond = "[{icmp: 198.51.100.1}, {icmp: 198.51.100.2}, {icmp: '2001:db8:100::1'}]"
        paths = f"{{interval: 50ms, timeout: 100ms, rise: 3, beyond: {{of: {beyond}}}}}"
        file = configuration(Path(directory), uplinks=f"{{{uplinks}}}", paths=paths)

        def leaves_in_ipv6(interface: str) -> bool:
            return f"dev {interface}" in ip("route", "get", "2001:db8:100::9")

        async with program_over(file) as run:
            await run.until(lambda: run.events("started"))
            await run.until(lambda: leaves_in_ipv6("eth1") and leaves_through("eth1"))
            await run.until(lambda: len(run.events("default_spare")) >= 2)
            one.ip("addr", "del", "2001:db8:100::1/128", "dev", "lo")
            await run.until(lambda: leaves_in_ipv6("eth2"))
            assert leaves_through("eth1")
            there = ip("-6", "route", "show", "default")
            assert " ".join(theirs[:4]) in there
            run.process.kill()
            await run.ends()
        assert ip("-6", "route", "show", "default") == there
        assert leaves_in_ipv6("eth2")


@isolated
async def test_what_is_drained_is_used_last_and_the_service_manager_hears_of_it() -> None:
    with tempfile.TemporaryDirectory() as place:
        manager = Manager(Path(place))
        async with alone(**manager.environment) as (run, (_, two), file):
            await run.until(lambda: "READY=1" in manager.heard())
            await run.until(
                lambda: "STATUS=2 of 2 uplinks up (ipv4), ipv4 via one" in manager.heard()
            )
            assert await manager.is_fed(5)
            socket_path = file.with_name("bgphealth.socket")
            await run.until(socket_path.exists)
            await asyncio.to_thread(ask, socket_path, "drain", what="uplink", name="one")
            await run.until(lambda: leaves_through("eth2"))
            two.go_dark()
            await run.until(lambda: run.events("drain_suspended"))
            await run.until(lambda: leaves_through("eth1"))


@isolated
async def test_a_dry_run_says_what_it_would_use_and_touches_nothing() -> None:
    with neighbors(2) as (one, _), tempfile.TemporaryDirectory() as directory:
        before = ip("route", "show", "table", "all") + ip("rule")
        # Its probes have no tables: the target must be where the main table leads.
        paths = "{interval: 50ms, timeout: 100ms, rise: 3}"
        file = configuration(Path(directory), paths=paths)
        async with program_over(file, "--dry-run") as run:
            await run.until(lambda: run.commands == ["default ipv4 via 10.0.1.0 dev eth1 (one)"])
            one.ip("link", "set", "eth0", "down")
            await run.until(
                lambda: run.commands[1:] == ["default ipv4 via 10.0.2.0 dev eth2 (two)"]
            )
            one.ip("link", "set", "eth0", "up")
        assert ip("rule") in before
        assert "179" not in ip("route", "show", "table", "all")


@isolated
async def test_a_file_that_is_wrong_is_waited_for_if_it_says_that_it_is_for_this_mode() -> None:
    with neighbors(2), tempfile.TemporaryDirectory() as directory:
        file = configuration(Path(directory), policy="{stable_for: soon}")
        async with program_over(file) as run:
            await run.until(lambda: run.events("file_refused"))
            configuration(Path(directory))
            await run.until(lambda: in_use(run) == "one")
