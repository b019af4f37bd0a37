"""Whether levels and times make sense together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import FlapDamping
    from bgphealth.config.problems import KeyPath


def suspicion(parts: Parts) -> Iterator[Finding]:
    """Refuse a faster pace that is no faster."""
    paths = parts.paths
    if paths is None or paths.suspect_interval is None:
        return
    if "suspect_interval" in paths.model_fields_set and paths.suspect_interval >= paths.interval:
        yield (
            ("paths", "suspect_interval"),
            "must be shorter than interval; write off for none",
        )


def quality(parts: Parts) -> Iterator[Finding]:
    """Refuse levels that are always, or never, left."""
    if parts.paths is None:
        return
    degraded = parts.paths.degraded
    for key, levels in (("loss", degraded.loss), ("latency", degraded.latency)):
        if levels is None:
            continue
        at: KeyPath = ("paths", "degraded", key)
        if levels.enter <= 0:
            yield (*at, "enter"), "must be more than 0, or every path is degraded for ever"
        elif levels.threshold.leave >= levels.enter:
            yield (*at, "leave"), "must be less than enter, or the state changes with every answer"


def damping(parts: Parts) -> Iterator[Finding]:
    """Refuse levels of damping at which nothing would ever be damped, or always."""
    if parts.paths is not None:
        yield from _damping(("paths", "damping"), parts.paths.damping)
    for name, service in parts.services.items():
        if service.damping is not None:
            yield from _damping(("services", name, "damping"), service.damping)


def _damping(at: KeyPath, section: FlapDamping) -> Iterator[Finding]:
    if section.suppress is None:
        return
    if section.reuse >= section.suppress:
        yield (*at, "reuse"), f"must be less than suppress ({section.suppress})"
        return
    shortest_s = section.half_life * math.log2(section.suppress / section.reuse)
    if section.max_suppress < shortest_s:
        yield (
            (*at, "max_suppress"),
            (
                f"must be at least {math.ceil(shortest_s)}s: the penalty needs that long to decay "
                f"from suppress ({section.suppress}) to reuse ({section.reuse}) with the "
                f"half_life {section.half_life:g}s"
            ),
        )
