"""Look at everything that a file depends on, all at the same time. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import Mode, Settings
from bgphealth.doctor import exabgp, files, frr, host, process
from bgphealth.doctor.finding import Finding, Kind, Severity

CANNOT_LOOK = Kind(
    "cannot_look",
    Severity.NOTE,
    "something could not be looked at",
    "whatever is wrong there is not found",
)

KINDS: tuple[Kind, ...] = (
    CANNOT_LOOK,
    *host.KINDS,
    *process.KINDS,
    *files.KINDS,
    *frr.KINDS,
    *exabgp.KINDS,
)
"""All kinds of findings; every module has its own."""

_ALL = frozenset(Mode)
_WITH_EXABGP = frozenset({Mode.FRR, Mode.DIRECT})
_ORDER = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Area:
    """What is looked at together, and in which modes. `findings` never waits for another area."""

    name: str
    findings: Callable[[Settings], Awaitable[list[Finding]]]
    modes: frozenset[Mode] = _ALL


def areas(file: Path, control_socket: Path) -> tuple[Area, ...]:
    """Return all areas, in the order in which their findings of one severity are listed."""
    return (
        Area("the host", host.findings),
        Area("the process", partial(process.findings, control_socket=control_socket)),
        Area("the files", partial(files.findings, file=file, control_socket=control_socket)),
        Area("FRR", partial(frr.findings, file=file), frozenset({Mode.FRR})),
        Area("ExaBGP", partial(exabgp.findings, file=file), _WITH_EXABGP),
    )


async def examine(settings: Settings, file: Path, control_socket: Path) -> list[Finding]:
    """Return what was found, the worst first.

    Args:
        settings: what the file says.
        file: the file itself, as an absolute path.
        control_socket: where the running program listens, if it runs.
    """
    looked = [area for area in areas(file, control_socket) if settings.mode in area.modes]
    found = await asyncio.gather(*(_findings(area, settings) for area in looked))
    # Sorting is stable: within a severity the order is that of the areas.
    return sorted((f for each in found for f in each), key=lambda f: _ORDER.index(f.severity))


async def _findings(area: Area, settings: Settings) -> list[Finding]:
    try:
        return await area.findings(settings)
    except BgphealthError as error:
        return [CANNOT_LOOK.found(area.name, str(error))]
