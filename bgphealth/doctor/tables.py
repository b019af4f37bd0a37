"""The uplinks' tables and rules: complete, and nobody else in them or before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.health import PathKey
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.words import ip
from bgphealth.fallback.netlink import OifRule

if TYPE_CHECKING:
    from bgphealth.core.settings import Address, Settings, UplinkPath, UplinkSettings
    from bgphealth.fallback.netlink import Route
    from bgphealth.fallback.view import OtherRule, View

DEFAULT_MISSING = Kind(
    "table_default_missing",
    Severity.ERROR,
    "the default in an uplink's own table is gone",
    "its probes find no way out or leave through another uplink: a good path looks dead, or a dead "
    "one alive",
)
ROUTE_MISSING = Kind(
    "table_route_missing",
    Severity.WARNING,
    "the route to the link's own subnet is not in an uplink's table",
    "what is bound to the uplink's interface reaches the ToR by way of its default, if at all",
)
RULE_MISSING = Kind(
    "rule_missing",
    Severity.ERROR,
    "the rule that leads to an uplink's table is gone",
    "its probes use the main table: once BGP's default has left this uplink they get no answer, "
    "and it never comes back",
)
TABLE_OTHERS = Kind(
    "table_others",
    Severity.ERROR,
    "an uplink's table has routes that the file does not want",
    "they may lead its probes elsewhere; where they are somebody else's, bgphealth leaves the "
    "table alone and does not probe the uplink",
)
RULE_CAPTURES = Kind(
    "rule_captures",
    Severity.WARNING,
    "somebody else's rule comes before those of the uplinks and holds for their probes",
    "where its table has a route, the probe does not go through its own uplink: its answer is "
    "another one's",
)

KINDS = (DEFAULT_MISSING, ROUTE_MISSING, RULE_MISSING, TABLE_OTHERS, RULE_CAPTURES)

_LOCAL = 255
_APPLY = "bgphealth fallback apply"


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with tables and rules; nothing where the file forbids them."""
    if not settings.fallback.enabled:
        return
    for uplink in settings.uplinks:
        for path in uplink.paths:
            yield from _table(settings, seen, uplink, path)
            yield from _rules(settings, seen, uplink, path)


def _table(
    settings: Settings, seen: View, uplink: UplinkSettings, path: UplinkPath
) -> Iterator[Finding]:
    number = settings.fallback.table + uplink.number
    table = seen.tables[uplink.name, path.family]
    wanted = {r for r in seen.plan.routes if r.table == number and r.family is path.family}
    subject = f"{uplink.name} {path.family}"
    for route in sorted(wanted - table.ours, key=str):
        if route.gateway is None:
            said = f"table {number} has no {route.prefix} dev {uplink.interface}"
            yield ROUTE_MISSING.found(subject, said, _APPLY)
        else:
            said = f"table {number} has no default via {route.gateway}"
            yield DEFAULT_MISSING.found(subject, said, _APPLY)
    # An uplink whose link is down wants no routes; those that are there do no harm.
    stale = table.ours - wanted if wanted else ()
    delete = [f"{ip(path.family)} route delete {_in_words(route)}" for route in stale]
    delete += [f"{ip(path.family)} route delete {route}" for route in table.others]
    if delete:
        count = f"{len(delete)} route{'' if len(delete) == 1 else 's'}"
        listed = ", ".join([*map(_in_words, stale), *map(str, table.others)])
        yield TABLE_OTHERS.found(
            subject, f"table {number} has {count} too many: {listed}", " && ".join(delete)
        )


def _rules(
    settings: Settings, seen: View, uplink: UplinkSettings, path: UplinkPath
) -> Iterator[Finding]:
    number, priority = (
        base + uplink.number for base in (settings.fallback.table, settings.fallback.rule_priority)
    )
    wanted = OifRule(path.family, uplink.interface, number, priority)
    subject = f"{uplink.name} {path.family}"
    if wanted not in seen.own_rules:
        said = f"there is no rule {priority}: oif {uplink.interface} lookup {number}"
        yield RULE_MISSING.found(subject, said, _APPLY)
    source = seen.plan.sources.get(PathKey(uplink.name, path.family))
    if source is None:
        return
    for rule in seen.other_rules[path.family]:
        if rule.priority <= priority and rule.table != _LOCAL:
            yield from _capture(settings, rule, source, uplink, path)


def _capture(
    settings: Settings, rule: OtherRule, source: Address, uplink: UplinkSettings, path: UplinkPath
) -> Iterator[Finding]:
    targets = {probe.target for probe in (*path.gateway, *path.beyond)} - {None}
    held = [t for t in targets if t and rule.captures(source, uplink.interface, t)]
    if not held:
        return
    # Before it, with room for all uplinks; else it must go, or move behind.
    before = rule.priority - max(u.number for u in settings.uplinks) - 1
    mend = f"{ip(path.family)} rule delete priority {rule.priority}"
    if before > 0:
        mend += f", or in the file: fallback.rule_priority: {before}"
    yield RULE_CAPTURES.found(
        f"{uplink.name} {path.family}",
        f"rule {rule} comes before {settings.fallback.rule_priority + uplink.number}",
        mend,
    )


def _in_words(route: Route) -> str:
    metric = f" metric {route.metric}" if route.metric else ""
    return f"{route.prefix} table {route.table}{metric}"
