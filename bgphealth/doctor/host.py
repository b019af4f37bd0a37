"""The host: its links, addresses, defaults, tables, rules and sysctls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.doctor import addresses, defaults, links, sysctls, tables
from bgphealth.fallback import view

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings
    from bgphealth.doctor.finding import Finding

_PARTS = (links, addresses, defaults, tables, sysctls)

KINDS = tuple(kind for part in _PARTS for kind in part.KINDS)


async def findings(settings: Settings) -> list[Finding]:
    """Look at the kernel once, and return what is not as it should be.

    Raises:
        HostError: the kernel does not tell.
    """
    seen = await view.look(settings)
    return [finding for part in _PARTS for finding in part.judge(settings, seen)]
