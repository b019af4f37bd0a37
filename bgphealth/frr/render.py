"""frr.conf for the host: two tiers of defaults, and services exported by community.

Or only our part of it, for a host whose FRR has a configuration of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from bgphealth import templating
from bgphealth.core import guard
from bgphealth.core.drain import Stage
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.policy_services import steering
from bgphealth.core.settings import (
    Address,
    Export,
    Family,
    InjectorLoss,
    Mode,
    OnDown,
    Prefix,
    ServiceSettings,
    Settings,
)
from bgphealth.frr import beside as by
from bgphealth.frr.beside import Beside
from bgphealth.frr.existing import LAST, Existing, Rest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bgphealth.core.settings import UplinkPath, UplinkSettings


PART = "frr-fragment.conf"
"""What our part alone is called."""

HEADER = "rendered by bgphealth; edit"
"""In the first line of a whole frr.conf."""


@dataclass(frozen=True, slots=True)
class _Session:
    """The session to one ToR in one family.

    `neighbor` is an address, or the interface of an unnumbered link, whose one session carries both
    families. `next_hop_prefix` is what a recursive next hop is resolved with: accepted from this
    ToR alone. None where the next hop is the neighbor, which the link itself resolves.
    `probe_prefix` is what the fabric must reach over this ToR alone; None where that is the link.
    """

    name: str
    neighbor: str
    is_interface: bool
    remote_as: str
    next_hop_prefix: Prefix | None
    probe_prefix: Prefix | None
    password: str | None
    ttl_security: bool
    has_bfd: bool
    bfd_profile: str | None
    beside: Beside | None


@dataclass(frozen=True, slots=True)
class _BfdProfile:
    """What BFD sessions are told, in FRR's words: intervals in milliseconds."""

    name: str
    detect_multiplier: int
    receive_ms: int
    transmit_ms: int
    is_passive: bool


@dataclass(frozen=True, slots=True)
class _Backup:
    """A prefix that bgpd originates itself, and the route-map that says to whom it goes."""

    prefix: Prefix
    route_map: str


@dataclass(frozen=True, slots=True)
class _BackupMap:
    """The communities of the uplinks that may carry a service, and those of the service."""

    name: str
    communities: tuple[str, ...]
    large_communities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Export:
    """Services that a ToR gets in the same way, by their prefix-list.

    `is_degraded`: only while the uplink is, which another community says. `is_last_resort`: one of
    them is announced while it is down.
    """

    prefix_list: str
    prefixes: tuple[Prefix, ...]
    is_degraded: bool
    is_last_resort: bool
    prepended: str
    med: int | None

    @property
    def lists(self) -> tuple[str, ...]:
        """What its community-lists begin with: as usual, prepended, shut down, last resort."""
        ways = ["prepended", "shutdown", *(["last_resort"] if self.is_last_resort else [])]
        if self.is_degraded:
            # No uplink's name makes another list's name of these.
            return "degraded", *(f"{way}_degraded" for way in ways)
        return "uplink", *ways


@dataclass(frozen=True, slots=True)
class _FamilyPart:
    """What one address family needs. `ip` is FRR's keyword: ``ip`` or ``ipv6``.

    `maximum_paths` are those that are to be said. `installs` is what becomes of other routes of BGP
    on their way into the kernel, None in a whole frr.conf. `speaks`: the injector speaks this
    family without being told to.
    """

    name: str
    ip: str
    default: str
    source: Address
    discard_prefix: Prefix
    services: tuple[Prefix, ...]
    guarded: tuple[Prefix, ...]
    exports: tuple[_Export, ...]
    backups: tuple[_Backup, ...]
    uplinks: tuple[_Session, ...]
    maximum_paths: tuple[str, ...]
    installs: Rest | None
    speaks: bool
    filters_in: bool


@dataclass(frozen=True, slots=True)
class _Restored:
    """What of one family is theirs again: lines of bgpd, and that of routes into the kernel."""

    name: str
    lines: tuple[str, ...]
    zebra: str | None


@dataclass(frozen=True, slots=True)
class _Steering:
    """The communities that send a service to one uplink: as usual, and while it is drained.

    The same for a degraded one, and for services that are down, "" where unused.
    """

    name: str
    community: str
    prepended: str
    shutdown: str
    last_resort: str
    degraded: str
    prepended_degraded: str
    shutdown_degraded: str
    last_resort_degraded: str

    @property
    def all(self) -> tuple[str, ...]:
        """All those that are used."""
        clean = (self.community, self.prepended, self.shutdown, self.last_resort)
        degraded = (self.degraded, self.prepended_degraded, self.shutdown_degraded)
        return tuple(filter(None, (*clean, *degraded, self.last_resort_degraded)))


