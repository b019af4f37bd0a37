"""The faults by name: how each is made and healed, and what must hold while it lasts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import dual_tor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.driver import Driver

BLACKHOLE = """\
table inet lab_fault {
    chain forward { type filter hook forward priority filter; policy drop; }
}
"""
"""A ToR that is alive but useless: it forwards nothing and says nothing. Its own sessions go on."""

HEAL_BLACKHOLE = "delete table inet lab_fault"

LOSS_PERCENT = 30

_LOSSY = f"""\
table inet lab_fault {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname {{ "eth2", "eth3" }} numgen random mod 100 < {LOSS_PERCENT} drop
    }}
}}
"""
"""Each packet by itself, towards core or spines: of what needs an answer, so much is lost."""

FLAPS = 5
_FLAP = """\
trap "nft delete table inet lab_fault; exit" TERM
while :; do
    nft -f /run/lab-fault.nft
    sleep 1 & wait $!
    nft delete table inet lab_fault
    sleep 1 & wait $!
done
"""
"""A second dark, a second light: shorter than it takes to believe that a path is up again. It goes
on until it is healed: while a large topology is looked at, it may not have ended by itself."""

_HELPER = "$(cat /proc/$(cat /run/exabgp.pid)/task/*/children)"
_KILL_HELPER = f"kill -9 {_HELPER}"
_KILL_FRR = "kill -9 $(cat /run/frr/watchfrr.pid) && kill -9 $(cat /run/frr/[!w]*.pid)"


@dataclass(frozen=True, slots=True)
class Step:
    """A command in a node."""

    node: str
    arguments: tuple[str, ...]


def shell(node: str, script: str) -> Step:
    """Return a step that is a line for the shell."""
    return Step(node, ("sh", "-c", script))


@dataclass(frozen=True, slots=True)
class Expected:
    """The ToRs that each route uses while the fault lasts; None where nothing is promised."""

    default: frozenset[str] | None = None
    service: frozenset[str] | None = None
    loopback: frozenset[str] | None = None

    def __bool__(self) -> bool:
        """Return whether anything is promised."""
        return any(item is not None for item in (self.default, self.service, self.loopback))


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Without `heal` it must mend itself."""

    name: str
    summary: str
    inject: tuple[Step, ...]
    heal: tuple[Step, ...] = ()
    expected: Expected = Expected()
    uplinks: frozenset[str] = frozenset()
    """The ToRs that bgphealth should judge down, and that routes should leave."""
    verdict: str = "down"
    """How it should judge them."""
    sessions_stay: bool = False
    """Whether every BGP session of the ToRs must stay established."""
    lasts_s: float = 0.0
    """How long it lasts at least: for what must still hold after a while."""
    calm: bool = False
    """Whether each path must change its verdict once at most, and no flow must lose anything more
    when the routes have moved, until the healing."""
    still: bool = False
    """Whether nothing at all must change: no verdict, no route."""
    lossless: bool = False
    """Whether no flow may lose anything, from the first datagram to the last."""
    said: frozenset[str] = frozenset()
    """Events that bgphealth must log meanwhile: what was done to it, or to what it relies on."""
    unmoved: bool = False
    """Whether no route may change until the healing."""
    keeps_default: bool = False
    """Whether the server must have some default at every moment, that carries new connections."""
    withdrawn: frozenset[str] = frozenset()
    """What must not stay announced, since who announces it is gone for a while: kinds of routes."""
    kills_frr: frozenset[str] = frozenset()
    """The nodes whose FRR is dead while it lasts: they say nothing of what they hold."""
    needs_bgphealth: bool = False
    """Whether there is nothing to make it with where bgphealth does not run."""


_BOTH = frozenset(dual_tor.TOR_BEHIND.values())
_TOR1 = frozenset({"tor1"})
_TOR2 = frozenset({"tor2"})
_NONE: frozenset[str] = frozenset()
_OVER_TOR1 = Expected(default=_TOR1, service=_TOR1, loopback=_TOR1)
_INJECTED = frozenset({"service", "default"})
_ALL_OF_BGP = frozenset({"service", "loopback", "default"})


