"""The faults of ``dual-tor-direct`` by name: those of ``dual-tor`` that can be made there.

Nobody steers the server's default, so nothing is promised of it, and what a dead ToR is given by
the server is lost for as long as the fault lasts. Promised is what the ToRs and the core have.
"""

from __future__ import annotations

from dataclasses import replace

from lab.faults import FAULTS, Fault

_ANNOUNCED = frozenset({"service", "loopback"})

NOT_MADE = ("bgpd-kill", "frr-restart", "fallback-deleted")
"""Those of what is not there: FRR on the server, and defaults of bgphealth's."""


def _there(fault: Fault) -> Fault:
    return replace(
        fault,
        expected=replace(fault.expected, default=None),
        withdrawn=_ANNOUNCED if fault.withdrawn else fault.withdrawn,
    )


DIRECT_FAULTS = {name: _there(fault) for name, fault in FAULTS.items() if name not in NOT_MADE}
