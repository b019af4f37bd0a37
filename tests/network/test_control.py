"""Drains of a running program, with the test in ExaBGP's place; and what no client can do to it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bgphealth.cli import control
from bgphealth.core.errors import ConfigurationError
from tests.support.neighbors import configuration, neighbors
from tests.support.netns import ip, isolated
from tests.support.program import BOTH_UP, Run, program_over

pytestmark = pytest.mark.network

DNS = "192.0.2.53/32"
NOBODY = 65534
GARBAGE = (b"\n" * 4096, b"{" * 100_000, b"\xff" * 4096, b'{"version": 1}\n' * 500, b"x" * 10**7)


@contextmanager
def file_of(settle: str = "500ms") -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        file = configuration(Path(directory))
        file.write_text(f"{file.read_text()}policy: {{drain_settle: {settle}}}\n")
        yield file


def is_up(run: Run) -> bool:
    return set(BOTH_UP) <= set(run.table().values())


async def ask(file: Path, command: str, /, **fields: object) -> dict[str, Any]:
    socket_path = file.with_name("bgphealth.socket")
    return dict(await asyncio.to_thread(control.ask, socket_path, command, **fields))


def remembered(file: Path) -> list[dict[str, Any]]:
    data = json.loads(file.with_name("bgphealth.drains.json").read_text())
    return list(data["drains"])


@isolated
async def test_a_service_goes_in_steps_and_stays_away_over_a_kill() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            assert (await ask(file, "drain", what="service", name="dns"))["kept"] is True
            await run.until(lambda: DNS not in run.table())
            said = [c for c in run.routes() if DNS in c and "65101:" in c]
            assert [c.partition("community ")[2] for c in said[-3:]] == [
                "[65101:1 65101:2]",
                "[65101:16385 65101:16386]",
                "[65101:32769 65101:32770]",
            ]
            run.process.kill()
            await run.process.wait()
        assert [(d["what"], d["name"]) for d in remembered(file)] == [("service", "dns")]
        async with program_over(file) as run:
            others = {c for c in BOTH_UP if DNS not in c}
            await run.until(lambda: others <= set(run.table().values()))
            # An earlier run may have left it: it is withdrawn, not only left out.
            await run.until(lambda: f"withdraw route {DNS}" in " ".join(run.routes()))
            assert DNS not in run.table()
            (drain,) = (await ask(file, "drains"))["drains"]
            assert drain["stage"] == "drained"
            await ask(file, "undrain", what="service", name="dns")
            await run.until(lambda: is_up(run))
        assert remembered(file) == []


@isolated
async def test_a_drain_ends_at_its_time_also_if_that_came_while_it_was_away() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            await ask(file, "drain", what="uplink", name="tor2", for_s=2)
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            await run.until(lambda: is_up(run))
            assert [e["reason"] for e in run.events("drain_ended")] == ["drain_expired"]
            await ask(file, "drain", what="host", for_s=3600)
            run.process.kill()
            await run.process.wait()
        drains = [{**d, "until": time.time() - 1} for d in remembered(file)]
        text = json.dumps({"version": 1, "drains": drains})
        file.with_name("bgphealth.drains.json").write_text(text)
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            assert [e["reason"] for e in run.events("drain_ended")] == ["drain_expired"]
            assert run.events("drain_started") == []


@isolated
async def test_what_left_the_file_is_not_drained_any_more() -> None:
    with neighbors(2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            await ask(file, "drain", what="service", name="dns")
            run.process.kill()
            await run.process.wait()
        file.write_text(file.read_text().replace("{dns:", "{web:"))
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            assert [(e["of"], e["reason"]) for e in run.events("drain_ended")] == [
                ("service dns", "not_in_file")
            ]
            await run.until(lambda: remembered(file) == [])


@isolated
async def test_the_last_path_is_kept_and_the_drained_one_comes_back_for_need() -> None:
    with neighbors(2) as (tor1, _), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            await ask(file, "drain", what="uplink", name="tor2")
            with pytest.raises(control.NotDoneError, match="no other uplink"):
                await ask(file, "drain", what="uplink", name="tor1")
            await run.until(lambda: "[65101:1]" in run.table()[DNS])
            tor1.go_dark()
            await run.until(lambda: "[65101:2]" in run.table()[DNS])
            assert [e["uplink"] for e in run.events("drain_suspended")] == ["tor2"]
            tor1.come_back()
            await run.until(lambda: "[65101:1]" in run.table()[DNS])


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(1.0)
    client.connect(str(path))
    return client


def attack(path: Path, seconds: float) -> int:
    """Be as bad a client as there is for a while; return how many connections it took."""
    end, made, idle = time.monotonic() + seconds, 0, list[socket.socket]()
    while time.monotonic() < end:
        for garbage in (*GARBAGE, b""):
            with suppress(OSError):
                client = connect(path)
                made += 1
                idle.append(client)
                client.settimeout(0.05)
                client.sendall(garbage)
        for client in idle[:-100]:
            client.close()
        idle = idle[-100:]
    for client in idle:
        client.close()
    return made


@isolated
async def test_no_client_disturbs_the_probes() -> None:
    with neighbors(2) as (_, tor2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            before, path = list(run.commands), file.with_name("bgphealth.socket")
            made = await asyncio.to_thread(attack, path, 3.0)
            assert made > 100
            assert run.commands == before
            assert run.events("probe_unknown") == []
            assert [e for e in run.events("path_changed") if e["from"] != "init"] == []
            # It is as quick as ever to see what matters.
            attacking = asyncio.create_task(asyncio.to_thread(attack, path, 3.0))
            tor2.go_dark()
            await run.until(lambda: "0.0.0.0/0 0.0.0.2" not in run.table())
            await attacking
            await run.until(lambda: not run.events("control_failed"))
            assert (await ask(file, "drains"))["drains"] == []
            assert run.events("text") == []


@isolated
async def test_a_user_without_rights_cannot_even_ask() -> None:
    with neighbors(2), file_of() as file:
        file.parent.chmod(0o755)
        async with program_over(file) as run:
            await run.until(lambda: run.events("started"))
            path = file.with_name("bgphealth.socket")
            await run.until(path.exists)
            assert await asyncio.to_thread(_as_nobody, lambda: _is_kept_out(path)) == 0


def _is_kept_out(path: Path) -> bool:
    try:
        connect(path)
    except PermissionError:
        return True
    return False


def _as_nobody(act: Callable[[], bool]) -> int:
    """Return 0 when something is true for another user."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            status = 0 if act() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def besiege(path: Path, seconds: float) -> bool:
    """Be 200 strangers that say nothing, garbage, too much, or what is not for them.

    Return whether every drain among it was forbidden, and there was one.
    """
    end, clients, kinds = time.monotonic() + seconds, list[socket.socket](), set[str]()
    while time.monotonic() < end:
        for said in (b"", b"{", DRAIN, *GARBAGE):
            with suppress(OSError):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                clients.append(client)
                client.settimeout(10.0 if said is DRAIN else 0.05)
                client.connect(str(path))
                client.sendall(said)
                if said is DRAIN and (line := client.makefile("rb").readline()):
                    kinds.add(json.loads(line)["error"]["kind"])
        for client in clients[:-200]:
            client.close()
        clients = clients[-200:]
    return "forbidden" in kinds and kinds <= {"forbidden", "busy"}


