"""From the file to `Settings`, or to everything that is wrong with it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from bgphealth.config import document
from bgphealth.config.checks import LOOPBACK, Parts, check
from bgphealth.config.explain import explain
from bgphealth.config.model import (
    Fallback,
    File,
    Host,
    NeighborProbe,
    Paths,
    Service,
    Uplink,
)
from bgphealth.config.problems import InvalidFileError, KeyPath, Problem
from bgphealth.core.settings import (
    Address,
    FallbackSettings,
    Family,
    HostSettings,
    ProbeSettings,
    ServiceSettings,
    Settings,
    Timing,
    UplinkPath,
    UplinkSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bgphealth.config.document import Document

_Model = TypeVar("_Model", bound=BaseModel)


def load(path: Path) -> Settings:
    """Read and check a file.

    Raises:
        InvalidFileError: The file is wrong; the error lists every problem.
        ConfigurationError: There is no such file, or it cannot be read.
        PermissionDeniedError: The file may not be read.
    """
    read = document.read(path)
    found: list[tuple[KeyPath, str]] = []
    file: File | None = None
    try:
        file = File.model_validate(read.data)
    except ValidationError as error:
        found += explain(error)
    parts = _parts(read)
    found += check(parts)
    problems = _problems(read, found)
    if problems or file is None:
        raise InvalidFileError(problems)
    return _settings(file, parts.number_of)


def _problems(read: Document, found: list[tuple[KeyPath, str]]) -> list[Problem]:
    """Return all problems in the order of the file, one about the same thing only once."""
    problems = set(read.problems)
    for path, message in found:
        if not any(path[: length + 1] in read.unusable for length in range(len(path))):
            problems.add(read.problem(path, message))
    return sorted(problems)


def _parts(read: Document) -> Parts:
    data = read.data
    uplinks = _each(Uplink, data.get("uplinks"))
    services = _each(Service, data.get("services", {}))
    given = data.get("uplinks")
    return Parts(
        host=_valid(Host, data.get("host")),
        uplinks=uplinks,
        paths=_valid(Paths, data.get("paths", {})),
        services=services,
        fallback=_valid(Fallback, data.get("fallback", {})),
        whole_uplinks=(
            isinstance(given, dict)
            and 0 < len(given) == len(uplinks)
            and ("uplinks",) not in read.lossy
        ),
    )


def _each(model: type[_Model], section: object) -> dict[str, _Model]:
    if not isinstance(section, dict):
        return {}
    valid = {name: _valid(model, value) for name, value in section.items()}
    return {name: value for name, value in valid.items() if value is not None}


def _valid(model: type[_Model], value: object) -> _Model | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None  # File.model_validate has reported it.


def _settings(file: File, number_of: dict[str, int]) -> Settings:
    return Settings(
        host=HostSettings(
            asn=file.host.asn,
            router_id=file.host.router_id,
            source=file.host.source.addresses,
            community_asn=file.host.community_asn or file.host.asn,
            discard_next_hop=file.host.discard_next_hop.addresses,
            injector=file.host.injector,
        ),
        uplinks=tuple(
            UplinkSettings(
                name=name,
                number=number_of[name],
                interface=uplink.interface,
                neighbor_asn=uplink.neighbor_asn,
                paths=tuple(
                    _path(uplink, family, file.paths) for family in uplink.neighbor.families
                ),
            )
            for name, uplink in file.uplinks.items()
        ),
        path_timing=_timing(file.paths),
        services=(_loopback(file.host), *(_service(n, s) for n, s in file.services.items())),
        all_down=file.policy.all_down,
        fallback=FallbackSettings(
            enabled=file.fallback.enabled,
            table=file.fallback.table,
            rule_priority=file.fallback.rule_priority,
        ),
    )


def _path(uplink: Uplink, family: Family, paths: Paths) -> UplinkPath:
    neighbor = _get(uplink.neighbor.get(family))
    next_hop = uplink.next_hop.get(family) if uplink.next_hop else None
    gateway = [
        ProbeSettings(probe.kind, neighbor) if isinstance(probe, NeighborProbe) else probe
        for probe in paths.gateway
    ]
    beyond = _only(family, paths.beyond.of if paths.beyond else [])
    return UplinkPath(
        family=family,
        neighbor=neighbor,
        next_hop=next_hop or neighbor,
        probe_source=uplink.probe_source.get(family) if uplink.probe_source else None,
        gateway=_only(family, gateway),
        beyond=beyond,
        beyond_need=paths.beyond.need if paths.beyond and beyond else 0,
    )


def _only(family: Family, probes: list[ProbeSettings]) -> tuple[ProbeSettings, ...]:
    return tuple(probe for probe in probes if Family.of(probe.target) is family)


def _get(address: Address | None) -> Address:
    if address is None:  # The caller asks for a family that the neighbor has.
        raise AssertionError
    return address


def _timing(section: Paths | Service) -> Timing:
    return Timing(
        interval_s=section.interval,
        timeout_s=section.timeout,
        fall=section.fall,
        rise=section.rise,
    )


def _service(name: str, service: Service) -> ServiceSettings:
    return ServiceSettings(
        name=name,
        prefixes=tuple(service.prefixes),
        checks=tuple(service.checks),
        timing=_timing(service),
    )


def _loopback(host: Host) -> ServiceSettings:
    """Return the host loopback as a service without checks.

    Replies to outgoing traffic must avoid a dead uplink too, so it is announced like a service.
    """
    prefixes = tuple(ip_network(address) for address in host.source.addresses)
    defaults = Service.model_validate({"prefixes": [str(prefix) for prefix in prefixes]})
    return ServiceSettings(LOOPBACK, prefixes, (), _timing(defaults))
