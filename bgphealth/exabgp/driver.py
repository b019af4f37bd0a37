r"""Keep ExaBGP's table equal to what is wanted.

Theory of operation. `want` replaces the wanted set and returns at once; the task in `run` sends
the difference to what ExaBGP has been told, as much as fits into the window, and looks at the
newest wanted set again when half of the window has been answered. To an ExaBGP that gives no sign
of life nothing more is sent. So there is never a backlog of old commands: a slow or stopped ExaBGP
only delays the newest state.

Replies are counted off in `received`, which is called for each line as it comes and never waits:
a helper that does not read its replies freezes ExaBGP for good (64 KiB pipe, ``done\n``).

Routes can be in doubt: at start all that we own, after a reconnect those of the neighbor, after a
refused command or a lost reply those of the command. What is in doubt is sent again, withdrawals
included, whatever we believe; ExaBGP sends no UPDATE for a route that it announces already.

Replies do get lost: ExaBGP 4.2 gives none to some commands that it cannot parse, and none at all
where ``exabgp.api.ack`` is off. A late reply alone proves nothing, as a stopped ExaBGP answers
later. So it is pinged: once it has answered that, and nothing else for a while, the replies that
are missing are lost, and their commands are repeated with back-off. It is pinged as well while
there is nothing to send, because a stopped ExaBGP should be known before it is needed.

A route that changes twice in a moment may have reached the neighbors wrongly, whatever the replies
say (`unsure`). When it has settled it is withdrawn again, or ExaBGP sends its whole table again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.core.reconcile import Announce, Change, Withdraw, reconcile
from bgphealth.exabgp.commands import BATCH, PING, Command, commands, encode
from bgphealth.exabgp.replies import NeighborState, Reply, decode
from bgphealth.exabgp.silence import Silence
from bgphealth.exabgp.unsure import Unsure

WINDOW = 64
"""Commands that may wait for their reply at a time; their replies fit any pipe."""

WINDOW_ROUTES = 4 * BATCH
"""Routes in these commands. ExaBGP takes 0.13 s for them: no longer does the newest state wait."""

RETRY_S = 1.0
"""First wait before a refused or unanswered change is sent again; doubles up to `RETRY_MAX_S`."""

RETRY_MAX_S = 60.0

PING_S = 10.0
"""How long nothing is sent before ExaBGP is asked whether it is there."""

_TICK_S = 0.25

_REFRESH = Command("flush adj-rib out", ())


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """ExaBGP has the changes in its RIB. It says nothing about any peer."""

    command: Command


@dataclass(frozen=True, slots=True)
class Refused:
    """ExaBGP answered ``error``; the change is tried again in `retry_s`."""

    change: Change
    line: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class RepliesLost:
    """ExaBGP answers, but never answered these commands; they are repeated."""

    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class NotAnswering:
    """Replies are late: `pending` commands wait, and nothing was answered for `for_s` seconds."""

    pending: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Answering:
    """Replies came again after `NotAnswering`."""


@dataclass(frozen=True, slots=True)
class NeighborChanged:
    """The session with a neighbor is another one now, or none."""

    event: NeighborState


@dataclass(frozen=True, slots=True)
class ShutdownNotice:
    """ExaBGP says that it is going away."""


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A line that answers nothing that we asked."""

    line: str


