"""Structured logs on stderr: key=value on a terminal, JSON lines off one.

Never on stdout: under ExaBGP that is the command channel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor


def configure(*, verbose: bool, keep: Iterable[Processor] = ()) -> FilteringBoundLogger:
    """Configure structlog for this process and return the logger.

    Args:
        verbose: write what is for debugging, too.
        keep: gets each event as it is written.
    """
    level = "debug" if verbose else "info"
    renderer: Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _headline_first,
            *keep,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Stderr())),
    )
    return cast("FilteringBoundLogger", structlog.get_logger())


class _Stderr:
    """Where lines go. One that cannot be written is lost: a full disk must not end the program."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def _headline_first(_: object, __: str, event: EventDict) -> EventDict:
    """Put what people look for first at the start of the line."""
    headline = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {**headline, **event}
