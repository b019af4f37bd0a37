"""The addresses that the file rests on: on the host, in the right place, and unambiguous."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.health import PathKey
from bgphealth.core.settings import LOOPBACK, Address, AddressUse, Mode
from bgphealth.doctor.finding import Finding, Kind, Severity

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings, UplinkPath, UplinkSettings
    from bgphealth.fallback.view import View

LOOPBACK_MISSING = Kind(
    "loopback_missing",
    Severity.ERROR,
    "the host loopback (`host.source`) is not on the host",
    "the kernel refuses a default whose `src` the host does not have, zebra does not say so, and "
    "what arrives for the address is dropped",
)
SERVICE_ADDRESS_MISSING = Kind(
    "service_address_missing",
    Severity.ERROR,
    "the address of a service is not on the host",
    "its prefix is not announced while what arrives for it would be dropped",
)
ADDRESS_ON_LINK = Kind(
    "address_on_link",
    Severity.WARNING,
    "the host loopback or the address of a service is on an uplink's interface alone",
    "it dies with that link, and what uses it dies on the other uplinks, too",
)
NO_PROBE_SOURCE = Kind(
    "no_probe_source",
    Severity.ERROR,
    "a path has no address to be probed from",
    "the path cannot be probed and never gets a verdict, so that nothing is announced for it",
)
NO_GATEWAY = Kind(
    "no_gateway",
    Severity.ERROR,
    "the gateway of an uplink has to be learned, and is not known",
    "without it the uplink has no table, no probe and no fallback default. It is learned from "
    "router advertisements (unnumbered links, IPv6) or from somebody's default (mode local)",
)
SEVERAL_ADDRESSES = Kind(
    "several_addresses",
    Severity.WARNING,
    "an uplink's interface has several addresses in the subnet of its ToR",
    "which one is the primary depends on the order in which they came: probes, BGP and the "
    "fallback may use another one after a reboot. In IPv4 the others go when the primary does",
)

KINDS = (
    LOOPBACK_MISSING,
    SERVICE_ADDRESS_MISSING,
    ADDRESS_ON_LINK,
    NO_PROBE_SOURCE,
    NO_GATEWAY,
    SEVERAL_ADDRESSES,
)


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with the addresses."""
    there = {a.ip for it in seen.interfaces.values() if it.enabled for a in it.addresses}
    for address in settings.host.source:
        if address not in there:
            yield LOOPBACK_MISSING.found(address, "is not on this host", _add(address))
    for service in settings.services:
        missing = [a for a in service.expected_addresses if a not in there]
        for address in missing if service.name != LOOPBACK else ():
            mend = _add(address)
            if service.address is AddressUse.ADD:
                # By hand it would never be taken away again.
                mend = "start bgphealth, which adds it (it needs CAP_NET_ADMIN)"
            yield SERVICE_ADDRESS_MISSING.found(
                address, f"is not on this host; service {service.name}", mend
            )
    yield from _on_link(settings, seen)
    yield from _probe_sources(settings, seen)
    yield from _several(settings, seen)


def _on_link(settings: Settings, seen: View) -> Iterator[Finding]:
    expected = (a for service in settings.services for a in service.expected_addresses)
    uplinks = {uplink.interface for uplink in settings.uplinks}
    for address in dict.fromkeys((*settings.host.source, *expected)):
        holders = {
            name
            for name, interface in seen.interfaces.items()
            if address in (a.ip for a in interface.addresses)
        }
        if holders and holders <= uplinks:
            yield ADDRESS_ON_LINK.found(
                address, f"is on {', '.join(sorted(holders))}, an uplink", _add(address)
            )


def _probe_sources(settings: Settings, seen: View) -> Iterator[Finding]:
    for uplink in settings.uplinks:
        interface = seen.interfaces.get(uplink.interface)
        if interface is None or not interface.enabled:
            continue
        unknown: dict[str, None] = {}
        for path in uplink.paths:
            key = PathKey(uplink.name, path.family)
            leg, why = seen.gateways[key], seen.plan.absent.get(key)
            if isinstance(leg, str):
                unknown[leg] = None
            elif why is not None:
                yield NO_PROBE_SOURCE.found(
                    f"{uplink.name} {path.family}", why, _mend(settings, uplink, path)
                )
        mend = "at the ToR: no ipv6 nd suppress-ra (FRR's name for it)"
        if settings.mode is Mode.LOCAL:
            mend = f"in the file: uplinks.{uplink.name}.gateway"
        for why in unknown:
            yield NO_GATEWAY.found(uplink.interface, why, mend)


def _mend(settings: Settings, uplink: UplinkSettings, path: UplinkPath) -> str:
    if path.probe_source is None:
        return (
            f"ip address add ADDRESS/LENGTH dev {uplink.interface}, in the subnet of "
            f"{path.neighbor}"
        )
    if settings.mode is Mode.DIRECT:
        # ExaBGP's session with the ToR ends there, too: it must be the link's own.
        return f"ip address add {path.probe_source}/LENGTH dev {uplink.interface}"
    return _add(path.probe_source)


def _several(settings: Settings, seen: View) -> Iterator[Finding]:
    for uplink in settings.uplinks:
        interface = seen.interfaces.get(uplink.interface)
        for path in uplink.paths:
            if interface is None or path.neighbor is None or path.probe_source is not None:
                continue
            inside = [a.ip for a in interface.addresses if path.neighbor in a.network]
            if len(inside) > 1:
                chosen = seen.chosen.get((uplink.name, path.family), inside[0])
                source = f"uplinks.{uplink.name}.probe_source: {{{path.family}: {chosen}}}"
                yield SEVERAL_ADDRESSES.found(
                    uplink.interface,
                    f"{', '.join(map(str, inside))} are all in the subnet of {path.neighbor}: the "
                    f"probes take {inside[0]}, the kernel chooses {chosen}",
                    None if settings.mode is Mode.LOCAL else f"in the file: {source}",
                )


def _add(address: Address) -> str:
    return (
        f"ip address add {address}/{address.max_prefixlen} dev lo"
        "  # and in what sets up this host's network"
    )
