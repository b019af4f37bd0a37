"""What bgpd and the kernel lose or keep behind bgphealth's back, with the real FRR and ExaBGP."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import convergence
from tests.network.facts.laboratory import (
    EXABGP_LOG,
    FAMILIES,
    FILE,
    INJECTOR,
    IPV4,
    IPV6,
    NAME_COMMAND,
    Lab,
    running,
)
from tests.network.short_rounds import ROUND_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespaces import NamespaceDriver

PROGRAM = f"{sys.executable} {Path(__file__).with_name('short_rounds.py')}"
MANAGER_LOG = "/var/log/manager.log"
MANAGER = f"{sys.executable} {Path(__file__).with_name('manager.py')} /run/notify"
START = (
    NAME_COMMAND,
    f"sh -c 'setsid {MANAGER} >{MANAGER_LOG} 2>&1 </dev/null &'",
    f"bgphealth -c {FILE} render frr -o /etc/frr",
    f"bgphealth -c {FILE} render exabgp -o /etc/exabgp --program '{PROGRAM}'",
    "sh -c 'setsid /etc/lab/run-service >/var/log/service.log 2>&1 </dev/null &'",
    "/etc/lab/start-frr",
    (
        "sh -c 'NOTIFY_SOCKET=/run/notify setsid /etc/lab/run-exabgp "
        ">>/var/log/exabgp.log 2>&1 </dev/null &'"
    ),
)
SERVICE = "192.0.2.53/32"
MISSING, DIFFERS, STALE, UNUSED = "missing", "differs", "stale", "unused"
HELPER = "helper=$(cat /proc/$(cat /run/exabgp.pid)/task/*/children | tr -d ' ')"
BEHIND_ITS_BACK = f"""\
{HELPER}
printf '%s\\n' "$@" >/proc/$helper/fd/3
"""
"""bgphealth keeps its way to ExaBGP as its descriptor 3, the first that it opens."""


class Loop:
    """The lab, and what bgphealth logged since the test began."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._skip = len(self.log())

    def log(self) -> list[dict[str, Any]]:
        lines = self.lab.log(EXABGP_LOG).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, name: str, **fields: str) -> list[dict[str, Any]]:
        return [
            event
            for event in self.log()[self._skip :]
            if event["event"] == name and fields.items() <= event.items()
        ]

    def wait(self, name: str, **fields: str) -> dict[str, Any]:
        """Wait for an event and return it."""
        self.lab.eventually(f"{name} {fields}", lambda: bool(self.events(name, **fields)))
        return self.events(name, **fields)[0]

    def say(self, *lines: str) -> None:
        """Have ExaBGP read commands as if bgphealth had written them."""
        self.lab.server("sh", "-c", BEHIND_ITS_BACK, "sh", *lines)

    def injected(self, prefix: str) -> list[dict[str, Any]]:
        paths = self.lab.paths("server1", IPV6 if ":" in prefix else IPV4, prefix)
        return [path for path in paths if path["peer"]["peerId"] == INJECTOR]

    def status(self) -> str:
        """Return what the service manager was told last."""
        said = [line for line in self.lab.log(MANAGER_LOG).splitlines() if "STATUS=" in line]
        return said[-1]

    def updates(self) -> int:
        """Return how many UPDATE messages bgpd has had from ExaBGP."""
        return int(self.lab.injector()["messageStats"]["updatesRecv"])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory, START) as lab:
        yield lab


@pytest.fixture
def loop(up: Lab) -> Loop:
    """Begin each test with everything announced and seen."""
    convergence.wait_converged(up.driver)
    return Loop(up)


def test_in_the_steady_state_there_is_no_drift_and_no_update(loop: Loop) -> None:
    # What changed twice at the start is told again, a little later.
    quiet_since, before = time.monotonic(), loop.updates()

    def is_quiet() -> bool:
        nonlocal quiet_since, before
        if (now := loop.updates()) != before:
            quiet_since, before = time.monotonic(), now
        return time.monotonic() - quiet_since > 2

    loop.lab.eventually("the last UPDATE of the start", is_quiet)
    loop.lab.throughout(
        2.5 * ROUND_S,
        "no drift and no UPDATE",
        lambda: not loop.events("drift") and loop.updates() == before,
    )


def test_what_exabgp_lost_is_announced_again(loop: Loop) -> None:
    loop.say("withdraw route ::/0 path-information 0.0.0.1")
    drift = loop.wait("drift", route="::/0 path 1", where="bgpd", state=MISSING)
    assert drift["level"] == "warning"
    assert drift["expected"] == "next hop 2001:db8:1::, local preference 100, no community"
    best = "best is next hop 2001:db8:2:: from 127.0.0.2, local preference 100"
    assert drift["found"] == f"no path from ExaBGP; {best}"
    assert loop.wait("drift_gone", route="::/0 path 1", where="bgpd")["level"] == "info"
    loop.lab.eventually("both defaults", loop.lab.is_injected_by_both, IPV6)


