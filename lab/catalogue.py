"""Which faults can be made on which topology."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lab import dual_wan, scene
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
    has_bgphealth = scene.of(topology).log is not None
    others = scene.elsewhere(load(find_file(topology)))
    return {
        name: _with(fault, others)
        for name, fault in faults.items()
        if has_bgphealth or not fault.needs_bgphealth
    }


def _with(fault: Fault, others: frozenset[str]) -> Fault:
    """Return a fault of server1 where others, behind these routers, have the service as well."""
    expected = fault.expected
    if not others or expected.service is None:
        return fault
    return replace(fault, expected=replace(expected, service=expected.service | others))


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
