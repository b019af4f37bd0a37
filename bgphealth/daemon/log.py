"""Structured logs on stderr: key=value on a terminal, JSON lines off one.

Never on stdout: under ExaBGP that is the command channel. Whatever is in a line, it stays one line
and moves no cursor: JSON escapes it, and so do we on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from bgphealth.daemon.repeats import Repeats


def configure(*, verbose: bool, keep: Iterable[Processor] = ()) -> FilteringBoundLogger:
    """Configure structlog for this process and return the logger.

    Args:
        verbose: write what is for debugging, too.
        keep: gets each event as it is written.
    """
    level = "debug" if verbose else "info"
    renderers: list[Processor] = (
        [_harmless, structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            Repeats(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _headline_first,
            *keep,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lossy(sys.stderr))),
    )
    return cast("FilteringBoundLogger", structlog.get_logger())


class _Lossy:
    """Where lines go. One that cannot be written is lost: a full disk must not end the program."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _headline_first(_: object, __: str, event: EventDict) -> EventDict:
    """Put what people look for first at the start of the line."""
    headline = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return {**headline, **event}


def _harmless(_: object, __: str, event: EventDict) -> EventDict:
    """Escape what a terminal would obey. A traceback keeps its lines."""
    traceback = event.pop("exception", None)
    shown = {key: _escaped(value) for key, value in event.items()}
    if traceback is not None:
        shown["exception"] = "\n".join(map(_escaped, str(traceback).split("\n")))
    return shown


def _escaped(value: object) -> str:
    text = str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