def render(
    settings: Settings,
    file: Path,
    passwords: Mapping[str, str] = MappingProxyType({}),
    beside: Existing | None = None,
) -> str:
    """Return frr.conf.

    Args:
        settings: What the file says.
        file: What the first line tells people to edit.
        passwords: Of the sessions to the ToRs, by uplink.
        beside: The configuration that FRR has; then only what is to be added to it.

    Raises:
        ConfigurationError: The file says that there is no FRR, or that it is another one.
    """
    if settings.mode is not Mode.FRR:
        what = "systemd" if settings.mode is Mode.LOCAL else "exabgp"
        raise ConfigurationError(
            f"{file}: mode: {settings.mode} has no FRR on this host; 'bgphealth render {what}' "
            "writes all that it needs"
        )
    if beside is not None and (contradictions := by.contradictions(settings, beside)):
        raise ConfigurationError("\n".join(f"{file}: {each}" for each in contradictions))
    families = [_family(settings, family, passwords, beside) for family in settings.families]
    kept = [s for s in settings.services if s.on_injector_loss is InjectorLoss.KEEP]
    sessions = {session.neighbor: session for f in families for session in f.uplinks}
    return templating.render(
        "frr.conf.j2",
        file=file,
        host=settings.host,
        uplinks=[_steering(settings, uplink) for uplink in settings.uplinks],
        marks=f":({guard.HEALTHY}|{guard.DEGRADED}):",
        last_resort=" ".join([str(settings.host.asn)] * guard.LAST_RESORT_PREPEND),
        backup_maps=dict.fromkeys(_backup_map(settings, service) for service in kept),
        families=families,
        sessions=list(sessions.values()),
        bfd_profiles=list(_bfd_profiles(settings)),
        beside=beside,
        remarks=[] if beside is None else by.remarks(settings, beside),
        restored=[] if beside is None else list(_restored(settings, beside)),
        silent=[] if beside is None else by.silent(settings, beside),
        last=LAST,
        header=HEADER,
        resolves_via_default=beside is not None and bool(by.multihop(settings, beside)),
    )


def _restored(settings: Settings, beside: Existing) -> Iterator[_Restored]:
    for family in Family:
        found = tuple(by.restored(settings, beside, family))
        zebra = by.restored_zebra(settings, beside, family)
        if found or zebra:
            yield _Restored(family.value, found, zebra)


def _bfd_profiles(settings: Settings) -> Iterator[_BfdProfile]:
    """Return the profiles that are used, each once."""
    for bfd in dict.fromkeys(u.bfd for u in settings.uplinks):
        if bfd is not None and bfd.profile is not None:
            yield _BfdProfile(
                name=_bfd_name(bfd.profile),
                detect_multiplier=bfd.detect_multiplier,
                receive_ms=round(bfd.receive_interval_s * 1000),
                transmit_ms=round(bfd.transmit_interval_s * 1000),
                is_passive=bfd.is_passive,
            )


def _bfd_name(profile: str) -> str:
    return f"bgphealth-{profile}"


def _steering(settings: Settings, uplink: UplinkSettings) -> _Steering:
    is_degraded = any(service.degraded_export for service in settings.services)
    goes_on = any(service.on_down is not OnDown.WITHDRAW for service in settings.services)
    stages = (None, Stage.PREPENDED, Stage.SHUTDOWN)
    clean, degraded = (
        [
            *(str(steering(settings, uplink, stage, degraded=worse)) for stage in stages),
            str(steering(settings, uplink, degraded=worse, down=True)) if goes_on else "",
        ]
        for worse in (False, True)
    )
    return _Steering(uplink.name, *clean, *(degraded if is_degraded else [""] * len(degraded)))


