"""The host: its links, addresses, defaults, tables, rules and sysctls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.doctor import addresses, defaults, links, sysctls, tables
from bgphealth.fallback import view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.core.settings import Settings
    from bgphealth.doctor.finding import Finding

_PARTS = (links, addresses, defaults, tables, sysctls)

KINDS = tuple(kind for part in _PARTS for kind in part.KINDS)


async def findings(settings: Settings) -> list[Finding]:
    """Look at the kernel once, and return what is not as it should be.

    Raises:
        HostError: the kernel does not tell.
    """
    return list(judge(settings, await view.look(settings)))


def judge(settings: Settings, seen: view.View) -> Iterator[Finding]:
    """Yield what is not as it should be, part by part."""
    for part in _PARTS:
        yield from part.judge(settings, seen)
