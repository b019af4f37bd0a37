"""The control socket: what is answered, and what no client can do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture

from bgphealth.core.drain import Stage
from bgphealth.core.events import TimePassed, Verdict
from bgphealth.core.settings import Family, Readers
from bgphealth.daemon import audit, control, draining, peers
from bgphealth.daemon.control import Control
from bgphealth.daemon.operator import Operator
from bgphealth.daemon.peers import Caller, Peer, Rights, Standing, user_name
from bgphealth.daemon.requests import RefusalError
from tests.support.control import Listening, listening, steered
from tests.support.hosts import FALL, SETTLE_S, host, round_of, service

DRAINS = b'{"version": 1, "command": "drains"}\n'


async def test_a_service_is_drained_listed_and_undrained() -> None:
    async with listening() as it:
        answer = await it.command("drain", what="service", name="dns", for_s=1800)
        drain = answer["drain"]
        assert (answer["ok"], answer["version"], answer["kept"]) == (True, 1, True)
        assert (drain["what"], drain["name"], drain["stage"]) == ("service", "dns", "draining")
        assert (drain["forced"], drain["settles_in_s"]) == (False, SETTLE_S)
        it.steered.post(TimePassed(100.0 + SETTLE_S))
        (listed,) = (await it.command("drains"))["drains"]
        assert (listed["stage"], listed["settles_in_s"]) == ("drained", None)
        assert it.steered.state.drains.stage("dns") is Stage.DRAINED
        answer = await it.command("undrain", what="service", name="dns")
        assert (answer["ok"], answer["drain"]) == (True, None)
        assert (await it.command("drains"))["drains"] == []
        assert it.steered.kept == [1, 0]


async def test_who_said_what_is_logged_with_what_the_kernel_knows_of_them() -> None:
    async with listening() as it:
        await it.command("drain", what="uplink", name="tor1")
        await it.command("drain", what="uplink", name="tor2")
        await it.command("drains")
        first, second = [e for e in it.log if e["event"] == "control_command"]
        assert (first["uid"], first["gid"]) == (os.getuid(), os.getgid())
        assert first["pid"] == os.getpid()
        assert first["asked"] == {"command": "drain", "what": "uplink", "name": "tor1"}
        assert (first["outcome"], second["outcome"]) == ("done", "refused")


async def test_the_last_healthy_path_is_drained_by_force_only() -> None:
    both = steered(host(families=(Family.IPV4, Family.IPV6)))
    both.feed(round_of(both.state.settings.uplinks[1], Verdict.FAILED) * FALL)
    async with listening(both) as it:
        answer = await it.command("drain", what="uplink", name="tor1")
        assert answer["error"]["kind"] == "refused"
        assert "for ipv4 and ipv6: without tor1" in answer["error"]["message"]
        assert it.steered.state.drains.orders == {}
        answer = await it.command("drain", what="uplink", name="tor1", force=True)
        assert answer["drain"]["forced"] is True


async def test_the_only_uplink_that_may_carry_a_service_is_drained_by_force_only() -> None:
    plain = host()
    web = service("web", "192.0.2.7/32", uplinks=frozenset({"tor1"}))
    async with listening(steered(replace(plain, services=(*plain.services, web)))) as it:
        answer = await it.command("drain", what="uplink", name="tor1")
        assert answer["error"]["kind"] == "refused"
        assert "for the service web: without tor1 it would have" in answer["error"]["message"]
        assert (await it.command("drain", what="uplink", name="tor2"))["ok"] is True


async def test_a_service_that_is_called_as_a_suspended_uplink_is_drained_by_itself() -> None:
    plain = host()
    namesake = service("tor1", "192.0.2.7/32")
    async with listening(steered(replace(plain, services=(*plain.services, namesake)))) as it:
        await it.command("drain", what="uplink", name="tor1")
        it.steered.feed(round_of(it.steered.state.settings.uplinks[1], Verdict.FAILED) * FALL)
        answer = await it.command("drain", what="service", name="tor1")
        assert answer["drain"]["stage"] == "draining"


async def test_a_drain_that_could_not_be_written_down_says_so() -> None:
    of = steered()
    of.keeps = False
    async with listening(of) as it:
        assert (await it.command("drain", what="host"))["kept"] is False


async def test_a_suspended_drain_is_listed_as_such() -> None:
    async with listening() as it:
        await it.command("drain", what="uplink", name="tor1")
        tor2 = it.steered.state.settings.uplinks[1]
        it.steered.feed(round_of(tor2, Verdict.FAILED) * FALL)
        (listed,) = (await it.command("drains"))["drains"]
        assert listed["stage"] == "suspended"


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"what": "uplink", "name": "tro1"}, "unknown_name", "did you mean tor1?"),
        ({"what": "service", "name": "web"}, "unknown_name", "(there is dns)"),
        ({"what": "service", "name": "x" * 9000}, "unknown_name", "there is no service"),
        ({"what": "service", "name": "loopback"}, "refused", "host loopback"),
        ({"what": "rack", "name": "r1"}, "bad_request", "service, uplink, host"),
        ({"what": ["uplink"], "name": "tor1"}, "bad_request", "what must be"),
        ({"what": "uplink", "name": 1}, "bad_request", "name must be"),
        ({"what": "host", "name": "server1"}, "bad_request", "the host has none"),
        ({"what": "host", "for_s": 0}, "bad_request", "for_s"),
        ({"what": "host", "for_s": "30m"}, "bad_request", "for_s"),
        ({"what": "host", "for_s": True}, "bad_request", "for_s"),
        ({"what": "host", "for_s": float("nan")}, "bad_request", "for_s"),
        ({"what": "host", "for_s": 1e300}, "bad_request", "for_s"),
        ({"what": "host", "force": "yes"}, "bad_request", "true or false"),
        ({"what": "host", "until": 5}, "bad_request", "'until' is not known"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    fields: dict[str, Any], kind: str, said: str
) -> None:
    of = steered()
    with pytest.raises(RefusalError) as caught:
        await Operator(draining.commands(of)).answer({"version": 1, "command": "drain", **fields})
    assert (caught.value.kind, said in str(caught.value)) == (kind, True)
    assert len(str(caught.value)) < 300
    assert of.state.drains.orders == {}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"drain host\n",
        b"\xff\xfe\x00\n",
        b"[" * 16000 + b"\n",
        b"9" * 16000 + b"\n",
        b"null\n",
        b"[]\n",
        b'{"command": "drains"}\n',
        b'{"version": 2, "command": "drains"}\n',
        b'{"version": true, "command": "drains"}\n',
        b'{"version": 1, "command": "shutdown"}\n',
        b'{"version": 1, "command": {}}\n',
        b"GET / HTTP/1.1\r\n",
        b"x" * (control.LONGEST_LINE + 4000) + b"\n",
        b"x" * 10 * 1024 * 1024,
    ],
    ids=lambda line: repr(line[:12]),
)
async def test_garbage_is_answered_with_an_error_and_nothing_happens(line: bytes) -> None:
    async with listening() as it:
        try:
            answer = await it.ask(line)
        except ConnectionError:
            assert len(line) > 1024 * 1024  # It is not read to its end.
        else:
            assert (answer["ok"], answer["error"]["kind"]) == (False, "bad_request")
        assert (await it.ask(DRAINS))["drains"] == []
        assert it.steered.state.drains.orders == {}


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.dictionaries(
        st.sampled_from(["command", "what", "name", "for_s", "force", "other"]),
        st.sampled_from(["drain", "undrain", "drains", "uplink", "tor1", "host", 1, 2.5, True, []]),
    ),
)
def test_nothing_that_is_asked_for_is_an_accident(whole: object, fields: dict[str, object]) -> None:
    operator = Operator(draining.commands(steered(ONCE)))

    async def ask(request: dict[str, Any]) -> None:
        with contextlib.suppress(RefusalError):
            json.dumps(await operator.answer(request))

    for request in (fields, {**fields, "command": whole}, {**fields, "name": whole}):
        asyncio.run(ask(request))


ONCE = host()


async def test_a_mistake_of_ours_is_logged_and_ends_nothing() -> None:
    of = steered()

    async def breaks() -> bool:
        raise ZeroDivisionError

    of.keep_drains = breaks  # type: ignore[method-assign]
    async with listening(of) as it:
        answer = await it.command("drain", what="host")
        assert answer["error"]["kind"] == "failed"
        assert [e["event"] for e in it.log if e["log_level"] == "error"] == ["control_failed"]
        assert (await it.ask(DRAINS))["ok"] is True


async def test_clients_are_bounded_and_make_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.5)
    async with listening() as it:
        idle = [await it.stay() for _ in range(control.MOST_CLIENTS)]
        refused = await it.ask(DRAINS)
        assert refused["error"]["kind"] == "busy"
        # They say nothing, and are shown out.
        async with asyncio.timeout(20):
            while not await _is_answered(it):
                await asyncio.sleep(0.05)
        for _, writer in idle:
            writer.close()


async def test_however_much_is_asked_the_loop_has_its_turn_after_each_answer() -> None:
    asked, turns = 100, 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with listening() as it:
        reader, writer = await it.connect()
        writer.write(DRAINS * asked)
        counting = asyncio.create_task(count())
        seen = []
        for _ in range(asked):
            assert json.loads(await reader.readline())["ok"] is True
            seen.append(turns)
        counting.cancel()
        writer.close()
        assert len(set(seen)) == asked


async def test_200_clients_that_never_read_leave_room_for_others() -> None:
    async with listening() as it:
        clients = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)  # noqa: FBT003 - its own name
            client.connect_ex(str(it.path))
            clients.append(client)
            with contextlib.suppress(OSError):
                while True:
                    client.send(DRAINS * 100)
        for client in clients:
            client.close()
        async with asyncio.timeout(20):
            while not await _is_answered(it):
                await asyncio.sleep(0.05)


async def _is_answered(it: Listening) -> bool:
    try:
        return bool((await it.ask(DRAINS))["ok"])
    except (OSError, ValueError):
        return False  # Shut out while there was no room.


async def test_only_its_user_and_its_group_may_connect() -> None:
    before = os.umask(0)
    try:
        async with listening() as it:
            assert stat.S_IMODE(it.path.stat().st_mode) == 0o660
    finally:
        os.umask(before)
    async with listening() as it:
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o660


async def test_the_socket_goes_with_the_program(tmp_path: Path) -> None:
    async with listening(directory=tmp_path) as it:
        assert it.path.exists()
    assert not it.path.exists()


async def _serve_over(path: Path) -> list[Any]:
    capture = LogCapture()
    log = structlog.wrap_logger(None, processors=[capture])
    await Control(path, Operator(draining.commands(steered())), log, Rights()).serve()
    return capture.entries


def test_what_is_not_a_socket_of_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("something else")
    (event,) = asyncio.run(_serve_over(path))
    assert (event["event"], "no socket" in event["why"]) == ("control_not_listening", True)
    assert path.read_text() == "something else"


async def test_a_socket_that_somebody_listens_on_is_left_alone() -> None:
    async with listening() as it:
        (event,) = await _serve_over(it.path)
        assert "somebody listens" in event["why"]
        assert (await it.ask(DRAINS))["ok"] is True


async def test_a_socket_that_a_killed_program_left_is_replaced() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
        log = structlog.wrap_logger(None, processors=[LogCapture()])
        of = Control(path, Operator(draining.commands(steered())), log, Rights())
        serving = asyncio.create_task(of.serve())
        it = Listening(path, steered(), [], of)
        async with asyncio.timeout(20):
            while True:
                try:
                    assert (await it.ask(DRAINS))["ok"] is True
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        serving.cancel()
        await asyncio.wait({serving})


async def test_where_it_cannot_listen_it_says_so_and_the_program_goes_on() -> None:
    (event,) = await _serve_over(Path("/proc/nowhere/socket"))
    assert event["event"] == "control_not_listening"


async def test_a_path_may_be_as_long_as_the_system_allows() -> None:
    with tempfile.TemporaryDirectory() as directory:
        deep = directory + "/" + "x" * (107 - len(f"{directory}//socket"))
        os.mkdir(deep)  # noqa: PTH102 - pathlib is not for where it may block
        async with listening(directory=Path(deep)) as it:
            assert (len(str(it.path)), it.log) == (107, [])
            assert (await it.ask(DRAINS))["ok"] is True
            assert os.listdir(deep) == ["socket"]  # noqa: PTH208
        async with asyncio.timeout(20):
            (event,) = await _serve_over(Path(deep, "sockets"))
    assert (event["event"], "at most 107 bytes" in event["why"]) == ("control_not_listening", True)


async def test_what_only_python_finds_wrong_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_LONGEST_PATH", 1000)
    with tempfile.TemporaryDirectory() as directory:
        deep = directory + "/" + "x" * 107
        os.mkdir(deep)  # noqa: PTH102
        async with asyncio.timeout(20):
            (event,) = await _serve_over(Path(deep, "socket"))
    assert event["why"] == "AF_UNIX path too long"


STRANGER = 65534


@pytest.fixture
def come_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Let the kernel say that whoever connects next has this user and this group."""

    def come(uid: int, group: int) -> None:
        who = Caller(Peer(1, uid, STRANGER), frozenset({group}))
        monkeypatch.setattr(control, "caller", lambda _: who)

    return come


