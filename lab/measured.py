"""What every measurement has around it: the machine that it was made on, and a lab of its own."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lab import convergence, dual_tor, scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.driver import Driver


def machine() -> dict[str, Any]:
    """Return what figures depend on; to be asked before anything of the measurement runs."""
    return {"cpus": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}


def frr_version(driver: Driver) -> str | None:
    """Return which FRR a lab that is up runs, ``8.4.4``; None where it runs none.

    Raises:
        LabError: The node does not run.
    """
    if not scene.of(driver.topology.name).has_bgp:
        return None
    done = driver.run(dual_tor.CORE, ["/usr/lib/frr/bgpd", "--version"], check=False)
    found = re.match(r"bgpd version (\d+(?:\.\d+)*)", done.stdout)
    return found[1] if found else None


@contextmanager
def lab_up(
    driver: Driver, progress: Callable[[str], None], *, converges: bool = True
) -> Iterator[None]:
    """Bring a lab up, wait until it has converged, and take it down, whatever happens.

    Args:
        driver: the lab.
        progress: told what is done from now on.
        converges: whether there is anything to wait for.

    Raises:
        LabError: It is up already, or does not come up.
    """
    progress(f"up: {driver.topology.name}")
    driver.up()
    try:
        if converges:
            convergence.wait_converged(driver)
        yield
    finally:
        progress(f"down: {driver.topology.name}")
        driver.down()
