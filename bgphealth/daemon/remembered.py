"""Remember which routes are ours, so that one which leaves the file while we are away is withdrawn.

ExaBGP keeps what was announced while bgphealth is away. A prefix that is deleted from the file
meanwhile would stay announced for ever, because nobody would know any more that it is ours.
"""

from __future__ import annotations

from collections.abc import Set
from ipaddress import ip_address, ip_network
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bgphealth.core.intents import RouteKey
from bgphealth.daemon.kept import Kept, enclosed, entries_of

_MAX_PATH_ID = 0xFFFFFFFF


_DO = (
    "give the user of ExaBGP that directory (StateDirectory=bgphealth in the unit, or "
    "$STATE_DIRECTORY); without it, what leaves the file while bgphealth is away stays announced"
)


class Remembered(Kept[Set[RouteKey]]):
    """The routes that are ours, in a file."""

    def __init__(self, file: Path, log: FilteringBoundLogger) -> None:
        super().__init__(file, log, encode, decode, _DO)

    def load(self) -> frozenset[RouteKey]:
        """Return what an earlier run left; nothing, with a warning, if that makes no sense."""
        return frozenset(self.load_or(frozenset()))


def encode(routes: Set[RouteKey]) -> str:
    """Return the routes as JSON."""
    entries = [
        {
            "prefix": str(key.prefix),
            "path_id": key.path_id,
            "neighbor": None if key.neighbor is None else str(key.neighbor),
        }
        for key in sorted(routes, key=lambda key: (key.prefix.version, str(key)))
    ]
    return enclosed("routes", entries)


def decode(raw: bytes) -> frozenset[RouteKey]:
    """Return the routes of a file, all of them or none.

    Raises:
        ValueError: it is not such a file, or one of its routes is none; the text says why.
    """
    return frozenset(_route(entry) for entry in entries_of(raw, "routes"))


def _route(entry: object) -> RouteKey:
    match entry:
        case {"prefix": str(prefix), "path_id": int(path_id), "neighbor": str() | None as neighbor}:
            pass
        case _:
            raise ValueError("an entry of it is no route")
    if (
        isinstance(path_id, bool)
        or not 0 <= path_id <= _MAX_PATH_ID
        or "%" in f"{prefix}{neighbor}"
    ):
        raise ValueError("an entry of it is no route")
    return RouteKey(ip_network(prefix), path_id, None if neighbor is None else ip_address(neighbor))
