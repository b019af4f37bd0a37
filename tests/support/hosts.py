"""Hosts to decide about: plain settings and the events that happen to them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.events import PathProbed, ServiceChecked, Verdict
from bgphealth.core.settings import (
    AllDown,
    Damping,
    Export,
    FallbackSettings,
    Family,
    HostSettings,
    InjectorLoss,
    Mode,
    OnDown,
    ProbeKind,
    ProbeSettings,
    Quality,
    Role,
    ServiceSettings,
    Settings,
    Threshold,
    Timing,
    UplinkPath,
    UplinkSettings,
)

WITH_BGP = (Mode.FRR, Mode.DIRECT)
FALL, RISE = 3, 10
CHECK_FALL, CHECK_RISE = 2, 4
WINDOW = 50
SETTLE_S = 10.0
GUARDED_SETTLE_S = 5.0
TARGETS = {
    Family.IPV4: ("198.51.100.1", "198.51.100.2"),
    Family.IPV6: ("2001:db8:100::1", "2001:db8:100::2"),
}
CHECK = ProbeSettings(ProbeKind.TCP, ip_address("192.0.2.53"), 53)


def _ping(address: str) -> ProbeSettings:
    return ProbeSettings(ProbeKind.ICMP, ip_address(address))


def path(number: int, family: Family, *, need: int = 1) -> UplinkPath:
    neighbor = f"10.0.{number}.0" if family is Family.IPV4 else f"2001:db8:{number}::"
    return UplinkPath(
        family=family,
        neighbor=ip_address(neighbor),
        next_hop=ip_address(neighbor),
        probe_source=None,
        gateway=(_ping(neighbor),),
        beyond=tuple(_ping(target) for target in TARGETS[family]),
        beyond_need=need,
    )


def unnumbered_path(number: int, family: Family) -> UplinkPath:
    v4 = family is Family.IPV4
    tor = f"10.255.0.{number}" if v4 else f"2001:db8:ff::{number}"
    return UplinkPath(
        family=family,
        neighbor=None,
        next_hop=ip_address(tor),
        probe_source=ip_address(f"10.255.11.{number}" if v4 else f"2001:db8:11:{number}::1"),
        gateway=(_ping(tor),),
        beyond=tuple(_ping(target) for target in TARGETS[family]),
        beyond_need=1,
    )


def unnumbered_host(
    uplinks: int = 2, families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
) -> Settings:
    """Return the same host with unnumbered links."""
    numbered = host(uplinks, families)
    return replace(
        numbered,
        uplinks=tuple(
            replace(u, paths=tuple(unnumbered_path(u.number, family) for family in families))
            for u in numbered.uplinks
        ),
    )


def learning_host(
    uplinks: int = 2, families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
) -> Settings:
    """Return a host in local mode whose gateways are not in the file; it asks them all the same."""
    given = host(uplinks, families, mode=Mode.LOCAL)
    ping = (ProbeSettings(ProbeKind.ICMP),)
    return replace(
        given,
        uplinks=tuple(
            replace(u, paths=tuple(replace(p, neighbor=None, gateway=ping) for p in u.paths))
            for u in given.uplinks
        ),
        fallback=replace(given.fallback, defaults=True),
    )


def host(  # noqa: PLR0913 - what of a host a test may choose
    uplinks: int = 2,
    families: tuple[Family, ...] = (Family.IPV4,),
    *,
    need: int = 1,
    all_down: AllDown = AllDown.KEEP_LAST,
    mode: Mode = Mode.FRR,
    loss: InjectorLoss = InjectorLoss.WITHDRAW,
    on_down: OnDown = OnDown.WITHDRAW,
    damping: Damping | None = None,
) -> Settings:
    """Return a host with N uplinks, its loopback, and one checked service called dns."""
    v6 = Family.IPV6 in families
    kept = loss if mode is Mode.FRR else InjectorLoss.WITHDRAW
    loopback = ["10.255.10.1/32", *(["2001:db8:10::1/128"] if v6 else [])]
    service = ["192.0.2.53/32", *(["2001:db8::53/128"] if v6 else [])]
    return Settings(
        mode=mode,
        host=HostSettings(
            asn=65101,
            router_id=IPv4Address("10.255.10.1"),
            source=tuple(ip_network(prefix).network_address for prefix in loopback),
            community_asn=65101,
            discard_next_hop=(ip_address("192.0.0.8"), ip_address("100::1")),
            injector=IPv4Address("127.0.0.2"),
        ),
        uplinks=tuple(
            UplinkSettings(
                name=f"tor{n}",
                number=n,
                interface=f"eth{n}",
                neighbor_asn=65000 + n,
                paths=tuple(path(n, family, need=need) for family in families),
                password_file=None,
                ttl_security=False,
            )
            for n in range(1, uplinks + 1)
        ),
        path_timing=Timing(0.2, 0.2, fall=FALL, rise=RISE),
        suspect_interval_s=0.025,
        quality=Quality(WINDOW, Threshold(0.10, 0.05), Threshold(0.1, 0.05)),
        damping=damping,
        services=(
            ServiceSettings(
                "loopback",
                tuple(ip_network(p) for p in loopback),
                (),
                0,
                Timing(1, 1, 3, 3),
                None,
                kept,
            ),
            ServiceSettings(
                "dns",
                tuple(ip_network(p) for p in service),
                (CHECK,),
                1,
                Timing(1, 1, fall=CHECK_FALL, rise=CHECK_RISE),
                damping,
                kept,
                on_down,
            ),
        ),
        all_down=all_down,
        drain_settle_s=SETTLE_S,
        guarded_settle_s=GUARDED_SETTLE_S,
        fallback=FallbackSettings(enabled=True, table=17900, rule_priority=1790),
        control_socket=None,
    )


def service(  # noqa: PLR0913 - what of a service a test may choose
    name: str,
    *prefixes: str,
    uplinks: frozenset[str] | None = None,
    min_uplinks: int = 0,
    requires: tuple[str, ...] = (),
    export: Export = Export(),  # noqa: B008 - a tuple
    degraded: Export | None = None,
    on_down: OnDown = OnDown.WITHDRAW,
) -> ServiceSettings:
    """Return a service without checks, with a community of each kind."""
    return ServiceSettings(
        name,
        tuple(ip_network(prefix) for prefix in prefixes),
        (),
        0,
        Timing(1, 1, 3, 3),
        damping=None,
        on_injector_loss=InjectorLoss.WITHDRAW,
        on_down=on_down,
        uplinks=uplinks,
        min_uplinks=min_uplinks,
        requires=requires,
        communities=(Community(65000, 100),),
        large_communities=(LargeCommunity(65101, 1, 1),),
        export=export,
        degraded_export=degraded,
    )


def probed(
    uplink: UplinkSettings, role: Role, index: int, verdict: Verdict, at: float = 0.0
) -> PathProbed:
    """Return the answer of one probe of an uplink's first path."""
    first = uplink.paths[0]
    probe = (first.gateway if role is Role.GATEWAY else first.beyond)[index]
    detail = "" if verdict is Verdict.OK else "no answer within 200 ms"
    return PathProbed(at, uplink.name, first.family, role, probe, verdict, detail)


def round_of(uplink: UplinkSettings, verdict: Verdict, at: float = 0.0) -> list[PathProbed]:
    """Return one answer of every probe of all the paths of an uplink."""
    return [
        PathProbed(at, uplink.name, p.family, role, probe, verdict, "")
        for p in uplink.paths
        for role, probes in ((Role.GATEWAY, p.gateway), (Role.BEYOND, p.beyond))
        for probe in probes
    ]


def checked(verdict: Verdict, at: float = 0.0) -> ServiceChecked:
    """Return the answer of the service's check."""
    return ServiceChecked(at, "dns", CHECK, verdict, "" if verdict is Verdict.OK else "refused")
