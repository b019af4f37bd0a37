"""`bgphealth drain` and `undrain`: what they print, and their exit statuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bgphealth.cli.app import app
from bgphealth.core.events import TimePassed, Verdict
from tests.support.control import Listening, Steered, listening, steered
from tests.support.hosts import FALL, SETTLE_S, round_of

FILE = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: 10.255.10.1}
uplinks:
  tor1: {interface: eth1, neighbor: 10.0.1.0, neighbor_asn: 65001}
"""


def bgphealth(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["-c", str(file), *arguments])


def over(
    tmp_path: Path,
    *commands: str,
    of: Steered | None = None,
    then: Callable[[Steered], None] | None = None,
) -> list[Result]:
    """Run commands, one after the other, against a program that listens."""

    async def run() -> list[Result]:
        async with listening(of) as it:
            file = _file(tmp_path, it)
            results = []
            for command in commands:
                results.append(await asyncio.to_thread(bgphealth, file, *command.split()))
                if then is not None:
                    then(it.steered)
            return results

    return asyncio.run(run())


def _file(tmp_path: Path, it: Listening) -> Path:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(f"{FILE}control: {{socket: {it.path}}}\n")
    return file


def settle(it: Steered) -> None:
    it.post(TimePassed(100.0 + SETTLE_S))


def test_an_uplink_from_use_and_back(tmp_path: Path) -> None:
    drained, listed, undrained, nothing = over(
        tmp_path,
        "drain uplink tor1 --for 30m",
        "drain",
        "undrain uplink tor1",
        "drain",
        then=settle,
    )
    assert [r.exit_code for r in (drained, listed, undrained, nothing)] == [0] * 4
    assert drained.output.startswith("uplink tor1: draining, announced for 10 s more; since ")
    assert ", until " in drained.output
    assert listed.output.startswith("uplink tor1: drained; since ")
    assert undrained.output == "uplink tor1: not drained\n"
    assert nothing.output == "nothing is drained\n"


@pytest.mark.parametrize("what", ["host", "uplink tor1", "service dns --json"])
def test_a_drain_that_ends_before_it_withdraws_is_warned_of(tmp_path: Path, what: str) -> None:
    short, equal, longer = over(
        tmp_path, f"drain {what} --for 5s", f"drain {what} --for 10s", f"drain {what} --for 11s"
    )
    assert [r.exit_code for r in (short, equal, longer)] == [0] * 3
    assert short.stderr == (
        "it ends in 5 s, before anything is withdrawn: that is in 10 s (policy.drain_settle); give "
        "a longer --for\n"
    )
    assert equal.stderr.startswith("it ends in 10 s, before anything is withdrawn")
    assert longer.stderr == ""


def test_json_has_a_version(tmp_path: Path) -> None:
    drained, listed, undrained = over(
        tmp_path, "drain service dns --json", "drain --json", "undrain service dns --json"
    )
    found = json.loads(drained.output)
    assert (found["schema_version"], found["kept"]) == (1, True)
    assert found["drain"]["stage"] == "draining"
    (again,) = json.loads(listed.output)["drains"]
    # The clock of the events stands still here, that of the wall does not.
    assert again | {"since": found["drain"]["since"]} == found["drain"]
    assert json.loads(undrained.output) == {"schema_version": 1, "drain": None, "kept": True}


def test_the_last_healthy_path_needs_force(tmp_path: Path) -> None:
    of = steered()
    of.feed(round_of(of.state.settings.uplinks[1], Verdict.FAILED) * FALL)
    refused, forced = over(tmp_path, "drain uplink tor1", "drain uplink tor1 --force", of=of)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        "refused: no other uplink is known to work for ipv4: without tor1 this host would have no "
        "healthy path (--force drains it all the same)\n"
    )
    assert (forced.exit_code, forced.output.rstrip().endswith(", forced")) == (0, True)


def test_a_suspended_drain_is_said(tmp_path: Path) -> None:
    def fail(it: Steered) -> None:
        it.feed(round_of(it.state.settings.uplinks[1], Verdict.FAILED) * FALL)

    _, listed = over(tmp_path, "drain uplink tor1", "drain", then=fail)
    assert "suspended, carries because no other uplink works" in listed.output


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (
            "drain uplink tro1",
            2,
            "there is no uplink 'tro1'; did you mean tor1? (there is tor1, tor2)",
        ),
        ("undrain service web", 2, "there is no service 'web' (there is dns)"),
        ("undrain host", 1, "refused: host is not drained"),
        ("drain service loopback", 1, "refused: the host loopback is not drained"),
        ("drain host --for 30", 2, "must be a duration like 200ms, 2s or 30m"),
        ("drain host --for 1ms", 2, "must be from 1s to 366d"),
    ],
)
def test_what_is_not_done(tmp_path: Path, command: str, status: int, said: str) -> None:
    (result,) = over(tmp_path, command)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr


def test_a_drain_that_a_restart_would_forget_is_warned_of(tmp_path: Path) -> None:
    of = steered()
    of.keeps = False
    (result,) = over(tmp_path, "drain host", of=of)
    assert result.exit_code == 0
    assert "a restart will not know of it" in result.stderr


def test_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    file = tmp_path / "bgphealth.yaml"
    file.write_text("wrong")  # Then it is where it is by default.
    result = bgphealth(file, "drain", "host")
    assert result.exit_code == 75
    assert f"nothing listens at {tmp_path}/bgphealth.socket" in result.stderr
    assert "While ExaBGP is restarted that lasts some seconds: try again." in result.stderr
    assert "what 'bgphealth check' says" in result.stderr
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/bgphealth.socket")
    assert bgphealth(file, "drain").exit_code == 75


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to everything")
def test_the_socket_is_not_for_this_user(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening_there:
        path = tmp_path / "socket"
        listening_there.bind(str(path))
        listening_there.listen()
        path.chmod(0)
        file = tmp_path / "bgphealth.yaml"
        file.write_text(f"{FILE}control: {{socket: {path}}}\n")
        result = bgphealth(file, "drain")
    assert (result.exit_code, "in the group of the socket" in result.stderr) == (77, True)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"", 75, "no answer"),
        (b"220 mail.example ESMTP\n", 69, "is no bgphealth"),
        (b'{"version": 2, "ok": true}\n', 69, "of this version"),
        (b'{"version": 1, "ok": false, "error": {"kind": "busy", "message": "16"}}\n', 75, "again"),
        (b'{"version": 9, "ok": false, "error": {"kind": "x", "message": "old"}}\n', 69, ": old"),
    ],
)
def test_something_else_listens(tmp_path: Path, answer: bytes, status: int, said: str) -> None:
    async def run() -> Result:
        async def client(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()

        path = tmp_path / "socket"
        server = await asyncio.start_unix_server(client, str(path))
        async with server:
            file = tmp_path / "bgphealth.yaml"
            text = f"{FILE}control: {{socket: {path}}}\n"
            await asyncio.to_thread(file.write_text, text)
            return await asyncio.to_thread(bgphealth, file, "drain")

    result = asyncio.run(run())
    assert (result.exit_code, said in result.stderr) == (status, True)
