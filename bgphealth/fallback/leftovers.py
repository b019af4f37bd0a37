"""Take away what a file that counts no more has had written."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import Family, Settings
from bgphealth.fallback import metrics
from bgphealth.fallback.netlink import Netlink, Route, Rule
from bgphealth.fallback.policies import is_of_policy


async def remove(before: Settings, after: Settings, netlink: Netlink) -> list[str]:
    """Delete what was written for `before` and would not be for `after`; say in words what it was.

    Only what is ours: routes and rules of somebody else in these tables stay. Fallback defaults,
    pins and policies that are gone are left to whoever writes the others.

    Raises:
        HostError: the kernel refuses.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    if not before.fallback.enabled:
        return []
    done: list[str] = []
    kept_tables, kept_rules = _tables(after), _rules(after)
    for family in Family:
        there = await netlink.rules(family)
        rules = (_rules(before) - kept_rules) & there
        if not after.fallback.enabled or family not in after.families:
            rules |= {rule for rule in there if is_of_policy(rule)}
        tables = {table for table, of in _tables(before) - kept_tables if of is family}
        routes = set() if after.fallback.enabled else await netlink.own_in_main(family)
        done += await clear(family, rules, tables, routes, netlink)
    return done


async def remove_families(settings: Settings, netlink: Netlink) -> list[str]:
    """Delete what an earlier run has left of a family that the file has no more.

    What cannot be read or deleted there is in nobody's way who has no such paths.
    """
    done: list[str] = []
    tables = [settings.fallback.table + uplink.number for uplink in settings.uplinks]
    for family in set(Family).difference(settings.families):
        with suppress(BgphealthError):
            if rules := await netlink.rules(family):
                done += await clear(family, rules, tables, (), netlink)
    return done


async def clear(
    family: Family,
    rules: Iterable[Rule],
    tables: Iterable[int],
    routes: Iterable[Route],
    netlink: Netlink,
) -> list[str]:
    """Delete rules, what is ours in tables, and routes of the main table; say in words what it was.

    Raises:
        HostError: the kernel refuses.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    done: list[str] = []
    # The rules first, so that nothing is led into an empty table; of a policy, what forbids first.
    for rule in sorted(rules, key=lambda rule: -rule.priority):
        await netlink.delete_rule(rule)
        done.append(f"deleted {family} rule {rule}")
    for table in sorted(tables):
        ours, _ = await netlink.routes(table, family)
        for route in ours:
            await netlink.delete_route(route)
            done.append(f"deleted {route.prefix} in table {table}")
    for route in sorted(routes, key=lambda route: (route.prefix.prefixlen, route.metric)):
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


def _rules(settings: Settings) -> set[Rule]:
    if not settings.fallback.enabled:
        return set()
    fallback = settings.fallback
    return {
        Rule(
            path.family,
            uplink.interface,
            fallback.table + uplink.number,
            fallback.rule_priority + uplink.number,
        )
        for uplink in settings.uplinks
        for path in uplink.paths
    }
