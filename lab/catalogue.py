"""Which faults can be made on which topology."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lab import dual_tor, dual_wan, scene
from lab.direct_faults import DIRECT_FAULTS
from lab.dual_wan_faults import WAN_FAULTS
from lab.errors import LabError
from lab.faults import FAULTS
from lab.topology import find as find_file
from lab.topology import load

if TYPE_CHECKING:
    from lab.faults import Fault

NAMES: Final = tuple(sorted(FAULTS.keys() | WAN_FAULTS.keys()))
"""Of all of them, on whatever topology."""


def made_on(topology: str) -> dict[str, Fault]:
    """Return the faults that can be made on a topology, by name.

    Raises:
        LabError: There are none.
    """
    if topology not in scene.MEASURED:
        raise LabError(f"faults are made for {', '.join(scene.MEASURED)} only")
    faults = WAN_FAULTS if topology in dual_wan.NAMES else FAULTS
    if topology == dual_tor.DIRECT:
        faults = DIRECT_FAULTS
    has_bgphealth = scene.of(topology).log is not None
    others = scene.elsewhere(load(find_file(topology)))
    return {
        name: _with(fault, others, topology)
        for name, fault in faults.items()
        if has_bgphealth or not fault.needs_bgphealth
    }


_UNTIL_LEFT_S: Final = 4.0
"""Longer than it takes to find a service down, to ask bgpd who else has it, and to withdraw it."""


def _with(fault: Fault, others: frozenset[str], topology: str) -> Fault:
    """Return a fault of server1 where others, behind these routers, have the service as well."""
    expected = fault.expected
    if not others or expected.service is None:
        return fault
    lasts_s = fault.lasts_s
    if not expected.service:
        # A guarded service is a last resort until another one has been there for a while.
        lasts_s = max(lasts_s, scene.settings(topology).guarded_settle_s + _UNTIL_LEFT_S)
    there = replace(expected, service=expected.service | others)
    return replace(fault, expected=there, lasts_s=lasts_s)


def find(name: str, topology: str) -> Fault:
    """Return one of them.

    Raises:
        LabError: It cannot be made there.
    """
    there = made_on(topology)
    if name not in there:
        known = FAULTS.get(name) or WAN_FAULTS[name]
        why = "without bgphealth" if known.needs_bgphealth else "there"
        raise LabError(f"{topology}: {name} cannot be made {why} (there is {', '.join(there)})")
    return there[name]


_NO_BGP: Final = "nobody speaks BGP here"
_NO_FRR: Final = "there is no FRR on the server"
_WHY_NOT: Final = {
    dual_tor.DIRECT: {
        "bgpd-kill": _NO_FRR,
        "frr-restart": _NO_FRR,
        "fallback-deleted": "the default is the host's own",
    },
    dual_wan.NAME: {
        "tor-crash": "the gateways run no daemons",
        "service-down": "mode local announces no service",
        "address-deleted": "mode local announces no service",
        "exabgp-kill": _NO_BGP,
        "exabgp-stop": _NO_BGP,
        "bgpd-kill": _NO_BGP,
        "frr-restart": _NO_BGP,
    },
}

DESIGNED: Final = (
    "link-down",
    "tor-crash",
    "uplink-blackhole",
    "uplink-loss",
    "both-uplinks",
    "flap",
    "service-down",
    "address-deleted",
    "helper-kill",
    "helper-stop",
    "exabgp-kill",
    "exabgp-stop",
    "bgpd-kill",
    "frr-restart",
    "fallback-deleted",
)
"""Those that are made on every topology where they make sense; others belong to some alone."""


def why_not(name: str, topology: str) -> str:
    """Return, in words, why one of `DESIGNED` is not made on a topology with bgphealth."""
    return _WHY_NOT[topology][name]
