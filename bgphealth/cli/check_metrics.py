"""What `bgphealth check` says of the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.core.settings import Settings


def lines(settings: Settings) -> Iterator[str]:
    """Return where the metrics are, if anywhere."""
    if settings.metrics is not None:
        yield f"metrics: {settings.metrics}"


def notes(settings: Settings) -> Iterator[str]:
    """Return who can read them besides this host."""
    listen = None if settings.metrics is None else settings.metrics.listen
    if listen is not None and not listen.address.is_loopback:
        where = "any address of this host" if listen.address.is_unspecified else listen.address
        yield (
            f"metrics: whoever reaches {where}, port {listen.port}, can read the names of services "
            "and uplinks, the targets of probes, and what is announced; there is no password"
        )


def in_json(settings: Settings) -> dict[str, object] | None:
    """Return the same for programs."""
    if (metrics := settings.metrics) is None:
        return None
    return {
        "listen": None if metrics.listen is None else str(metrics.listen),
        "textfile": metrics.textfile,
        "interval_s": metrics.interval_s,
    }
