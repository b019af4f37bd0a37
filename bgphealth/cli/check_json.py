"""What `bgphealth check --json` prints."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bgphealth.cli import check_metrics
from bgphealth.config import InvalidFileError
from bgphealth.core.settings import Family, Mode

if TYPE_CHECKING:
    from bgphealth.core.errors import BgphealthError
    from bgphealth.core.settings import (
        Damping,
        ServiceSettings,
        Settings,
        Timing,
        UplinkSettings,
    )

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""


def invalid(file: str, error: BgphealthError) -> dict[str, object]:
    """Return what is wrong with a file."""
    if isinstance(error, InvalidFileError):
        errors: list[dict[str, object]] = [
            {"file": p.file, "line": p.line, "path": p.path, "message": p.message}
            for p in error.problems
        ]
    else:
        message = str(error).removeprefix(f"{file}: ")
        errors = [{"file": file, "line": None, "path": "", "message": message}]
    return {"schema_version": SCHEMA_VERSION, "file": file, "valid": False, "errors": errors}


def valid(file: str, settings: Settings, notes: list[str]) -> dict[str, object]:
    """Return what a file amounts to; the notes are what is hardly meant in it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "valid": True,
        "errors": [],
        "notes": notes,
        "mode": settings.mode.value,
        "host": _host(settings),
        "families": [family.value for family in settings.families],
        "path_timing": _timing(settings.path_timing),
        "suspect_interval_s": settings.suspect_interval_s,
        "quality": {
            "window": settings.quality.window,
            "loss": settings.quality.loss._asdict(),
            "latency_s": latency._asdict() if (latency := settings.quality.latency_s) else None,
        },
        "damping": _damping(settings.damping),
        "uplinks": [
            {
                "name": uplink.name,
                "number": uplink.number,
                "interface": uplink.interface,
                "neighbor_asn": uplink.neighbor_asn,
                "community": community_of(settings, uplink),
                "password_file": uplink.password_file,
                "ttl_security": uplink.ttl_security,
                "bfd": None if uplink.bfd is None else dataclasses.asdict(uplink.bfd),
                "paths": [
                    {
                        "family": path.family.value,
                        "neighbor": None if path.neighbor is None else str(path.neighbor),
                        "next_hop": None if path.next_hop is None else str(path.next_hop),
                        "probe_source": None
                        if path.probe_source is None
                        else str(path.probe_source),
                        "gateway": [str(probe) for probe in path.gateway],
                        "beyond": [str(probe) for probe in path.beyond],
                        "beyond_need": path.beyond_need,
                    }
                    for path in uplink.paths
                ],
            }
            for uplink in settings.uplinks
        ],
        "services": [
            {
                "name": service.name,
                "prefixes": [str(prefix) for prefix in service.prefixes],
                "checks": [str(probe) for probe in service.checks],
                "need": service.need,
                "timing": _timing(service.timing),
                "damping": _damping(service.damping),
                "on_injector_loss": service.on_injector_loss.value,
                "address": service.address.value,
                "on_down": service.on_down.value,
                "uplinks": carriers(settings, service),
                "min_uplinks": service.min_uplinks,
                "requires": list(service.requires),
                "announce": {
                    "communities": [str(community) for community in service.communities],
                    "large_communities": [str(large) for large in service.large_communities],
                    **service.export._asdict(),
                },
                "on_degraded": "withdraw"
                if service.degraded_export is None
                else service.degraded_export._asdict(),
            }
            for service in settings.services
        ],
        "all_down": settings.all_down.value,
        "drain_settle_s": settings.drain_settle_s,
        "guarded_settle_s": settings.guarded_settle_s,
        "stable_for_s": settings.stable_for_s,
        "fallback": {
            "enabled": settings.fallback.enabled,
            "table": settings.fallback.table,
            "rule_priority": settings.fallback.rule_priority,
            "defaults": settings.fallback.defaults,
            "source": {Family.of(a).value: str(a) for a in settings.fallback.source},
        },
        "sources": {
            "pins": [{"to": str(p.to), "from": str(p.source)} for p in settings.sources.pins],
            "policies": [
                {
                    "from": "link" if policy.source is None else str(policy.source),
                    "uplink": policy.uplink,
                    "strict": policy.is_strict,
                }
                for policy in settings.sources.policies
            ],
        },
        "metrics": check_metrics.in_json(settings),
    }


def _host(settings: Settings) -> dict[str, object] | None:
    if settings.mode is Mode.LOCAL:
        return None
    return {
        "asn": settings.host.asn,
        "router_id": str(settings.host.router_id),
        "source": {Family.of(a).value: str(a) for a in settings.host.source},
    }


def _timing(timing: Timing) -> dict[str, object]:
    return {
        "interval_s": timing.interval_s,
        "timeout_s": timing.timeout_s,
        "fall": timing.fall,
        "rise": timing.rise,
    }


def _damping(damping: Damping | None) -> dict[str, float] | None:
    return None if damping is None else damping._asdict()


def community_of(settings: Settings, uplink: UplinkSettings) -> str | None:
    """Return the community of the services that go to an uplink, None where there are none."""
    if settings.mode is not Mode.FRR:
        return None
    return f"{settings.host.community_asn}:{uplink.number}"


def carriers(settings: Settings, service: ServiceSettings) -> list[str]:
    """Return the uplinks that may carry a service."""
    return [
        u.name for u in settings.uplinks if service.uplinks is None or u.name in service.uplinks
    ]