DRAIN = b'{"version": 1, "command": "drain", "what": "host"}\n'


def answers() -> int:
    """How many packets have come over both links: answers to probes, and nothing else."""
    links = json.loads(ip("-s", "-j", "link"))
    return sum(link["stats64"]["rx"]["packets"] for link in links if link["ifname"] != "lo")


async def answered(run: Run, seconds: float) -> float:
    """Return how many answers come in a second."""
    loop = asyncio.get_running_loop()
    before, began = answers(), loop.time()
    await run.until(lambda: loop.time() > began + seconds)
    return (answers() - before) / (loop.time() - began)


@isolated
async def test_strangers_read_where_they_may_and_disturb_nobody() -> None:
    with neighbors(2), file_of() as file:
        file.parent.chmod(0o755)
        file.write_text(f"{file.read_text()}control: {{read: all}}\n")
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            path, before = file.with_name("bgphealth.socket"), list(run.commands)
            quiet = await answered(run, 3.0)
            besieging = asyncio.create_task(
                asyncio.to_thread(_as_nobody, lambda: besiege(path, 5.0))
            )
            await run.until(lambda: run.events("control_command"))
            besieged = await answered(run, 3.0)
            # Whoever has rights is heard all the same.
            assert (await ask(file, "drains"))["drains"] == []
            assert await besieging == 0
            assert besieged > 0.8 * quiet, f"{quiet:.1f} answers in a second, then {besieged:.1f}"
            assert run.commands == before
            assert run.events("probe_unknown") == run.events("text") == []
            assert [e for e in run.events("path_changed") if e["from"] != "init"] == []
            noted = run.events("control_command")
            assert {(e["uid"], e["user"]) for e in noted} == {(NOBODY, "nobody")}
            assert "done" not in {e["outcome"] for e in noted}
            assert len(noted) < 10


@isolated
async def test_what_can_be_asked_of_a_running_program() -> None:
    with neighbors(2) as (_, tor2), file_of() as file:
        async with program_over(file) as run:
            await run.until(lambda: is_up(run))
            commands, whole = list(run.commands), file.read_text()
            asked = (await ask(file, "recheck", thing="tor1"))["asked"]
            # What is behind tor2 alone does not answer through tor1.
            answers = {q["probe"]: q["answer"] for q in asked if q["role"] == "beyond"}
            assert answers == {"icmp 198.51.100.1": "ok", "icmp 198.51.100.2": "failed"}
            file.write_text(whole.replace("fall: 3", "fall: many"))
            with pytest.raises(ConfigurationError, match=rf"{file}:7: paths\.fall: must be "):
                await ask(file, "reload")
            last = (await ask(file, "status"))["status"]["reload"]
            assert (last["applied"], "paths.fall" in str(last["problems"])) == (False, True)
            file.write_text(whole.replace("{dns:", "{web: {prefixes: [192.0.2.80/32]}, dns:"))
            would = await ask(file, "reload", dry_run=True)
            assert (would["outcome"], would["changes"]) == ("would_apply", ["services.web: added"])
            assert run.commands == commands
            path = file.with_name("bgphealth.socket")
            following: Iterator[Any] = control.answers(path, "events", follow=True)
            first = await asyncio.to_thread(next, following)
            assert "reload_refused" in [e["event"] for e in first["events"]]
            done = await ask(file, "reload")
            assert (done["outcome"], done["render"]) == ("applied", ["frr.conf"])
            await run.until(lambda: "192.0.2.80/32" in run.table())
            # The uplinks are asked as before, and are not said to be up anew.
            assert [e for e in run.events("path_changed") if e["from"] != "init"] == []
            assert (await ask(file, "reload"))["outcome"] == "unchanged"
            tor2.go_dark()
            while (event := (await asyncio.to_thread(next, following))["event"])["event"] != (
                "path_changed"
            ):
                pass
            assert (event["uplink"], event["to"]) == ("tor2", "down")
            run.process.terminate()
            # It ends with the program, without an error.
            await asyncio.to_thread(list, following)
