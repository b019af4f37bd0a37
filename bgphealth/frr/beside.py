"""Our part of FRR's configuration beside that of the host: what is there, and what is in the way.

Everything of ours is added, under names of its own. Two kinds of lines of the host's give way, as
FRR has one place for each: the route-map of a session with a ToR, which ours calls, and the
`network` line of a prefix that bgpd is to announce while ExaBGP is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bgphealth.core.settings import (
    Family,
    InjectorLoss,
    OnDown,
    Prefix,
    Settings,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.frr.existing import Existing, Rest


@dataclass(frozen=True, slots=True)
class Beside:
    """What bgpd has of a session already, in one family.

    `is_there`: it has the neighbor. `speaks`: it speaks the family, told to or not. `reads`
    and `sends` are what becomes of routes that are not ours. The other options are what ours would
    override.
    """

    is_there: bool
    speaks: bool
    has_password: bool
    has_ttl_security: bool
    has_bfd: bool
    allows_own_as: bool
    reads: Rest
    sends: Rest


def beside(existing: Existing, name: str, family: Family) -> Beside:
    """Return what bgpd has of a neighbor."""
    return Beside(
        is_there=existing.has_neighbor(name),
        speaks=existing.speaks(name, family),
        has_password=existing.has(name, "password"),
        has_ttl_security=existing.has(name, "ttl-security"),
        has_bfd=existing.has(name, "bfd"),
        allows_own_as=existing.has(name, "allowas-in", family),
        reads=existing.rest(name, family, "in"),
        sends=existing.rest(name, family, "out"),
    )


def neighbor(uplink: UplinkSettings, path: UplinkPath) -> str:
    """Return what bgpd calls a ToR: its address, or the interface of an unnumbered link."""
    return uplink.interface if path.neighbor is None else str(path.neighbor)


def maximum_paths(settings: Settings, family: Family, existing: Existing | None) -> Iterator[str]:
    """Yield what bgpd is to be told of ECMP; unless somebody has told it, it takes enough paths."""
    count = sum(path.family is family for uplink in settings.uplinks for path in uplink.paths)
    for kind in ("", "ibgp "):
        there = None if existing is None else existing.maximum_paths(family, kind)
        if existing is None or (there is not None and there < count):
            yield f"maximum-paths {kind}{count}"


def silent(settings: Settings, existing: Existing) -> list[str]:
    """Return neighbors of ours that would speak IPv4 without having been told to."""
    if not existing.activates_ipv4:
        return []
    sessions = [(neighbor(u, path), path.family) for u in settings.uplinks for path in u.paths]
    speak = {name for name, family in sessions if family is Family.IPV4}
    new = {name: None for name, _ in sessions if not existing.has_neighbor(name)}
    if Family.IPV4 not in settings.families:
        new[str(settings.host.injector)] = None
    return [name for name in new if name not in speak]


def contradictions(settings: Settings, existing: Existing) -> list[str]:
    """Return what the file says and FRR says otherwise: nobody knows here which is right."""
    found = []
    if existing.asn not in (None, settings.host.asn):
        found.append(f"host.asn: {settings.host.asn}, but bgpd runs with AS {existing.asn}")
    for uplink in settings.uplinks:
        for name in dict.fromkeys(neighbor(uplink, path) for path in uplink.paths):
            there = existing.remote_as(name) or ""
            if there.isdecimal() and uplink.neighbor_asn not in (None, int(there)):
                found.append(
                    f"uplinks.{uplink.name}.neighbor_asn: {uplink.neighbor_asn}, but bgpd has "
                    f"'neighbor {name} remote-as {there}'"
                )
    return found


def filters_in(settings: Settings, family: Family) -> bool:
    """Return whether what the ToRs send is ours to look at; their own defaults are the host's."""
    recursive = any(
        path.family is family and path.next_hop not in (None, path.neighbor)
        for uplink in settings.uplinks
        for path in uplink.paths
    )
    guarded = (s for s in settings.services if s.on_down is OnDown.GUARDED)
    return recursive or any(Family.of(p) is family for s in guarded for p in s.prefixes)


