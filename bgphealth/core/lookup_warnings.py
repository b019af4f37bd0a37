"""What is wrong with the way that the kernel has for a destination, and with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bgphealth.core.lookup import Looked, Refused, Taken
from bgphealth.core.lookup_rules import MAIN, leads_to
from bgphealth.core.named import Named
from bgphealth.core.settings import Address, Family, Mode
from bgphealth.core.truth import OURS, Tier


class Warned(NamedTuple):
    """One thing that is wrong; `word` is stable."""

    word: str
    text: str


def warnings(looked: Looked, named: Named, tier: Tier | None) -> tuple[Warned, ...]:
    """Return all that is wrong. `tier` is that of the default, if it is one and is known."""
    return tuple(_warnings(looked, named, tier))


def _warnings(looked: Looked, named: Named, tier: Tier | None) -> Iterator[Warned]:
    question, reply = looked.question, looked.reply
    if looked.is_from_elsewhere:
        text = f"{question.source} is no address of this host: a program cannot bind to it"
        yield Warned("source_not_here", text)
        return
    if isinstance(reply, Refused):
        yield Warned("no_route", f"nothing can be sent to {question.destination}")
        if isinstance(looked.first, Taken):
            yield from _unconnected(looked, looked.first)
        return
    if question.source is None:
        for source in dict.fromkeys(choice.source for choice in looked.choices):
            yield from _source(looked, reply, named, source)
        for source, second in zip(looked.sources, looked.seconds, strict=True):
            if looked.is_second and isinstance(second, Refused):
                text = f"a connection that gets {source} has no way: that source is refused"
                yield Warned("no_route", text)
    else:
        yield from _other_uplink(looked, named, question.source)
    yield from _second(looked, reply)
    yield from _route(looked, reply)
    yield from _default(looked, named, tier)


def _source(looked: Looked, reply: Taken, named: Named, source: Address | None) -> Iterator[Warned]:
    if source is None:
        text = "the host has no address to send from"
        yield Warned("no_source", text)
        return
    is_far = not all(leg.gateway is None for _, leg in looked.choices)
    if (service := named.service(source)) is not None and source != looked.question.destination:
        text = (
            f"{source} is of the service {service}: other hosts may have it as well, and get the"
            " answers"
        )
        yield Warned("anycast_source", text)
    uplink = named.link(source)
    # Who asks for an interface wants its address, and a fallback has no better one.
    is_wanted = (
        looked.question.interface is not None
        or (reply.matched is not None and reply.matched.protocol == OURS)
        or not named.has_loopback(Family.of(source))
    )
    if uplink is not None and is_far and not is_wanted:
        text = f"{source} belongs to uplink {uplink}: connections from it die with that link"
        yield Warned("link_source", text)
    if not any(held.address.ip == source for held in looked.addresses) and not _is_local(looked):
        # IPv6 keeps a route whose preferred source has left the host.
        text = f"{source} is no address of this host: the answers do not come back"
        yield Warned("source_not_here", text)


def _other_uplink(looked: Looked, named: Named, source: Address) -> Iterator[Warned]:
    own = named.link(source)
    ways = {named.uplink(choice.leg) for choice in looked.choices} - {own, None}
    if own is not None and ways:
        by = " or ".join(sorted(str(uplink) for uplink in ways))
        text = f"{source} belongs to uplink {own}, and leaves by {by}: the answers come by {own}"
        yield Warned("other_uplink", text)


def _is_local(looked: Looked) -> bool:
    return looked.source == looked.question.destination


def _second(looked: Looked, reply: Taken) -> Iterator[Warned]:
    """Say where the two answers of a socket that is bound to no address differ."""
    if looked.is_second:
        if isinstance(looked.first, Taken) and looked.is_rerouted:
            yield from _unconnected(looked, looked.first)
        return
    for source, second in zip(looked.sources, looked.seconds, strict=True):
        if isinstance(second, Taken) and reply.is_same_route(second):
            continue
        way = "has no way any more"
        if isinstance(second, Taken):
            way = f"goes {second.leg}"
            if second.matched is not None:
                hit = leads_to(looked.rules, looked.question, source, second.matched)
                way += "".join(f", by the rule {rule}" for rule in hit.rules)
        text = f"as soon as any route changes, a connection from {source} {way}"
        yield Warned("two_ways", text)


def _unconnected(looked: Looked, first: Taken) -> Iterator[Warned]:
    text = (
        f"what is sent without connect() goes {first.leg}: its way is looked up before it has the"
        f" source {looked.sources[0]}"
    )
    yield Warned("two_ways", text)


def _route(looked: Looked, reply: Taken) -> Iterator[Warned]:
    if reply.matched is None:
        text = f"there is no route: the kernel takes {looked.question.destination} to be on the"
        yield Warned("assumed_on_link", f"{text} link of {reply.leg.interface}")
        return
    for hop in reply.matched.used_by(looked.question):
        if not hop.has_carrier:
            name = hop.leg.interface
            text = (
                f"{name} has no carrier, and the kernel sends there all the same: "
                f"set net.{looked.question.family}.conf.{name}.ignore_routes_with_linkdown = 1"
            )
            yield Warned("no_carrier", text)


def _default(looked: Looked, named: Named, tier: Tier | None) -> Iterator[Warned]:
    settings = named.settings
    if settings is None or settings.mode is not Mode.FRR:
        return
    if tier is Tier.FALLBACK:
        text = "no default of BGP's is in the kernel: are bgpd, zebra and the sessions up?"
        yield Warned("fallback", text)
    elif tier is Tier.FOREIGN:
        text = "somebody else's default is before BGP's: take it away where it is made"
        yield Warned("foreign_default", text)
    reply = looked.reply
    if not isinstance(reply, Taken) or reply.matched is None or reply.matched.table != MAIN:
        return
    source = looked.source
    if source is None or not named.is_loopback(source) or not reply.matched.is_default:
        return
    used = {choice.leg.interface for choice in looked.choices}
    for uplink in settings.uplinks:
        if uplink.interface in looked.strict_reverse_path - used:
            text = (
                f"rp_filter is strict on {uplink.interface}: answers that come by uplink"
                f" {uplink.name} are dropped"
            )
            yield Warned("strict_rp_filter", text)
