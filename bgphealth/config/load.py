"""From the file to `Settings`, or to everything that is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from bgphealth.config import document, fallback, load_local, local, paths, sources
from bgphealth.config.checks import Finding, Parts, check
from bgphealth.config.explain import explain
from bgphealth.config.local import LocalFile, LocalParts, LocalUplink
from bgphealth.config.model import (
    BfdProfile,
    Fallback,
    File,
    Host,
    Paths,
    Service,
    SourcePin,
    SourceRule,
    Uplink,
)
from bgphealth.config.problems import InvalidFileError, KeyPath, Problem
from bgphealth.core.settings import (
    LOOPBACK,
    Address,
    Bfd,
    FallbackSettings,
    Family,
    HostSettings,
    InjectorLoss,
    Mode,
    ProbeKind,
    ProbeSettings,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bgphealth.config.document import Document

_ASKS_NEIGHBOR = (ProbeKind.ICMP, ProbeKind.BFD, ProbeKind.BGP)
"""Kinds of gateway probe that need not say whom they ask."""

_Model = TypeVar("_Model", bound=BaseModel)


def load(path: Path) -> Settings:
    """Read and check a file.

    Raises:
        InvalidFileError: The file is wrong; the error lists every problem.
        ConfigurationError: There is no such file, or it cannot be read.
        PermissionDeniedError: The file may not be read.
    """
    return check_document(document.read(path))


def loads(file: str, content: bytes) -> Settings:
    """Check the content of a file that was read already.

    Raises:
        InvalidFileError: The file is wrong; the error lists every problem.
    """
    return check_document(document.parse(file, content))


def check_document(read: Document) -> Settings:
    """Check a file, or a part of one.

    Raises:
        InvalidFileError: It is wrong; the error lists every problem.
    """
    if _mode(read.data.get("mode")) is Mode.LOCAL:
        ways = _local_parts(read)
        return load_local.settings(
            _checked(read, LocalFile, [*check(ways), *local.check(ways)]), ways.number_of
        )
    parts = _parts(read)
    return _settings(_checked(read, File, check(parts)), parts.number_of)


def _checked(read: Document, model: type[_Model], found: list[Finding]) -> _Model:
    """Return the whole file, if nothing is wrong with it; `found` is what is already known."""
    file: _Model | None = None
    try:
        file = model.model_validate(read.data)
    except ValidationError as error:
        found = [*explain(error, model), *found]
    problems = problems_of(read, found)
    if problems or file is None:
        raise InvalidFileError(problems)
    return file


def problems_of(read: Document, found: list[tuple[KeyPath, str]]) -> list[Problem]:
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
        mode=_mode(data.get("mode")),
        host=_valid(Host, data.get("host")),
        uplinks=uplinks,
        paths=_valid(Paths, data.get("paths", {})),
        services=services,
        fallback=_valid(Fallback, data.get("fallback", {})),
        pins=_listed(SourcePin, data.get("sources"), "pins"),
        policies=_listed(SourceRule, data.get("sources"), "policies"),
        uplink_names=_keys(given),
        service_names=_keys(data.get("services")),
        bfd_profiles=_keys(data.get("bfd")),
        whole_uplinks=(
            isinstance(given, dict)
            and 0 < len(given) == len(uplinks)
            and all(uplink.families for uplink in uplinks.values())
            and ("uplinks",) not in read.lossy
        ),
    )


def _local_parts(read: Document) -> LocalParts:
    data = read.data
    given = data.get("uplinks")
    ways = _each(LocalUplink, given)
    return LocalParts(
        mode=Mode.LOCAL,
        host=None,
        uplinks={},
        paths=_valid(Paths, data.get("paths", {})),
        services={},
        fallback=_valid(Fallback, data.get("fallback", {})),
        pins=_listed(SourcePin, data.get("sources"), "pins"),
        policies=_listed(SourceRule, data.get("sources"), "policies"),
        uplink_names=_keys(given),
        service_names=(),
        bfd_profiles=(),
        whole_uplinks=isinstance(given, dict)
        and 0 < len(given) == len(ways)
        and ("uplinks",) not in read.lossy,
        ways=ways,
    )


def _mode(value: object) -> Mode | None:
    return Mode(value) if isinstance(value, str) and value in set(Mode) else None


def _keys(section: object) -> tuple[str, ...]:
    return tuple(map(str, section)) if isinstance(section, dict) else ()


def _each(model: type[_Model], section: object) -> dict[Any, _Model]:
    if not isinstance(section, dict):
        return {}
    valid = {name: _valid(model, value) for name, value in section.items()}
    return {name: value for name, value in valid.items() if value is not None}


def _listed(model: type[_Model], section: object, key: str) -> dict[int, _Model]:
    """Return those entries of a list that are right by themselves, by their places."""
    entries = section.get(key) if isinstance(section, dict) else None
    return _each(model, dict(enumerate(entries)) if isinstance(entries, list) else None)


def _valid(model: type[_Model], value: object) -> _Model | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None  # File.model_validate has reported it.


def _settings(file: File, number_of: dict[str, int]) -> Settings:
    return Settings(
        mode=file.mode,
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
                paths=tuple(_path(uplink, family, file.paths) for family in uplink.families),
                password_file=uplink.password_file,
                ttl_security=uplink.ttl_security,
                bfd=_bfd(uplink, file.bfd),
            )
            for name, uplink in file.uplinks.items()
        ),
        path_timing=paths.timing(file.paths),
        suspect_interval_s=paths.suspect_interval(file.paths),
        quality=paths.quality(file.paths),
        damping=paths.damping(file.paths.damping),
        services=(_loopback(file), *(_service(file, name) for name in file.services)),
        all_down=file.policy.all_down,
        drain_settle_s=file.policy.drain_settle,
        guarded_settle_s=file.policy.guarded_settle,
        fallback=FallbackSettings(
            enabled=file.fallback.enabled,
            table=file.fallback.table,
            rule_priority=file.fallback.rule_priority,
            defaults=fallback.are_wanted(file.mode, file.fallback),
            source=file.fallback.source.addresses if file.fallback.source else (),
            mptcp=file.fallback.mptcp,
        ),
        control_socket=file.control.socket,
        control_group=file.control.group,
        control_read=file.control.read,
        sources=sources.settings(file.sources),
    )


def _bfd(uplink: Uplink, profiles: dict[str, BfdProfile]) -> Bfd | None:
    if uplink.bfd is False:
        return None
    name = None if uplink.bfd is True else uplink.bfd
    profile = BfdProfile() if name is None else profiles[name]
    return Bfd(
        profile=name,
        detect_multiplier=profile.detect_multiplier,
        receive_interval_s=profile.receive_interval,
        transmit_interval_s=profile.transmit_interval,
        is_passive=profile.passive_mode,
    )


def _path(uplink: Uplink, family: Family, asked: Paths) -> UplinkPath:
    neighbor = uplink.neighbor.get(family) if uplink.neighbor else None
    next_hop = _get((uplink.next_hop.get(family) if uplink.next_hop else None) or neighbor)
    gateway = [_of_neighbor(probe.probe, neighbor, next_hop) for probe in asked.gateway]
    beyond = paths.only(family, [probe.probe for probe in asked.beyond.of] if asked.beyond else [])
    return UplinkPath(
        family=family,
        neighbor=neighbor,
        next_hop=next_hop,
        probe_source=uplink.probe_source.get(family) if uplink.probe_source else None,
        gateway=paths.only(family, gateway),
        beyond=beyond,
        beyond_need=asked.beyond.need if asked.beyond and beyond else 0,
    )


def _of_neighbor(
    probe: ProbeSettings, neighbor: Address | None, next_hop: Address
) -> ProbeSettings:
    if probe.target is not None or probe.kind not in _ASKS_NEIGHBOR:
        return probe
    if neighbor is None and probe.kind is not ProbeKind.ICMP:
        return probe  # The session of an unnumbered link goes by the name of its interface.
    # A ping of a link-local address would come from one as well, and say nothing of a family: the
    # ToR's own loopback is what only this ToR answers for.
    return replace(probe, target=neighbor or next_hop)


def _get(address: Address | None) -> Address:
    if address is None:  # An unnumbered uplink has a next hop in each of its families (`checks`).
        raise AssertionError
    return address


def _service(file: File, name: str) -> ServiceSettings:
    service = file.services[name]
    return ServiceSettings(
        name=name,
        prefixes=tuple(service.prefixes),
        checks=tuple(check.probe for check in service.checks),
        need=service.needed,
        timing=paths.timing(service),
        damping=paths.damping(service.damping),
        on_injector_loss=service.on_injector_loss,
        address=service.address,
        on_down=service.on_down,
        uplinks=None if service.uplinks is None else frozenset(service.uplinks),
        min_uplinks=service.min_uplinks or 0,
        requires=_required(file, name),
        communities=tuple(service.announce.communities),
        large_communities=tuple(service.announce.large_communities),
        export=service.export,
        degraded_export=service.degraded_export,
    )


def _required(file: File, name: str) -> tuple[str, ...]:
    """Return all that a service requires, and what these require, in the order of the file."""
    found: set[str] = set()
    new = set(file.services[name].requires)
    while new:
        found |= new
        new = {other for one in new for other in file.services[one].requires} - found
    return tuple(other for other in file.services if other in found)


def _loopback(file: File) -> ServiceSettings:
    """Return the host loopback as a service without checks.

    Replies to outgoing traffic must avoid a dead uplink too, so it is announced like a service.
    """
    prefixes = tuple(ip_network(address) for address in file.host.source.addresses)
    defaults = Service.model_validate({"prefixes": [str(prefix) for prefix in prefixes]})
    # Without FRR nothing is left that could keep it.
    loss = file.host.on_injector_loss if file.mode is Mode.FRR else InjectorLoss.WITHDRAW
    return ServiceSettings(LOOPBACK, prefixes, (), 0, paths.timing(defaults), None, loss)
