"""ToRs that tell the host everything that it must not pass on, and what became of it.

Everything carries the host's own steering communities, as they are in its frr.conf: what a filter
lets through by mistake is then welcome at the other ToR.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from lab import convergence, dual_tor
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import configure

WATCHED_S = 1.5
INJECTOR = "127.0.0.2"
IP = {"ipv4": "ip", "ipv6": "ipv6"}
OWN_ASN = "65101"
DEFAULT = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}
SERVICES = {
    "ipv4": {"192.0.2.53/32", "10.255.10.1/32"},
    "ipv6": {"2001:db8::53/128", "2001:db8:10::1/128"},
}
"""The host loopback is one of them."""
TOR_LOOPBACK = {"ipv4": "10.255.0.{}/32", "ipv6": "2001:db8:ff::{}/128"}
PROBE_SOURCE = {"ipv4": "10.255.11.{}/32", "ipv6": "2001:db8:11:{}::1/128"}
CORE = {"ipv4": "10.1.{}.0", "ipv6": "2001:db8:1{}::"}
PLAIN = {"ipv4": "198.18.{}.0/24", "ipv6": "2001:db8:f{}::/64"}
NO_EXPORT = {"ipv4": "198.19.{}.1/32", "ipv6": "2001:db8:e{}::1/128"}
STEERED = {
    "ipv4": (
        "198.18.{}.1/32",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "192.0.2.0/24",
        "192.0.2.54/32",
        "203.0.113.0/24",
    ),
    "ipv6": (
        "2001:db8:f{}::1/128",
        "::/1",
        "8000::/1",
        "2001:db8::/64",
        "2001:db8::54/128",
        "2001:db8:113::/48",
    ),
}


@dataclass(frozen=True)
class Tor:
    """A ToR, and what it and the server call each other in their configurations, by family."""

    number: int
    here: dict[str, str]
    """The ToR, as the server knows it."""
    there: dict[str, str]
    """The server, as the ToR knows it."""

    @property
    def name(self) -> str:
        return f"tor{self.number}"

    @property
    def asn(self) -> str:
        return f"6500{self.number}"

    def announces(self, family: str) -> set[str]:
        """Return what it tells the server of its own accord, the default aside."""
        other = 3 - self.number
        own = (PLAIN[family], NO_EXPORT[family], *STEERED[family])
        theirs = (TOR_LOOPBACK[family], PROBE_SOURCE[family])
        return {
            *(prefix.format(self.number) for prefix in own),
            *(prefix.format(other) for prefix in theirs),
            *SERVICES[family],
        }


OTHER_MAPS = (
    "route-map lab-own permit 10",
    "set metric 4242",
    # The core, and so the answers to probes, know nothing of this.
    "route-map lab-to-core deny 10",
    "match metric 4242",
    "route-map lab-to-core permit 20",
    "route-map lab-tempt permit 30",
)

Tors: TypeAlias = tuple[Tor, ...]

NUMBERED: Tors = tuple(
    Tor(
        n,
        {"ipv4": f"10.0.{n}.0", "ipv6": f"2001:db8:{n}::"},
        {"ipv4": f"10.0.{n}.1", "ipv6": f"2001:db8:{n}::1"},
    )
    for n in (1, 2)
)
UNNUMBERED: Tors = tuple(
    Tor(n, dict.fromkeys(IP, f"eth{n}"), dict.fromkeys(IP, "eth1")) for n in (1, 2)
)


def steering(lab: NamespaceDriver) -> str:
    """Return all communities that steer."""
    conf = lab.run(dual_tor.SERVER, ["cat", "/etc/frr/frr.conf"]).stdout
    found = re.findall(
        r"^bgp community-list standard bgphealth-\S+ .* permit (\S+)$", conf, re.MULTILINE
    )
    assert f"{OWN_ASN}:1" in found
    return " ".join(dict.fromkeys(found))


@contextmanager
def tempted(lab: NamespaceDriver, tors: Tors) -> Iterator[None]:
    """Have both ToRs announce what the host must not pass on, until it has heard all of it."""
    listening = [dict.fromkeys(IP, INJECTOR), *(tor.here for tor in tors)]
    try:
        _listen(lab, dual_tor.SERVER, OWN_ASN, listening, on=True)
        for tor in tors:
            _listen(lab, tor.name, tor.asn, [tor.there], on=True)
            _tell(lab, tor, steering(lab), on=True)
        for tor in tors:
            for family in IP:
                convergence.wait_until(
                    f"the server has heard {tor.name} ({family})",
                    lambda tor=tor, family=family: sorted(  # type: ignore[misc]
                        ({DEFAULT[family]} | tor.announces(family))
                        - _received(lab, dual_tor.SERVER, family, tor.here[family]).keys()
                    ),
                    30.0,
                )
        yield
    finally:
        for tor in tors:
            _tell(lab, tor, "", on=False)
            _listen(lab, tor.name, tor.asn, [tor.there], on=False)
        _listen(lab, dual_tor.SERVER, OWN_ASN, listening, on=False)


def assert_nothing_leaks(lab: NamespaceDriver, tors: Tors) -> None:
    """Watch for longer than bgpd and zebra hold anything back."""
    end = time.monotonic() + WATCHED_S
    while time.monotonic() < end:
        found = _wrong(lab, tors)
        assert not found, "\n".join(sorted(found))


def _wrong(lab: NamespaceDriver, tors: Tors) -> list[str]:
    """Return what is anywhere that it must not be; empty for a host that is no transit."""
    found: list[str] = []
    for family in IP:
        loopbacks, sources = (
            {prefix[family].format(tor.number) for tor in tors if tors == UNNUMBERED}
            for prefix in (TOR_LOOPBACK, PROBE_SOURCE)
        )
        for tor in tors:
            own = PROBE_SOURCE[family].format(tor.number)
            allowed = SERVICES[family] | (sources & {own})
            for prefix, path in _received(lab, tor.name, family, tor.there[family]).items():
                as_path = path["path"].split()
                if prefix not in allowed:
                    found.append(f"{tor.name} hears {prefix} from the server")
                elif set(as_path) != {OWN_ASN}:
                    found.append(f"{tor.name} hears {prefix} with the AS path {as_path}")
        usable = {DEFAULT[family]} | loopbacks
        table = _show(lab, dual_tor.SERVER, f"show bgp {family} unicast")["routes"].keys()
        kept = table - usable - SERVICES[family] - sources
        found += [f"the server's bgpd keeps {prefix}" for prefix in kept]
        option = "-4" if family == "ipv4" else "-6"
        command = ["ip", "-json", option, "route", "show", "table", "all", "proto", "bgp"]
        kernel = json.loads(lab.run(dual_tor.SERVER, command).stdout or "[]")
        installed = {_prefix(family, route["dst"]) for route in kernel} - usable
        found += [f"the server's kernel has {prefix}" for prefix in installed]
    return found


def heard(lab: NamespaceDriver, tor: Tor, family: str) -> set[str]:
    """Return what a ToR hears from the server."""
    return set(_received(lab, tor.name, family, tor.there[family]))


def from_injector(lab: NamespaceDriver, family: str) -> set[str]:
    """Return what the server's bgpd hears from the injector, before its filters."""
    return set(_received(lab, dual_tor.SERVER, family, INJECTOR))


