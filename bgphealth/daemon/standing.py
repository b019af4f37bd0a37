"""How a run stands, for the service manager: whether it has started, and one line in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from bgphealth.core.hysteresis import Level
from bgphealth.core.settings import Family, Mode
from bgphealth.core.state import State
from bgphealth.core.truth import Drift, Tier

_MOST_TROUBLES = 6
_MOST_DRIFTS = 3


def is_decided(state: State) -> bool:
    """Tell whether every path and every service has its first verdict.

    An uplink without its interface has one: its link is down.
    """
    verdicts = (*state.path_verdicts.values(), *state.service_verdicts.values())
    return all(verdict.level is not Level.INIT for verdict in verdicts)


def in_words(
    state: State, drifts: Sequence[Drift] = (), tiers: Mapping[Family, Tier] = MappingProxyType({})
) -> str:
    """Return what is up and what is not, and why, and what is not as it was announced.

    ``1 of 2 uplinks up (ipv4, ipv6), 3 of 4 services announced; ipv4 default: tor; 1 route drifts:
    192.0.2.53/32 missing in bgpd; tor2 ipv4 down: beyond_failed``. In local mode which uplink is in
    use stands in the place of the services: ``ipv4 via lan``.
    """
    uplinks = state.settings.uplinks
    down = {key.uplink for key, v in state.path_verdicts.items() if v.level is not Level.UP}
    families = ", ".join(state.settings.families)
    announced = {key.prefix for key, a in state.intents.items() if not a.is_quiet}
    services = state.settings.services
    count = sum(any(prefix in announced for prefix in s.prefixes) for s in services)
    summary = f"{len(uplinks) - len(down)} of {len(uplinks)} uplinks up ({families}), "
    if state.settings.mode is Mode.LOCAL:
        in_use = state.preference.in_use
        summary += ", ".join(
            f"{family} via {in_use[family]}" if family in in_use else f"{family} undecided"
            for family in state.settings.families
        )
    else:
        summary += f"{count} of {len(services)} services announced"
    troubles = list(_troubles(state))
    more = len(troubles) - _MOST_TROUBLES
    shown = [*troubles[:_MOST_TROUBLES], *([f"and {more} more"] if more > 0 else [])]
    lower = [f"{f} default: {tier}" for f, tier in tiers.items() if tier is not Tier.INJECTED]
    return "; ".join([summary, *lower, *_in_short(drifts), *shown])


def _in_short(drifts: Sequence[Drift]) -> Iterator[str]:
    if drifts:
        places = [f"{it.key} {it.state} in {it.where}" for it in drifts]
        routes = len({it.key for it in drifts})
        said = "1 route drifts" if routes == 1 else f"{routes} routes drift"
        more = len(places) - _MOST_DRIFTS
        shown = [*places[:_MOST_DRIFTS], *([f"and {more} more"] if more > 0 else [])]
        yield f"{said}: {', '.join(shown)}"


def _troubles(state: State) -> Iterator[str]:
    for key, verdict in state.path_verdicts.items():
        if verdict.level is not Level.UP:
            yield f"{key.uplink} {key.family} {verdict.level}: {verdict.reason}"
    for name, verdict in state.service_verdicts.items():
        if verdict.level is not Level.UP:
            yield f"{name} {verdict.level}: {verdict.reason}"
    for address in sorted(state.addresses.missing, key=str):
        yield f"{address} missing"
    for target in state.drains.orders:
        yield f"{target} drained"
