"""How a program stands, as operators ask for it: `status`."""

from __future__ import annotations

from typing import Protocol

from bgphealth.daemon import snapshot
from bgphealth.daemon.draining import listed
from bgphealth.daemon.requests import Command, Request
from bgphealth.daemon.snapshot import Known


class Seen(Protocol):
    """What can be looked at."""

    @property
    def known(self) -> Known:
        """All that is known now."""


def commands(program: Seen, file: str) -> dict[str, Command]:
    """Return what can be asked for about a program over a file."""
    looking = _Looking(program, file)
    return {"status": Command(looking.status, changes=False)}


class _Looking:
    def __init__(self, program: Seen, file: str) -> None:
        self._program = program
        self._file = file

    async def status(self, _: Request) -> dict[str, object]:
        """Return the whole snapshot."""
        known = self._program.known
        drains = listed(known.state, known.now)
        return {"status": await snapshot.of(known, self._file, drains)}
