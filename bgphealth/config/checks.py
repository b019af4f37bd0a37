"""What must hold between fields, each rule for itself.

The rules get the sections that are right by themselves, so that one misspelt key does not hide
what else is wrong. A rule that needs a section that is missing says nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgphealth.config import fallback, modes, services, sources, thresholds, uplinks
from bgphealth.config.fields import label
from bgphealth.core.settings import LOOPBACK, Address, Family, Mode, Prefix, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bgphealth.config.model import (
        Fallback,
        Host,
        Paths,
        Service,
        SourcePin,
        SourceRule,
        Uplink,
    )
    from bgphealth.config.problems import KeyPath

LARGEST_COMMUNITY_ASN = 65534
MAIN_TABLES = range(253, 256)
LARGEST_TABLE = 4294967295


@dataclass(frozen=True, slots=True)
class Parts:
    """The sections that are right by themselves.

    `whole_uplinks` tells that no uplink and none of their families is missing: only then may a
    rule conclude from absence. The names are those of all of them, right or wrong.
    """

    mode: Mode | None
    host: Host | None
    uplinks: dict[str, Uplink]
    paths: Paths | None
    services: dict[str, Service]
    fallback: Fallback | None
    pins: dict[int, SourcePin]
    policies: dict[int, SourceRule]
    whole_uplinks: bool
    uplink_names: tuple[str, ...]
    service_names: tuple[str, ...]
    bfd_profiles: tuple[str, ...]

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families that the uplinks carry."""
        carried = {f for uplink in self.uplinks.values() for f in uplink.families}
        return tuple(family for family in Family if family in carried)

    @property
    def is_direct(self) -> bool:
        """Return whether there is no FRR on the host, so that what is about it does not matter."""
        return self.mode is Mode.DIRECT

    @property
    def discard_next_hops(self) -> tuple[Address, ...]:
        """Return the discard next hops, as far as they are used."""
        if self.host is None or self.is_direct:
            return ()
        return self.host.discard_next_hop.addresses

    @property
    def number_of(self) -> dict[str, int]:
        """Return the number of each uplink: its own, or its place in the file."""
        return {
            name: uplink.number if uplink.number is not None else place
            for place, (name, uplink) in enumerate(self.uplinks.items(), 1)
        }

    @property
    def routers(self) -> Iterator[tuple[str, str, tuple[Address, ...]]]:
        """Yield what is the address of a router: the uplink, the key and the addresses."""
        for name, uplink in self.uplinks.items():
            for key, given in (("neighbor", uplink.neighbor), ("next_hop", uplink.next_hop)):
                if given is not None:
                    yield name, key, given.addresses

    def families_of(self, uplink: str) -> tuple[Family, ...]:
        """Return the families that an uplink carries, none where that cannot be told."""
        return self.uplinks[uplink].families if uplink in self.uplinks else ()

    def service_of(self, address: Address) -> str | None:
        """Return which service has an address, in words."""
        for name, service in self.services.items():
            if any(address in prefix for prefix in service.prefixes):
                return f"the service {name}"
        return None


Finding = tuple["KeyPath", str]


def check(parts: Parts) -> list[Finding]:
    """Apply every rule."""
    return [finding for rule in RULES for finding in rule(parts)]


def _host(parts: Parts) -> Iterator[Finding]:
    host = parts.host
    if host is None or parts.is_direct:
        return
    if host.community_asn is None and host.asn > LARGEST_COMMUNITY_ASN:
        yield (
            ("host", "community_asn"),
            (
                f"is required, 1 to {LARGEST_COMMUNITY_ASN}: AS {host.asn} does not fit into the "
                "16 bits of a community (RFC 1997)"
            ),
        )
    if host.router_id == host.injector:
        yield (
            ("host", "router_id"),
            f"{host.router_id} is what ExaBGP uses (host.injector); the two must differ",
        )
    for family in Family:
        if host.source.get(family) is not None and host.source.get(family) == (
            host.discard_next_hop.get(family)
        ):
            yield (
                ("host", "discard_next_hop", family.value),
                f"{host.source.get(family)} is the host's source; nothing may be discarded there",
            )


def _source_families(parts: Parts) -> Iterator[Finding]:
    if parts.host is None:
        return
    have = parts.host.source.families
    for family in parts.families:
        # Without FRR there is no default that needs it.
        if family not in have and not parts.is_direct:
            carrier = next(n for n, u in parts.uplinks.items() if family in u.families)
            yield (
                ("host", "source", family.value),
                (
                    f"is required: uplink {carrier} has {label(family)}, and its default needs a "
                    "source address"
                ),
            )
    if parts.whole_uplinks:
        for family in have:
            if family not in parts.families:
                yield (
                    ("host", "source", family.value),
                    (
                        f"no uplink has {label(family)}: remove this, or give an uplink an "
                        f"{label(family)} neighbor"
                    ),
                )


