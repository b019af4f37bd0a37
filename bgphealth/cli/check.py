"""`bgphealth check`: is the file right, and what does it amount to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bgphealth.cli import check_metrics
from bgphealth.cli.check_json import carriers, community_of, invalid, valid
from bgphealth.cli.check_local import asked, summary, tables
from bgphealth.config import load
from bgphealth.core import guard
from bgphealth.core.damping import PENALTY
from bgphealth.core.errors import BgphealthError
from bgphealth.core.guard import LAST_RESORT_PREPEND
from bgphealth.core.settings import (
    LOOPBACK,
    AddressUse,
    InjectorLoss,
    Mode,
    OnDown,
    ProbeKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import (
        Damping,
        Export,
        Quality,
        ServiceSettings,
        Settings,
        UplinkSettings,
    )

_MODES = {
    Mode.FRR: "frr: ExaBGP to this host's FRR, FRR to the ToRs; FRR installs the default",
    Mode.DIRECT: "direct: ExaBGP to the ToRs, without FRR; announces services",
    Mode.LOCAL: "local: no BGP; chooses the uplink, whose default comes first",
}

_ADDRESS = {
    AddressUse.EXPECT: "each address only while it is on this host",
    AddressUse.ADD: "each address only while it is on this host: added to lo",
    AddressUse.IGNORE: "each address whether it is on this host or not",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, *, as_json: bool) -> None:
    """Check the file and say what it amounts to.

    Every error is reported at once, as FILE:LINE: KEY: MESSAGE. Nothing but the file is looked
    at: it may be checked on any machine.
    """
    invocation: Invocation = context.obj
    try:
        settings = load(invocation.file)
    except BgphealthError as error:
        if not as_json:
            raise
        click.echo(json.dumps(invalid(str(invocation.file), error), indent=2))
        context.exit(error.exit_status)
    if as_json:
        found = valid(str(invocation.file), settings, _notes(settings))
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n".join(_summary(str(invocation.file), settings)))


def _summary(file: str, settings: Settings) -> list[str]:
    lines = [f"{file}: valid", "", f"mode      {_MODES[settings.mode]}"]
    if settings.mode is not Mode.LOCAL:
        host, sources = settings.host, ", ".join(str(a) for a in settings.host.source)
        lines.append(f"host      AS {host.asn}, router id {host.router_id}, source {sources}")
    lines += [
        f"families  {', '.join(settings.families)}",
        f"probes    {_probing(settings)}",
        f"degraded  {_degraded(settings.quality)}",
        f"flapping  {_flapping(settings.damping)}",
        "",
    ]
    if settings.mode is Mode.LOCAL:
        notes = (f"note: {note}" for note in check_metrics.notes(settings))
        return [*lines, *summary(settings), *check_metrics.lines(settings), *notes]
    for uplink in settings.uplinks:
        lines += _uplink(settings, uplink)
    lines.append("")
    for service in settings.services:
        lines += _service(settings, service)
    lines += [
        "",
        f"all uplinks down: {settings.all_down}",
        (
            f"drained: announced for {settings.drain_settle_s:g} s, prepended and then with "
            "GRACEFUL_SHUTDOWN; then not"
        ),
        f"fallback: {_fallback(settings)}",
        *(f"pin: {pin}, through the uplinks in their order" for pin in settings.sources.pins),
        *(f"policy: {policy}" for policy in settings.sources.policies),
        *check_metrics.lines(settings),
        *(f"note: {note}" for note in _notes(settings)),
    ]
    if settings.mode is Mode.DIRECT and not settings.fallback.defaults:
        lines.append("default route: the host's own affair, without fallback.defaults: true")
    return lines


def _probing(settings: Settings) -> str:
    timing, suspect_s = settings.path_timing, settings.suspect_interval_s
    faster = f" ({_ms(suspect_s)} on suspicion)" if suspect_s is not None else ""
    return (
        f"every {_ms(timing.interval_s)}{faster}, timeout {_ms(timing.timeout_s)}: "
        f"down after {timing.fall} failures, up after {timing.rise} answers"
    )


def _degraded(quality: Quality) -> str:
    levels = f"loss from {_percent(quality.loss.enter)} until {_percent(quality.loss.leave)}"
    if quality.latency_s is not None:
        enter_s, leave_s = quality.latency_s
        levels += f", latency from {_ms(enter_s)} until {_ms(leave_s)}"
    return f"{levels}, over the last {quality.window} answers of a probe"


def _flapping(damping: Damping | None) -> str:
    if damping is None:
        return "is not damped"
    return (
        f"is damped from a penalty of {damping.suppress:g} until {damping.reuse:g}, "
        f"{damping.max_suppress_s:g} s at most; a fall costs {PENALTY:g}, "
        f"halved every {damping.half_life_s:g} s"
    )


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.6g} %"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.6g} ms"


def _uplink(settings: Settings, uplink: UplinkSettings) -> list[str]:
    remote = "any other AS" if uplink.neighbor_asn is None else f"AS {uplink.neighbor_asn}"
    community = community_of(settings, uplink)
    gets = "" if community is None else f": gets what carries {community}"
    lines = [
        (
            f"uplink {uplink.number}  {uplink.name} on {uplink.interface}, {remote}{gets}"
            f"{_session(uplink)}"
        )
    ]
    for path in uplink.paths:
        via = "" if path.next_hop == path.neighbor else f", next hop {path.next_hop}"
        if path.probe_source is not None:
            spoken = "spoken to and " if settings.mode is Mode.DIRECT else ""
            via += f", {spoken}probed from {path.probe_source}"
        neighbor = path.neighbor or "unnumbered"
        lines.append(f"  {path.family}  neighbor {neighbor}{via}; gateway: {asked(path)}")
    return lines


def _session(uplink: UplinkSettings) -> str:
    """Return what protects the sessions of an uplink, and what watches them."""
    said = "" if uplink.password_file is None else f"; password in {uplink.password_file}"
    if uplink.ttl_security:
        said += "; TTL security"
    if uplink.bfd is not None:
        named = "" if uplink.bfd.profile is None else f" {uplink.bfd.profile}"
        # What FRR makes of TTL security: port 4784, and no look at the TTL (RFC 5883).
        kind = "multihop BFD" if uplink.ttl_security else "BFD"
        said += (
            f"; {kind}{named}: receives every {_ms(uplink.bfd.receive_interval_s)}, sends every "
            f"{_ms(uplink.bfd.transmit_interval_s)}, multiplier {uplink.bfd.detect_multiplier}"
            f"{', passive' if uplink.bfd.is_passive else ''}"
        )
    return said


def _notes(settings: Settings) -> list[str]:
    """Return what is right by itself and yet hardly meant."""
    return [*_unwatched(settings), *_shared(settings), *check_metrics.notes(settings)]


def _shared(settings: Settings) -> Iterator[str]:
    """Return which pins have a source that others may announce as well."""
    for pin in settings.sources.pins:
        for service in settings.services:
            if service.name != LOOPBACK and any(pin.source in p for p in service.prefixes):
                yield (
                    f"the pin {pin} is right only if no other host announces the service "
                    f"{service.name}: replies go to whoever does"
                )


def _unwatched(settings: Settings) -> list[str]:
    """Return which BFD sessions are asked for and not rendered."""
    unwatched = [
        u.name
        for u in settings.uplinks
        if u.bfd is None and any(p.kind is ProbeKind.BFD for path in u.paths for p in path.gateway)
    ]
    if not unwatched:
        return []
    return [
        (
            f"{{bfd: neighbor}} asks for sessions that the rendered frr.conf does not have, over "
            f"{', '.join(unwatched)}: set bfd for the uplink, or merge them into frr.conf"
        )
    ]


def _service(settings: Settings, service: ServiceSettings) -> list[str]:
    named = "" if service.uplinks is None else f" of {', '.join(carriers(settings, service))}"
    how = (
        f"to each ToR{named} whose uplink is up"
        if settings.mode is Mode.DIRECT
        else f"with the community of each uplink{named} that is up"
    )
    if service.min_uplinks:
        how += f", while at least {service.min_uplinks} of them work"
    asked = ", ".join(str(probe) for probe in service.checks)
    if service.need < len(service.checks):
        asked = f"{service.need} of {asked}"
    return [
        f"service  {service.name}: {f'while {asked}' if asked else 'always (no checks)'}",
        *(f"  announce {prefix} {how}" for prefix in service.prefixes),
        *_attributes(service),
        *_address(service),
        *_when_down(settings, service),
        *([f"  only while up: {', '.join(service.requires)}"] if service.requires else []),
        *(
            [f"  kept by bgpd, towards every ToR{named}, while ExaBGP is gone"]
            if service.on_injector_loss is InjectorLoss.KEEP
            else []
        ),
        *([f"  flapping {_flapping(service.damping)}"] if service.damping else []),
    ]


def _address(service: ServiceSettings) -> list[str]:
    """Return what its addresses have to do with it, the host loopback's apart."""
    if not service.addresses or service.name == LOOPBACK:
        return []
    return [f"  {_ADDRESS[service.address]}"]


