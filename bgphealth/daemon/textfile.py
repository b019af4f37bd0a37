"""Writes the metrics to a file for node_exporter's textfile collector.

A disk may be full, slow or gone, and the program must not notice: a thread writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from structlog.typing import FilteringBoundLogger

_MODE = 0o644
"""node_exporter is another user."""

_END_WITHIN_S = 0.5
"""ExaBGP kills what is not gone 2 s after SIGTERM."""


class Textfile:
    """The file, replaced as a whole each time.

    Args:
        path: the file.
        text: returns the metrics.
        log: where to say what prevents it.
    """

    def __init__(
        self, path: str, text: Callable[[], Awaitable[bytes]], log: FilteringBoundLogger
    ) -> None:
        self._path = Path(path)
        self._text = text
        self._log = log
        self._said = ""
        self._is_ours = False
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, interval_s: float) -> None:
        """Write it again and again until cancelled, then take it away: it would be old news."""
        try:
            while True:
                await self._write()
                await asyncio.sleep(interval_s)
        finally:
            if self._writing is not None:
                # What is being written must not come after it was taken away.
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(_END_WITHIN_S):
                        await asyncio.shield(self._writing)
                        self._is_ours = True
            if self._is_ours:
                with suppress(OSError):
                    self._path.unlink()

    async def _write(self) -> None:
        try:
            text = await self._text()
        except Exception:  # noqa: BLE001 - whatever it is, it ends here
            # A mistake of ours in counting is none in steering.
            self._log.exception("metrics_failed")
            return
        try:
            self._writing = asyncio.create_task(asyncio.to_thread(replace, self._path, text))
            await asyncio.shield(self._writing)
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._said:
                self._log.warning("metrics_not_written", file=str(self._path), why=why)
            self._said = why
        else:
            if self._said or not self._is_ours:
                self._log.info("metrics_written", file=str(self._path))
            self._is_ours, self._said = True, ""


def replace(path: Path, text: bytes) -> None:
    """Put a file into place as a whole, for everybody to read.

    Not for good, unlike what must outlive a crash of the host: these are old in a moment.

    Raises:
        OSError: it could not be done; an old file is as it was.
    """
    # The collector reads what ends with .prom.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, _MODE), "wb") as stream:
            os.fchmod(stream.fileno(), _MODE)  # Whatever the umask is.
            stream.write(text)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
