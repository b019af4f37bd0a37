"""frr.conf for the host: two tiers of defaults, and services exported by community."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import (
    Address,
    Family,
    InjectorLoss,
    Mode,
    Prefix,
    ServiceSettings,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bgphealth.core.settings import UplinkPath, UplinkSettings


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


@dataclass(frozen=True, slots=True)
class _Backup:
    """A prefix that bgpd originates itself, and the route-map that says to whom it goes."""

    prefix: Prefix
    route_map: str


@dataclass(frozen=True, slots=True)
class _BackupMap:
    """The communities of the uplinks that may carry a service."""

    name: str
    communities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _FamilyPart:
    """What one address family needs. `ip` is FRR's keyword: ``ip`` or ``ipv6``."""

    name: str
    ip: str
    default: str
    source: Address
    discard_prefix: Prefix
    services: tuple[Prefix, ...]
    backups: tuple[_Backup, ...]
    uplinks: tuple[_Session, ...]


@dataclass(frozen=True, slots=True)
class _Steering:
    """The community that sends a service to one uplink."""

    name: str
    community: str


def render(
    settings: Settings, file: Path, passwords: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return frr.conf.

    Args:
        settings: What the file says.
        file: What the first line tells people to edit.
        passwords: Of the sessions to the ToRs, by uplink.

    Raises:
        ConfigurationError: The file says that there is no FRR.
    """
    if settings.mode is not Mode.FRR:
        raise ConfigurationError(
            f"{file}: mode: {settings.mode} has no FRR on this host; 'bgphealth render exabgp' "
            "writes all that it needs"
        )
    families = [_family(settings, family, passwords) for family in settings.families]
    kept = [s for s in settings.services if s.on_injector_loss is InjectorLoss.KEEP]
    sessions = {session.neighbor: session for f in families for session in f.uplinks}
    return templating.render(
        "frr.conf.j2",
        file=file,
        host=settings.host,
        uplinks=[
            _Steering(uplink.name, f"{settings.host.community_asn}:{uplink.number}")
            for uplink in settings.uplinks
        ],
        backup_maps=dict.fromkeys(_backup_map(settings, service) for service in kept),
        families=families,
        sessions=list(sessions.values()),
    )


def _family(settings: Settings, family: Family, passwords: Mapping[str, str]) -> _FamilyPart:
    source = settings.host.source_for(family)
    if source is None:
        raise AssertionError(f"no source for {family}")  # Checked with the file.
    return _FamilyPart(
        name=family.value,
        ip="ip" if family is Family.IPV4 else "ipv6",
        default="0.0.0.0/0" if family is Family.IPV4 else "::/0",
        source=source,
        discard_prefix=ip_network(settings.host.discard_next_hop_for(family)),
        services=_prefixes(settings.services, family),
        backups=tuple(
            _Backup(prefix, _backup_map(settings, service).name)
            for service in settings.services
            if service.on_injector_loss is InjectorLoss.KEEP
            for prefix in _prefixes([service], family)
        ),
        uplinks=tuple(
            _session(uplink, path, passwords.get(uplink.name))
            for uplink in settings.uplinks
            for path in uplink.paths
            if path.family is family
        ),
    )


def _backup_map(settings: Settings, service: ServiceSettings) -> _BackupMap:
    """Return where bgpd sends a service by itself: to the uplinks that may carry it."""
    communities = (
        f"{settings.host.community_asn}:{uplink.number}"
        for uplink in settings.uplinks
        if service.uplinks is None or uplink.name in service.uplinks
    )
    own = "" if service.uplinks is None else f"-{service.name}"
    return _BackupMap(f"bgphealth-backup{own}", tuple(communities))


def _prefixes(services: Iterable[ServiceSettings], family: Family) -> tuple[Prefix, ...]:
    return tuple(
        prefix for service in services for prefix in service.prefixes if Family.of(prefix) is family
    )


def _session(uplink: UplinkSettings, path: UplinkPath, password: str | None) -> _Session:
    return _Session(
        name=uplink.name,
        neighbor=uplink.interface if path.neighbor is None else str(path.neighbor),
        is_interface=path.neighbor is None,
        remote_as="external" if uplink.neighbor_asn is None else str(uplink.neighbor_asn),
        next_hop_prefix=None if path.next_hop == path.neighbor else ip_network(path.next_hop),
        probe_prefix=ip_network(path.probe_source)
        if path.neighbor is None and path.probe_source is not None
        else None,
        password=password,
        ttl_security=uplink.ttl_security,
    )