def _family(
    settings: Settings, family: Family, passwords: Mapping[str, str], beside: Existing | None
) -> _FamilyPart:
    ip = "ip" if family is Family.IPV4 else "ipv6"
    source = settings.host.source_for(family)
    if source is None:
        raise AssertionError(f"no source for {family}")  # Checked with the file.
    return _FamilyPart(
        name=family.value,
        ip=ip,
        default="0.0.0.0/0" if family is Family.IPV4 else "::/0",
        source=source,
        discard_prefix=ip_network(settings.host.discard_next_hop_for(family)),
        services=_prefixes(settings.services, family),
        guarded=_prefixes((s for s in settings.services if s.on_down is OnDown.GUARDED), family),
        exports=tuple(_exports(settings, family)),
        backups=tuple(
            _Backup(prefix, _backup_map(settings, service).name)
            for service in settings.services
            if service.on_injector_loss is InjectorLoss.KEEP
            for prefix in _prefixes([service], family)
        ),
        uplinks=tuple(
            _session(uplink, path, passwords.get(uplink.name), beside)
            for uplink in settings.uplinks
            for path in uplink.paths
            if path.family is family
        ),
        maximum_paths=tuple(by.maximum_paths(settings, family, beside)),
        installs=None if beside is None else Rest(beside.zebra_route_map(ip)),
        filters_in=beside is None or by.filters_in(settings, family),
        speaks=beside is not None and beside.speaks(str(settings.host.injector), family),
    )


def _backup_map(settings: Settings, service: ServiceSettings) -> _BackupMap:
    """Return where bgpd sends a service by itself: to the uplinks that may carry it."""
    communities = (
        f"{settings.host.community_asn}:{uplink.number}"
        for uplink in settings.uplinks
        if service.uplinks is None or uplink.name in service.uplinks
    )
    # Nobody has checked it when bgpd comes out with it: for others that is no healthy path.
    marks = [] if service.on_down is OnDown.WITHDRAW else [guard.mark(settings.host, healthy=False)]
    large = (*service.large_communities, *marks)
    own = service.uplinks is not None or service.communities or large
    return _BackupMap(
        f"bgphealth-backup-{service.name}" if own else "bgphealth-backup",
        (*communities, *map(str, service.communities)),
        tuple(map(str, large)),
    )


def _exports(settings: Settings, family: Family) -> Iterator[_Export]:
    """Return each way in which a ToR gets services, those that need nothing first."""
    alike: dict[tuple[bool, Export], list[ServiceSettings]] = {}
    for service in settings.services:
        alike.setdefault((False, service.export), []).append(service)
        if service.degraded_export is not None:
            alike.setdefault((True, service.degraded_export), []).append(service)
    # Where all are alike there is no need for another list than that of all.
    plain = "-plain" if sum(not is_degraded for is_degraded, _ in alike) > 1 else ""
    for (is_degraded, export), services in alike.items():
        if not (prefixes := _prefixes(services, family)):
            continue
        kind = "degraded" if is_degraded else "service"
        words = [f"prepend-{export.prepend}"] if export.prepend else []
        words += [] if export.med is None else [f"med-{export.med}"]
        yield _Export(
            prefix_list=f"bgphealth-{kind}-{family}{'-'.join(['', *words]) or plain}",
            prefixes=prefixes,
            is_degraded=is_degraded,
            is_last_resort=any(s.on_down is not OnDown.WITHDRAW for s in services),
            prepended=" ".join([str(settings.host.asn)] * export.prepend),
            med=export.med,
        )


def _prefixes(services: Iterable[ServiceSettings], family: Family) -> tuple[Prefix, ...]:
    return tuple(
        prefix for service in services for prefix in service.prefixes if Family.of(prefix) is family
    )


def _session(
    uplink: UplinkSettings, path: UplinkPath, password: str | None, beside: Existing | None
) -> _Session:
    neighbor = by.neighbor(uplink, path)
    return _Session(
        name=uplink.name,
        neighbor=neighbor,
        is_interface=path.neighbor is None,
        remote_as="external" if uplink.neighbor_asn is None else str(uplink.neighbor_asn),
        next_hop_prefix=None
        if path.next_hop in (None, path.neighbor)
        else ip_network(path.next_hop),
        probe_prefix=ip_network(path.probe_source)
        if path.neighbor is None and path.probe_source is not None
        else None,
        password=password,
        ttl_security=uplink.ttl_security,
        has_bfd=uplink.bfd is not None,
        bfd_profile=_bfd_name(uplink.bfd.profile) if uplink.bfd and uplink.bfd.profile else None,
        beside=None if beside is None else by.beside(beside, neighbor, path.family),
    )
