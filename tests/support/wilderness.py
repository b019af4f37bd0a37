"""Random hosts: addresses, tables, routes and rules that nobody would write, in a fresh namespace.

All of it follows from a seed. What the kernel refuses is left out, as ``ip -force`` does.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from bgphealth.core.lookup import Question
from bgphealth.core.settings import Address

INTERFACES = ("eth1", "eth2", "eth3")
TABLES = ("main", "main", "main", "100", "101", "102")
MARKS = (7, 8, 0x107)
AWAY = {4: ("203.0.113.9", "198.51.100.7"), 6: ("2001:db8:f00::9", "2001:db8:f01::7")}
_FURTHER = {
    4: ("203.0.113.0/24", "203.0.113.0/28", "198.51.100.0/24", "192.0.2.128/25"),
    6: ("2001:db8:f00::/48", "2001:db8:f00::/64", "2001:db8:f01::/48", "fd00:1::/32"),
}
_ELSEWHERE = {4: ("192.0.2.200", "8.8.8.8"), 6: ("fd00:1::9", "2a00::1", "2002:a00::1")}


@dataclass
class Wilderness:
    """What a seed makes of a host: the lines for ip(8) and its option, and its addresses."""

    chosen: random.Random
    lines: list[tuple[str, str]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def make(self) -> None:
        """Write everything into the current namespace."""
        for name in INTERFACES:
            # Nobody answers on these links: so nobody is asked.
            self.lines += [
                ("-4", f"link add {name} type veth peer name far{name[-1]}"),
                ("-4", f"link set {name} up arp off"),
                ("-4", f"link set far{name[-1]} up arp off"),
            ]
        for number, name in enumerate((*INTERFACES, "lo"), 1):
            self._addresses(number, name)
        for _ in range(self.chosen.randint(3, 12)):
            self._route(self.chosen.choice((4, 6)))
        for _ in range(self.chosen.randint(0, 7)):
            self._rule(self.chosen.choice((4, 6)))
        for option in ("-4", "-6"):
            of_it = (text for family, text in self.lines if family == option)
            subprocess.run(
                ["ip", option, "-force", "-batch", "-"],
                input="".join(f"{text}\n" for text in of_it),
                text=True,
                check=False,
                capture_output=True,
            )

    def question(self) -> Question:
        """Return a question that a program could ask."""
        one, version = self.chosen, self.chosen.choice((4, 6))
        own = [a for a in self.addresses if ip_interface(a).version == version]
        pool = [*AWAY[version] * 4, *_ELSEWHERE[version] * 2]
        for each in one.sample(own, min(4, len(own))):
            address, network = ip_interface(each).ip, ip_interface(each).network
            beside = one.randrange(min(16, network.num_addresses))
            pool += [str(address), str(network[beside])]
        source: Address | None = None
        if own and one.random() < 0.25:
            source = ip_address(one.choice(own).split("/")[0])
        elif one.random() < 0.03:
            source = ip_address("10.77.0.1" if version == 4 else "2001:db8:77::1")
        return Question(
            ip_address(one.choice(pool)),
            source,
            one.choice((*INTERFACES, "lo")) if one.random() < 0.2 else None,
            one.choice(MARKS) if one.random() < 0.3 else 0,
        )

    def _addresses(self, number: int, name: str) -> None:
        one = self.chosen
        for _ in range(one.randint(1, 6)):
            kind, host = one.choice((4, 6)), one.randint(1, 14)
            if kind == 4:
                prefix = one.choice((f"10.0.{number}.{host}/24", f"10.9.{number}.{host}/28"))
                if one.random() < 0.3:
                    prefix = f"10.8.{host}.{number}/32"
                scope = one.choice(("global", "global", "global", "link", "host"))
                self._add(prefix, f"dev {name} scope {scope}")
            else:
                prefix = one.choice((f"2001:db8:{number}::{host}/64", f"fd00:{number}::{host}/48"))
                if one.random() < 0.3:
                    prefix = f"2001:db8:{host}:{number}::1/128"
                lifetime = " preferred_lft 0" if one.random() < 0.2 else ""
                self._add(prefix, f"dev {name} nodad{lifetime}")

    def _add(self, prefix: str, rest: str) -> None:
        self.addresses.append(prefix)
        self.lines.append((f"-{ip_interface(prefix).version}", f"addr add {prefix} {rest}"))

    def _route(self, version: int) -> None:
        one = self.chosen
        own = [ip_interface(a).ip for a in self.addresses if ip_interface(a).version == version]
        where = one.choice(("default",) * 6 + _FURTHER[version])
        head = "route add"
        tail = f"{where} table {one.choice(TABLES)} metric {one.choice((10, 20, 30))}"
        if one.random() < 0.12:
            kind = one.choice(("blackhole", "unreachable", "prohibit", "throw"))
            self.lines.append((f"-{version}", f"{head} {kind} {tail}"))
            return
        source = f" src {one.choice(own)}" if own and one.random() < 0.25 else ""
        hops = [self._hop(version) for _ in range(one.choice((1, 1, 1, 2, 3)))]
        to = " ".join(f"nexthop {hop}" for hop in hops) if len(hops) > 1 else hops[0]
        if one.random() < 0.3:
            to = f"nhid {self._nexthop(version, hops)}"
        self.lines.append((f"-{version}", f"{head} {tail}{source} {to}"))

    def _nexthop(self, version: int, hops: list[str]) -> int:
        """Make nexthop objects, as FRR does, and a group of several; return the number."""
        first = len(self.lines) + 1
        numbers = range(first, first + len(hops))
        for number, hop in zip(numbers, hops, strict=True):
            self.lines.append((f"-{version}", f"nexthop add id {number} {hop}"))
        if len(hops) == 1:
            return first
        group = "/".join(map(str, numbers))
        self.lines.append((f"-{version}", f"nexthop add id {first + 1000} group {group}"))
        return first + 1000

    def _hop(self, version: int) -> str:
        one, number = self.chosen, self.chosen.randint(1, 3)
        device = f"dev eth{number}"
        if one.random() < 0.2:
            return device
        if version == 4:
            via = one.choice((f"10.0.{number}.1", f"10.9.{number}.15", f"10.7.{number}.1"))
            if one.random() < 0.1:
                via = f"inet6 fe80::{number}"
        else:
            via = one.choice((f"2001:db8:{number}::99", f"fe80::{number}"))
        return f"via {via} {device} onlink"

    def _rule(self, version: int) -> None:
        one = self.chosen
        own = [a for a in self.addresses if ip_interface(a).version == version]
        selectors = []
        if own and one.random() < 0.45:
            chosen = ip_interface(one.choice(own))
            selectors.append(f"from {one.choice((chosen.ip, chosen.network))}")
        if one.random() < 0.25:
            selectors.append(f"to {one.choice(_FURTHER[version])}")
        if one.random() < 0.3:
            mark = one.choice(MARKS)
            selectors.append(f"fwmark {mark}{one.choice(('', '/0xff'))}")
        if one.random() < 0.25:
            selectors.append(f"oif {one.choice(INTERFACES)}")
        if one.random() < 0.1:
            selectors.append("iif lo")
        negated = "not " if selectors and one.random() < 0.1 else ""
        priority = one.randint(10, 99)
        what = f"lookup {one.choice(('100', '101', '102', 'main'))}"
        if one.random() < 0.15:
            what += " suppress_prefixlength 0"
        elif one.random() < 0.15:
            what = one.choice(("prohibit", "blackhole", "unreachable", f"goto {priority + 30}"))
        asked = f"{negated}{' '.join(selectors) or 'from all'}"
        self.lines.append((f"-{version}", f"rule add {asked} priority {priority} {what}"))