def _when_down(settings: Settings, service: ServiceSettings) -> Iterator[str]:
    """Return what becomes of a service that is down and not simply withdrawn."""
    if service.on_down is OnDown.WITHDRAW:
        return
    until = ""
    if service.on_down is OnDown.GUARDED:
        settle_s = settings.guarded_settle_s
        until = f", until another host's healthy path has been there for {settle_s:g} s"
    yield (
        "  while down announced as a last resort, with GRACEFUL_SHUTDOWN and our AS prepended "
        f"{LAST_RESORT_PREPEND} more times{until}"
    )
    for state, healthy in (("up", True), ("down", False)):
        yield f"  marked {guard.mark(settings.host, healthy=healthy)} while {state}"


def _attributes(service: ServiceSettings) -> list[str]:
    """Return what the routes of a service carry, and what else they do over a degraded uplink."""
    carried = [
        *(f"community {community}" for community in service.communities),
        *(f"large community {large}" for large in service.large_communities),
        *_export(service.export),
    ]
    lines = [f"  carrying {', '.join(carried)}"] if carried else []
    if service.degraded_export is not None:
        worse = ", ".join(_export(service.degraded_export))
        lines.append(f"  over a degraded uplink as well, with {worse}")
    return lines


def _export(export: Export) -> Iterator[str]:
    if export.med is not None:
        yield f"MED {export.med}"
    if export.prepend:
        yield f"our AS prepended {export.prepend} more {'times' if export.prepend > 1 else 'time'}"


def _fallback(settings: Settings) -> str:
    if not settings.fallback.enabled:
        return (
            "off: without a table and an oif rule of your own per uplink, an uplink that was "
            "withdrawn never comes back"
        )
    mptcp = "; MPTCP endpoints" if settings.fallback.mptcp else ""
    return f"on, {tables(settings)}{_defaults(settings)}{mptcp}"


def _defaults(settings: Settings) -> str:
    is_direct = settings.mode is Mode.DIRECT
    if not settings.fallback.defaults:
        return "" if is_direct else "; no defaults of last resort"
    given = ", ".join(str(address) for address in settings.fallback.source)
    what = (
        "a default per uplink, before others'"
        if is_direct
        else ("a default of last resort per uplink")
    )
    return f"; {what}, from {given or 'its own address'}"
