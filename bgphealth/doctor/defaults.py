"""The defaults in the kernel's main table: whose it is, its source, and the fallback's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Mode
from bgphealth.core.truth import FRR_STATIC, OURS, used_of
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.words import ip
from bgphealth.fallback.metrics import come_first, in_words
from bgphealth.fallback.netlink import Route

if TYPE_CHECKING:
    from bgphealth.core.settings import Address, Settings
    from bgphealth.core.truth import KernelDefault
    from bgphealth.fallback.view import View

NO_DEFAULT = Kind(
    "no_default",
    Severity.ERROR,
    "the main table has no default at all",
    "whatever the host sends beyond its links is refused",
)
ONLY_FALLBACK = Kind(
    "only_fallback",
    Severity.WARNING,
    "the default is the fallback's: BGP has given none",
    "traffic leaves with the link's address through one uplink, and nobody but the probes knows "
    "whether that is right",
)
FOREIGN_DEFAULT = Kind(
    "foreign_default",
    Severity.ERROR,
    "somebody else's default pushes BGP's aside",
    "its administrative distance, which for a route of the kernel zebra takes from the top byte of "
    "its metric, beats 200 (injected) or even 20 (the ToR's): BGP's default is taken out of the "
    "kernel",
)
FOREIGN_FIRST = Kind(
    "foreign_default_first",
    Severity.ERROR,
    "in mode local, somebody else's default comes before that of the uplink in use",
    "what the host sends leaves by it, whatever the probes say",
)
SOURCE_ANYCAST = Kind(
    "default_source_anycast",
    Severity.ERROR,
    "the source of the default is the address of a service",
    "the answers go to whichever server that announces the address is nearest",
)
SOURCE_LINK = Kind(
    "default_source_link",
    Severity.WARNING,
    "the source of the default is the address of one link, or nobody set one",
    "what the host has connected dies with that link, although the other uplinks are well",
)
SOURCE_OTHER = Kind(
    "default_source_other",
    Severity.WARNING,
    "the source of the default is neither the host loopback nor a link's address",
    "nobody announces it by the verdicts: answers may come back through an uplink that is dead",
)
FALLBACK_MISSING = Kind(
    "fallback_missing",
    Severity.WARNING,
    "an uplink has no fallback default",
    "when FRR or its sessions are gone, this uplink is not used; in mode local it never is",
)
FALLBACK_LEFT = Kind(
    "fallback_left",
    Severity.WARNING,
    "there is a fallback default that the file does not want",
    "when nothing better is there it may be used before one that is right",
)

KINDS = (
    NO_DEFAULT,
    ONLY_FALLBACK,
    FOREIGN_DEFAULT,
    FOREIGN_FIRST,
    SOURCE_ANYCAST,
    SOURCE_LINK,
    SOURCE_OTHER,
    FALLBACK_MISSING,
    FALLBACK_LEFT,
)

_IBGP_DISTANCE = 200
_DISTANCE_SHIFT = 24


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with the defaults."""
    for family in settings.families:
        defaults = seen.defaults[family]
        best = used_of(defaults)
        if best is None:
            mend = _again(settings, family) if settings.mode is Mode.FRR else None
            yield NO_DEFAULT.found(family, "there is no default that can be used", mend)
        elif settings.mode is Mode.FRR and best.protocol == OURS:
            yield ONLY_FALLBACK.found(family, f"the kernel uses {best}", _again(settings, family))
        foreign = [d for d in defaults if settings.mode is Mode.FRR and _evicts(d)]
        yield from (_foreign(family, default) for default in foreign)
        if best is None or best in foreign or best.protocol == OURS:
            # A fallback default has the source that it should: `fallback_left` finds any other.
            continue
        if come_first(settings):
            yield from _first(settings, seen, family, best)
        else:
            yield from _source(settings, seen, family, best)
    yield from _fallback(settings, seen)


def _again(settings: Settings, family: Family) -> str:
    # After `src` was missing, zebra does not try again by itself (FRR 8.4).
    return (
        f"vtysh -c 'clear bgp {settings.host.injector}'  # if bgpd has one: "
        f"vtysh -c 'show {_frr(family)} route {family.default_prefix}'"
    )


def _evicts(default: KernelDefault) -> bool:
    return default.protocol not in (OURS, "bgp") and _distance(default) < _IBGP_DISTANCE


def _distance(default: KernelDefault) -> int:
    return 1 if default.protocol == FRR_STATIC else default.metric >> _DISTANCE_SHIFT