def test_what_exabgp_announces_otherwise_is_announced_again(loop: Loop) -> None:
    loop.say(f"announce route {SERVICE} next-hop 192.0.0.8 local-preference 77 community [1:2]")
    drift = loop.wait("drift", route=SERVICE, where="bgpd", state=DIFFERS)
    both = "communities 65101:1 65101:2"
    assert drift["expected"] == f"next hop 192.0.0.8, local preference 100, {both}"
    assert drift["found"] == "next hop 192.0.0.8, local preference 77, communities 1:2"
    loop.wait("drift_gone", route=SERVICE)
    assert [path["locPrf"] for path in loop.injected(SERVICE)] == [100]


def test_a_stale_route_is_withdrawn_again(loop: Loop) -> None:
    loop.lab.server("sh", "-c", "kill -9 $(cat /run/service.pid)")
    try:
        loop.lab.eventually("the withdrawal", lambda: not loop.injected(SERVICE))
        loop.say(f"announce route {SERVICE} next-hop 192.0.0.8 local-preference 100")
        drift = loop.wait("drift", route=SERVICE, where="bgpd", state=STALE)
        assert drift["expected"] == "withdrawn"
        assert drift["found"] == "next hop 192.0.0.8, local preference 100, no community"
        loop.wait("drift_gone", route=SERVICE)
        assert loop.injected(SERVICE) == []
    finally:
        script = "setsid /etc/lab/run-service >>/var/log/service.log 2>&1 </dev/null &"
        loop.lab.server("sh", "-c", script)


def test_a_path_that_is_not_ours_is_said_and_left_alone(loop: Loop) -> None:
    loop.say("announce route 0.0.0.0/0 next-hop 10.0.2.0 path-information 0.0.0.7")
    drift = loop.wait("drift", route="0.0.0.0/0 path 7", where="bgpd", state=STALE)
    assert drift["expected"] == "nothing, it was never announced"
    loop.say("withdraw route 0.0.0.0/0 path-information 0.0.0.7")
    loop.wait("drift_gone", route="0.0.0.0/0 path 7")


@contextmanager
def filtered(loop: Loop, prefix: str) -> Iterator[None]:
    """Refuse a prefix in bgpd, and lead the refusal to what bgpd has already.

    ExaBGP speaks no route refresh as it is rendered, so bgpd cannot do that by itself.
    """
    session = ("router bgp 65101", "address-family ipv4 unicast")
    with loop.lab.without(
        (
            f"ip prefix-list test-refused seq 5 deny {prefix}",
            "ip prefix-list test-refused seq 10 permit 0.0.0.0/0 le 32",
            *session,
            f"neighbor {INJECTOR} prefix-list test-refused in",
        ),
        afterwards=(*session, f"no neighbor {INJECTOR} prefix-list test-refused in"),
    ):
        loop.say("flush adj-rib out")
        yield


def test_what_bgpd_refused_comes_back_when_it_does_not_any_more(loop: Loop) -> None:
    with filtered(loop, SERVICE):
        drift = loop.wait("drift", route=SERVICE, where="bgpd", state=MISSING)
        assert drift["found"] == "no path from ExaBGP; no path is best"
        assert "prefix-list" in drift["hint"]
        said = f"; 1 route drifts: {SERVICE} missing in bgpd"
        loop.lab.eventually("the status names it", lambda: said in loop.status())
        # It is said once, however often it was asserted meanwhile.
        refused_at = loop.updates()
        loop.lab.eventually("ExaBGP sends it again", lambda: loop.updates() > refused_at + 1)
        assert len(loop.events("drift", route=SERVICE)) == 1
    loop.wait("drift_gone", route=SERVICE)
    loop.lab.eventually("the status is clean", lambda: "drift" not in loop.status())
    assert len(loop.injected(SERVICE)) == 1
    assert not loop.events("drift", route="10.255.10.1/32")


@contextmanager
def another_service(loop: Loop, prefix: str) -> Iterator[None]:
    """Have a service more in the file, of which FRR knows nothing."""
    edited = "/run/another-service.yaml"
    add = f"s#^services:#&\\n  another: {{prefixes: [{prefix}], address: ignore}}#"
    reload = f"{HELPER}; kill -HUP $helper"
    script = f"sed '{add}' {FILE} >{edited} && mount --bind {edited} {FILE}; {reload}"
    loop.lab.server("sh", "-c", script)
    try:
        yield
    finally:
        loop.lab.server("sh", "-c", f"umount {FILE}; {reload}")


