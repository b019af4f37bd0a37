"""The control socket: one JSON object per line, one answer per line, each with the version.

Who may connect is said by the mode of the socket, who may give commands by what the kernel knows of
who has connected (`peers`). Nothing that a client does may disturb the probes: lines, clients, and
the time that one may take are bounded, a client is answered a hundred times a second at most, and
garbage ends its connection. Strangers have places of their own, and are let in and answered one
after the other: none of them keeps an operator out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bgphealth.core.errors import HostError
from bgphealth.core.settings import Readers
from bgphealth.daemon.audit import Audit
from bgphealth.daemon.operator import Operator
from bgphealth.daemon.peers import Caller, Rights, Standing, caller, let_in, user_name
from bgphealth.daemon.protocol import VERSION, Kind
from bgphealth.daemon.requests import RefusalError, Stream

LONGEST_LINE = 16 * 1024
MOST_CLIENTS = 16
"""Of each standing; half of them may follow. A user who is not the owner has half as many."""
PATIENCE_S = 10.0
"""How long a client may take for a line, and to take an answer."""

_PAUSE_S = 0.01
_RESPITE = 10
"""Strangers wait so many times as long as the last answer to one of them took."""
_OUT_OF_BREATH_S = 1.0
_BACKLOG = 64
_LONGEST_PATH = 107  # unix(7), less the final NUL.
_SHOWN = 200


@dataclass(eq=False, slots=True)
class _Client:
    """One connection that has a place."""

    caller: Caller
    standing: Standing
    follows: bool = False


class Control:
    """Listens on the socket and has the operator's requests answered."""

    def __init__(
        self,
        path: Path,
        operator: Operator,
        log: FilteringBoundLogger,
        rights: Rights,
    ) -> None:
        self._path = path
        self._operator = operator
        self._log = log
        self._audit = Audit(log)
        self._rights = rights
        self._group: int | None = None
        self._open_to: Rights | None = None
        self._listens = False
        self._clients: dict[asyncio.Task[None], _Client] = {}
        self._strangers = asyncio.Lock()

    @property
    def clients(self) -> int:
        """How many have a place."""
        return len(self._clients)

    async def serve(self) -> None:
        """Serve until cancelled. What prevents it is said; the program goes on without."""
        try:
            listening = await self._listen()
        except (OSError, HostError) as error:
            self._log.warning("control_not_listening", socket=str(self._path), why=_why(error))
            return
        ours = self._path.lstat().st_ino
        self._listens = True
        try:
            await self._let_in(listening)
        finally:
            listening.close()
            for client in self._clients:
                client.cancel()
            with contextlib.suppress(OSError):
                if self._path.lstat().st_ino == ours:
                    self._path.unlink()

    async def configure(self, rights: Rights) -> None:
        """Let those in who may from now on. Where that cannot be done, only the owner may."""
        self._rights = rights
        # While they are given, nobody may connect: not for what is as it was.
        if self._listens and self._open_to != rights:
            await self._open(self._path)

    async def _listen(self) -> socket.socket:
        """Put a socket in place that listens, also where a killed program has left one.

        Raises:
            HostError: something else is there.
            OSError: the system does not allow it.
        """
        self._path.parent.mkdir(exist_ok=True)
        _require_free(self._path)
        # Under another name first: what can be seen can be connected to, by those who may. A short
        # one, as a path has 107 bytes at most, and our own, as others may begin here as well.
        new = self._path.with_name(f".{os.getpid():x}")
        new.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(new))
            listening.listen(_BACKLOG)
            listening.setblocking(False)  # noqa: FBT003 - its own name
            await self._open(new)
            new.replace(self._path)
        except BaseException:
            listening.close()
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        return listening

    async def _open(self, path: Path) -> None:
        rights = self._rights
        try:
            self._group = await asyncio.to_thread(let_in, path, rights)
            self._open_to = rights
        except (OSError, HostError) as error:
            self._group = self._open_to = None
            of = {"socket": str(self._path), "group": rights.group}
            self._log.error("control_closed", **of, why=_why(error))

    async def _let_in(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                # No descriptor is left, for example: whoever waits is let in later.
                await asyncio.sleep(_OUT_OF_BREATH_S)
                continue
            client = await self._admit(connection)
            if client is None or client.standing is Standing.STRANGER:
                await asyncio.sleep(_PAUSE_S)

    async def _admit(self, connection: socket.socket) -> _Client | None:
        """Give somebody a place, or send him away."""
        try:
            connection.setblocking(False)  # noqa: FBT003 - its own name
            # Its groups may have to be looked up, in a directory that takes its time.
            who = await asyncio.to_thread(caller, connection)
            client = _Client(who, who.standing(self._group))
            if why := self._why_full(client):
                connection.send(_error(Kind.BUSY, why))
                connection.close()
                return None
        except OSError:
            connection.close()  # It went away.
            return None
        except asyncio.CancelledError:
            connection.close()
            raise
        task = asyncio.create_task(self._serve(connection, client))
        self._clients[task] = client
        task.add_done_callback(self._clients.pop)
        return client

    def _why_full(self, client: _Client, *, follows: bool = False) -> str | None:
        """Tell in words that there is no place, or none to follow from."""
        others = [
            other.caller.peer.uid
            for other in self._clients.values()
            if other.standing is client.standing and other.follows >= follows
        ]
        most = MOST_CLIENTS // 2 if follows else MOST_CLIENTS
        do = "follow" if follows else "are connected"
        if len(others) >= most:
            return f"{len(others)} others {do}"
        of_one = others.count(client.caller.peer.uid)
        if client.standing is not Standing.OWNER and of_one >= most // 2:
            return f"{of_one} others of this user {do}"
        return None

    async def _serve(self, connection: socket.socket, client: _Client) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_LINE)
        except BaseException:
            connection.close()
            raise
        try:
            await self._converse(reader, writer, client)
        except (ConnectionError, TimeoutError):
            pass  # It went away, or was too slow.
        except asyncio.CancelledError:
            pass  # The program ends; Python 3.11's streams would log it as a mistake.
        finally:
            await _close(writer)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: _Client
    ) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    line = await reader.readline()
            except ValueError:
                writer.write(_error(Kind.BAD_REQUEST, f"longer than {LONGEST_LINE} bytes"))
                return
            if not line.endswith(b"\n"):
                return
            try:
                request = _request(line)
            except RefusalError as error:
                writer.write(_error(error.kind, str(error)))
                return
            answer = await self._in_turn(request, client)
            if isinstance(answer, Stream):
                await self._follow(answer, reader, writer)
                return
            writer.write(answer)
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
            # However much it asks, the probes come first.
            await asyncio.sleep(_PAUSE_S)

    async def _in_turn(self, request: Mapping[str, object], client: _Client) -> bytes | Stream:
        """Answer; strangers one after the other, with time for the probes in between."""
        if client.standing is not Standing.STRANGER:
            return await self._answer(request, client)
        loop = asyncio.get_running_loop()
        async with self._strangers:
            began = loop.time()
            answer = await self._answer(request, client)
            await asyncio.sleep(_RESPITE * (loop.time() - began))
        return answer

    async def _answer(self, request: Mapping[str, object], client: _Client) -> bytes | Stream:
        # The group may have become another one since.
        standing = client.caller.standing(self._group)
        outcome, message, is_noted = "done", None, True
        answer: bytes | Stream
        try:
            is_noted = self._operator.command(request).changes
            self._require_right(request, standing, changes=is_noted)
            found = await self._operator.answer(request, await _in_words(client.caller))
            if isinstance(found, Stream):
                self._take_place_to_follow(client)
                answer = found
            else:
                answer = _line({"ok": True, **found})
        except RefusalError as error:
            outcome, message, is_noted = error.kind, str(error), True
            answer = _error(error.kind, str(error))
        except Exception:  # noqa: BLE001 - whatever it is, it ends here
            # A mistake of ours in answering is none in steering.
            self._log.exception("control_failed", command=str(request.get("command"))[:_SHOWN])
            return _error(Kind.FAILED, "bgphealth made a mistake; its log says which")
        if is_noted:
            await self._audit.note(client.caller, standing, request, outcome, message)
        return answer

    def _require_right(
        self, request: Mapping[str, object], standing: Standing, *, changes: bool
    ) -> None:
        if standing is not Standing.STRANGER:
            return
        if changes or self._rights.readers is not Readers.ALL:
            group = f"the group {self._rights.group}" if self._rights.group else "its group"
            raise RefusalError(
                Kind.FORBIDDEN,
                f"{request['command']} is for root, the user that bgphealth runs as, and {group}",
            )

    def _take_place_to_follow(self, client: _Client) -> None:
        if why := self._why_full(client, follows=True):
            raise RefusalError(Kind.BUSY, why)
        client.follows = True

    async def _follow(
        self, answer: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Write line after line, until the client says anything more, goes, or is too slow."""
        writing = asyncio.create_task(_write_all(answer, writer))
        hearing = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({writing, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writing.cancel()
            hearing.cancel()
            (outcome, _) = await asyncio.gather(writing, hearing, return_exceptions=True)
        if isinstance(outcome, RefusalError):
            writer.write(_error(outcome.kind, str(outcome)))


async def _write_all(answer: Stream, writer: asyncio.StreamWriter) -> None:
    writer.write(_line({"ok": True, **answer.first}))
    async for line in answer.lines:
        writer.write(_line({"ok": True, **line}))
        async with asyncio.timeout(PATIENCE_S):
            await writer.drain()


async def _in_words(asking: Caller) -> str:
    name = await asyncio.to_thread(user_name, asking.peer.uid)
    return f"{name} (uid {asking.peer.uid}, pid {asking.peer.pid})"


def _request(line: bytes) -> Mapping[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RefusalError(Kind.BAD_REQUEST, "not a line of JSON") from None
    if not isinstance(request, dict):
        raise RefusalError(Kind.BAD_REQUEST, "not a JSON object")
    if request.get("version") != VERSION or isinstance(request["version"], bool):
        raise RefusalError(Kind.BAD_REQUEST, f"version must be {VERSION}")
    return request


def _line(answer: Mapping[str, object]) -> bytes:
    return (json.dumps({"version": VERSION, **answer}) + "\n").encode("ascii")


def _error(kind: Kind, message: str) -> bytes:
    return _line({"ok": False, "error": {"kind": kind.value, "message": message}})


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whether the other end takes what it was answered or not."""
    writer.close()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()


def _require_free(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise HostError(f"a socket's path has at most {_LONGEST_PATH} bytes")
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise HostError("something that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - its own name
        refused = probe.connect_ex(str(path))
    if refused != errno.ECONNREFUSED:
        raise HostError("somebody listens there: another bgphealth with a file of the same name?")


def _why(error: OSError | HostError) -> str:
    # Not every OSError comes of the system: "AF_UNIX path too long" has no strerror.
    return str((isinstance(error, OSError) and error.strerror) or error)
