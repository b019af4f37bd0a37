"""Local mode: nobody is spoken to, so there is nobody to wait for either.

What is decided goes to the kernel alone, by the order of the fallback defaults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Set
from typing import Protocol, TextIO

from structlog.typing import FilteringBoundLogger

from bgphealth.core.intents import Intents, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Family, Settings
from bgphealth.core.state import DecisionChanged
from bgphealth.daemon.reporting import Reporter


class Speaker(Protocol):
    """Who tells others what is wanted: ExaBGP's driver."""

    @property
    def late_s(self) -> float:
        """How long somebody has left something unanswered, in seconds."""

    def want(self, intents: Intents, undecided: Set[RouteKey]) -> None:
        """Have others know these, and leave what is undecided as it is."""

    def doubt(self, keys: Iterable[RouteKey]) -> None:
        """Tell others of these again."""

    async def run(self) -> None:
        """Do it, until cancelled."""


class Nobody:
    """Stands where there is nobody to tell."""

    late_s = 0.0

    def want(self, intents: Intents, undecided: Set[RouteKey]) -> None:
        """Do nothing: the order of the defaults says it."""

    def doubt(self, keys: Iterable[RouteKey]) -> None:
        """Do nothing."""

    async def run(self) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()


class Aloud(Nobody):
    """Prints which uplink would be in use, whenever that changes."""

    def __init__(self, settings: Settings, stdout: TextIO) -> None:
        self._settings = settings
        self._stdout = stdout
        self._said: dict[Family, str] = {}

    def want(self, intents: Intents, undecided: Set[RouteKey]) -> None:
        """Print the uplink of each family that has another one now."""
        del undecided  # Nothing would be changed.
        for uplink in self._settings.uplinks:
            for path in uplink.paths:
                key = RouteKey(path.family.default_prefix, uplink.number)
                if key not in intents or self._said.get(path.family) == uplink.name:
                    continue
                self._said[path.family] = uplink.name
                via = "" if path.neighbor is None else f"via {path.neighbor} "
                said = f"default {path.family} {via}dev {uplink.interface} ({uplink.name})"
                self._stdout.write(f"{said}\n")
        self._stdout.flush()


class LocalReporter(Reporter):
    """Says of a default that it is in use or spare: nothing is announced."""

    def __init__(self, log: FilteringBoundLogger, settings: Callable[[], Settings]) -> None:
        super().__init__(log)
        self._settings = settings
        self._names: dict[int, str] = {}

    def _decision(self, effect: DecisionChanged) -> None:
        # What has left the file keeps the name that it had.
        self._names |= {uplink.number: uplink.name for uplink in self._settings().uplinks}
        of = {
            "at": effect.at,
            "uplink": self._names.get(effect.key.path_id),
            "family": str(Family.of(effect.key.prefix)),
            "reason": str(effect.after.reason),
        }
        if effect.after.announcement is not None:
            self._log.info("default_in_use", **of)
        elif effect.after.reason in (Reason.INIT, Reason.ALL_DOWN_NOTHING_TO_KEEP):
            self._log.debug("default_left_alone", **of)
        else:
            self._log.info("default_spare", **of)
