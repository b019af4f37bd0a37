"""Tells what a command that takes its time is doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.status import Status


class Steps:
    """One line per step: with a spinner on a terminal, plain elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._current: str | None = None
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()
        if self._status is not None:
            self._status.stop()

    def next(self, text: str) -> None:
        """Say what is done from now on."""
        self._finish()
        line = f"[{time.monotonic() - self._started:5.1f} s] {text}"
        if self._status is None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._current = line
            self._status.update(text)

    def _finish(self) -> None:
        if self._current is not None:
            self._console.print(self._current, markup=False, highlight=False)
            self._current = None
