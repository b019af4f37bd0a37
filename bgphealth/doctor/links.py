"""The uplinks' links: whether they are there and up, alike, and lead to somebody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bgphealth.core.health import PathKey
from bgphealth.core.settings import Mode
from bgphealth.core.truth import Leg
from bgphealth.doctor.finding import Finding, Kind, Severity

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings
    from bgphealth.fallback.view import View

UPLINK_ABSENT = Kind(
    "uplink_absent",
    Severity.ERROR,
    "the interface of an uplink does not exist",
    "nothing can go through this uplink, and bgphealth refuses to start",
)
UPLINK_DOWN = Kind(
    "uplink_down",
    Severity.ERROR,
    "the link of an uplink is down",
    "nothing can go through this uplink",
)
MTU_DIFFERS = Kind(
    "mtu_differs",
    Severity.WARNING,
    "the uplinks have different MTUs",
    "a flow that moves to the uplink with the smaller MTU stalls, if somebody on its way drops the "
    "ICMP errors that would tell it",
)
GATEWAY_UNRESOLVED = Kind(
    "gateway_unresolved",
    Severity.ERROR,
    "the ToR or gateway does not answer ARP or neighbor discovery",
    "nothing can be sent to it: cable, port, VLAN, a wrong address, or the router itself",
)

KINDS = (UPLINK_ABSENT, UPLINK_DOWN, MTU_DIFFERS, GATEWAY_UNRESOLVED)

_UNRESOLVED = {"incomplete", "failed"}


def judge(settings: Settings, seen: View) -> Iterator[Finding]:
    """Yield what is wrong with the links."""
    for uplink in settings.uplinks:
        interface = seen.interfaces.get(uplink.interface)
        if interface is None:
            yield UPLINK_ABSENT.found(
                uplink.interface,
                f"the interface of {uplink.name} does not exist; there are "
                f"{', '.join(sorted(seen.interfaces))}",
                f"in the file: uplinks.{uplink.name}.interface",
            )
        elif not interface.enabled:
            yield UPLINK_DOWN.found(
                uplink.interface,
                f"the interface of {uplink.name} is set down",
                f"ip link set dev {uplink.interface} up",
            )
        elif not interface.up:
            yield UPLINK_DOWN.found(uplink.interface, f"the link to {uplink.name} has no carrier")
    # LAN, WLAN and VPN need not be alike: there is one in use at a time.
    if settings.mode is not Mode.LOCAL:
        yield from _mtus(settings, seen)
    yield from _gateways(settings, seen)


def _mtus(settings: Settings, seen: View) -> Iterator[Finding]:
    names = [u.interface for u in settings.uplinks if u.interface in seen.interfaces]
    mtus = {name: seen.interfaces[name].mtu for name in names}
    counts = Counter(mtus.values())
    if len(counts) < 2:  # noqa: PLR2004 - a difference takes two
        return
    # What most have is what is meant; of two, the larger.
    usual = max(counts, key=lambda mtu: (counts[mtu], mtu))
    for name, mtu in mtus.items():
        if mtu != usual:
            yield MTU_DIFFERS.found(
                name,
                f"its MTU is {mtu}, that of other uplinks {usual}",
                f"ip link set dev {name} mtu {usual}",
            )


def _gateways(settings: Settings, seen: View) -> Iterator[Finding]:
    for uplink in settings.uplinks:
        interface = seen.interfaces.get(uplink.interface)
        if interface is None or not interface.up:
            continue
        legs = (seen.gateways[PathKey(uplink.name, path.family)] for path in uplink.paths)
        gateways = {leg.gateway for leg in legs if isinstance(leg, Leg) and leg.gateway}
        for gateway in sorted(gateways, key=str):
            # One that is not known as a neighbor was not needed for a while.
            state = seen.neighbors.get((interface.index, gateway))
            if state in _UNRESOLVED:
                yield GATEWAY_UNRESOLVED.found(
                    uplink.interface, f"{gateway}, the address of {uplink.name}, is {state}"
                )