def _services(parts: Parts) -> Iterator[Finding]:
    if LOOPBACK in parts.services:
        yield (
            ("services", LOOPBACK),
            "this name is reserved for the host's own loopback (host.source)",
        )
    counted: Counter[Prefix] = Counter()
    owner: dict[Prefix, str] = {}
    for name, service in parts.services.items():
        for index, prefix in enumerate(service.prefixes):
            at = ("services", name, "prefixes", index)
            counted[prefix] += 1
            if counted[prefix] > 1:
                yield at, f"{prefix} is given twice; the service {owner[prefix]} has it already"
                continue
            owner[prefix] = name
            if parts.whole_uplinks and Family.of(prefix) not in parts.families:
                yield at, f"{prefix}: no uplink has {label(Family.of(prefix))}"
            for address in parts.host.source.addresses if parts.host else ():
                if address in prefix:
                    yield (
                        at,
                        (
                            f"{prefix} holds the host's source {address}, which must be the host's "
                            "alone: replies to it would go where the service goes"
                        ),
                    )
            for address in parts.discard_next_hops:
                if address in prefix:
                    yield at, f"{prefix} holds the discard next hop {address}"


def _service_needs(parts: Parts) -> Iterator[Finding]:
    for name, service in parts.services.items():
        if isinstance(service.need, int) and service.need > len(service.checks):
            count = len(service.checks)
            yield ("services", name, "need"), f"{service.need} of {count} checks can never be up"


def _beyond(parts: Parts) -> Iterator[Finding]:
    if parts.paths is None or parts.paths.beyond is None:
        return
    beyond = parts.paths.beyond
    targets = [probe.probe.target for probe in beyond.of]
    everywhere = targets.count(None)  # Asked in each family: exec.
    per_family = Counter(Family.of(target) for target in targets if target is not None)
    for family in Family:
        count = per_family[family]
        if count or family in parts.families:
            count += everywhere
        if beyond.need > count > 0:
            yield (
                ("paths", "beyond", "need"),
                (
                    f"{beyond.need} answers are needed in each family, but the number of "
                    f"{label(family)} targets is {count}"
                ),
            )


def _path_probes(paths: Paths) -> Iterator[tuple[KeyPath, ProbeSettings]]:
    for index, gateway in enumerate(paths.gateway):
        yield ("paths", "gateway", index), gateway.probe
    for index, beyond in enumerate(paths.beyond.of if paths.beyond else ()):
        yield ("paths", "beyond", "of", index), beyond.probe


def _targets(parts: Parts) -> Iterator[Finding]:
    if parts.paths is None:
        return
    probed: set[Family] = set()
    for at, probe in _path_probes(parts.paths):
        target = probe.target
        if target is None:  # The neighbor, or the host's own view of the uplink.
            probed |= set(Family)
            continue
        family = Family.of(target)
        probed.add(family)
        if target.is_loopback:
            yield at, f"{target} is inside this host; no uplink leads there"
            continue
        if parts.whole_uplinks and family not in parts.families:
            yield at, f"{target}: no uplink has {label(family)}"
        if parts.host is not None and target in parts.host.source.addresses:
            yield at, f"{target} is the host's own source and would always answer"
        elif (service := parts.service_of(target)) is not None:
            yield at, f"{target} is inside a prefix of {service} and would answer from here"
    for family in parts.families:
        if family not in probed:
            yield (
                ("paths", "gateway"),
                f"nothing probes {label(family)}, which an uplink has: add {{icmp: neighbor}}",
            )


def _fallback(parts: Parts) -> Iterator[Finding]:
    given = parts.fallback
    if given is None or not given.enabled or not parts.number_of:
        return
    name, highest = max(parts.number_of.items(), key=lambda item: item[1])
    if given.rule_priority + highest > fallback.LARGEST_RULE_PRIORITY:
        yield (
            ("fallback", "rule_priority"),
            (
                f"{given.rule_priority} + {highest} (the number of {name}) must not exceed "
                f"{fallback.LARGEST_RULE_PRIORITY}, or the rule comes after the main table"
            ),
        )
    tables = {n: given.table + number for n, number in parts.number_of.items()}
    for name, table in tables.items():
        if table in MAIN_TABLES or table > LARGEST_TABLE:
            yield (
                ("fallback", "table"),
                (
                    f"{given.table} gives {name} the table {table}, which cannot be used "
                    "(253 to 255 are the kernel's own)"
                ),
            )


RULES: tuple[Callable[[Parts], Iterator[Finding]], ...] = (
    _host,
    _source_families,
    uplinks.sessions,
    uplinks.numbers,
    uplinks.twice,
    uplinks.own_addresses,
    _services,
    _service_needs,
    services.carriers,
    services.required,
    services.addresses,
    services.attributes,
    services.degraded_numbers,
    services.guarded,
    _beyond,
    _targets,
    _fallback,
    fallback.defaults,
    fallback.source,
    sources.written,
    sources.pins,
    sources.policies,
    sources.priorities,
    modes.only_frr,
    modes.direct,
    modes.session_options,
    modes.bfd,
    thresholds.suspicion,
    thresholds.quality,
    thresholds.damping,
)
