"""`bgphealth watch`: how a running bgphealth stands, again and again."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import click

from bgphealth.cli.changes import changes
from bgphealth.cli.status import snapshot
from bgphealth.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bgphealth.cli.app import Invocation


@click.command()
@click.option(
    "-n",
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 60),
    default=1.0,
    show_default=True,
    help="How often to ask, in seconds.",
)
@click.pass_obj
def watch(invocation: Invocation, *, interval_s: float) -> None:
    """Show how a running bgphealth stands, until Ctrl-C.

    On a terminal a live table; elsewhere a line for each change. When bgphealth ends that is said,
    and it is looked for until it is back. What changes and changes back between two looks is not
    seen: `bgphealth events --follow` has it.

    Exit status: 0 ended by Ctrl-C, 75 bgphealth does not run at first, 77 the control socket is not
    for this user.
    """
    # Whoever asks for the first time is to hear what is wrong.
    first = snapshot(invocation.file)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        show: Callable[[Mapping[str, Any] | None, str], None]
        if sys.stdout.isatty():
            from bgphealth.cli.live import LiveTable  # noqa: PLC0415 - rich is slow to import

            show = stack.enter_context(LiveTable()).show
        else:
            show = _Lines().show
        for found, why in _looks(invocation.file, first, interval_s):
            show(found, why)


def _looks(
    file: Path, first: Mapping[str, Any], interval_s: float
) -> Iterator[tuple[Mapping[str, Any] | None, str]]:
    """Return what is seen again and again: a snapshot, or None and why there is none."""
    yield first, ""
    while True:
        time.sleep(interval_s)
        try:
            found, why = snapshot(file), ""
        except HostError as error:
            found, why = None, str(error)
        yield found, why


class _Lines:
    """Prints a line for each change."""

    def __init__(self) -> None:
        self._seen: Mapping[str, Any] | None = None
        self._is_gone = False

    def show(self, found: Mapping[str, Any] | None, why: str) -> None:
        """Take the next look."""
        if found is None:
            if not self._is_gone:
                self._is_gone = True
                self._print([f"not running: {why}"])
            return
        self._is_gone = False
        if self._seen is None or self._seen["pid"] != found["pid"]:
            self._print([f"{found['at']} pid {found['pid']}: {found['summary']}"])
            self._print(f"{found['at']} {it['of']}: {it['says']}" for it in found["problems"])
        else:
            self._print(f"{found['at']} {line}" for line in changes(self._seen, found))
        self._seen = found

    def _print(self, lines: Iterator[str] | list[str]) -> None:
        for line in lines:
            click.echo(line)
        sys.stdout.flush()
