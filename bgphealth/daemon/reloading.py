"""Reload: the file is read again, for SIGHUP and for the command alike, one after the other.

Whoever asked hears what came of it, and so does whoever looks later (`Times.reload`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import Settings
from bgphealth.daemon import reload
from bgphealth.daemon.differences import in_words
from bgphealth.daemon.notify import Notifier
from bgphealth.daemon.program import Program
from bgphealth.daemon.reload import Reloaded, ReloadOutcome
from bgphealth.daemon.requests import Command, Kind, RefusalError, Request

BY_SIGNAL = "SIGHUP"

_MOST_LINES = 200
"""Of what is wrong and of what changes, in an answer."""


class Reloader:
    """Reads the file of a program again whenever somebody asks for it.

    Args:
        file: the file.
        read: reads it; raises `BgphealthError` where it is wrong.
        program: follows it.
        signalled: set by SIGHUP.
        notifier: hears of it.
        log: whoever looks later reads there.
    """

    def __init__(  # noqa: PLR0913 - what a reload is made of
        self,
        file: Path,
        read: Callable[[Path], Settings],
        program: Program,
        *,
        signalled: asyncio.Event,
        notifier: Notifier,
        log: FilteringBoundLogger,
    ) -> None:
        self._file = file
        self._read = read
        self._program = program
        self._signalled = signalled
        self._notifier = notifier
        self._log = log
        self._asking: list[tuple[str, asyncio.Future[Reloaded]]] = []

    def commands(self) -> dict[str, Command]:
        """Return what can be asked for."""
        return {"reload": Command(self._answer, frozenset({"dry_run"}))}

    async def run(self, configure: Callable[[Settings], Awaitable[None]]) -> None:
        """Reload when asked to, until cancelled; `configure` is told of each file that counts.

        It is done here and not where it is asked for: half a reload would be worse than none, so
        a mistake of ours, once the file is read, ends the program, and a client that goes away
        nothing.
        """
        while True:
            await self._signalled.wait()
            self._signalled.clear()
            asking, self._asking = self._asking, []
            by = ", ".join(dict.fromkeys(who for who, _ in asking)) or BY_SIGNAL
            done = await self._reload(by, configure)
            for _, waiting in asking:
                if not waiting.done():
                    waiting.set_result(done)

    async def _answer(self, request: Request) -> Mapping[str, object]:
        dry_run = request.fields.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise RefusalError(Kind.BAD_REQUEST, "dry_run must be true or false")
        done = await (self._look(request.by) if dry_run else self._ask(request.by))
        if done.outcome is ReloadOutcome.REFUSED:
            raise RefusalError(Kind.INVALID_FILE, "\n".join(_few(done.problems)))
        return {
            "outcome": done.outcome.value,
            "changes": _few(done.changes),
            "render": list(done.render),
        }

    async def _ask(self, by: str) -> Reloaded:
        waiting: asyncio.Future[Reloaded] = asyncio.get_running_loop().create_future()
        self._asking.append((by, waiting))
        self._signalled.set()
        return await waiting

    async def _look(self, by: str) -> Reloaded:
        """Return what a reload would do, and do nothing."""
        try:
            after, said = await self._load()
        except BgphealthError as error:
            return self._refused(by, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing is to change
            return self._mistaken(by, error)
        found = self._in_words(by, self._program.settings, after, said)
        return found._replace(outcome=ReloadOutcome.WOULD_APPLY) if found.changes else found

    async def _reload(self, by: str, configure: Callable[[Settings], Awaitable[None]]) -> Reloaded:
        self._notifier.reloading()
        try:
            after, said = await self._load()
        except BgphealthError as error:
            done = self._refused(by, str(error))
            problems = list(done.problems)
            self._log.error("reload_refused", by=by, file=str(self._file), problems=problems)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing has changed yet
            done = self._mistaken(by, error)
        else:
            done = self._in_words(by, self._program.settings, after, said)
            await self._program.reload(after)
            await configure(after)
            self._log.info("reloaded", by=by, **said)
            if done.render:
                self._log.warning("render_needed", files=list(done.render))
        self._program.history.reload(done)
        self._notifier.reloaded()
        return done

    async def _load(self) -> tuple[Settings, Mapping[str, list[str]]]:
        return await asyncio.to_thread(reload.load, self._file, self._program.settings, self._read)

    def _in_words(
        self, by: str, before: Settings, after: Settings, said: Mapping[str, list[str]]
    ) -> Reloaded:
        lines = tuple(in_words(before, after))
        outcome = ReloadOutcome.APPLIED if lines else ReloadOutcome.UNCHANGED
        return Reloaded(self._program.now, by, outcome, (), lines, tuple(said.get("render", ())))

    def _mistaken(self, by: str, error: Exception) -> Reloaded:
        """Refuse, and say in the log how we failed; to be called while that is handled."""
        why = f"{self._file}: bgphealth made a mistake in reading it: {error!r}"
        done = self._refused(by, why)
        problems = list(done.problems)
        self._log.exception("reload_refused", by=by, file=str(self._file), problems=problems)
        return done

    def _refused(self, by: str, why: str) -> Reloaded:
        problems = tuple(why.splitlines())
        return Reloaded(self._program.now, by, ReloadOutcome.REFUSED, problems)


def _few(lines: tuple[str, ...]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