def restored(settings: Settings, existing: Existing, family: Family) -> Iterator[str]:
    """Yield what puts theirs back where a route-map of ours has nothing to do any more.

    A neighbor that is no uplink of the file keeps ours while there is none of theirs: without one
    it might be told everything.
    """
    uplinks = [neighbor(u, p) for u in settings.uplinks for p in u.paths if p.family is family]
    rendered = frozenset(_route_maps(settings, family))
    is_filtered = filters_in(settings, family)
    for name, direction, ours in existing.ours(family):
        if ours in rendered or (name in uplinks and (direction == "out" or is_filtered)):
            continue  # Somebody else may use ours, and another of ours takes the place of one.
        theirs = existing.route_map(name, family, direction)
        if theirs is not None and theirs != existing.group_route_map(name, family, direction):
            yield f"neighbor {name} route-map {theirs} {direction}"
        elif theirs is not None or name in uplinks:
            yield f"no neighbor {name} route-map {ours} {direction}"
    kept = [str(prefix) for prefix in _kept(settings, family)]
    for prefix, ours in existing.our_networks(family):
        if prefix not in kept:
            yield f"no network {prefix} route-map {ours}"


def _route_maps(settings: Settings, family: Family) -> Iterator[str]:
    """Yield the names of our route-maps of sessions."""
    if family not in settings.families:
        return
    yield from (f"bgphealth-injector-in-{family}", "bgphealth-injector-out")
    for uplink in settings.uplinks:
        if any(path.family is family for path in uplink.paths):
            yield f"bgphealth-out-{family}-{uplink.name}"
            if filters_in(settings, family):
                yield f"bgphealth-in-{family}-{uplink.name}"


def restored_zebra(settings: Settings, existing: Existing, family: Family) -> str | None:
    """Return what puts theirs back for routes into the kernel, of a family the file has not."""
    ip = "ip" if family is Family.IPV4 else "ipv6"
    ours = existing.our_zebra_route_map(ip)
    if ours is None or family in settings.families:
        return None
    theirs = existing.zebra_route_map(ip)
    line = f"{ip} protocol bgp route-map"
    return f"no {line} {ours}" if theirs is None else f"{line} {theirs}"


def remarks(settings: Settings, existing: Existing) -> list[str]:
    """Return which lines of the host's give way, and which somebody should look at."""
    return [*_give_way(settings, existing), *to_look_at(settings, existing)]


def _give_way(settings: Settings, existing: Existing) -> Iterator[str]:
    for uplink in settings.uplinks:
        for path in uplink.paths:
            name, family = neighbor(uplink, path), path.family
            for direction in ("in", "out") if filters_in(settings, family) else ("out",):
                theirs = existing.attached(name, family, direction)
                if theirs is not None:
                    yield f"takes the place of '{theirs}' ({family}), and calls it"
    for ip in ("ip", "ipv6"):
        if (theirs := existing.zebra_line(ip)) is not None:
            yield f"takes the place of '{theirs}', and calls it"
    for service in settings.services:
        for line in filter(None, map(existing.network, service.prefixes)):
            if service.on_injector_loss is InjectorLoss.KEEP:
                yield f"takes the place of '{line}': worse than what ExaBGP announces"
            else:
                yield f"'{line}' may stay: no ToR gets what it originates any more"


def to_look_at(settings: Settings, existing: Existing) -> Iterator[str]:
    """Yield what somebody should look at before our part is entered."""
    for uplink in settings.uplinks:
        for path in uplink.paths:
            for line in existing.filters(neighbor(uplink, path), path.family):
                yield f"'{line}' ({path.family}) must let the services and the host loopback pass"
        yield from _other_families(uplink, existing)
    yield from _no_longer_set(settings, existing)
    yield from _told_everything(settings, existing)
    for family in settings.families:
        for line in existing.static_defaults(family):
            yield f"'{line}' comes before every default of BGP: remove it"
        yield from _redistributed(settings, existing, family)
    for name in multihop(settings, existing):
        yield (
            f"'neighbor {name}' may be reached by the default: zebra goes on resolving next hops "
            "with it, which is not rendered otherwise"
        )
    for name in _internal(settings, existing):
        yield f"'neighbor {name}' is of the host's AS: it hears of no service from ExaBGP"


