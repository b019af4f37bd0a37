"""How a run stands, for the service manager: whether it has started, and one line in words."""

from __future__ import annotations

from collections.abc import Iterator

from bgphealth.core.engine import State
from bgphealth.core.hysteresis import Level

_MOST_TROUBLES = 6


def is_decided(state: State) -> bool:
    """Tell whether every path and every service has its first verdict.

    An uplink without its interface has one: its link is down.
    """
    verdicts = (*state.path_verdicts.values(), *state.service_verdicts.values())
    return all(verdict.level is not Level.INIT for verdict in verdicts)


def in_words(state: State) -> str:
    """Return what is up and what is not, and why.

    ``1 of 2 uplinks up (ipv4, ipv6), 3 of 4 services announced; tor2 ipv4 down: beyond_failed``.
    """
    uplinks = state.settings.uplinks
    down = {key.uplink for key, v in state.path_verdicts.items() if v.level is not Level.UP}
    families = ", ".join(state.settings.families)
    announced = {key.prefix for key in state.intents}
    services = state.settings.services
    count = sum(any(prefix in announced for prefix in s.prefixes) for s in services)
    summary = (
        f"{len(uplinks) - len(down)} of {len(uplinks)} uplinks up ({families}), "
        f"{count} of {len(services)} services announced"
    )
    troubles = list(_troubles(state))
    more = len(troubles) - _MOST_TROUBLES
    shown = [*troubles[:_MOST_TROUBLES], *([f"and {more} more"] if more > 0 else [])]
    return "; ".join([summary, *shown])


def _troubles(state: State) -> Iterator[str]:
    for key, verdict in state.path_verdicts.items():
        if verdict.level is not Level.UP:
            yield f"{key.uplink} {key.family} {verdict.level}: {verdict.reason}"
    for name, verdict in state.service_verdicts.items():
        if verdict.level is not Level.UP:
            yield f"{name} {verdict.level}: {verdict.reason}"
