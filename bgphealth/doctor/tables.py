"""The uplinks' tables and rules: complete, and nobody else in them or before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.health import PathKey
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.words import ip
from bgphealth.fallback.netlink import Rule

if TYPE_CHECKING:
    from bgphealth.core.settings import Family, Settings, UplinkPath, UplinkSettings
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
        # One whose interface does not exist has other troubles, and that is said.
        for path in uplink.paths if uplink.interface in seen.interfaces else ():
            yield from _table(settings, seen, uplink, path)
            rule = _wanted(settings, uplink, path.family)
            if rule not in seen.own_rules:
                said = f"there is no rule {rule.priority}: from all {rule}"
                yield RULE_MISSING.found(f"{uplink.name} {path.family}", said, _APPLY)
    for family in settings.families:
        for other in seen.other_rules[family]:
            if other.table != _LOCAL:
                yield from _captures(settings, seen, family, other)


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


def _captures(
    settings: Settings, seen: View, family: Family, other: OtherRule
) -> Iterator[Finding]:
    """Yield what a rule does to the uplinks whose rules come after it."""
    after = [
        _wanted(settings, uplink, family)
        for uplink in settings.uplinks
        for path in uplink.paths
        if path.family is family and _holds(other, seen, uplink, path)
    ]
    first = min((r.priority for r in after if r.priority >= other.priority), default=None)
    if first is None:
        return
    mend = f"{ip(family)} rule delete priority {other.priority}"
    # Before it, with room for all uplinks; else it must go, or move behind.
    before = other.priority - 1 - max(uplink.number for uplink in settings.uplinks)
    if before > 0:
        mend += f"  # or in the file: fallback.rule_priority: {before}"
    links = ", ".join(rule.interface for rule in after)
    yield RULE_CAPTURES.found(
        f"{family} rule {other.priority}",
        f"{other} comes before {first}, the first one of {links}",
        mend,
    )


def _holds(other: OtherRule, seen: View, uplink: UplinkSettings, path: UplinkPath) -> bool:
    source = seen.plan.sources.get(PathKey(uplink.name, path.family))
    targets = (probe.target for probe in (*path.gateway, *path.beyond))
    return source is not None and any(
        target is not None and other.captures(source, uplink.interface, target)
        for target in targets
    )


def _wanted(settings: Settings, uplink: UplinkSettings, family: Family) -> Rule:
    fallback = settings.fallback
    return Rule(
        family,
        uplink.interface,
        fallback.table + uplink.number,
        fallback.rule_priority + uplink.number,
    )


def _in_words(route: Route) -> str:
    metric = f" metric {route.metric}" if route.metric else ""
    return f"{route.prefix} table {route.table}{metric}"
