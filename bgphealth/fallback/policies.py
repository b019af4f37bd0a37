"""The rules of policies: what has a source leaves through the table of its uplink.

Up to three rules stand one behind the other, behind those of all uplinks, so that a socket that is
bound to an uplink stays on it. The first asks the main table for anything but its default: networks
on a link, containers, tunnels, and whatever BGP knows better. The second leads into the uplink's
table. The third, of a strict policy, lets nothing further.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    POLICY_RULES,
    Address,
    FallbackSettings,
    Family,
    Mode,
    Settings,
    SourcePolicy,
    UplinkSettings,
    Wish,
)
from bgphealth.fallback.netlink import MAIN, Interface, Rule


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The rules that there should be, per policy; in `absent`, why one cannot have all of its own.

    A policy without rules waits for its uplink.
    """

    wanted: Mapping[SourcePolicy, frozenset[Rule]]
    absent: Mapping[Wish, str]

    @property
    def rules(self) -> frozenset[Rule]:
        """Return them all."""
        return frozenset().union(*self.wanted.values())


def plan(
    settings: Settings,
    interfaces: Mapping[str, Interface],
    sources: Mapping[PathKey, Address],
    ranks: Mapping[PathKey, Rank],
    there: Set[Rule],
) -> PolicyRules:
    """Return what there should be, given what is there.

    `sources` are the uplinks' own addresses. Without a rank, a policy stays as it is.
    """
    uplinks = {uplink.name: uplink for uplink in settings.uplinks}
    addresses = {a.ip for interface in interfaces.values() for a in interface.addresses}
    wanted: dict[SourcePolicy, frozenset[Rule]] = {}
    absent: dict[Wish, str] = {}
    # In local mode one uplink carries, and the others serve what came in through them.
    carrying = {Rank.CARRIES, Rank.WORKS} if settings.mode is Mode.LOCAL else {Rank.CARRIES}
    for policy in settings.sources.policies:
        uplink, found = uplinks[policy.uplink], set[Rule]()
        for path in uplink.paths:
            key = PathKey(uplink.name, path.family)
            source = sources.get(key) if policy.source is None else policy.source
            if source is None or Family.of(source) is not path.family:
                continue  # Why a path has no address is said where it is probed.
            if source not in addresses:
                absent[policy] = f"{source} is not an address of this host"
                continue
            rules = _rules(settings.fallback, policy, uplink, source)
            carries = ranks.get(key) in carrying or (key not in ranks and rules & there)
            if carries or policy.is_strict:
                found |= rules
        wanted[policy] = frozenset(found)
    return PolicyRules(wanted, absent)


def is_of_policy(rule: Rule) -> bool:
    """Return whether a rule of ours is one of a policy's."""
    return rule.source is not None


def _rules(
    fallback: FallbackSettings, policy: SourcePolicy, uplink: UplinkSettings, source: Address
) -> set[Rule]:
    family, first = Family.of(source), fallback.rule_priority + POLICY_RULES
    table = fallback.table + uplink.number
    rules = {
        Rule(family, "", MAIN, first, source, but_default=True),
        Rule(family, "", table, first + 1, source),
    }
    return rules | {Rule(family, "", None, first + 2, source)} if policy.is_strict else rules
