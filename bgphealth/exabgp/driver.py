r"""Keep ExaBGP's table equal to what is wanted.

Theory of operation. `want` replaces the wanted set and returns at once; the task in `run` sends
the difference to what ExaBGP has acknowledged, at most `WINDOW` commands at a time, waits for their
replies and looks at the newest wanted set again. So there is never a backlog of old commands: a
slow or stopped ExaBGP only delays the newest state.

Replies are counted off in `received`, which is called for each line as it comes and never waits:
a helper that does not read its replies freezes ExaBGP for good (64 KiB pipe, ``done\n``).

Commands and replies travel in order on pipes that lose nothing. A late reply is therefore reported
and waited for, not answered with another command.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from typing import TypeAlias

from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.core.reconcile import Announce, Change, reconcile
from bgphealth.exabgp.commands import encode
from bgphealth.exabgp.replies import Reply, decode

WINDOW = 64
"""Commands that may wait for their reply at a time; their replies fit any pipe."""

DEADLINE_S = 2.0
"""How long ExaBGP may take to answer before it is said to be late."""

RETRY_S = 1.0
"""First wait before a refused command is sent again; it doubles up to `RETRY_MAX_S`."""

RETRY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """ExaBGP has the change in its RIB. It says nothing about any peer."""

    change: Change


@dataclass(frozen=True, slots=True)
class Refused:
    """ExaBGP answered ``error``; the change is tried again in `retry_s`."""

    change: Change
    line: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class NotAnswering:
    """Replies are late: `pending` commands have waited for `for_s` seconds."""

    pending: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Answering:
    """Replies came again after `NotAnswering`."""


@dataclass(frozen=True, slots=True)
class ShutdownNotice:
    """ExaBGP says that it is going away."""


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A line that answers nothing that we asked."""

    line: str


DriverEvent: TypeAlias = (
    Acknowledged | Refused | NotAnswering | Answering | ShutdownNotice | Unexpected
)


class Driver:
    """Drives one ExaBGP over its process API.

    Args:
        write: writes bytes to ExaBGP and returns when there is room for more; may take for ever.
        owned: every route that is ours; at start each is in doubt and is asserted once decided,
            withdrawals included, because an earlier run may have left anything behind.
        report: called with each `DriverEvent`, must not block.
    """

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        owned: Set[RouteKey],
        report: Callable[[DriverEvent], None],
    ) -> None:
        self._write = write
        self._report = report
        self._wanted: Intents = {}
        self._undecided: Set[RouteKey] = frozenset(owned)
        self._adj_rib_out: dict[RouteKey, Announcement] = {}
        self._doubtful = set(owned)
        self._pending: deque[Change] = deque()
        self._refused: dict[RouteKey, Change] = {}
        self._retry_s = RETRY_S
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()

    @property
    def adj_rib_out(self) -> Intents:
        """What ExaBGP has acknowledged."""
        return dict(self._adj_rib_out)

    def want(self, intents: Intents, undecided: Set[RouteKey] = frozenset()) -> None:
        """Replace the wanted set. Routes in `undecided` are left as they are, whatever that is."""
        self._wanted = intents
        self._undecided = undecided
        self._wake.set()

    def received(self, line: str) -> None:
        """Take one line that ExaBGP wrote. Never waits."""
        match decode(line):
            case Reply.SHUTDOWN:
                self._report(ShutdownNotice())
            case Reply.DONE if self._pending:
                self._acknowledge(self._pending.popleft())
            case Reply.ERROR if self._pending:
                self._refuse(self._pending.popleft())
            case Reply.OTHER if line.startswith("{"):
                pass  # A JSON event; nobody here asked for any.
            case _:
                self._report(Unexpected(line))
        if not self._pending:
            self._answered.set()

    async def run(self) -> None:
        """Send differences for as long as the task lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while changes := self._difference()[:WINDOW]:
                await self._send(changes)

    def _difference(self) -> list[Change]:
        doubtful = self._doubtful - self._undecided
        changes = reconcile(self._wanted, self._adj_rib_out, doubtful)
        return [change for change in changes if self._refused.get(change.key) != change]

    async def _send(self, changes: list[Change]) -> None:
        lines = "".join(f"{encode(change)}\n" for change in changes)
        self._answered.clear()
        self._pending.extend(changes)
        sent = asyncio.ensure_future(self._write_and_wait(lines.encode("ascii")))
        late_s = 0.0
        while not (await asyncio.wait({sent}, timeout=DEADLINE_S))[0]:
            late_s += DEADLINE_S
            self._report(NotAnswering(len(self._pending), late_s))
        await sent
        if late_s:
            self._report(Answering())

    async def _write_and_wait(self, data: bytes) -> None:
        await self._write(data)
        await self._answered.wait()

    def _acknowledge(self, change: Change) -> None:
        self._doubtful.discard(change.key)
        self._retry_s = RETRY_S
        if isinstance(change, Announce):
            self._adj_rib_out[change.key] = change.announcement
        else:
            self._adj_rib_out.pop(change.key, None)
        self._report(Acknowledged(change))

    def _refuse(self, change: Change) -> None:
        """Leave a refused change alone for a while: the same command would be refused again."""
        self._doubtful.add(change.key)
        if not self._refused:
            asyncio.get_running_loop().call_later(self._retry_s, self._retry)
        self._refused[change.key] = change
        self._report(Refused(change, encode(change), self._retry_s))

    def _retry(self) -> None:
        self._refused.clear()
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
        self._wake.set()
