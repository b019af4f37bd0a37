"""The kernel's answer in words: from which address, which way, and why; and what is wrong with it.

The file is not needed. With it, interfaces have the names of uplinks, addresses those of services,
and what must not be the source of a connection is known.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bgphealth.core import lookup_rules
from bgphealth.core.lookup import LINK, UNIVERSE, Kind, Looked, Matched, Refused, Taken
from bgphealth.core.lookup_rules import MAIN, Hit, table_name
from bgphealth.core.lookup_warnings import Warned, warnings
from bgphealth.core.named import Named
from bgphealth.core.settings import Address, Mode, Settings
from bgphealth.core.source_choice import Choice, Way, choose, choose_for
from bgphealth.core.truth import OURS, BgpRoute, KernelDefault, KernelView, Leg, Tier, tier

_ERRORS = {
    errno.ENETUNREACH: "ENETUNREACH, Network is unreachable",
    errno.EHOSTUNREACH: "EHOSTUNREACH, No route to host",
    errno.EACCES: "EACCES, Permission denied",
    errno.EINVAL: "EINVAL, Invalid argument",
    errno.EADDRNOTAVAIL: "EADDRNOTAVAIL, Cannot assign requested address",
}
_TIERS = {
    Tier.INJECTED: "injected: bgphealth's, verified by probes",
    Tier.TOR: "the ToR's own: bgphealth's is not in use",
    Tier.FALLBACK: "fallback: what is left without BGP",
    Tier.FOREIGN: "foreign: neither bgphealth's nor BGP's",
}


_NO_PATH = BgpRoute()


class Other(NamedTuple):
    """Another address of the host, where it is, and why it is not the source."""

    address: Address
    interface: str
    why_not: str
    what: str | None


@dataclass(frozen=True, slots=True)
class Explained:
    """An answer and its reasons, each as text that can stand alone.

    `rules` are several where it cannot be told which of them was hit. `tier` is None for what is
    no default in the main table, and where it is not known.
    """

    answer: str
    rules: tuple[str, ...] = ()
    table: str | None = None
    route: tuple[str, ...] = ()
    tier: Tier | None = None
    tier_in_words: str | None = None
    why: str | None = None
    others: tuple[Other, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()


def asks_bgp(looked: Looked, settings: Settings) -> bool:
    """Return whether it takes bgpd to tell whose default it is: the kernel does not."""
    matched = _main_default(looked)
    return settings.mode is Mode.FRR and matched is not None and matched.protocol == "bgp"


def explain(
    looked: Looked, settings: Settings | None = None, bgp: BgpRoute | str = _NO_PATH
) -> Explained:
    """Say all that is known of an answer.

    Args:
        looked: what the kernel said.
        settings: the file, if there is one.
        bgp: the default in bgpd's table, or in words why it is not known.
    """
    named = Named(settings, looked.addresses)
    hit = _hit(looked)
    reply = looked.reply
    if isinstance(reply, Refused):
        return Explained(
            _refused(looked, reply, hit),
            rules=tuple(map(str, hit.rules)),
            table=None if hit.route is None else table_name(hit.route.table),
            route=() if hit.route is None else hit.route.lines,
            notes=tuple(_ports(looked, hit)),
            warnings=warnings(looked, named, None),
        )
    matched, choice = reply.matched, _choice(looked)
    which = None if settings is None else _tier(looked, settings, bgp)
    return Explained(
        _answer(looked, matched, named),
        tuple(map(str, hit.rules)),
        None if matched is None else table_name(matched.table),
        () if matched is None else matched.lines,
        which,
        _tier_in_words(looked, named, which, bgp),
        _why(looked, choice),
        tuple(_others(looked, choice, named)),
        (*_ports(looked, hit), *_several(looked), *_service(looked, named)),
        warnings(looked, named, which),
    )


def _hit(looked: Looked) -> Hit:
    question, rules, source = looked.question, looked.rules, looked.asked_with
    if isinstance(looked.reply, Refused):
        code = looked.reply.errno
        return lookup_rules.refuses(rules, question, source, looked.refusing, code)
    if looked.reply.matched is None:
        return Hit()
    return lookup_rules.leads_to(rules, question, source, looked.reply.matched)


# ---- the answer ----------------------------------------------------------------------------------


def _answer(looked: Looked, matched: Matched | None, named: Named) -> str:
    choices = looked.choices
    if matched is not None and matched.kind is Kind.LOCAL:
        return f"from {choices[0].source}, on this host itself"
    kind = f" ({matched.kind})" if matched and matched.kind is not Kind.UNICAST else ""
    ways: dict[Address | None, list[Leg]] = {}
    for choice in choices:
        ways.setdefault(choice.source, []).append(choice.leg)
    sources: dict[tuple[Leg, ...], list[str]] = {}
    for source, legs in ways.items():
        sources.setdefault(tuple(legs), []).append(str(source or "no address"))
    return (
        ", or ".join(
            f"from {' or '.join(those)}, {' or '.join(_way(leg, named) for leg in legs)}"
            for legs, those in sources.items()
        )
        + kind
    )


def _way(leg: Leg, named: Named) -> str:
    uplink = named.uplink(leg)
    where = leg.interface if uplink is None else f"{leg.interface} (uplink {uplink})"
    return f"directly on {where}" if leg.gateway is None else f"via {leg.gateway} on {where}"


def _refused(looked: Looked, reply: Refused, hit: Hit) -> str:
    by = "what refuses it cannot be told"
    if looked.is_from_elsewhere:
        by = f"{looked.question.source} is no address of this host"
    elif hit.route is not None:
        where = f"{hit.route.prefix} in table {table_name(hit.route.table)}"
        by = f"its route is {hit.route.kind}, {where}"
    elif hit.rules:
        by = f"the rule {hit.rules[0]}"
    elif reply.errno == errno.ENETUNREACH:
        by = "no rule leads to a route"
    says = _ERRORS.get(reply.errno, f"errno {reply.errno}")
    return f"no way to {looked.question.destination}: {by} (programs see {says})"


# ---- whose default -------------------------------------------------------------------------------


def _main_default(looked: Looked) -> Matched | None:
    matched = looked.reply.matched if isinstance(looked.reply, Taken) else None
    if matched is None or matched.table != MAIN or not matched.is_default:
        return None
    return matched


def _tier(looked: Looked, settings: Settings, bgp: BgpRoute | str) -> Tier | None:
    matched = _main_default(looked)
    if matched is None or settings.mode is not Mode.FRR:
        return None
    if asks_bgp(looked, settings) and isinstance(bgp, str):
        return None
    legs = tuple(hop.leg for hop in matched.used)
    default = KernelDefault(matched.protocol, matched.metric, matched.source, legs or None)
    route = BgpRoute() if isinstance(bgp, str) else bgp
    return tier(route, KernelView((default,), has_source=True)).tier


def _tier_in_words(
    looked: Looked, named: Named, which: Tier | None, bgp: BgpRoute | str
) -> str | None:
    """Say whose default it is: outside mode `frr` there are no tiers, but bgphealth's are."""
    matched = looked.reply.matched if isinstance(looked.reply, Taken) else None
    if matched is None or not matched.is_default or named.settings is None:
        return None
    if which is not None:
        return _TIERS[which]
    if asks_bgp(looked, named.settings):
        return f"injected or the ToR's own: bgpd cannot be asked which ({bgp})"
    if matched.table == MAIN:
        return "bgphealth's" if matched.protocol == OURS else "somebody else's, not bgphealth's"
    uplink = named.uplink_of_table(matched.table)
    if uplink is None:
        return None
    return f"none of them: uplink {uplink.name}'s own, for what is bound to {uplink.interface}"