DRAIN_HOST = b'{"version": 1, "command": "drain", "what": "host"}\n'


async def test_strangers_may_read_where_the_file_says_so_and_change_nothing(
    come_as: Callable[[int, int], None],
) -> None:
    async with listening(rights=Rights(None, Readers.ALL)) as it:
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o666
        come_as(STRANGER, STRANGER)
        assert (await it.ask(DRAINS))["ok"] is True
        refused = await it.ask(DRAIN_HOST)
        assert refused["error"]["kind"] == "forbidden"
        assert "drain is for root, the user" in refused["error"]["message"]
        assert it.steered.state.drains.orders == {}
        (noted,) = [e for e in it.log if e["event"] == "control_command"]
        assert (noted["uid"], noted["outcome"]) == (STRANGER, "forbidden")
        assert noted["user"] == user_name(STRANGER)


async def test_what_strangers_are_refused_does_not_fill_the_log(
    come_as: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "QUIET_S", 3600.0)
    async with listening(rights=Rights(None, Readers.ALL)) as it:
        come_as(STRANGER, STRANGER)
        for _ in range(5):
            assert (await it.ask(DRAIN_HOST))["error"]["kind"] == "forbidden"
        assert len([e for e in it.log if e["event"] == "control_command"]) == 1
        come_as(os.getuid(), os.getgid())
        assert (await it.ask(DRAIN_HOST))["ok"] is True
        assert [e["outcome"] for e in it.log if e["event"] == "control_command"][1:] == ["done"]


