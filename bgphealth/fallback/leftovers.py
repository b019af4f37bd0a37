"""Take away what a file that counts no more has had written."""

from __future__ import annotations

from bgphealth.core.settings import Family, Settings
from bgphealth.fallback import metrics
from bgphealth.fallback.netlink import Netlink, OifRule


async def remove(before: Settings, after: Settings, netlink: Netlink) -> list[str]:
    """Delete what was written for `before` and would not be for `after`; say in words what it was.

    Only what is ours: routes and rules of somebody else in these tables stay. Fallback defaults of
    uplinks that are gone are left to whoever writes those of the others.

    Raises:
        HostError: the kernel refuses.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    kept_tables, kept_rules = _tables(after), _rules(after)
    for family in Family:
        # The rule first, so that nothing is led into an empty table.
        for rule in (_rules(before) - kept_rules) & await netlink.rules(family):
            await netlink.delete_rule(rule)
            done.append(f"deleted {family} rule oif {rule.interface} lookup {rule.table}")
        for table, of_family in sorted(_tables(before) - kept_tables):
            if of_family is not family:
                continue
            ours, _ = await netlink.routes(table, family)
            for route in ours:
                await netlink.delete_route(route)
                done.append(f"deleted {route.prefix} in table {table}")
    if before.fallback.enabled and not after.fallback.enabled:
        for route in await metrics.own(netlink):
            await netlink.delete_route(route)
            done.append(f"deleted {metrics.in_words(route)}")
    return done


def _tables(settings: Settings) -> set[tuple[int, Family]]:
    if not settings.fallback.enabled:
        return set()
    return {
        (settings.fallback.table + uplink.number, path.family)
        for uplink in settings.uplinks
        for path in uplink.paths
    }


def _rules(settings: Settings) -> set[OifRule]:
    if not settings.fallback.enabled:
        return set()
    fallback = settings.fallback
    return {
        OifRule(
            path.family,
            uplink.interface,
            fallback.table + uplink.number,
            fallback.rule_priority + uplink.number,
        )
        for uplink in settings.uplinks
        for path in uplink.paths
    }