# ---- why this source -----------------------------------------------------------------------------


def _choice(looked: Looked) -> Choice | None:
    """Return what explains the source, None where nothing does or nothing has to."""
    question, first = looked.question, looked.first
    if question.source is not None or not looked.sources:
        return None
    if isinstance(first, Refused):
        nowhere = Way(question.destination, question.interface, None, UNIVERSE)
        choice = choose(looked.addresses, nowhere)
    elif first.matched is None:
        on_link = Way(question.destination, first.leg.interface, None, LINK)
        choice = choose(looked.addresses, on_link)
    elif first.matched.source is not None:
        return None
    else:
        choice = choose_for(looked.addresses, question.destination, first.leg, first.matched)
    return choice if choice is not None and choice.held.address.ip == looked.source else None


def _why(looked: Looked, choice: Choice | None) -> str:
    why = _why_first(looked, choice)
    if looked.is_rerouted and isinstance(looked.first, Taken):
        return f"{why}, when the way without a source was {looked.first.leg}"
    return why


def _why_first(looked: Looked, choice: Choice | None) -> str:
    first = looked.first
    matched = first.matched if isinstance(first, Taken) else None
    if looked.question.source is not None:
        return "asked for"
    if looked.source is None:
        return "the host has no address that reaches that far"
    if _is_to_itself(looked):
        return "the destination is an address of this host"
    if matched is not None and matched.source is not None:
        return "the route's preferred source (src)"
    if choice is None:
        return "the kernel's choice, which is not explained here"
    before = "no route without a source; among all addresses: "
    if isinstance(first, Taken):
        before = "no route, so taken to be on the link: " if matched is None else ""
    return before + choice.why


