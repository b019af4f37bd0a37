"""What there is to ask: every probe of every path, every check of every service, with its prober.

The libraries of a kind are imported only when the file asks for that kind: they may be absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from bgphealth.core.events import Verdict
from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.settings import (
    Address,
    Family,
    ProbeKind,
    ProbeSettings,
    Role,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.frr.state import Vtysh
from bgphealth.probes.binding import Binding
from bgphealth.probes.exec import ExecProber, path_environment, service_environment
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.link import LinkProber
from bgphealth.probes.outcome import Prober
from bgphealth.probes.session import SessionProber, SharedReading
from bgphealth.probes.tcp import TcpProber

_Readings: TypeAlias = dict[ProbeKind, SharedReading]


@dataclass(frozen=True, slots=True)
class KernelView:
    """What is known of the kernel now.

    `source` returns what a path is probed from, or in words why it cannot be; `on_link` the address
    that it has, probed or not; `gateway` whom it leads to, or in words why that is nobody; `link`
    whether an uplink's link is up, None when nobody has looked.
    """

    source: Callable[[PathKey], Address | str]
    on_link: Callable[[PathKey], Address | str]
    gateway: Callable[[PathKey], Address | str]
    link: Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """One probe of one path, and what asks it."""

    path: PathKey
    probe: PathProbe
    prober: Prober


@dataclass(frozen=True, slots=True)
class ServiceQuestion:
    """One check of one service, and what asks it."""

    service: ServiceSettings
    check: ProbeSettings
    prober: Prober


def path_questions(settings: Settings, kernel: KernelView) -> Iterator[PathQuestion]:
    """Return every probe of every path, with a prober for each kind and path."""
    vtysh = Vtysh()
    readings: _Readings = {
        ProbeKind.BGP: SharedReading(vtysh.bgp_neighbors),
        ProbeKind.BFD: SharedReading(vtysh.bfd_peers),
    }
    for uplink in settings.uplinks:
        for path in uplink.paths:
            key = PathKey(uplink.name, path.family)
            make = partial(
                _path_prober,
                uplink=uplink,
                path=path,
                table=settings.fallback.table + uplink.number,
                kernel=kernel,
                readings=readings,
            )
            probers: dict[ProbeKind, Prober] = {}
            for role, probes in ((Role.GATEWAY, path.gateway), (Role.BEYOND, path.beyond)):
                for probe in probes:
                    if probe.kind not in probers:
                        probers[probe.kind] = make(probe.kind)
                    yield PathQuestion(key, PathProbe(role, probe), probers[probe.kind])


def service_questions(settings: Settings) -> Iterator[ServiceQuestion]:
    """Return every check of every service, with a prober for each."""
    for service in settings.services:
        for check in service.checks:
            yield ServiceQuestion(service, check, _service_prober(service, check))


class Questions(NamedTuple):
    """Who makes the questions, with their probers."""

    of_paths: Callable[[Settings, KernelView], Iterable[PathQuestion]] = path_questions
    of_services: Callable[[Settings], Iterable[ServiceQuestion]] = service_questions


REAL = Questions()
"""Questions that are really asked; a simulation has its own."""


def _path_prober(  # noqa: PLR0911, PLR0913 - one for each kind, and what they need between them
    kind: ProbeKind,
    *,
    uplink: UplinkSettings,
    path: UplinkPath,
    table: int,
    kernel: KernelView,
    readings: _Readings,
) -> Prober:
    key = PathKey(uplink.name, path.family)
    source = partial(kernel.source, key)
    binding = Binding(uplink.interface, source)
    match kind:
        case ProbeKind.ICMP:
            return IcmpProber(path.family, binding, partial(kernel.gateway, key))
        case ProbeKind.TCP:
            return TcpProber(binding)
        case ProbeKind.HTTP:
            from bgphealth.probes.http import HttpProber  # noqa: PLC0415 - an extra

            return HttpProber(binding)
        case ProbeKind.DNS:
            from bgphealth.probes.dns import DnsProber  # noqa: PLC0415 - an extra

            return DnsProber(binding)
        case ProbeKind.EXEC:
            return ExecProber(path_environment(uplink, path, table), source)
        case ProbeKind.LINK:
            link, on_link = partial(kernel.link, uplink.name), partial(kernel.on_link, key)
            return LinkProber(uplink.interface, link, on_link)
        case ProbeKind.BGP | ProbeKind.BFD:
            return SessionProber(kind, readings[kind], uplink.interface)


def _service_prober(service: ServiceSettings, check: ProbeSettings) -> Prober:
    """Return the prober of a check; what cannot be asked of a service has failed."""
    if check.kind is ProbeKind.EXEC:
        return ExecProber(service_environment(service), cannot_run=Verdict.FAILED)
    binding = Binding(None, partial(_fixed, _check_source(service, check)))
    match check.kind:
        case ProbeKind.TCP:
            return TcpProber(binding, unbound=Verdict.FAILED)
        case ProbeKind.HTTP:
            from bgphealth.probes.http import HttpProber  # noqa: PLC0415 - an extra

            return HttpProber(binding, unbound=Verdict.FAILED)
        case ProbeKind.DNS:
            from bgphealth.probes.dns import DnsProber  # noqa: PLC0415 - an extra

            return DnsProber(binding, unbound=Verdict.FAILED)
        case _:
            raise ValueError(f"{check.kind} is no check of a service")


def _check_source(service: ServiceSettings, check: ProbeSettings) -> Address:
    """Return the address to check a service from.

    A check of the service's own address comes from that address: if it is not on this host, the
    connection would leave the host and another server of the same anycast address would answer.
    """
    if check.target is None:
        raise ValueError(f"{check} has no target")
    if any(check.target in prefix for prefix in service.prefixes):
        return check.target
    any_address = "0.0.0.0" if Family.of(check.target) is Family.IPV4 else "::"  # noqa: S104
    return ip_address(any_address)


def _fixed(source: Address) -> Address:
    return source
