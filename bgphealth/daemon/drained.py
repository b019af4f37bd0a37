"""Remember what is drained: neither a restart nor a reboot may bring it back.

In the file times are seconds since the epoch, in the program they are on the loop's clock, which
begins anew with each boot.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from bgphealth.core.orders import Order, Target, What
from bgphealth.daemon.kept import Kept, enclosed, entries_of

_DO = (
    "give the user of ExaBGP that directory (StateDirectory=bgphealth in the unit, or "
    "$STATE_DIRECTORY); without it, what is drained comes back when bgphealth is started again"
)


class DrainMemory(Kept[Mapping[Target, Order]]):
    """The drains, in a file. `load` and `keep` take and give times on the loop's clock."""

    def __init__(self, file: Path, log: FilteringBoundLogger) -> None:
        super().__init__(file, log, encode, decode, _DO)

    def load(self, now: float) -> dict[Target, Order]:
        """Return what an earlier run left; `now` is the loop's clock."""
        orders = _shifted(self.load_or({}), now - time.time())
        # A clock that was set back must not make a drain begin in the future.
        return {t: order._replace(since=min(order.since, now)) for t, order in orders.items()}

    def keep(self, orders: Mapping[Target, Order], now: float) -> bool:
        """Write them; return whether that was possible."""
        return self.save(_shifted(orders, time.time() - now))


def encode(orders: Mapping[Target, Order]) -> str:
    """Return the drains as JSON."""
    entries = [
        {"what": target.what.value, "name": target.name, **order._asdict()}
        for target, order in sorted(orders.items())
    ]
    return enclosed("drains", entries)


def decode(raw: bytes) -> Mapping[Target, Order]:
    """Return the drains of a file, all of them or none.

    Raises:
        ValueError: it is not such a file, or one of its drains is none; the text says why.
    """
    return dict(_entry(entry) for entry in entries_of(raw, "drains"))


def _entry(entry: object) -> tuple[Target, Order]:
    match entry:
        case {
            "what": str(what),
            "name": str(name),
            "since": float() | int() as since,
            "until": float() | int() | None as until,
            "forced": bool(forced),
        } if what in set(What) and math.isfinite(since) and math.isfinite(until or 0):
            end = None if until is None else float(until)
            return Target(What(what), name), Order(float(since), end, forced)
        case _:
            raise ValueError("an entry of it is no drain")


def _shifted(orders: Mapping[Target, Order], by_s: float) -> dict[Target, Order]:
    """Return the same on another clock."""
    return {
        target: Order(
            round(order.since + by_s, 3),
            None if order.until is None else round(order.until + by_s, 3),
            order.forced,
        )
        for target, order in orders.items()
    }
