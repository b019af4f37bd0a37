"""What the kernel lacks for honest probes, and how to add that and nothing else.

`tables.apply` makes the kernel equal to the plan, deletions included: that is for the program,
which owns the tables. Whoever merely looks beside a running program must not take anything away.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from bgphealth.core.errors import HostError
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Settings
from bgphealth.fallback.netlink import Netlink, Route, Rule
from bgphealth.fallback.tables import Plan


@dataclass(frozen=True, slots=True)
class Missing:
    """What one path lacks. `others` are routes in its table that are not as the file says."""

    table: int
    rules: frozenset[Rule]
    routes: frozenset[Route]
    others: int

    def __str__(self) -> str:
        """Return it in words."""
        said = [f"no rule '{rule}'" for rule in self.rules]
        if self.routes:
            said.append(
                f"no {' and '.join(sorted(_in_words(r) for r in self.routes))} "
                f"in table {self.table}"
            )
        if self.others:
            said.append(f"table {self.table} holds {self.others} routes that are not of this file")
        return ", ".join(said)


async def missing(settings: Settings, wanted: Plan, netlink: Netlink) -> Mapping[PathKey, Missing]:
    """Return what is missing, for each path that lacks something."""
    found: dict[PathKey, Missing] = {}
    for family in settings.families:
        rules = {rule for rule in wanted.rules if rule.family is family}
        lacking = rules - await netlink.rules(family)
        for uplink in settings.uplinks:
            if family not in {path.family for path in uplink.paths}:
                continue
            table = settings.fallback.table + uplink.number
            ours, foreign = await netlink.routes(table, family)
            routes = {r for r in wanted.routes if r.table == table and r.family is family}
            lack = Missing(
                table,
                frozenset(rule for rule in lacking if rule.interface == uplink.interface),
                frozenset(routes - ours),
                # An uplink whose link is down wants no routes; those that are there do no harm.
                foreign + (len(ours - routes) if routes else 0),
            )
            if str(lack):
                found[PathKey(uplink.name, family)] = lack
    return found


async def add(lacks: Mapping[PathKey, Missing], netlink: Netlink) -> list[str]:
    """Add what is missing, delete nothing, and return what was done, in words.

    Raises:
        HostError: a table holds something else.
        PermissionDeniedError: CAP_NET_ADMIN is missing.
    """
    for path, lack in lacks.items():
        if lack.others:
            raise HostError(
                f"{path.uplink} {path.family}: table {lack.table} holds {lack.others} routes that "
                "are not of this file; nothing was added"
            )
    done: list[str] = []
    for lack in lacks.values():
        # The link's own subnet before the default, whose gateway is in it; the rule last, so that
        # nothing is led into a table that is not ready.
        for route in sorted(lack.routes, key=lambda r: r.gateway is not None):
            await netlink.add_route(route)
            done.append(f"added {_in_words(route)} to table {route.table}")
        done += await add_rules(lack.rules, netlink)
    return done


async def add_rules(rules: Set[Rule], netlink: Netlink) -> list[str]:
    """Add rules in the order of their priority, and return what was done, in words."""
    new = sorted(rules, key=lambda rule: rule.priority)
    for rule in new:
        await netlink.add_rule(rule)
    return [f"added the {rule.family} rule {rule}" for rule in new]


def _in_words(route: Route) -> str:
    via = f" via {route.gateway}" if route.gateway is not None else ""
    return f"{route.prefix}{via}"