def _no_longer_set(settings: Settings, existing: Existing) -> Iterator[str]:
    """Yield what their route-maps set on services, which no service gets by ours."""
    theirs = {
        (existing.route_map(neighbor(uplink, path), path.family, "out"), path.family): None
        for uplink in settings.uplinks
        for path in uplink.paths
    }
    found = {
        f"'{entry}': no service gets its {', '.join(sets)} any more; `announce` in the file has "
        "communities, prepend and med": None
        for name, family in theirs
        if name is not None
        for entry, said in existing.entries(name).items()
        if (sets := [f"'{text}'" for text in said if text.startswith("set ")])
        and _may_match(settings, existing, family, said)
    }
    yield from found


def _may_match(settings: Settings, existing: Existing, family: Family, said: list[str]) -> bool:
    """Return whether an entry is about a service, as far as its prefix-list says so."""
    services = [p for s in settings.services for p in s.prefixes if Family.of(p) is family]
    for text in said:
        words = text.split()
        if words[0] == "match" and words[2:4] == ["address", "prefix-list"]:
            if words[1] != ("ip" if family is Family.IPV4 else "ipv6"):
                return False
            permitted = existing.permitted(family, words[4])
            return any(_overlap(one, other) for one in permitted for other in services)
    return bool(services)


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)


def _told_everything(settings: Settings, existing: Existing) -> Iterator[str]:
    """Yield neighbors, none of ours, to which nothing of theirs keeps anything back."""
    ours = {neighbor(uplink, path) for uplink in settings.uplinks for path in uplink.paths}
    for family in settings.families:
        for name in existing.neighbors():
            if name in ours or not existing.is_external(name):
                continue
            has_ours = (name, "out") in {(n, d) for n, d, _ in existing.ours(family)}
            is_open = existing.rest(name, family, "out") == Rest() and not has_ours
            if is_open and existing.speaks(name, family) and not existing.filters(name, family):
                yield (
                    f"'neighbor {name}' ({family}) is no uplink of the file and has no route-map "
                    "out: it is told everything, with the default, the services and what other "
                    "ToRs announce"
                )


def _other_families(uplink: UplinkSettings, existing: Existing) -> Iterator[str]:
    """Yield what is spoken with a ToR on the session for the other family."""
    for path in uplink.paths:
        for family in Family:
            name = neighbor(uplink, path)
            is_other = path.neighbor is not None and family is not path.family
            if is_other and existing.has_neighbor(name) and existing.speaks(name, family):
                yield f"'neighbor {name}' speaks {family} as well, and nothing of ours sees to that"


def _redistributed(settings: Settings, existing: Existing, family: Family) -> Iterator[str]:
    kept = [str(prefix) for prefix in _kept(settings, family)]
    for line in existing.originates(family):
        if line.startswith("redistribute kernel"):
            yield f"'{line}' ({family}) must take no default: bgphealth has one in the kernel"
        elif line.startswith("redistribute connected") and kept:
            yield (
                f"'{line}' ({family}) must not take {', '.join(kept)}, which bgpd announces by "
                "another line while ExaBGP is gone"
            )


def multihop(settings: Settings, existing: Existing) -> list[str]:
    """Return neighbors, none of ours, that may be reached by way of the default."""
    far = (n for n in existing.neighbors() if existing.has(n, "ebgp-multihop"))
    return [*far, *_internal(settings, existing)]


def _internal(settings: Settings, existing: Existing) -> list[str]:
    ours = str(settings.host.injector)
    return [name for name in existing.internal() if name != ours]


def _kept(settings: Settings, family: Family) -> Iterator[Prefix]:
    for service in settings.services:
        if service.on_injector_loss is InjectorLoss.KEEP:
            yield from (p for p in service.prefixes if Family.of(p) is family)