def _prefix(family: str, dst: str) -> str:
    """Return what ip(8) calls default, or prints without a length."""
    if dst == "default":
        return DEFAULT[family]
    return dst if "/" in dst else f"{dst}/{32 if family == 'ipv4' else 128}"


def _received(lab: NamespaceDriver, node: str, family: str, peer: str) -> dict[str, Any]:
    """Return what a node hears from a peer, before its filters."""
    said = _show(lab, node, f"show bgp {family} unicast neighbors {peer} received-routes")
    routes: dict[str, Any] = said.get("receivedRoutes", {})
    return routes


def _show(lab: NamespaceDriver, node: str, command: str) -> dict[str, Any]:
    output = lab.run(node, ["vtysh", "-c", f"{command} json"]).stdout
    said: dict[str, Any] = json.loads(output or "{}")
    return said


def _listen(
    lab: NamespaceDriver, node: str, asn: str, peers: list[dict[str, str]], *, on: bool
) -> None:
    """Keep what comes in before the filters see it, or do not."""
    no = "" if on else "no "
    lines = [f"router bgp {asn}"]
    for family in IP:
        lines.append(f"address-family {family} unicast")
        lines += [f"{no}neighbor {peer[family]} soft-reconfiguration inbound" for peer in peers]
        lines.append("exit-address-family")
    configure(lab, node, *lines)


def _tell(lab: NamespaceDriver, tor: Tor, communities: str, *, on: bool) -> None:
    """Have a ToR announce everything, or only what it does of its own accord."""
    no = "" if on else "no "
    maps, networks = [], [f"router bgp {tor.asn}", f"{'no ' if on else ''}bgp network import-check"]
    for number, (family, ip) in enumerate(IP.items(), 1):
        for name, prefix in (("plain", PLAIN[family]), ("no-export", NO_EXPORT[family])):
            said = f"{ip} prefix-list lab-{name}-{family}"
            maps.append(f"{said} seq 5 permit {prefix.format(tor.number)}" if on else f"no {said}")
        if on:
            maps += [
                f"route-map lab-tempt permit 1{number}",
                f"match {ip} address prefix-list lab-plain-{family}",
                f"route-map lab-tempt permit 2{number}",
                f"match {ip} address prefix-list lab-no-export-{family}",
                f"set community {communities} no-export",
            ]
        networks.append(f"address-family {family} unicast")
        networks += [
            *(f"{no}network {p} route-map lab-own" for p in sorted(tor.announces(family))),
            f"{no}neighbor {CORE[family].format(tor.number)} route-map lab-to-core out",
            f"{no}neighbor {tor.there[family]} route-map lab-tempt out",
        ]
        networks.append("exit-address-family")
    if on:
        configure(lab, tor.name, *maps, *OTHER_MAPS, f"set community {communities}", *networks)
    else:
        gone = [f"no route-map lab-{name}" for name in ("own", "to-core", "tempt")]
        configure(lab, tor.name, *networks, "exit", *gone, *maps)
