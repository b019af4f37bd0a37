"""What ``lab status`` shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lab import dual_tor, routes, scene

if TYPE_CHECKING:
    from rich.console import Console

    from lab.driver import Driver

VERSION = 1


@dataclass(frozen=True, slots=True)
class LabStatus:
    """The lab at one moment; sessions and routes only where its nodes run."""

    topology: str
    driver: str
    nodes: dict[str, bool]
    sessions: list[routes.Session]
    routes: routes.Snapshot | None

    @property
    def is_up(self) -> bool:
        """Return whether every node runs."""
        return all(self.nodes.values())

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form of it."""
        return {"version": VERSION, "up": self.is_up, **asdict(self)}


def collect(driver: Driver) -> LabStatus:
    """Ask every node."""
    nodes = driver.nodes()
    up = all(nodes.values())
    measured = up and driver.topology.name in scene.MEASURED
    return LabStatus(
        topology=driver.topology.name,
        driver=driver.name,
        nodes=nodes,
        sessions=routes.sessions(driver) if up else [],
        routes=routes.snapshot(driver) if measured else None,
    )


def show(status: LabStatus, console: Console) -> None:
    """Print it for a human."""
    running = ", ".join(name for name, runs in status.nodes.items() if runs) or "no node"
    console.print(f"{status.topology} ({status.driver}): {running} running")
    if status.sessions:
        table = Table("node", "neighbor", "family", "state", "since", title="BGP sessions")
        for session in status.sessions:
            colour = "green" if session.is_up else "red"
            table.add_row(
                session.node,
                session.neighbor,
                session.family,
                f"[{colour}]{session.state}[/]",
                session.uptime,
            )
        console.print(table)
    if status.routes:
        table = Table("route", *dual_tor.FAMILIES, title="Routes in the kernels")
        shown = [(f"{dual_tor.SERVER}: default", status.routes.server_default)]
        here = scene.of(status.topology)
        if here.has_bgp:
            shown += [
                (f"{here.way_in}: service", status.routes.core_service),
                (f"{here.way_in}: host loopback", status.routes.core_loopback),
            ]
        for name, route in shown:
            table.add_row(name, *(str(route[family]) for family in dual_tor.FAMILIES))
        console.print(table)
