"""What the demo tells on the terminal: one table that a network engineer understands at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from lab import dual_tor, scene

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

PHASES = ("before", "during", "after")


def seconds(value: float | None) -> str:
    """Return a time as the tables have it."""
    return "-" if value is None else f"{value:.2f} s"


def _after(value: float | None, what: str) -> str:
    return "did not happen" if value is None else f"{value:.2f} s after {what}"


def route_rows(result: Mapping[str, Any], family: str = "ipv4") -> list[tuple[str, ...]]:
    """Return the rows before / during / after for one family."""
    rows = []
    shown = [("server1 → default", "server_default")]
    here = scene.of(result["topology"])
    if here.has_bgp:
        shown = [
            (f"{here.way_in} → service {dual_tor.SERVICE[family]}", "core_service"),
            (f"{here.way_in} → host loopback {dual_tor.LOOPBACK[family]}", "core_loopback"),
            *shown,
        ]
    for title, key in shown:
        cells = [_cell(result["routes"][phase], key, family) for phase in PHASES]
        rows.append((title, *cells))
    return rows


def _cell(routes: Mapping[str, Any] | None, key: str, family: str) -> str:
    if routes is None:
        return "-"
    route = routes[key][family]
    via = " + ".join(route["uplinks"]) or "none"
    return f"{via}, src {route['source']}" if route["source"] else via


def figure_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the measured figures, each with its name."""
    rows = []
    here = scene.of(result["topology"])
    for direction, traffic in here.traffic.items():
        d, title = result["direction"][direction], f"{direction}: {traffic.title}"
        rows.append(
            (
                title,
                (
                    f"outage {seconds(d['outage_s'])} (worst flow), "
                    f"{d['lost']} of {d['sent']} datagrams lost, "
                    f"{d['flows_hit']} of {d['flows']} flows hit"
                ),
            )
        )
    start = "the healing" if result["healed_s"] else "the fault"
    rows += [
        ("verdict on the uplink", _after(result["detect_s"], "the fault")),
        ("server1's kernel default moved", _after(result["kernel_s"], "the fault")),
    ]
    if here.has_bgp:
        rows.append((f"{here.way_in}'s routes moved", _after(result["core_s"], "the fault")))
    rows.append(("whole again", _after(result["recovery_s"], start)))
    return rows


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the tables, and what did not hold."""
    table = Table("route (IPv4, in the kernel)", *PHASES, title=result["summary"])
    for row in route_rows(result):
        table.add_row(*row)
    console.print(table)
    table = Table(show_header=False)
    for name, value in figure_rows(result):
        table.add_row(name, value)
    console.print(table)
    failed = [check for check in result["checks"] if not check["held"]]
    for check in failed:
        console.print(f"[red]did not hold:[/] {check['what']} (saw: {check['saw']})")
    if not failed:
        console.print(f"[green]all {len(result['checks'])} checks held[/], IPv4 and IPv6")
