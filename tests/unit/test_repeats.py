"""What repeats is counted, what matters is written, and no line is more than a line."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from bgphealth.core.reasons import Reason
from bgphealth.daemon import log, repeats
from bgphealth.daemon.repeats import ALWAYS, MOST_OF_ALL, MOST_OF_ONE, WINDOW_S, Repeats

LOGS = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
ESCAPES = '\x1b[2J\r\n{"event": "started"}\u2028\x9b31m"'


class Terminal(io.StringIO):
    is_one = False

    def isatty(self) -> bool:
        return self.is_one


@pytest.fixture
def stderr() -> Iterator[Terminal]:
    yield Terminal()
    structlog.reset_defaults()


def configured(stderr: Terminal, *, verbose: bool = False) -> FilteringBoundLogger:
    """Configure the log as for a process with that stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        return log.configure(verbose=verbose)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(log, "Repeats", lambda: Repeats(lambda: now[0]))
    return now


@pytest.fixture
def logger(stderr: Terminal, clock: list[float]) -> FilteringBoundLogger:
    assert (stderr.getvalue(), clock) == ("", [0.0])
    return configured(stderr, verbose=True)


def lines(stderr: Terminal) -> list[dict[str, object]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def counts(stderr: Terminal) -> list[object]:
    return [line["count"] for line in lines(stderr) if line["event"] == "repeated"]


def test_one_thing_that_repeats_is_counted(
    logger: FilteringBoundLogger, stderr: Terminal, clock: list[float]
) -> None:
    for _ in range(MOST_OF_ONE + 7):
        logger.error("exabgp_refused", route="192.0.2.1/32")
    logger.error("exabgp_refused", route="192.0.2.2/32")
    assert len(lines(stderr)) == MOST_OF_ONE + 1
    clock[0] = WINDOW_S
    logger.error("exabgp_refused", route="192.0.2.1/32")
    *_, repeated, again = lines(stderr)
    assert repeated.items() >= {"event": "repeated", "of": "exabgp_refused", "count": 7}.items()
    assert again["route"] == "192.0.2.1/32"
    clock[0] = 2 * WINDOW_S
    logger.info("kernel_asked")
    assert counts(stderr) == [7]


def test_many_things_are_counted_together(logger: FilteringBoundLogger, stderr: Terminal) -> None:
    for number in range(MOST_OF_ALL + 5):
        logger.warning("probe_unknown", service=f"s{number}", probe="tcp")
        logger.warning("kernel_changed", done=[])
    assert len(lines(stderr)) == 2 * MOST_OF_ALL
    logger.info("stopped", reason="SIGTERM")
    assert counts(stderr) == [5, 5]


@pytest.mark.parametrize("event", sorted(ALWAYS - {"repeated"}))
def test_what_matters_is_always_written(
    event: str, logger: FilteringBoundLogger, stderr: Terminal
) -> None:
    for _ in range(2 * MOST_OF_ALL):
        logger.info(event, service="dns", reason=str(Reason.INIT))
    assert len(lines(stderr)) == 2 * MOST_OF_ALL


def test_debug_is_always_written(logger: FilteringBoundLogger, stderr: Terminal) -> None:
    for _ in range(2 * MOST_OF_ALL):
        logger.debug("exabgp_acknowledged")
    assert len(lines(stderr)) == 2 * MOST_OF_ALL


async def test_the_count_comes_although_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, stderr: Terminal
) -> None:
    monkeypatch.setattr(repeats, "WINDOW_S", 0.0)
    logger = configured(stderr)
    monkeypatch.setattr(repeats, "MOST_OF_ALL", 0)
    logger.info("kernel_asked")
    assert lines(stderr) == []
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    # Timers that are due run in their order.
    loop.call_later(0, done.set_result, None)
    await done
    assert counts(stderr) == [1]


def test_what_is_always_written_is_an_event() -> None:
    assert set(re.findall(r"^### `(\w+)`$", LOGS, re.MULTILINE)) >= ALWAYS


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_is_a_line_whatever_is_in_it(
    is_terminal: bool,  # noqa: FBT001 - a parameter of a test
    stderr: Terminal,
) -> None:
    stderr.is_one = is_terminal
    configured(stderr).warning(
        "exabgp_unexpected_line", line=ESCAPES, list=[ESCAPES], k={ESCAPES: ESCAPES}
    )
    (line,) = stderr.getvalue().splitlines()
    # The colours of a terminal are ours.
    assert re.sub(r"\x1b\[\d*m", "", line).isprintable()
    if not is_terminal:
        assert json.loads(line)["line"] == ESCAPES


def test_a_traceback_keeps_its_lines_on_a_terminal(stderr: Terminal) -> None:
    stderr.is_one = True
    logger = configured(stderr)
    try:
        raise ValueError(ESCAPES)  # noqa: TRY301 - to have a traceback
    except ValueError:
        logger.exception("crashed")
    said = re.sub(r"\x1b\[\d*m", "", stderr.getvalue())
    assert said.startswith("20")
    assert "Traceback" in said
    assert all(line.isprintable() for line in said.split("\n"))