def test_a_service_that_was_not_rendered_for_frr(loop: Loop) -> None:
    another = "192.0.2.99/32"
    with another_service(loop, another):
        loop.wait("reloaded")
        drift = loop.wait("drift", route=another, where="bgpd", state=MISSING)
        assert "prefix-list" in drift["hint"]
    # It is withdrawn, so nothing is missing any more.
    loop.wait("drift_gone", route=another)
    assert {drift["route"] for drift in loop.events("drift")} == {another}


def test_a_next_hop_that_is_not_resolved_is_said(loop: Loop) -> None:
    """The discard route is an operator's to delete."""
    loop.lab.configure("no ip route 192.0.0.8/32 blackhole")
    try:
        drift = loop.wait("drift", route=SERVICE, where="bgpd", state=UNUSED)
        assert drift["expected"] == "a valid path"
        assert drift["found"] == "next hop 192.0.0.8 inaccessible"
    finally:
        loop.lab.configure("ip route 192.0.0.8/32 blackhole")
    loop.wait("drift_gone", route=SERVICE)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_host_loopback_that_is_gone(loop: Loop, family: Any) -> None:  # noqa: ANN401
    address = (f"{family.loopback}/{family.length}", "dev", "lo")
    loop.lab.server("ip", "addr", "del", *address)
    try:
        drift = loop.wait("drift", route=family.default, where="kernel")
        one, two = (f"via {tor} dev eth{n}" for n, tor in enumerate(family.tors, start=1))
        assert drift["expected"] == f"{one}, {two}, src {family.loopback}, proto bgp"
        assert f"; {family.loopback} is not an address of this host" in drift["found"]
        assert drift["hint"].startswith("add the address to lo; ")
    finally:
        loop.lab.server("ip", "addr", "add", *address)
        # As the hint says: FRR 8.4 does not install the default again by itself.
        loop.lab.server("vtysh", "-c", f"clear bgp {INJECTOR}")
    loop.wait("drift_gone", route=family.default, where="kernel")


def test_a_default_of_somebody_else(loop: Loop) -> None:
    with loop.lab.route(IPV4, "default", "via", "10.0.1.0", "metric", "5", "proto", "static"):
        drift = loop.wait("drift", route="0.0.0.0/0", where="kernel", state=DIFFERS)
        assert drift["found"] == "via 10.0.1.0 dev eth1, no src, proto static, metric 5"
        assert "takes FRR's out of the kernel" in drift["hint"]
    loop.wait("drift_gone", route="0.0.0.0/0", where="kernel")


def test_each_tier_of_default_is_said(loop: Loop) -> None:
    session = "router bgp 65101"
    injector = f"neighbor {INJECTOR} shutdown"
    tors = [f"neighbor {tor} shutdown" for tor in IPV4.tors]
    loop.lab.eventually("the status", lambda: "default: " not in loop.status())
    with loop.lab.without((session, injector), afterwards=(session, f"no {injector}")):
        for family in FAMILIES:
            said = loop.wait("default_tier", family=family.name, to="tor")
            assert (said["level"], said["from"]) == ("warning", "injected")
        loop.lab.eventually("the status", lambda: "ipv4 default: tor; " in loop.status())
        again = (session, *(f"no {tor}" for tor in tors))
        with loop.lab.without((session, *tors), afterwards=again):
            said = loop.wait("default_tier", family="ipv4", to="fallback")
            assert said["default"].endswith("src 10.0.1.1, proto bgphealth, metric 4261412865")
        loop.wait("default_tier", **{"family": "ipv4", "from": "fallback", "to": "tor"})
    for family in FAMILIES:
        said = loop.wait("default_tier", family=family.name, to="injected")
        assert said["level"] == "info"
    loop.lab.eventually("the status", lambda: "default: " not in loop.status())


def test_a_session_that_is_down_is_no_drift(loop: Loop) -> None:
    loop.lab.server("sh", "-c", "kill -9 $(cat /run/frr/bgpd.pid)")
    why = loop.wait("bgpd_not_asked")["why"]
    assert why == "bgpd is not running (nobody listens on /var/run/frr/bgpd.vty)"
    loop.wait("bgpd_asked")
    convergence.wait_converged(loop.lab.driver)
    loop.lab.throughout(2 * ROUND_S, "no drift", lambda: not loop.events("drift", where="bgpd"))
    assert len(loop.events("bgpd_not_asked")) == 1


def test_links_without_addresses(unnumbered_lab: NamespaceDriver) -> None:
    """Recursive next hops are in the kernel as link-local addresses."""
    loop = Loop(Lab(unnumbered_lab))
    loop.lab.server("ip", "link", "set", "eth2", "down")
    loop.wait("path_changed", uplink="tor2", to="down")
    loop.lab.server("ip", "link", "set", "eth2", "up")
    convergence.wait_converged(unnumbered_lab)
    loop.lab.throughout(3.0, "no drift after changes", lambda: not loop.events("drift"))
    assert not [e for e in loop.log() if e["event"] in ("drift", "bgpd_not_asked")]
