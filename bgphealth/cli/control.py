"""Ask a running bgphealth something, over its control socket."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from bgphealth.core.errors import (
    BgphealthError,
    ConfigurationError,
    DependencyError,
    HostError,
    PermissionDeniedError,
)
from bgphealth.daemon import places
from bgphealth.daemon.protocol import VERSION, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TIMEOUT_S = 15.0
PATIENCE_S: dict[str, float | None] = {"reload": None, "recheck": 60.0}
"""Commands that may take longer: what leaves the file is drained first, for up to an hour; or all
there is is asked. None is for as long as the connection lives."""
_TIMEOUT = struct.pack("@ll", int(_TIMEOUT_S), 0)  # struct timeval
_LONGEST_ANSWER = 16 * 1024 * 1024
_ENDED = "no answer; bgphealth may just have ended, to be started again: try again"


class NotDoneError(BgphealthError):
    """The running bgphealth refused."""

    exit_status = 1


class UnknownNameError(BgphealthError):
    """The file of the running bgphealth has no such thing."""

    exit_status = 2


def socket_of(file: Path) -> Path:
    """Return where the bgphealth over this file listens. With a wrong file: where by default.

    A running one has written it down; to read the file takes ten times as long as to ask.
    """
    if (noted := places.noted_socket(file)) is not None:
        return noted
    from bgphealth import config  # noqa: PLC0415 - its libraries are most of what takes time

    settings = None
    with suppress(BgphealthError):
        settings = config.load(file)
    return places.control_socket(file, settings)


def ask(path: Path, command: str, /, **fields: object) -> Mapping[str, object]:
    """Ask once and return the answer.

    Raises:
        HostError: nothing listens, or it does not answer.
        PermissionDeniedError: the socket, or this command, is not for this user.
        ConfigurationError: it is about a file that is wrong.
        NotDoneError: it was refused.
        UnknownNameError: there is no such uplink or service.
        DependencyError: what listens is no bgphealth, or another version.
    """
    for answer in answers(path, command, **fields):
        return answer
    raise HostError(f"{path}: {_ENDED}")


def answers(path: Path, command: str, /, **fields: object) -> Iterator[Mapping[str, object]]:
    """Ask once and yield the answer, then what follows it, until the other end has no more.

    Raises what `ask` does.
    """
    request = {"version": VERSION, "command": command, **fields}
    for line in _exchange(path, command, json.dumps(request).encode() + b"\n"):
        yield _understood(path, line)


def _exchange(path: Path, command: str, request: bytes) -> Iterator[bytes]:
    """Yield the line that is answered, which may be empty, and those that follow it."""
    timeout_s = PATIENCE_S.get(command, _TIMEOUT_S)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            # Where others wait to be let in, connect(2) waits its turn only if it may block.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEOUT)
            connection.connect(str(path))
            connection.settimeout(timeout_s)
            # A busy one answers without having read: what it says counts.
            with suppress(BrokenPipeError):
                connection.sendall(request)
            with connection.makefile("rb") as stream, suppress(ConnectionResetError):
                yield stream.readline(_LONGEST_ANSWER)
                connection.settimeout(None)
                while line := stream.readline(_LONGEST_ANSWER):
                    yield line
    except (FileNotFoundError, ConnectionRefusedError):
        raise HostError(
            f"nothing listens at {path}: bgphealth does not run, or has not logged started yet. "
            "While ExaBGP is restarted that lasts some seconds: try again. If it stays so, see "
            "'systemctl status exabgp' (in mode local: bgphealth), whether it runs with this file "
            "(-c), and what 'bgphealth check' says: it may wait for a right one"
        ) from None
    except PermissionError:
        raise PermissionDeniedError(
            f"{path} is not for this user: be root, or in the group of the socket"
        ) from None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror or 'no answer in time'}") from None


def _understood(path: Path, line: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    match answer:
        case {"version": version, "ok": True} if version == VERSION:
            return {key: value for key, value in answer.items() if key not in ("version", "ok")}
        case {"ok": False, "error": {"kind": Kind.UNKNOWN_NAME, "message": str(message)}}:
            raise UnknownNameError(message)
        case {"ok": False, "error": {"kind": Kind.REFUSED, "message": str(message)}}:
            raise NotDoneError(f"refused: {message}")
        case {"ok": False, "error": {"kind": Kind.FORBIDDEN, "message": str(message)}}:
            raise PermissionDeniedError(message)
        case {"ok": False, "error": {"kind": Kind.INVALID_FILE, "message": str(message)}}:
            raise ConfigurationError(message)
        case {"ok": False, "error": {"kind": Kind.BUSY, "message": str(message)}}:
            raise HostError(f"try again: {message}")
        case {"ok": False, "error": {"message": str(message)}}:
            raise DependencyError(f"the bgphealth that listens at {path}: {message}")
        case None if not line:
            raise HostError(f"{path}: {_ENDED}")
        case _:
            raise DependencyError(f"what listens at {path} is no bgphealth of this version")