def _is_to_itself(looked: Looked) -> bool:
    matched = looked.first.matched if isinstance(looked.first, Taken) else None
    is_local = matched is not None and matched.kind is Kind.LOCAL
    return is_local and looked.source == looked.question.destination


def _others(looked: Looked, choice: Choice | None, named: Named) -> Iterator[Other]:
    why_not = {} if choice is None else {id(held): words for held, words in choice.others}
    matched = looked.first.matched if isinstance(looked.first, Taken) else None
    # With several next hops, another one's source is no other.
    sources = {each.source for each in looked.choices}
    is_near = _is_near(looked.question.destination)
    for held in looked.addresses:
        # What is of one link is nothing for what is not, and the other way round.
        address = held.address.ip
        if address in sources or _is_near(address) is not is_near:
            continue
        words = "not known"
        if looked.question.source is not None:
            words = "another was asked for"
        elif _is_to_itself(looked):
            words = "it is not the destination"
        elif matched is not None and matched.source is not None:
            words = "the route names another"
        elif looked.source is None:
            words = "it does not reach that far"
        words = why_not.get(id(held), words)
        yield Other(address, held.interface, words, named.words(address))


def _is_near(address: Address) -> bool:
    return address.is_loopback or address.is_link_local


# ---- what else to know ---------------------------------------------------------------------------


def _several(looked: Looked) -> Iterator[str]:
    matched = looked.reply.matched if isinstance(looked.reply, Taken) else None
    if matched is not None and matched.nexthop_id is not None and not matched.hops:
        yield "its next hops are not shown (net.ipv4.nexthop_compat_mode = 0): ip nexthop"
    if len(looked.choices) < 2:  # noqa: PLR2004 - one is no choice
        return
    of = {0: "addresses", 1: "addresses and ports", 2: "inner addresses", 3: "chosen fields"}
    name = f"net.{looked.question.family}.fib_multipath_hash_policy"
    policy = looked.hash_policy
    hashed = "addresses, or more" if policy is None else of.get(policy, "other fields")
    yield (
        f"several next hops: a hash of {hashed} ({name} = {policy}) says which one a connection"
        " takes"
    )


def _service(looked: Looked, named: Named) -> Iterator[str]:
    source = looked.question.source
    if source is not None and (service := named.service(source)) is not None:
        yield (
            f"{source} is of the service {service}: right for its answers, wrong for connections"
            " that this host opens"
        )


def _ports(looked: Looked, hit: Hit) -> Iterator[str]:
    before = hit.rules[-1] if hit.rules else None
    for rule in lookup_rules.might_match(looked.rules, looked.question, looked.asked_with, before):
        if rule not in hit.rules:
            yield f"a part of such traffic goes by another rule: {rule}"
