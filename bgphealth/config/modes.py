"""What a mode demands of the file, or cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgphealth.config.fields import label
from bgphealth.config.problems import shown, there_is_no
from bgphealth.core.settings import ProbeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.config.checks import Finding, Parts
    from bgphealth.config.model import Uplink

_ASKS_FRR = (ProbeKind.BFD, ProbeKind.BGP)

_FRR_ONLY_OF_HOST = ("community_asn", "discard_next_hop", "injector", "on_injector_loss")
"""They are about the host's own bgpd, and ExaBGP's session with it."""


def only_frr(parts: Parts) -> Iterator[Finding]:
    """Refuse what only FRR can do, where there is no FRR: it would not do what it says."""
    if not parts.is_direct:
        return
    for key in _FRR_ONLY_OF_HOST:
        if parts.host is not None and key in parts.host.model_fields_set:
            yield ("host", key), "is for mode frr only; there is no bgpd on this host: remove it"
    for name, service in parts.services.items():
        if "on_injector_loss" in service.model_fields_set:
            yield (
                ("services", name, "on_injector_loss"),
                "is for mode frr only; there is no bgpd on this host: remove it",
            )
    for name, uplink in parts.uplinks.items():
        if uplink.next_hop is not None and uplink.neighbor is not None:
            yield (
                ("uplinks", name, "next_hop"),
                "is for mode frr only; in mode direct no default is announced: remove it",
            )
    for index, gateway in enumerate(parts.paths.gateway if parts.paths else ()):
        if (kind := gateway.probe.kind) in _ASKS_FRR:
            yield (
                ("paths", "gateway", index, kind.value),
                (
                    "asks the host's own FRR, which mode direct does without; ask the ToR itself: "
                    "{icmp: neighbor}"
                ),
            )


def direct(parts: Parts) -> Iterator[Finding]:
    """Demand what ExaBGP must know of a session before it starts."""
    if not parts.is_direct:
        return
    for name, uplink in parts.uplinks.items():
        if uplink.neighbor_asn is None:
            yield (
                ("uplinks", name, "neighbor_asn"),
                "external is for mode frr only; ExaBGP must be told the ToR's AS number",
            )
        if uplink.neighbor is None:
            yield (
                ("uplinks", name, "neighbor"),
                (
                    "unnumbered is for mode frr only; ExaBGP has no sessions between link-local "
                    "addresses: give the link addresses, and here the ToR's, for example 10.0.1.0"
                ),
            )
        else:
            yield from _local_addresses(name, uplink)


def _local_addresses(name: str, uplink: Uplink) -> Iterator[Finding]:
    have = uplink.probe_source.families if uplink.probe_source else ()
    for family in uplink.families:
        if family not in have:
            yield (
                ("uplinks", name, "probe_source", family.value),
                (
                    f"is required in mode direct: this host's own {label(family)} address on the "
                    "link, from which ExaBGP speaks to the ToR and the path is probed"
                ),
            )


def session_options(parts: Parts) -> Iterator[Finding]:
    """Refuse what a session between link-local addresses has not been tried with."""
    for name, uplink in parts.uplinks.items():
        if uplink.neighbor is not None:
            continue
        for key in ("password_file", "ttl_security"):
            if key in uplink.model_fields_set:
                yield ("uplinks", name, key), "needs a neighbor with an address, not unnumbered"


def bfd(parts: Parts) -> Iterator[Finding]:
    """Refuse BFD without FRR, and the name of a profile that is none."""
    if parts.is_direct:
        asked = [
            ("uplinks", name, "bfd") for name, u in parts.uplinks.items() if u.bfd is not False
        ]
        for at in [("bfd",), *asked] if parts.bfd_profiles else asked:
            yield at, "is for mode frr only; ExaBGP has no BFD: remove it"
        return
    for name, uplink in parts.uplinks.items():
        if isinstance(uplink.bfd, str) and uplink.bfd not in parts.bfd_profiles:
            none = f"there is no {shown(uplink.bfd)}, nor any other under bfd at the top"
            missing = there_is_no(uplink.bfd, parts.bfd_profiles) if parts.bfd_profiles else none
            yield (
                ("uplinks", name, "bfd"),
                f"must be true, false or the name of a profile; {missing}",
            )