def nft(node: str, script: str) -> Step:
    """Return a step that tells the packet filter something."""
    return Step(node, ("nft", script))


def _addresses(verb: str) -> tuple[Step, ...]:
    """Return what does that to the service's addresses."""
    return tuple(
        Step(dual_tor.SERVER, ("ip", "addr", verb, address, "dev", "lo"))
        for address in dual_tor.SERVICE.values()
    )


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            name="uplink-blackhole",
            summary="tor2 silently drops everything that it should forward; its BGP stays up",
            inject=(nft("tor2", BLACKHOLE),),
            heal=(nft("tor2", HEAL_BLACKHOLE),),
            expected=_OVER_TOR1,
            uplinks=_TOR2,
            sessions_stay=True,
        ),
        Fault(
            name="uplink-loss",
            summary=f"tor2 silently drops {LOSS_PERCENT} % of what it should forward to the core",
            inject=(nft("tor2", _LOSSY),),
            heal=(nft("tor2", HEAL_BLACKHOLE),),
            expected=_OVER_TOR1,
            uplinks=_TOR2,
            verdict="degraded",
            sessions_stay=True,
            lasts_s=20.0,
            calm=True,
        ),
        Fault(
            name="flap",
            summary="tor2 drops everything for a second, forwards for a second, again and again",
            inject=(
                shell("tor2", f"printf '%s' '{BLACKHOLE}' >/run/lab-fault.nft"),
                shell(
                    "tor2",
                    f"setsid sh -c '{_FLAP}' >/dev/null 2>&1 </dev/null & "
                    "echo $! >/run/lab-flap.pid",
                ),
            ),
            heal=(shell("tor2", "kill $(cat /run/lab-flap.pid)"),),
            expected=_OVER_TOR1,
            uplinks=_TOR2,
            sessions_stay=True,
            lasts_s=2.0 * FLAPS,
            calm=True,
        ),
        Fault(
            name="both-uplinks",
            summary="both ToRs silently drop everything that they should forward",
            inject=(nft("tor1", BLACKHOLE), nft("tor2", BLACKHOLE)),
            heal=(nft("tor1", HEAL_BLACKHOLE), nft("tor2", HEAL_BLACKHOLE)),
            sessions_stay=True,
        ),
        Fault(
            name="link-down",
            summary="tor2's port to the server goes down",
            inject=(Step("tor2", ("ip", "link", "set", "eth1", "down")),),
            heal=(Step("tor2", ("ip", "link", "set", "eth1", "up")),),
            expected=_OVER_TOR1,
            uplinks=_TOR2,
        ),
        Fault(
            name="service-down",
            summary="the service on the server dies",
            inject=(shell(dual_tor.SERVER, "kill -9 $(cat /run/service.pid)"),),
            heal=(
                shell(
                    dual_tor.SERVER,
                    "setsid /etc/lab/run-service >>/var/log/service.log 2>&1 </dev/null &",
                ),
            ),
            expected=Expected(default=_BOTH, service=_NONE, loopback=_BOTH),
            sessions_stay=True,
        ),
        Fault(
            name="address-deleted",
            summary="the service's addresses are deleted from the server; it runs on",
            inject=_addresses("del"),
            heal=_addresses("add"),
            expected=Expected(default=_BOTH, service=_NONE, loopback=_BOTH),
            sessions_stay=True,
        ),
        Fault(
            name="tor-crash",
            summary="all of tor2's daemons are killed",
            inject=(shell("tor2", _KILL_FRR),),
            heal=(Step("tor2", ("/etc/lab/start-frr",)),),
            expected=Expected(service=_TOR1, loopback=_TOR1),
            uplinks=_TOR2,
            kills_frr=_TOR2,
        ),
        Fault(
            name="helper-kill",
            summary="bgphealth is killed and started again",
            inject=(shell(dual_tor.SERVER, _KILL_HELPER),),
            lossless=True,
            unmoved=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="helper-stop",
            summary="bgphealth is stopped for 5 s (SIGSTOP), as if its machine had been suspended",
            inject=(shell(dual_tor.SERVER, f"kill -STOP {_HELPER}"),),
            heal=(shell(dual_tor.SERVER, f"kill -CONT {_HELPER}"),),
            expected=Expected(default=_BOTH, service=_BOTH, loopback=_BOTH),
            sessions_stay=True,
            lasts_s=5.0,
            still=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="exabgp-stop",
            summary="ExaBGP is stopped for 5 s (SIGSTOP): less than the session's hold time",
            # Goes on by itself: however long looking takes, the hold time must not pass.
            inject=(
                shell(
                    dual_tor.SERVER,
                    "pid=$(cat /run/exabgp.pid); kill -STOP $pid; "
                    'setsid sh -c "sleep 5; kill -CONT $pid" >/dev/null 2>&1 </dev/null &',
                ),
            ),
            heal=(shell(dual_tor.SERVER, "kill -CONT $(cat /run/exabgp.pid)"),),
            expected=Expected(default=_BOTH, service=_BOTH, loopback=_BOTH),
            sessions_stay=True,
            lasts_s=5.0,
            still=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="exabgp-kill",
            summary="ExaBGP is killed and started again",
            inject=(shell(dual_tor.SERVER, "kill -9 $(cat /run/exabgp.pid)"),),
            withdrawn=_INJECTED,
            needs_bgphealth=True,
        ),
        Fault(
            name="drain-uplink",
            summary="no fault at all: the uplink to tor2 is drained, and used again",
            inject=(Step(dual_tor.SERVER, ("bgphealth", "drain", "uplink", "tor2")),),
            heal=(Step(dual_tor.SERVER, ("bgphealth", "undrain", "uplink", "tor2")),),
            expected=_OVER_TOR1,
            sessions_stay=True,
            lasts_s=14.0,
            lossless=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="fallback-deleted",
            summary="somebody deletes bgphealth's fallback defaults from the server's main table",
            inject=tuple(
                Step(
                    dual_tor.SERVER,
                    ("ip", family, "route", "flush", "table", "main", "proto", "179"),
                )
                for family in ("-4", "-6")
            ),
            lossless=True,
            needs_bgphealth=True,
        ),
        Fault(
            name="bgpd-kill",
            summary="the server's bgpd is killed; FRR's watchdog starts it again",
            inject=(shell(dual_tor.SERVER, "kill -9 $(cat /run/frr/bgpd.pid)"),),
            withdrawn=_ALL_OF_BGP,
        ),
        Fault(
            name="frr-restart",
            summary="the server's FRR is restarted, all of its daemons, as an operator would",
            # Nobody else's output: what is restarted keeps its pipes open for good.
            inject=(
                shell(
                    dual_tor.SERVER,
                    "/usr/lib/frr/frrinit.sh restart >>/var/log/frr/start.log 2>&1",
                ),
            ),
            keeps_default=True,
            withdrawn=_ALL_OF_BGP,
            needs_bgphealth=True,
        ),
    )
}


def run_steps(driver: Driver, steps: Sequence[Step]) -> None:
    """Run the commands of a fault, or of its healing: those of a node in order, nodes side by side.

    Raises:
        LabError: One failed.
    """
    by_node: dict[str, list[Step]] = {}
    for step in steps:
        by_node.setdefault(step.node, []).append(step)

    def run(of_node: Sequence[Step]) -> None:
        for step in of_node:
            driver.run(step.node, step.arguments)

    # At once: of two uplinks that fail together none may fail first because a command takes long.
    with ThreadPoolExecutor(max_workers=max(1, len(by_node))) as pool:
        list(pool.map(run, by_node.values()))