DriverEvent: TypeAlias = (
    Acknowledged
    | Refused
    | RepliesLost
    | NotAnswering
    | Answering
    | NeighborChanged
    | ShutdownNotice
    | Unexpected
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
        self._told: dict[RouteKey, Announcement] = {}
        self._owned = set(owned)
        self._doubtful = set(owned)
        self._alone: set[RouteKey] = set()
        self._refresh = False
        self._unsure = Unsure()
        self._held: dict[RouteKey, Change] = {}
        self._failures: Counter[RouteKey] = Counter()
        self._pending: deque[Command] = deque()
        self._pending_routes = 0
        self._neighbors: dict[str, NeighborState] = {}
        self._counts: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._is_cut = False
        self._silence = Silence(_now())
        self._follows_pong = False
        self._is_4 = True
        self._version = ""
        self._losses = 0

    @property
    def adj_rib_out(self) -> Intents:
        """What ExaBGP has acknowledged."""
        return dict(self._adj_rib_out)

    @property
    def refused(self) -> Mapping[RouteKey, Change]:
        """What ExaBGP refused, or did not answer, and what will be tried again."""
        return dict(self._held)

    @property
    def waiting(self) -> Set[RouteKey]:
        """What is to be sent, or was sent and not answered yet."""
        return self._doubtful.union(c.key for command in self._pending for c in command.changes)

    @property
    def neighbors(self) -> Mapping[str, NeighborState]:
        """The last that ExaBGP said of each neighbor, by its address."""
        return dict(self._neighbors)

    @property
    def counts(self) -> Mapping[str, int]:
        """Commands ``sent``, ``acknowledged``, ``refused`` and ``lost`` since the start."""
        return dict(self._counts)

    @property
    def pending(self) -> int:
        """How many commands wait for their reply."""
        return len(self._pending)

    @property
    def version(self) -> str:
        """The version of ExaBGP, as it answers a ping; empty before the first answer."""
        return self._version

    @property
    def late_s(self) -> float:
        """How long ExaBGP has given no answer, while commands or a ping wait; 0.0 if none does."""
        return _now() - self._silence.since if self._waits else 0.0

    def want(self, intents: Intents, undecided: Set[RouteKey] = frozenset()) -> None:
        """Replace the wanted set. Routes in `undecided` are left as they are, whatever that is."""
        self._wanted = intents
        self._undecided = undecided
        self._owned.update(intents)
        self._wake.set()

    def doubt(self, keys: Iterable[RouteKey]) -> None:
        """Assert these routes again, whatever we believe: announce them, or withdraw them."""
        self._doubtful.update(keys)
        self._wake.set()

    def refresh(self) -> None:
        """Let ExaBGP send its whole table to its neighbors again, routes that they have included.

        For when a session is up: without one ExaBGP answers ``error``, and 4.2.25 dies of it.
        """
        self._refresh = True
        self._wake.set()

    def received(self, line: str) -> None:
        """Take one line that ExaBGP wrote. Never waits."""
        is_of_pong, self._follows_pong = self._follows_pong, False
        match decode(line):
            case Reply.PONG if self._silence.is_pinged:
                self._version = line.removeprefix("exabgp").strip()
                self._is_4 = self._version.startswith("4")
                self._silence.pong(_now())
                self._follows_pong = True
                if not self._pending:
                    self._heard()
                self._wake_for_more()
            case Reply.DONE if is_of_pong:
                pass
            case Reply.DONE if self._pending:
                self._acknowledge(self._answered())
            case Reply.ERROR if self._pending:
                self._refuse(self._answered())
            case Reply.SHUTDOWN:
                self._report(ShutdownNotice())
            case NeighborState() as event:
                self._neighbor(event)
            case _ if line.startswith("{"):
                pass  # An event that we have no use for.
            case _:
                self._report(Unexpected(line))

    async def run(self) -> None:
        """Send differences for as long as the task lives."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_silence())
            while True:
                await self._wake.wait()
                self._wake.clear()
                while found := self._next():
                    await self._send(found)

    def _next(self) -> list[Command]:
        """Return what fits into the window; note in `_is_cut` whether there is more."""
        if self._neighbors and not self._is_up:
            self._refresh = False  # The session went meanwhile; all is sent when one is up.
        self._is_cut = self._refresh
        if not self._may_send or _REFRESH in self._pending:
            self._is_cut = True
            return []
        if self._refresh and not self._pending:
            # Alone: an ``error`` that answers it would overtake the replies to earlier commands.
            self._refresh = False
            return [_REFRESH]
        found: list[Command] = []
        routes = self._pending_routes
        for command in self._difference():
            if len(self._pending) + len(found) >= WINDOW or routes >= WINDOW_ROUTES:
                self._is_cut = True
                break
            found.append(command)
            routes += len(command.changes)
        return found

    @property
    def _may_send(self) -> bool:
        if self._pending and self._silence.is_long(_now()):
            return False  # What is sent now could be old when it is read.
        return len(self._pending) <= WINDOW // 2 and self._pending_routes <= WINDOW_ROUTES // 2

    def _wake_for_more(self) -> None:
        if self._is_cut and self._may_send:
            self._wake.set()

    def _difference(self) -> Iterable[Command]:
        changes = [
            change
            for change in reconcile(self._wanted, self._told, self._doubtful - self._undecided)
            if self._held.get(change.key) != change
            and not (isinstance(change, Withdraw) and change.key in self._undecided)
        ]
        alone = [change for change in changes if change.key in self._alone]
        yield from commands(change for change in changes if change.key not in self._alone)
        yield from (Command(encode(change), (change,)) for change in alone)

    async def _send(self, found: list[Command]) -> None:
        if not self._waits:
            self._silence.begin(_now())
        for command in found:
            self._pending.append(command)
            self._pending_routes += len(command.changes)
            for change in command.changes:
                self._doubtful.discard(change.key)
                self._tell(change)
        self._counts["sent"] += len(found)
        await self._write("".join(f"{command.line}\n" for command in found).encode("ascii"))

    def _tell(self, change: Change) -> None:
        """Note what ExaBGP is told."""
        announcement = change.announcement if isinstance(change, Announce) else None
        if announcement != self._told.get(change.key):
            up = {neighbor.state == "up" for neighbor in self._neighbors.values()}
            self._unsure.changed(change.key, _now(), away=up != {True})
        if announcement is not None:
            self._told[change.key] = announcement
        else:
            self._told.pop(change.key, None)

    def _answered(self) -> Command:
        """Take the command that this reply is for."""
        command = self._pending.popleft()
        self._pending_routes -= len(command.changes)
        self._unsure.answered(self._routes_of(command), _now())
        self._heard()
        self._wake_for_more()
        return command

    def _routes_of(self, command: Command) -> Iterable[RouteKey]:
        """Return what ExaBGP has to send because of a command."""
        return self._told if command is _REFRESH else [change.key for change in command.changes]

    def _heard(self) -> None:
        if self._silence.was_said:
            self._report(Answering())
        self._silence.begin(_now())

    @property
    def _waits(self) -> bool:
        return bool(self._pending) or self._silence.is_pinged

    def _acknowledge(self, command: Command) -> None:
        self._counts["acknowledged"] += 1
        for change in command.changes:
            if isinstance(change, Announce):
                self._adj_rib_out[change.key] = change.announcement
            else:
                self._adj_rib_out.pop(change.key, None)
            self._alone.discard(change.key)
            self._held.pop(change.key, None)
            self._failures.pop(change.key, None)
        self._report(Acknowledged(command))

    def _refuse(self, command: Command) -> None:
        """Leave a refused change alone for a while: the same command would be refused again."""
        if command is _REFRESH:
            return  # No session is up: all will be sent when one is.
        self._counts["refused"] += 1
        self._doubtful.update(change.key for change in command.changes)
        if len(command.changes) > 1:
            # One by one, so that only what is wrong is left out and named.
            self._alone.update(change.key for change in command.changes)
            self._wake.set()
            return
        (change,) = command.changes
        retry_s = self._hold(change)
        self._report(Refused(change, command.line, retry_s))

    def _hold(self, change: Change) -> float:
        """Send the same change no sooner than after the returned seconds; another one at once."""
        self._failures[change.key] += 1
        retry_s = _back_off_s(self._failures[change.key])
        self._held[change.key] = change
        asyncio.get_running_loop().call_later(retry_s, self._retry, change)
        return retry_s

    def _retry(self, change: Change) -> None:
        if self._held.get(change.key) == change:
            del self._held[change.key]
            self._wake.set()

    def _neighbor(self, event: NeighborState) -> None:
        before = self._neighbors.get(event.neighbor)
        self._neighbors[event.neighbor] = event
        if before is not None and before.state == "up":
            self._unsure.gone(_now())
        if event.state == "up":
            of_session = {
                key
                for key in self._owned
                if key.neighbor is None or str(key.neighbor) == event.neighbor
            }
            self.doubt(of_session)
            self._unsure.back(of_session, _now())
        self._report(NeighborChanged(event))

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            silence, now = self._silence, _now()
            if self._pending and silence.is_lost(now):
                self._lose()
            elif self._waits and silence.is_to_be_said(now):
                self._report(NotAnswering(len(self._pending), self.late_s))
            elif self._pending and silence.is_long(now):
                await self._ping()
            elif not self._waits and now - silence.since >= PING_S:
                silence.begin(now)
                await self._ping()
            if not self._pending:
                self._tell_again(now)

    def _tell_again(self, now: float) -> None:
        """Have the neighbors told what they may have been told wrongly."""
        keys = self._unsure.settled(now)
        announced = {key for key in keys if key in self._told}
        if withdrawn := keys - announced:
            self.doubt(withdrawn)
            self._unsure.told_again(withdrawn)
        # Without a session ExaBGP 4 would die of it.
        if announced and (self._is_up or not self._is_4):
            self.refresh()
            self._unsure.told_again(announced)

    @property
    def _is_up(self) -> bool:
        """Whether a session is known to be up."""
        return any(neighbor.state == "up" for neighbor in self._neighbors.values())

    async def _ping(self) -> None:
        if not self._silence.is_pinged:
            self._silence.is_pinged = True
            await self._write(f"{PING}\n".encode("ascii"))

    def _lose(self) -> None:
        """Give up the replies that are missing; the state of their routes is not known."""
        lost = tuple(self._pending)
        self._pending.clear()
        self._pending_routes = 0
        self._counts["lost"] += len(lost)
        self._silence = Silence(_now())
        self._follows_pong = False
        for command in lost:
            self._unsure.answered(self._routes_of(command), _now())
        for change in (change for command in lost for change in command.changes):
            self._doubtful.add(change.key)
            self._hold(change)
        self._losses += 1
        asyncio.get_running_loop().call_later(_back_off_s(self._losses), self._assert_all)
        self._report(RepliesLost(lost))
        self._wake.set()

    def _assert_all(self) -> None:
        # The reply that never came may have been an earlier one: replies do not say whose they are.
        self.doubt(self._owned)


def _back_off_s(failures: int) -> float:
    wait_s: float = min(RETRY_S * 2 ** min(failures - 1, 16), RETRY_MAX_S)
    return wait_s


def _now() -> float:
    return asyncio.get_running_loop().time()
