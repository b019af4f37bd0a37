"""The sysctls of the network namespace that forwarding, filtering and ECMP hang on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

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
_ACCEPT_AND_FORWARD = 2
_OF_BOTH = "the larger one of the interface's own and that of all counts"


class _Wrong(NamedTuple):
    """One sysctl of one uplink that should have the value `right`."""

    kind: Kind
    path: str
    found: str
    right: int


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with the sysctls; one that this kernel does not have is right."""
    wrong: dict[Kind, list[tuple[str, _Wrong]]] = {}
    for uplink in settings.uplinks:
        # One that does not exist has none, and that is said already.
        if uplink.interface in seen.interfaces:
            for each in _of_uplink(settings, seen, uplink):
                wrong.setdefault(each.kind, []).append((uplink.interface, each))
    for kind, those in wrong.items():
        subject = ", ".join(dict.fromkeys(interface for interface, _ in those))
        found = "; ".join(dict.fromkeys(each.found for _, each in those))
        yield kind.found(subject, found, sysctl({each.path: each.right for _, each in those}))
    yield from _of_all(settings, seen)


def _of_all(settings: Settings, seen: View) -> Iterator[Finding]:
    if len(settings.uplinks) == 1:
        return
    for family in settings.families:
        uplinks = [u.interface for u in settings.uplinks]
        forwarding = [name for name in uplinks if _value(seen, family, name, "forwarding") == 1]
        if len(forwarding) > 1:
            name = "ipv4/ip_forward" if family is Family.IPV4 else "ipv6/conf/all/forwarding"
            said = f"forwarding is on ({', '.join(forwarding)})"
            yield FORWARDING.found(family, said, sysctl({name: 0}))
        policy = f"{family}/fib_multipath_hash_policy"
        # In mode local there is one default in use.
        if settings.mode is not Mode.LOCAL and seen.sysctls.get(policy) == "0":
            yield MULTIPATH_HASH.found(
                family, "fib_multipath_hash_policy is 0", sysctl({policy: 1})
            )


def _of_uplink(settings: Settings, seen: View, uplink: UplinkSettings) -> Iterator[_Wrong]:
    families = {path.family for path in uplink.paths}
    if Family.IPV4 in families:
        yield from _ipv4(settings, seen, uplink)
    if Family.IPV6 in families:
        yield from _ipv6(settings, seen, uplink)
    if settings.fallback.enabled and settings.fallback.defaults:
        for family in sorted(families):
            if _value(seen, family, uplink.interface, LINKDOWN.word) == 0:
                path = _path(family, uplink, LINKDOWN.word)
                yield _Wrong(LINKDOWN, path, f"{LINKDOWN.word} is 0 ({family})", 1)


def _ipv4(settings: Settings, seen: View, uplink: UplinkSettings) -> Iterator[_Wrong]:
    name, family = uplink.interface, Family.IPV4
    if _larger(seen, family, name, RP_FILTER.word) == _STRICT:
        path = _path(family, uplink, RP_FILTER.word)
        yield _Wrong(RP_FILTER, path, f"{RP_FILTER.word} is 1: {_OF_BOTH}", _LOOSE)
    if uplink.is_unnumbered or not any(s.expected_addresses for s in settings.services):
        return
    for kind, right in ((ARP_IGNORE, 1), (ARP_ANNOUNCE, 2)):
        if _larger(seen, family, name, kind.word) == 0:
            path = _path(family, uplink, kind.word)
            yield _Wrong(kind, path, f"{kind.word} is 0: {_OF_BOTH}", right)


def _ipv6(settings: Settings, seen: View, uplink: UplinkSettings) -> Iterator[_Wrong]:
    name, family = uplink.interface, Family.IPV6
    accepts = _value(seen, family, name, ACCEPT_RA.word) or 0
    forwards = _value(seen, family, name, "forwarding")
    takes = accepts >= _ACCEPT_AND_FORWARD or (accepts and not forwards)
    if settings.mode is Mode.FRR and takes and _value(seen, family, name, "accept_ra_defrtr"):
        said = f"{ACCEPT_RA.word} is {accepts}, and accept_ra_defrtr 1"
        yield _Wrong(ACCEPT_RA, _path(family, uplink, ACCEPT_RA.word), said, 0)
    if not uplink.is_unnumbered and _larger(seen, family, name, KEEP_ADDRESS.word) == 0:
        path = _path(family, uplink, KEEP_ADDRESS.word)
        yield _Wrong(KEEP_ADDRESS, path, f"{KEEP_ADDRESS.word} is 0, and that of all", 1)


def _value(seen: View, family: Family, interface: str, key: str) -> int | None:
    text = seen.sysctls.get(f"{family}/conf/{interface}/{key}")
    return None if text is None else int(text)


def _larger(seen: View, family: Family, interface: str, key: str) -> int | None:
    """Return the value that counts: the larger one of the interface's and that of all."""
    values = (_value(seen, family, name, key) for name in ("all", interface))
    return max((value for value in values if value is not None), default=None)


def _path(family: Family, uplink: UplinkSettings, key: str) -> str:
    return f"{family}/conf/{uplink.interface}/{key}"
