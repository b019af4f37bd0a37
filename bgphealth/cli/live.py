"""A live table of how a running bgphealth stands, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bgphealth.cli.status import default_words, lived

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_COLORS = {"up": "green", "degraded": "yellow", "damped": "yellow", "down": "red"}
_RANKS = {"outage": "bold red", "lost": "red", "warning": "yellow"}
_MOST_SERVICES = 20


class LiveTable:
    """Takes the terminal while it is entered."""

    def __init__(self) -> None:
        self._live = Live(Text("…"), screen=True, auto_refresh=False)
        self._last: Mapping[str, Any] | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, found: Mapping[str, Any] | None, why: str) -> None:
        """Show the next look; without one, why there is none, above the last one."""
        if found is not None:
            self._last = found
        parts: list[RenderableType] = []
        if found is None:
            parts.append(Text(f"not running: {why}", style="bold red"))
        if self._last is not None:
            parts.append(render(self._last))
        self._live.update(Group(*parts), refresh=True)


def render(found: Mapping[str, Any]) -> RenderableType:
    """Return a snapshot as it is shown: what is wrong, then tables."""
    style = "green" if found["healthy"] else "red"
    parts: list[RenderableType] = [Text(f"{found['at']}  {found['summary']}", style=style)]
    parts += [
        Text(f"{it['rank']}: {it['of']}: {it['says']}", style=_RANKS[it["rank"]])
        for it in found["problems"]
    ]
    parts += [_paths(found), _services(found), _defaults(found)]
    return Group(*parts)


def _paths(found: Mapping[str, Any]) -> Table:
    table = Table("uplink", "family", "verdict", "reason", "for", "loss", "ms", "", box=None)
    for path in found["paths"]:
        loss, latency = path["loss"], path["latency_ms"]
        also = [word for word in ("suspect" if path["suspect"] else None, path["drain"]) if word]
        table.add_row(
            path["uplink"],
            path["family"],
            _level(path),
            path["reason"],
            lived(path, found["at"]),
            "" if loss is None else f"{loss:.0%}",
            "" if latency is None else f"{latency:.1f}",
            ", ".join(also),
        )
    return table


def _services(found: Mapping[str, Any]) -> Table:
    """Return those that are not well first; of many that are, how many."""
    table = Table("service", "verdict", "reason", "for", "", box=None)
    ordered = sorted(found["services"], key=lambda s: (s["verdict"] == "up", s["drain"] is None))
    for service in ordered[:_MOST_SERVICES]:
        table.add_row(
            service["name"],
            _level(service),
            service["reason"],
            lived(service, found["at"]),
            service["drain"] or "",
        )
    if (more := len(ordered) - _MOST_SERVICES) > 0:
        table.add_row(f"and {more} more")
    return table


def _defaults(found: Mapping[str, Any]) -> Table:
    table = Table("default", "", box=None)
    for default in found["defaults"]:
        table.add_row(*default_words(default))
    return table


def _level(thing: Mapping[str, Any]) -> Text:
    return Text(thing["verdict"], style=_COLORS.get(thing["verdict"], ""))
