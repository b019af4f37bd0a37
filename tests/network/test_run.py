"""The whole program between a kernel with neighbors and the pipes that ExaBGP would hold."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.support.neighbors import neighbors
from tests.support.netns import ip, isolated
from tests.support.program import BOTH_UP, Run, program

pytestmark = pytest.mark.network


def downs(run: Run) -> list[dict[str, object]]:
    return [event for event in run.events("path_changed") if event["to"] == "down"]


@isolated
async def test_announces_what_probes_say_and_steers_away_and_back() -> None:
    with neighbors(2) as (_, tor2):
        async with program() as run:
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            await run.until(lambda: "[65101:1]" in run.table()["192.0.2.53/32"])
            assert "[65101:1]" in run.table()["10.255.10.1/32"]
            assert "0.0.0.0/0 0.0.0.1" in run.table()
            (change,) = downs(run)
            assert (change["uplink"], change["reason"]) == ("tor2", "beyond_failed")
            tor2.come_back()
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))


@isolated
async def test_nothing_is_said_before_a_verdict_nor_in_the_steady_state() -> None:
    with neighbors(2):
        async with program() as run:
            await run.until(lambda: run.events("started"))
            first = [e for e in run.log if e["event"] == "path_changed"]
            assert run.commands == [] or first
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            said = len(run.commands)
            await asyncio.sleep(1)  # Twenty probe intervals of silence.
            assert len(run.commands) == said


@isolated
async def test_both_uplinks_dead_keeps_the_last() -> None:
    with neighbors(2) as both:
        async with program() as run:
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            for neighbor in both:
                neighbor.go_dark()
            await run.until(lambda: len(downs(run)) == 2)
            await asyncio.sleep(0.3)  # Anything that it might still say.
            assert any(key.startswith("0.0.0.0/0") for key in run.table())
            assert "192.0.2.53/32" in run.table()


@isolated
async def test_link_loss_counts_at_once() -> None:
    with neighbors(2) as (_, tor2):
        async with program() as run:
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            tor2.ip("link", "set", "eth0", "down")
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            (change,) = downs(run)
            assert change["reason"] == "link_down"
            tor2.ip("link", "set", "eth0", "up")
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))


@isolated
async def test_sigterm_ends_it_orderly_and_leaves_tables_and_rules() -> None:
    with neighbors(2):
        async with program() as run:
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            said = list(run.commands)
            run.process.send_signal(signal.SIGTERM)
            assert await run.ends(within_s=2) == 0
            assert run.commands == said
            assert run.events("stopped")[0]["reason"] == "SIGTERM"
        assert "oif eth2 lookup 17902" in ip("rule")
        assert "via 10.0.2.0" in ip("route", "show", "table", "17902")


@isolated
async def test_the_end_of_exabgp_is_the_end() -> None:
    with neighbors(1):
        async with program(uplinks=1) as run:
            await run.until(lambda: run.events("started"))
            run.reply(b"shutdown 1 1\n")
            assert await run.ends() == 0
            assert run.events("stopped")[0]["reason"] == "exabgp_shutdown"
        async with program(uplinks=1) as run:
            await run.until(lambda: run.events("started"))
            assert run.process.stdin is not None
            run.process.stdin.close()
            assert await run.ends() == 0
            assert run.events("stopped")[0]["reason"] == "exabgp_gone"


@isolated
async def test_a_silent_exabgp_stops_neither_probing_nor_reading() -> None:
    with neighbors(2) as (_, tor2):
        async with program() as run:
            run.answering = False
            await run.until(lambda: run.commands)
            tor2.go_dark()
            await run.until(lambda: downs(run))
            assert run.process.stdin is not None
            # Ten times what a pipe holds: were it not read, this would never end.
            run.reply(b"neighbor 127.0.0.1 connected\n" * 25_000)
            async with asyncio.timeout(20):
                await run.process.stdin.drain()
            assert run.process.returncode is None


@isolated
async def test_an_interface_that_does_not_exist_is_a_path_that_is_down() -> None:
    with neighbors(1):
        async with program(uplinks=2) as run:
            await run.until(lambda: "0.0.0.0/0 0.0.0.1" in run.table())
            await run.until(lambda: "[65101:1]" in run.table()["192.0.2.53/32"])
            (change,) = downs(run)
            assert (change["uplink"], change["reason"]) == ("tor2", "link_down")


@isolated
async def test_an_interface_that_does_not_exist_is_said_to_whoever_tries() -> None:
    with neighbors(1):
        async with program("--dry-run", uplinks=2) as run:
            assert await run.ends() == 78
            assert run.commands == []
            text = "".join(str(entry["text"]) for entry in run.log)
        assert "uplinks.tor2.interface: eth2 does not exist on this host" in text


@isolated
async def test_without_the_capability_it_says_so_and_asserts_nothing() -> None:
    without = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    with neighbors(1):
        async with program(uplinks=1, wrapper=without) as run:
            await run.until(lambda: run.events("kernel_not_changed"))
            assert "CAP_NET_ADMIN" in str(run.events("kernel_not_changed")[0]["error"])
            await run.until(lambda: run.events("probe_unknown"))
            assert run.process.returncode is None
            assert run.commands == []


@isolated
async def test_dry_run_shows_the_commands_and_touches_nothing() -> None:
    with neighbors(2):
        async with program("--dry-run") as run:
            await run.until(lambda: sorted(run.table().values()) == sorted(BOTH_UP))
            assert "1790" not in ip("rule")
            run.process.send_signal(signal.SIGINT)
            assert await run.ends() == 0
