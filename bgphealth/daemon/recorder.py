"""Writes what goes into the engine to a file, for `bgphealth simulate`.

A disk may be full, slow or gone; the program must not notice. So a thread of its own does all that
has to do with the file, what happens waits for it in memory, and the first trouble ends the
recording with one line in the log: a recording with a hole in it would tell another story.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from bgphealth.core.events import Event
from bgphealth.core.settings import Settings
from bgphealth.core.trace import HEADER, RECONFIGURED, VERSION, Codec, NotInFileError

_LOOK_AGAIN_S = 0.2
_LOCKED_BY_NOW_S = 10.0
"""How long the program that was here before may take to let go of the file."""

_MOST_WAITING = 100_000
"""Events: some minutes of a busy host, some ten MiB."""

_CLOSE_WITHIN_S = 0.5
"""ExaBGP kills what is not gone 2 s after SIGTERM."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Read(NamedTuple):
    """A configuration as it was read."""

    file: Path
    content: bytes


class _Configured(NamedTuple):
    """From now on these settings count; `at` is None for the first ones of a run."""

    at: float | None
    settings: Settings
    read: _Read


class _CannotRecordError(Exception):
    """Why nothing can be recorded, or nothing more."""


class Recorder:
    """Records one run.

    The recording is made for its owner alone. One that is there already is continued, so that a
    restart adds a run to it; nothing else is ever written to.

    Args:
        path: the recording.
        most_bytes: how large it may become.
        log: who hears when recording begins and ends.
    """

    def __init__(self, path: Path, most_bytes: int, log: FilteringBoundLogger) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._log = log
        self._read: _Read | None = None
        self._size = 0
        self._waiting: SimpleQueue[Event | _Configured | None] = SimpleQueue()
        self._stopped = False
        # A daemon: a disk that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def load(self, file: Path) -> Settings:
        """Read a configuration like `config.load`; what it says goes into the recording, too."""
        from bgphealth import config  # noqa: PLC0415 - only a recording needs the file's text

        content = config.raw(file)
        settings = config.loads(str(file), content)
        self._read = _Read(file, content)
        return settings

    def begin(self, settings: Settings) -> None:
        """Begin a run with the settings that were loaded last. To be called once."""
        self._configured(None, settings)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Take an event; never waits."""
        self._take(event)

    def reconfigured(self, at: float, settings: Settings) -> None:
        """Take other settings, those that were loaded last; never waits."""
        self._configured(at, settings)

    def close(self) -> None:
        """Write what is there, unless that takes too long."""
        self._waiting.put(None)
        self._thread.join(_CLOSE_WITHIN_S)

    def _configured(self, at: float | None, settings: Settings) -> None:
        if self._read is None:
            raise AssertionError("nothing was loaded")
        self._take(_Configured(at, settings, self._read))

    def _take(self, what: Event | _Configured) -> None:
        if self._stopped:
            return
        if self._waiting.qsize() < _MOST_WAITING:
            self._waiting.put(what)
        else:
            self._stop("the disk is too slow")

    def _stop(self, why: str) -> None:
        self._stopped = True
        self._log.warning("recording_stopped", file=str(self._path), why=why)

    # From here on: what the thread does.

    def _run(self) -> None:
        try:
            descriptor = os.open(self._path, _FLAGS, 0o600)
            try:
                self._continue(descriptor)
                self._write_all(descriptor)
            finally:
                os.close(descriptor)
        except _CannotRecordError as error:
            self._stop(str(error))
        except OSError as error:
            self._stop(error.strerror or str(error))

    def _continue(self, descriptor: int) -> None:
        """Make sure that the file is ours alone, and at the beginning of a line."""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _CannotRecordError("it is no regular file")
        self._lock(descriptor)
        self._size = os.fstat(descriptor).st_size
        if not self._size:
            return
        begin = f'{{"{HEADER}"'.encode()
        if os.pread(descriptor, len(begin), 0) != begin:
            raise _CannotRecordError("it is there already and is no recording")
        if os.pread(descriptor, 1, self._size - 1) != b"\n":
            # The last run was killed in the middle of a line.
            self._size += os.write(descriptor, b"\n")

    def _lock(self, descriptor: int) -> None:
        give_up_at = time.monotonic() + _LOCKED_BY_NOW_S
        while time.monotonic() < give_up_at:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOOK_AGAIN_S)
            else:
                return
        raise _CannotRecordError("another program records to it")

    def _write_all(self, descriptor: int) -> None:
        codec: Codec  # What counts comes first (`begin`).
        while (what := self._waiting.get()) is not None and not self._stopped:
            if isinstance(what, _Configured):
                codec = Codec(what.settings)
                self._write(descriptor, _in_words(what))
                if what.at is None:
                    self._log.info("recording", file=str(self._path))
                continue
            # What the file does not name any more was under way when it changed.
            with suppress(NotInFileError):
                self._write(descriptor, codec.encode(what))

    def _write(self, descriptor: int, record: Mapping[str, object]) -> None:
        line = json.dumps(record, separators=(", ", ": ")).encode() + b"\n"
        if self._size + len(line) > self._most_bytes:
            raise _CannotRecordError(f"it has reached its limit of {self._most_bytes} bytes")
        written = os.write(descriptor, line)
        self._size += written
        if written < len(line):
            raise _CannotRecordError("the disk is full")


def _in_words(configured: _Configured) -> dict[str, object]:
    file, content = configured.read
    written = {"file": str(file), "content": content.decode()}
    if configured.at is None:
        return {
            HEADER: VERSION,
            "start": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "config": written,
        }
    return {"is": RECONFIGURED, "at": configured.at, "config": written}
