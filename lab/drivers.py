"""The drivers by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from lab import topology
from lab.containerlab import ContainerlabDriver
from lab.errors import LabError
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from lab.driver import Driver
    from lab.topology import Topology

ENVIRONMENT_VARIABLE: Final = "BGPHEALTH_LAB_DRIVER"
"""Names the driver where no option does."""

_DRIVERS: Final = {driver.name: driver for driver in (NamespaceDriver, ContainerlabDriver)}
NAMES: Final = tuple(_DRIVERS)


def chosen(name: str | None = None) -> str:
    """Return the driver's name: the one that is given, or the environment's, or ``namespaces``.

    Raises:
        LabError: There is none of that name.
    """
    name = name or os.environ.get(ENVIRONMENT_VARIABLE) or NamespaceDriver.name
    if name not in _DRIVERS:
        raise LabError(f"there is no driver '{name}' (there is {', '.join(NAMES)})")
    return name


def make(found: Topology, name: str | None = None) -> Driver:
    """Return the driver that runs a topology.

    Args:
        found: the topology.
        name: of the driver; see `chosen`.

    Raises:
        LabError: There is none of that name.
    """
    driver: Driver = _DRIVERS[chosen(name)](found)
    return driver


def of(topology_name: str, name: str | None = None) -> Driver:
    """Return the driver that runs the topology of that name, or of that path.

    Raises:
        LabError: There is no such topology or driver, or the file is wrong.
    """
    return make(topology.load(topology.find(topology_name)), name)
