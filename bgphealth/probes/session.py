"""BGP (RFC 4271) and BFD (RFC 5880) sessions of the host's own FRR.

FRR asks; we only read its verdict. Where it is read is the caller's matter: this room knows of FRR
only what a session looks like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Address, ProbeKind, ProbeSettings
from bgphealth.core.text import printable
from bgphealth.probes.outcome import Answer, Outcome, unknown

FRESH_S = 1.0
"""One run of vtysh costs some 25 ms of processor; FRR itself acts on a lost session at once."""


class Session(Protocol):
    """What is asked of a session, wherever it was read."""

    @property
    def address(self) -> Address | None:
        """The neighbor's address, None while an interface peer has not shown one."""

    @property
    def interface(self) -> str | None:
        """The interface that the session belongs to, where it is known."""

    @property
    def state(self) -> str:
        """The state in the daemon's own word."""

    @property
    def is_up(self) -> bool:
        """Whether the session is established (BGP), up (BFD)."""

    @property
    def is_shut(self) -> bool:
        """Whether it was shut down in the configuration of this host."""

    @property
    def for_s(self) -> float | None:
        """How long it has been so, in seconds."""

    @property
    def reason(self) -> str:
        """Why it went down the last time."""


Sessions: TypeAlias = Sequence[Session] | str
"""All sessions, or in words why they are not known."""


class SharedReading:
    """Reads sessions for many probers: at most one reading at a time, none while one is fresh.

    Args:
        read: returns the sessions or says why not; it does not raise.
        fresh_s: how old what was read may be.
    """

    def __init__(self, read: Callable[[], Awaitable[Sessions]], fresh_s: float = FRESH_S) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._reading: asyncio.Task[Sessions] | None = None
        self._began_at = 0.0
        self._readers: set[object] = set()

    def share(self, reader: object) -> None:
        """Have one who reads, until he leaves."""
        self._readers.add(reader)

    def leave(self, reader: object) -> None:
        """Have one less; with the last one, what is under way ends."""
        self._readers.discard(reader)
        if not self._readers:
            self.close()

    async def sessions(self) -> Sessions:
        """Return the sessions as they were at most `fresh_s` ago, or as they are being read."""
        now = asyncio.get_running_loop().time()
        if self._reading is None or (
            self._reading.done() and now - self._began_at >= self._fresh_s
        ):
            # Its age counts from here: the daemon may have answered right at the beginning.
            self._began_at = now
            self._reading = asyncio.ensure_future(_awaited(self._read))
        # One prober that gives up must not take the reading from the others.
        return await asyncio.shield(self._reading)

    def close(self) -> None:
        """Give up on a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


class _Words(NamedTuple):
    daemon: str
    peer: str
    session: str
    reason: str


_WORDS = {
    ProbeKind.BGP: _Words("bgpd", "neighbor", "BGP session", "last reset"),
    ProbeKind.BFD: _Words("bfdd", "peer", "BFD session", "diagnostic"),
}


class SessionProber:
    """Answers for the session to a ToR. Needs a running event loop.

    Args:
        kind: BGP or BFD.
        reading: where the sessions come from, shared with other probers of that kind.
        interface: the uplink's interface, which tells apart what an address does not.
    """

    def __init__(self, kind: ProbeKind, reading: SharedReading, interface: str) -> None:
        self._kind = kind
        self._reading = reading
        self._interface = interface
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Look at the session. See `Prober.ask`."""
        self._reading.share(self)
        task = asyncio.get_running_loop().create_task(self._ask(probe, timeout_s, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Give up on what is under way; the reading goes on for the others that share it."""
        for task in self._tasks:
            task.cancel()
        self._reading.leave(self)

    async def _ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                sessions = await self._reading.sessions()
        except TimeoutError:
            # FRR is slow, or we are: neither says anything of the session.
            daemon = _WORDS[self._kind].daemon
            answer(unknown(f"{daemon} was not read within {timeout_s * 1000:.0f} ms"))
            return
        answer(self._judge(probe, sessions))

    def _judge(self, probe: ProbeSettings, sessions: Sessions) -> Outcome:
        words = _WORDS[self._kind]
        if isinstance(sessions, str):
            return unknown(sessions)
        session = _find(sessions, probe.target, self._interface)
        if session is None:
            whom = probe.target or f"on {self._interface}"
            return unknown(f"{words.daemon} has no {words.peer} {whom}")
        if session.is_up:
            return Outcome(Verdict.OK)
        if session.is_shut and self._kind is ProbeKind.BFD:
            # RFC 5882, section 3.2: AdminDown is no sign of a path that does not work.
            return unknown(f"{words.session} is shut down in the configuration of this host")
        return Outcome(Verdict.FAILED, _in_words(words, session))


async def _awaited(read: Callable[[], Awaitable[Sessions]]) -> Sessions:
    return await read()


def _find(sessions: Sequence[Session], target: Address | None, interface: str) -> Session | None:
    """Return the session of one path.

    The address decides, on the interface where it is named: link-local addresses are the same on
    every link. Without it, it is the session that the interface itself stands for: that of an
    unnumbered link, whose address is link-local or not known before it is up.
    """
    here = [s for s in sessions if s.interface in (None, interface)]
    named = [s for s in here if s.address == target]
    unnumbered = [
        s
        for s in here
        if s.interface == interface and (s.address is None or s.address.is_link_local)
    ]
    # One that names the interface says more than one that does not.
    for found in (*sorted(named, key=lambda s: s.interface is None), *unnumbered):
        return found
    return None


def _in_words(words: _Words, session: Session) -> str:
    state = f"{words.session} is {session.state}"
    if session.is_shut:
        state += ", shut down in the configuration of this host"
    if session.for_s is not None:
        state += f", for {_duration(session.for_s)}"
    return f"{state}; {words.reason}: {printable(session.reason)}" if session.reason else state


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"