async def test_where_only_the_group_may_read_others_may_not_even_if_they_got_in(
    come_as: Callable[[int, int], None],
) -> None:
    async with listening() as it:
        come_as(STRANGER, STRANGER)
        assert (await it.ask(DRAINS))["error"]["kind"] == "forbidden"


async def test_members_of_the_group_may_give_commands(
    come_as: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "group_number", lambda name: {"netops": os.getegid()}[name])
    async with listening(rights=Rights("netops", Readers.ALL)) as it:
        come_as(STRANGER, os.getegid())
        assert (await it.ask(DRAIN_HOST))["ok"] is True
        await it.control.configure(Rights(None, Readers.GROUP))
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o660


async def test_strangers_keep_nobody_else_out(come_as: Callable[[int, int], None]) -> None:
    async with listening(rights=Rights(None, Readers.ALL)) as it:
        idle = []
        for uid in (STRANGER - 2, STRANGER - 1):
            come_as(uid, STRANGER)
            idle += [await it.stay() for _ in range(control.MOST_CLIENTS // 2)]
        come_as(STRANGER, STRANGER)
        refused = await it.ask(DRAINS)
        assert refused["error"]["message"] == "16 others are connected"
        come_as(os.getuid(), os.getgid())
        assert (await it.ask(DRAIN_HOST))["ok"] is True
        for _, writer in idle:
            writer.close()


async def test_one_stranger_has_half_of_the_places(come_as: Callable[[int, int], None]) -> None:
    async with listening(rights=Rights(None, Readers.ALL)) as it:
        come_as(STRANGER, STRANGER)
        idle = [await it.stay() for _ in range(control.MOST_CLIENTS // 2)]
        refused = await it.ask(DRAINS)
        assert refused["error"]["message"] == "8 others of this user are connected"
        come_as(STRANGER - 1, STRANGER)
        assert (await it.ask(DRAINS))["ok"] is True
        for _, writer in idle:
            writer.close()


async def test_a_group_that_there_is_not_leaves_the_socket_to_its_owner() -> None:
    async with listening(rights=Rights("no-such-group", Readers.ALL)) as it:
        await it.until(lambda: it.log)
        (event,) = it.log
        assert (event["event"], event["log_level"]) == ("control_closed", "error")
        assert "there is no group no-such-group" in event["why"]
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o600
        assert (await it.ask(DRAINS))["ok"] is True


async def test_a_group_that_the_user_may_not_give_leaves_the_socket_to_its_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    async with listening() as it:
        await it.until(lambda: it.log)
        assert it.log[0]["why"] == "Operation not permitted"
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o600


async def test_rights_that_are_as_they_were_are_not_given_again(
    come_as: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, goes_on, let_in = [], threading.Event(), peers.let_in
    goes_on.set()

    def note(path: Path, rights: Rights) -> int:
        given.append(rights)
        assert goes_on.wait(20)
        return let_in(path, rights)

    monkeypatch.setattr(control, "let_in", note)
    async with listening() as it:
        await it.until(it.path.exists)
        await it.control.configure(Rights())
        assert given == [Rights()]
        come_as(STRANGER, os.getegid())
        goes_on.clear()
        changing = asyncio.create_task(it.control.configure(Rights("no-such-group")))
        await it.until(lambda: given[1:])
        answer = await it.ask(DRAINS)  # The group is the old one until the new one is known.
        goes_on.set()
        await changing
        assert answer["ok"] is True
        assert (await it.ask(DRAINS))["error"]["kind"] == "forbidden"
        await it.control.configure(Rights("no-such-group"))  # By now there may be one.
        await it.control.configure(Rights())
        assert given[1:] == [*[Rights("no-such-group")] * 2, Rights()]
        assert stat.S_IMODE(it.path.stat().st_mode) == 0o660


def test_what_the_kernel_says_of_a_peer_is_what_it_is() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        who = peers.caller(ours)
    assert who.peer == (os.getpid(), os.getuid(), os.getgid())
    assert who.groups == frozenset(os.getgroups())
    assert who.standing(None) is Standing.OWNER
