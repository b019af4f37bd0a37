"""What probes that take several steps have in common: one attempt, one time-out, one outcome."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial

from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeSettings
from bgphealth.probes.binding import Binding, CannotBindError
from bgphealth.probes.outcome import Answer, Outcome, no_answer, unknown

_SLICE_S = 0.05
"""Waiting is cut into slices: a slice that ends late shows that we stood still meanwhile."""

_LATE_S = 0.01
"""Less than this is how an ordinary event loop runs."""


class CannotAskError(Exception):
    """Something of ours is in the way; the message says what. Never leaves this room."""


class Deadline:
    """Calls `expired` after `timeout_s` in which the event loop ran.

    Time in which it did not run (SIGSTOP, suspended VM, starved CPU) is counted apart: what needs
    several steps of ours could not make them. After a late slice there is always another one, so
    that what arrived meanwhile is read first. Needs a running event loop.

    Args:
        timeout_s: how long to wait.
        expired: gets the seconds that we stood still.
    """

    def __init__(self, timeout_s: float, expired: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._expired = expired
        self._left_s = timeout_s
        self._stalled_s = 0.0
        self._is_last = False
        self._arm(min(timeout_s, _SLICE_S))

    def cancel(self) -> None:
        """Do not expire."""
        self._timer.cancel()

    def _arm(self, slice_s: float) -> None:
        self._left_s -= slice_s
        self._due = self._loop.time() + slice_s
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        late_s = self._loop.time() - self._due
        if late_s > _LATE_S:
            self._stalled_s += late_s
            self._left_s = max(self._left_s, min(late_s, _SLICE_S))
        if self._left_s > 0 and not self._is_last:
            self._is_last = self._stalled_s > self._timeout_s
            self._arm(min(self._left_s, _SLICE_S))
        else:
            self._expired(self._stalled_s)


def timed_out(timeout_s: float, stalled_s: float, doing: str = "") -> Outcome:
    """Return the outcome of an attempt that took too long, which may have been our own fault."""
    if stalled_s > timeout_s:
        return unknown(f"we were stalled for {stalled_s:.1f} s")
    outcome = no_answer(timeout_s)
    return outcome._replace(detail=f"{outcome.detail} ({doing})") if doing else outcome


class Attempt:
    """One question under way. `doing` is for the report if it takes too long."""

    doing: str = ""


class Attempts:
    """Runs one coroutine for each question and makes one outcome of whatever becomes of it.

    Args:
        unbound: the verdict when the source address is not there: `UNKNOWN` for a path (we could
            not ask), `FAILED` for a service (its address is not on this host, so nobody here can
            serve it).
    """

    def __init__(self, unbound: Verdict) -> None:
        self._unbound = unbound
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self, question: Callable[[Attempt], Awaitable[Outcome]], timeout_s: float, answer: Answer
    ) -> None:
        """Ask; `answer` gets the outcome, at the latest soon after `timeout_s`."""
        task = asyncio.get_running_loop().create_task(self._run(question, timeout_s, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Give up on what is under way, without an answer."""
        for task in self._tasks:
            task.cancel()

    async def _run(
        self, question: Callable[[Attempt], Awaitable[Outcome]], timeout_s: float, answer: Answer
    ) -> None:
        attempt = Attempt()
        work = asyncio.ensure_future(_awaited(question, attempt))
        late: list[float] = []

        def expired(stalled_s: float) -> None:
            late.append(stalled_s)
            work.cancel()

        deadline = Deadline(timeout_s, expired)
        try:
            outcome = await work
        except asyncio.CancelledError:
            if not late:  # Closed, not expired.
                work.cancel()
                raise
            outcome = timed_out(timeout_s, late[0], attempt.doing)
        except CannotBindError as error:
            outcome = Outcome(self._unbound, str(error))
        except CannotAskError as error:
            outcome = unknown(str(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours says nothing about the path
            outcome = unknown(f"{type(error).__name__}: {error}")
        finally:
            deadline.cancel()
        answer(outcome)


async def _awaited(question: Callable[[Attempt], Awaitable[Outcome]], attempt: Attempt) -> Outcome:
    return await question(attempt)


class BoundProber(ABC):
    """A kind that asks through a socket of its own, bound each time. Needs a running event loop.

    Args:
        binding: where to ask from: one path, or a service's own address.
        unbound: the verdict when the source address is not there. See `Attempts`.
    """

    def __init__(self, binding: Binding, unbound: Verdict = Verdict.UNKNOWN) -> None:
        self._binding = binding
        self._attempts = Attempts(unbound)

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Ask once. See `Prober.ask`."""
        self._attempts.begin(partial(self._attempt, probe), timeout_s, answer)

    def close(self) -> None:
        """Give up on what is under way."""
        self._attempts.close()

    @abstractmethod
    async def _attempt(self, probe: ProbeSettings, attempt: Attempt) -> Outcome:
        """Ask, and return the outcome; what it raises is mapped by `Attempts`."""
