"""From the file of local mode to `Settings`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bgphealth.config import metrics, paths, sources
from bgphealth.core.settings import (
    NO_BGP,
    FallbackSettings,
    Family,
    ProbeKind,
    Settings,
    UplinkPath,
    UplinkSettings,
)

if TYPE_CHECKING:
    from bgphealth.config.local import LocalFile, LocalUplink


def settings(file: LocalFile, number_of: dict[str, int]) -> Settings:
    """Return what the file says; an uplink's number is its priority."""
    return Settings(
        mode=file.mode,
        host=NO_BGP,
        uplinks=tuple(
            UplinkSettings(
                name=name,
                number=number_of[name],
                interface=uplink.interface,
                neighbor_asn=None,
                paths=tuple(_path(file, uplink, family) for family in uplink.gateway.families),
                password_file=None,
                ttl_security=False,
            )
            for name, uplink in file.uplinks.items()
        ),
        path_timing=paths.timing(file.paths),
        suspect_interval_s=paths.suspect_interval(file.paths),
        quality=paths.quality(file.paths),
        damping=paths.damping(file.paths.damping),
        services=(),
        all_down=file.policy.all_down,
        drain_settle_s=0.0,  # There is nobody to be told of a drain beforehand.
        guarded_settle_s=0.0,
        fallback=FallbackSettings(
            enabled=True,
            table=file.fallback.table,
            rule_priority=file.fallback.rule_priority,
            defaults=True,
            source=file.fallback.source.addresses if file.fallback.source else (),
            mptcp=file.fallback.mptcp,
        ),
        control_socket=file.control.socket,
        control_group=file.control.group,
        control_read=file.control.read,
        sources=sources.settings(file.sources),
        stable_for_s=file.policy.stable_for,
        flush_conntrack=file.policy.flush_conntrack,
        metrics=metrics.settings(file.metrics),
    )


def _path(file: LocalFile, uplink: LocalUplink, family: Family) -> UplinkPath:
    gateway = uplink.gateway.get(family)
    asked = [
        replace(probe.probe, target=gateway)
        if probe.probe.kind is ProbeKind.ICMP and probe.probe.target is None
        else probe.probe
        for probe in file.paths.gateway
    ]
    given = file.paths.beyond
    beyond = paths.only(family, [probe.probe for probe in given.of] if given else [])
    return UplinkPath(
        family=family,
        neighbor=gateway,
        next_hop=gateway,
        probe_source=None,
        gateway=paths.only(family, asked),
        beyond=beyond,
        beyond_need=given.need if given and beyond else 0,
    )
