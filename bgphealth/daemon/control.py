"""The control socket: one JSON object per line, one answer per line, each with the version.

Who may connect is said by the mode of the socket (0660: its user and its group). Nothing that a
client does may disturb the probes: lines, clients, and the time that one may take are bounded, a
client is answered a hundred times a second at most, and garbage ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from bgphealth.core.errors import HostError
from bgphealth.daemon.operator import Operator, RefusalError
from bgphealth.daemon.protocol import VERSION, Kind

LONGEST_LINE = 16 * 1024
MOST_CLIENTS = 16
PATIENCE_S = 10.0
"""How long a client may take for a line, and to take an answer."""

_PAUSE_S = 0.01
_MODE = 0o660
_CREDENTIALS = struct.Struct("3i")
_SHOWN = 200


class Peer(NamedTuple):
    """Who is at the other end, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int


class Control:
    """Listens on the socket and has the operator's requests answered."""

    def __init__(self, path: Path, operator: Operator, log: FilteringBoundLogger) -> None:
        self._path = path
        self._operator = operator
        self._log = log
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve until cancelled. What prevents it is said; the program goes on without."""
        try:
            listening = _listen(self._path)
        except (OSError, HostError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._log.warning("control_not_listening", socket=str(self._path), why=why)
            return
        ours = self._path.lstat().st_ino
        server = await asyncio.start_unix_server(
            self._client, sock=listening, limit=LONGEST_LINE, start_serving=False
        )
        try:
            await server.start_serving()
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for client in self._clients:
                client.cancel()
            with contextlib.suppress(OSError):
                if self._path.lstat().st_ino == ours:
                    self._path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError
        try:
            if len(self._clients) >= MOST_CLIENTS:
                writer.write(_error(Kind.BUSY, f"{MOST_CLIENTS} others are connected"))
            else:
                self._clients.add(task)
                await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # It went away, or was too slow.
        except asyncio.CancelledError:
            pass  # The program ends; Python 3.11's streams would log it as a mistake.
        finally:
            self._clients.discard(task)
            await _close(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
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
            writer.write(await self._answer(request, peer))
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
            # However much it asks, the probes come first.
            await asyncio.sleep(_PAUSE_S)

    async def _answer(self, request: Mapping[str, object], peer: Peer) -> bytes:
        outcome, message = "done", None
        try:
            answer = _line({"ok": True, **await self._operator.answer(request)})
        except RefusalError as error:
            outcome, message = error.kind, str(error)
            answer = _error(error.kind, str(error))
        except Exception:  # noqa: BLE001 - whatever it is, it ends here
            # A mistake of ours in answering is none in steering.
            self._log.exception("control_failed", command=str(request.get("command"))[:_SHOWN])
            return _error(Kind.FAILED, "bgphealth made a mistake; its log says which")
        asked = {key: str(value)[:_SHOWN] for key, value in request.items() if key != "version"}
        if request.get("command") not in ("drains", "status"):
            self._log.info(
                "control_command", **peer._asdict(), asked=asked, outcome=outcome, message=message
            )
        return answer


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


def _peer(writer: asyncio.StreamWriter) -> Peer:
    connection: socket.socket = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(raw))


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whether the other end takes what it was answered or not."""
    writer.close()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()


def _listen(path: Path) -> socket.socket:
    """Put a socket in place that listens, also where a killed program has left one.

    Raises:
        HostError: something else is there.
        OSError: the system does not allow it.
    """
    path.parent.mkdir(exist_ok=True)
    _require_free(path)
    # Under another name first: what can be seen can be connected to, by those who may.
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(new))
        new.chmod(_MODE)
        listening.listen(MOST_CLIENTS)
        listening.setblocking(False)  # noqa: FBT003 - its own name
        new.replace(path)
    except BaseException:
        listening.close()
        raise
    return listening


def _require_free(path: Path) -> None:
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
