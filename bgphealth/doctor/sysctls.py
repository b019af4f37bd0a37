"""The sysctls of the network namespace that forwarding, filtering and ECMP hang on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.settings import Family, Mode
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.words import sysctl

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings, UplinkSettings
    from bgphealth.fallback.view import View

RP_FILTER = Kind(
    "rp_filter",
    Severity.WARNING,
    "reverse path filtering is strict on an uplink",
    "while the default leads through another uplink, the kernel drops what comes in here, the "
    "probes' answers too: an uplink that fails once never comes back",
)
ARP_IGNORE = Kind(
    "arp_ignore",
    Severity.WARNING,
    "the host answers ARP on its uplinks for the addresses on `lo`",
    "whoever is on the link can reach a service there without BGP, withdrawn or not",
)
ARP_ANNOUNCE = Kind(
    "arp_announce",
    Severity.WARNING,
    "the host asks for the ToR's link-layer address with an address on `lo` as the sender",
    "that address is not in the link's subnet: some routers do not answer, others learn a service "
    "address as a neighbor on the link",
)
FORWARDING = Kind(
    "forwarding",
    Severity.WARNING,
    "the host forwards between its uplinks",
    "it is a way from one ToR to the other for whoever routes into it: a server is no transit. A "
    "host of containers or virtual machines has to forward: `--ignore forwarding`",
)
MULTIPATH_HASH = Kind(
    "multipath_hash",
    Severity.WARNING,
    "ECMP is by addresses alone",
    "all flows between two hosts take one uplink, and move together when it fails",
)
ACCEPT_RA = Kind(
    "accept_ra",
    Severity.WARNING,
    "the kernel takes a default from router advertisements on an uplink",
    "its metric is 1024, which is distance 0 to zebra: with the first advertisement BGP's default "
    "is taken out of the kernel",
)
LINKDOWN = Kind(
    "ignore_routes_with_linkdown",
    Severity.WARNING,
    "a fallback default is used although its link has no carrier",
    "when FRR or bgphealth is gone, nobody else takes it away: everything is sent into a dead link",
)
KEEP_ADDRESS = Kind(
    "keep_addr_on_down",
    Severity.WARNING,
    "an uplink's IPv6 address goes away when the interface is set down",
    "set up again it has none, the session and the probes of that path stay down until somebody "
    "adds it",
)

KINDS = (
    RP_FILTER,
    ARP_IGNORE,
    ARP_ANNOUNCE,
    FORWARDING,
    MULTIPATH_HASH,
    ACCEPT_RA,
    LINKDOWN,
    KEEP_ADDRESS,
)

_STRICT, _LOOSE = 1, 2
_ADDRESS_OF_INTERFACE = 1
_BEST_ADDRESS = 2
_ACCEPT_AND_FORWARD = 2


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with the sysctls; one that this kernel does not have is right."""
    for uplink in settings.uplinks:
        # One that does not exist has none, and that is said already.
        if uplink.interface in seen.interfaces:
            yield from _of_uplink(settings, seen, uplink)
    several = len(settings.uplinks) > 1
    for family in settings.families:
        forwards = sum(
            _value(seen, family, u.interface, "forwarding") == 1 for u in settings.uplinks
        )
        if several and forwards > 1:
            name = "ipv4/ip_forward" if family is Family.IPV4 else "ipv6/conf/all/forwarding"
            yield FORWARDING.found(family, f"{forwards} uplinks forward", sysctl(name, 0))
        policy = f"{family}/fib_multipath_hash_policy"
        if several and seen.sysctls.get(policy) == "0":
            yield MULTIPATH_HASH.found(family, f"net/{policy} is 0", sysctl(policy, 1))


def _of_uplink(settings: Settings, seen: View, uplink: UplinkSettings) -> Iterator[Finding]:
    name = uplink.interface
    families = {path.family for path in uplink.paths}
    if Family.IPV4 in families:
        strict = _larger(seen, name, "rp_filter")
        if strict == _STRICT:
            said = f"rp_filter of {name} or of all is 1, and none is 2"
            yield RP_FILTER.found(name, said, _set(Family.IPV4, name, "rp_filter", _LOOSE))
    if Family.IPV4 in families and not uplink.is_unnumbered and _on_loopback(settings):
        for kind, right in ((ARP_IGNORE, _ADDRESS_OF_INTERFACE), (ARP_ANNOUNCE, _BEST_ADDRESS)):
            if _larger(seen, name, kind.word) == 0:
                said = f"{kind.word} of {name} and of all is 0"
                yield kind.found(name, said, _set(Family.IPV4, name, kind.word, right))
    if Family.IPV6 in families:
        yield from _ipv6(settings, seen, uplink)
    if settings.fallback.enabled and settings.fallback.defaults:
        for family in sorted(families):
            if _value(seen, family, name, LINKDOWN.word) == 0:
                said = f"{LINKDOWN.word} of {name} is 0 ({family})"
                yield LINKDOWN.found(name, said, _set(family, name, LINKDOWN.word, 1))


def _ipv6(settings: Settings, seen: View, uplink: UplinkSettings) -> Iterator[Finding]:
    name, family = uplink.interface, Family.IPV6
    accepts = _value(seen, family, name, "accept_ra") or 0
    forwards = _value(seen, family, name, "forwarding")
    takes = accepts >= _ACCEPT_AND_FORWARD or (accepts and not forwards)
    if settings.mode is Mode.FRR and takes and _value(seen, family, name, "accept_ra_defrtr"):
        said = f"accept_ra of {name} is {accepts}"
        yield ACCEPT_RA.found(name, said, _set(family, name, "accept_ra", 0))
    if not uplink.is_unnumbered and _larger(seen, name, KEEP_ADDRESS.word, family) == 0:
        said = f"{KEEP_ADDRESS.word} of {name} and of all is 0"
        yield KEEP_ADDRESS.found(name, said, _set(family, name, KEEP_ADDRESS.word, 1))


def _on_loopback(settings: Settings) -> bool:
    return any(service.expected_addresses for service in settings.services)


def _value(seen: View, family: Family, interface: str, key: str) -> int | None:
    text = seen.sysctls.get(f"{family}/conf/{interface}/{key}")
    return None if text is None else int(text)


def _larger(seen: View, interface: str, key: str, family: Family = Family.IPV4) -> int | None:
    """Return the value that counts: the larger one of the interface's and that of all."""
    values = (_value(seen, family, name, key) for name in ("all", interface))
    return max((value for value in values if value is not None), default=None)


def _set(family: Family, interface: str, key: str, value: int) -> str:
    return sysctl(f"{family}/conf/{interface}/{key}", value)