def _foreign(family: Family, default: KernelDefault) -> Finding:
    mend = (
        f"{_delete(family, default)}  # and in what made it, proto {default.protocol}: no default "
        "from there"
    )
    if default.protocol == FRR_STATIC:
        gateways = [leg.gateway for leg in default.legs or () if leg.gateway is not None]
        remove = (f"-c 'no {_frr(family)} route {family.default_prefix} {g}'" for g in gateways)
        mend = f"vtysh -c 'configure terminal' {' '.join(remove)}  # and out of frr.conf"
    said = f"{default}: that is distance {_distance(default)} to zebra"
    return FOREIGN_DEFAULT.found(family, said, mend)


def _first(
    settings: Settings, seen: View, family: Family, best: KernelDefault
) -> Iterator[Finding]:
    ours = [route.metric for route in seen.own_defaults if route.family is family]
    if not ours or not settings.fallback.defaults:
        return  # That is said.
    mend = f"a metric above {min(ours)} in what made it, proto {best.protocol}"
    if not best.metric:
        mend = f"bgphealth fallback apply  # which a running bgphealth does; or {mend}"
    yield FOREIGN_FIRST.found(family, str(best), mend)


def _delete(family: Family, default: KernelDefault) -> str:
    # With one metric there is one default (IPv4), or one for each of its next hops (IPv6).
    leg = f" {default.legs[0]}" if default.legs and len(default.legs) == 1 else ""
    return f"{ip(family)} route delete default{leg} metric {default.metric}"


def _source(
    settings: Settings, seen: View, family: Family, best: KernelDefault
) -> Iterator[Finding]:
    wanted = settings.host.source_for(family)
    if best.source == wanted:
        return
    mend = _mend_source(settings, family, best, wanted)
    services = {a: s.name for s in settings.services for a in s.addresses}
    links = {
        a.ip: uplink.interface
        for uplink in settings.uplinks
        if uplink.interface in seen.interfaces
        for a in seen.interfaces[uplink.interface].addresses
    }
    if best.source in services:
        said = f"its source is {best.source}, an address of service {services[best.source]}"
        yield SOURCE_ANYCAST.found(family, f"{best}: {said}", mend)
    elif best.source is None:
        yield SOURCE_LINK.found(family, f"{best}: the kernel chooses the address of a link", mend)
    elif best.source in links:
        said = f"its source is the address of {links[best.source]}"
        yield SOURCE_LINK.found(family, f"{best}: {said}", mend)
    else:
        yield SOURCE_OTHER.found(family, f"{best}: its source should be {wanted}", mend)


def _mend_source(
    settings: Settings, family: Family, best: KernelDefault, wanted: Address | None
) -> str | None:
    if wanted is None:
        return f"in the file: host.source.{family}"
    if settings.mode is Mode.FRR:
        return (
            f"vtysh -c 'clear bgp {settings.host.injector}'  # with a frr.conf that sets src in "
            "its ip protocol bgp route-map, as bgphealth render frr does"
        )
    return f"{ip(family)} route replace default … src {wanted} metric {best.metric}"


def _fallback(settings: Settings, seen: View) -> Iterator[Finding]:
    if not settings.fallback.enabled:
        return
    wanted = seen.fallback.wanted
    for path, route in wanted.items():
        if route not in seen.own_defaults:
            yield FALLBACK_MISSING.found(
                _path(path), f"there is no {in_words(route)}", "bgphealth fallback apply"
            )
    for path, why in seen.fallback.absent.items():
        # What else stands in the way of a path is said already.
        if path not in seen.plan.absent and _is_up(settings, seen, path):
            source = settings.fallback.source_for(path.family)
            mend = (
                None if source is None else f"ip address add {source}/{source.max_prefixlen} dev lo"
            )
            yield FALLBACK_MISSING.found(_path(path), f"there can be none: {why}", mend)
    for route in sorted(seen.own_defaults - seen.fallback.all, key=str):
        yield FALLBACK_LEFT.found(route.family, in_words(route), _delete_ours(seen, route))


def _delete_ours(seen: View, route: Route) -> str:
    names = {interface.index: interface.name for interface in seen.interfaces.values()}
    via = "" if route.gateway is None else f" via {route.gateway}"
    return (
        f"{ip(route.family)} route delete default{via} "
        f"dev {names.get(route.interface, '?')} metric {route.metric} proto 179"
    )


def _is_up(settings: Settings, seen: View, path: PathKey) -> bool:
    (name,) = (uplink.interface for uplink in settings.uplinks if uplink.name == path.uplink)
    return name in seen.interfaces and seen.interfaces[name].enabled


def _path(path: PathKey) -> str:
    return f"{path.uplink} {path.family}"


def _frr(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ipv6"
