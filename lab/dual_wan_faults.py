"""The faults of ``dual-wan`` by name. What breaks is gw1, the gateway that is preferred."""

from __future__ import annotations

from dataclasses import replace

from lab import dual_tor, dual_wan, routes
from lab.faults import (
    BLACKHOLE,
    FAULTS,
    HEAL_BLACKHOLE,
    LOSS_PERCENT,
    Expected,
    Fault,
    Step,
    nft,
    shell,
)

_GW1, _GW2 = (frozenset({gateway}) for gateway in dual_wan.GATEWAY_BEHIND.values())
_STAYS = Expected(default=_GW1)
_MOVES = Expected(default=_GW2)

_RUN = "$(cat /run/bgphealth.pid)"

_METRIC = {"eth1": 100, "eth2": 101}


def _default(verb: str, interface: str) -> tuple[Step, ...]:
    """Return what does that to the defaults of one interface as the topology has them."""
    four, six = (dual_wan.LINK_GATEWAY[family][interface] for family in dual_tor.FAMILIES)
    source = dual_wan.LINK_ADDRESS["ipv4"][interface]
    where = f"dev {interface} metric {_METRIC[interface]}"
    lines = (
        f"-4 route {verb} default via {four} {where} proto dhcp src {source}",
        f"-6 route {verb} default via {six} {where} proto ra",
    )
    return tuple(Step(dual_tor.SERVER, ("ip", *line.split())) for line in lines)


def _at_gw1(name: str, summary: str) -> Fault:
    """Return what is made at tor2 elsewhere, made at gw1: both forward from eth1 to eth2."""
    known = FAULTS[name]
    inject, heal = (
        tuple(replace(step, node="gw1") for step in steps) for steps in (known.inject, known.heal)
    )
    return replace(
        known,
        summary=summary,
        inject=inject,
        heal=heal,
        expected=_MOVES,
        uplinks=_GW1,
        sessions_stay=False,
    )


WAN_FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            name="uplink-blackhole",
            summary="gw1 answers, and silently drops everything that it should forward",
            inject=(nft("gw1", BLACKHOLE),),
            heal=(nft("gw1", HEAL_BLACKHOLE),),
            expected=_MOVES,
            uplinks=_GW1,
            calm=True,
        ),
        _at_gw1("uplink-loss", f"gw1 silently drops {LOSS_PERCENT} % of what it should forward"),
        _at_gw1(
            "flap", "gw1 drops everything for a second, forwards for a second, again and again"
        ),
        Fault(
            name="both-uplinks",
            summary="both gateways silently drop everything that they should forward",
            inject=(nft("gw1", BLACKHOLE), nft("gw2", BLACKHOLE)),
            heal=(nft("gw1", HEAL_BLACKHOLE), nft("gw2", HEAL_BLACKHOLE)),
            expected=_STAYS,
            lasts_s=6.0,
            unmoved=True,
        ),
        Fault(
            name="link-down",
            summary="gw1's port to the server goes down",
            inject=(Step("gw1", ("ip", "link", "set", "eth1", "down")),),
            heal=(Step("gw1", ("ip", "link", "set", "eth1", "up")),),
            expected=_MOVES,
            uplinks=_GW1,
        ),
        Fault(
            name="dhcp-default-deleted",
            summary="somebody deletes the default that DHCP made through gw1",
            inject=_default("del", "eth1"),
            heal=_default("add", "eth1"),
            expected=_STAYS,
            said=frozenset({"foreign_default_gone"}),
            lossless=True,
            unmoved=True,
        ),
        Fault(
            name="defaults-deleted",
            summary="somebody deletes every default from the server's main table",
            inject=tuple(
                Step(
                    dual_tor.SERVER,
                    ("ip", family, "route", "flush", "table", "main", "exact", "default"),
                )
                for family in ("-4", "-6")
            ),
            heal=(
                *_default("add", "eth1"),
                *_default("add", "eth2"),
                Step(dual_tor.SERVER, ("ip", *routes.last_resort(dual_wan.NAME).split())),
            ),
            expected=_STAYS,
            said=frozenset({"foreign_default_gone", "kernel_changed"}),
        ),
        FAULTS["fallback-deleted"],
        Fault(
            name="helper-kill",
            summary="bgphealth is killed and started again",
            inject=(shell(dual_tor.SERVER, f"kill -9 {_RUN}"),),
            lossless=True,
            unmoved=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="helper-stop",
            summary="bgphealth is stopped for 5 s (SIGSTOP), as if its machine had been suspended",
            inject=(shell(dual_tor.SERVER, f"kill -STOP {_RUN}"),),
            heal=(shell(dual_tor.SERVER, f"kill -CONT {_RUN}"),),
            expected=_STAYS,
            lasts_s=5.0,
            still=True,
            lossless=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="drain-uplink",
            summary="no fault at all: the uplink to gw1 is drained, and used again",
            inject=(Step(dual_tor.SERVER, ("bgphealth", "drain", "uplink", "gw1")),),
            heal=(Step(dual_tor.SERVER, ("bgphealth", "undrain", "uplink", "gw1")),),
            expected=_MOVES,
            lasts_s=5.0,
            lossless=True,
            needs_bgphealth=True,
        ),
    )
}
