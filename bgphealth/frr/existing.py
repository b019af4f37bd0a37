"""What of FRR's configuration is the host's own, beside which our part is to live.

Read from ``show running-config`` or from a frr.conf, before our part was entered and after: one of
our route-maps in the place of theirs calls theirs, so that both readings say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from bgphealth.core.settings import Family, Prefix
from bgphealth.frr.configuration import Line, is_ours, lines

OURS = "bgphealth-"
"""What the names of all our route-maps and lists begin with."""

LAST = 65535
"""The entry of our route-maps for what is not ours; only a part has it, no whole frr.conf."""

_INSTANCE = re.compile(r"router bgp (\d+)")
_FILTERS = ("prefix-list", "filter-list", "distribute-list")


@dataclass(frozen=True, slots=True)
class Rest:
    """What becomes of what is not ours: `call` is their route-map, if they have one."""

    call: str | None = None
    is_permitted: bool = True


@dataclass(frozen=True, slots=True)
class Existing:
    """The configuration of a host's FRR.

    `has_policy` says that bgpd takes and sends nothing on an eBGP session without a route-map
    (RFC 8212). What is asked of BGP is asked of the default instance.
    """

    lines: frozenset[Line]
    has_policy: bool

    @property
    def asn(self) -> int | None:
        """The AS of bgpd; None while it has none."""
        matches = (_INSTANCE.fullmatch(line.text) for line in self.lines if not line.within)
        return next((int(match[1]) for match in matches if match), None)

    @property
    def has_router_id(self) -> bool:
        """Whether bgpd was told its router id."""
        return any(text.startswith("bgp router-id ") for text in self._bgp())

    @property
    def is_part(self) -> bool:
        """Whether our part was entered beside theirs."""
        entry = re.compile(rf"route-map {OURS}\S+ \S+ {LAST}")
        return any(entry.fullmatch(line.text) for line in self.lines)

    @property
    def has_ours(self) -> bool:
        """Whether there is a route-map or a list of ours."""
        return any(is_ours(line) for line in self.lines)

    @property
    def activates_ipv4(self) -> bool:
        """Whether a neighbor speaks IPv4 without having been told to."""
        return "no bgp default ipv4-unicast" not in self._bgp()

    def has_neighbor(self, name: str) -> bool:
        """Return whether bgpd has a neighbor, an address or an interface."""
        return any(text.startswith(f"neighbor {name} ") for text in self._bgp())

    def remote_as(self, name: str) -> str | None:
        """Return the AS of a neighbor, in FRR's words."""
        return next(self._values(name, None, r"(?:interface (?:v6only )?)?remote-as (\S+)"), None)

    def has(self, name: str, option: str, family: Family | None = None) -> bool:
        """Return whether a neighbor, or its peer-group, has an option."""
        return any(True for _ in self._values(name, family, rf"({re.escape(option)})(?: .*)?"))

    def speaks(self, name: str, family: Family) -> bool:
        """Return whether a neighbor speaks a family, or would without being told to."""
        off = {f"no neighbor {each} activate" for each in (name, *self._groups(name))}
        is_off = not off.isdisjoint(self._bgp(family))
        is_asked = self.has(name, "activate", family)
        return is_asked or (family is Family.IPV4 and self.activates_ipv4 and not is_off)

    def rest(self, name: str, family: Family, direction: str) -> Rest:
        """Return what becomes of other routes than ours on a session; `direction`: in, out."""
        theirs = self.route_map(name, family, direction)
        if theirs is not None:
            return Rest(theirs)
        return Rest(is_permitted=not (self.has_policy and self.is_external(name)))

    def route_map(self, name: str, family: Family, direction: str) -> str | None:
        """Return their route-map of a session."""
        attached = self._values(name, family, rf"route-map (\S+) {direction}")
        return self._theirs(attached)

    def attached(self, name: str, family: Family, direction: str) -> str | None:
        """Return their line that gives a neighbor, not its peer-group, a route-map."""
        begin = f"neighbor {name} route-map "
        found = (text for text in self._bgp(family) if text.endswith(f" {direction}"))
        return _not_ours(found, begin)

    def ours(self, family: Family) -> list[tuple[str, str, str]]:
        """Return where sessions have a route-map of ours: neighbor, direction, and its name."""
        attached = re.compile(rf"neighbor (\S+) route-map ({OURS}\S+) (in|out)")
        found = filter(None, map(attached.fullmatch, self._bgp(family)))
        return [(match[1], match[3], match[2]) for match in found]

    def our_networks(self, family: Family) -> list[tuple[str, str]]:
        """Return what is originated by a route-map of ours: the prefix, and its name."""
        originated = re.compile(rf"network (\S+) route-map ({OURS}\S+)")
        found = filter(None, map(originated.fullmatch, self._bgp(family)))
        return [(match[1], match[2]) for match in found]

    def our_zebra_route_map(self, ip: str) -> str | None:
        """Return our route-map for BGP's routes into the kernel."""
        begin = f"{ip} protocol bgp route-map "
        top = (line.text for line in self.lines if not line.within)
        return next((t.removeprefix(begin) for t in top if t.startswith(begin + OURS)), None)

    def group_route_map(self, name: str, family: Family, direction: str) -> str | None:
        """Return the route-map that a neighbor has from its peer-group, if it has none itself."""
        for group in self._groups(name):
            if (theirs := self.route_map(group, family, direction)) is not None:
                return theirs
        return None

    def entries(self, route_map: str) -> dict[str, list[str]]:
        """Return the entries of a route-map that permit something, and what is in them."""
        entry = re.compile(rf"route-map {re.escape(route_map)} permit \d+")
        found: dict[str, list[str]] = {}
        for line in sorted(self.lines, key=lambda line: line.text):
            if len(line.within) == 1 and entry.fullmatch(line.within[0]):
                found.setdefault(line.within[0], []).append(line.text)
        return dict(sorted(found.items(), key=lambda item: int(item[0].split()[-1])))

    def permitted(self, family: Family, prefix_list: str) -> list[Prefix]:
        """Return what a prefix-list permits, without its `ge` and `le`; `any` is the default."""
        ip = "ip" if family is Family.IPV4 else "ipv6"
        permit = re.compile(rf"{ip} prefix-list {re.escape(prefix_list)} permit (\S+).*")
        found = (permit.fullmatch(line.text) for line in self.lines if not line.within)
        said = (match[1] for match in found if match)
        return [ip_network(family.default_prefix if p == "any" else p, strict=False) for p in said]

    def is_external(self, name: str) -> bool:
        """Return whether a neighbor is of another AS."""
        return self.remote_as(name) not in ("internal", str(self.asn))

    def zebra_line(self, ip: str) -> str | None:
        """Return their line that gives BGP's routes into the kernel a route-map."""
        begin = f"{ip} protocol bgp route-map "
        top = (line.text for line in self.lines if not line.within)
        return _not_ours(top, begin)

    def zebra_route_map(self, ip: str) -> str | None:
        """Return their route-map for BGP's routes into the kernel; `ip` is ``ip`` or ``ipv6``."""
        # The one of the protocol counts before that of all.
        commands = (re.compile(rf"{ip} protocol {name} route-map (\S+)") for name in ("bgp", "any"))
        top = [line.text for line in self.lines if not line.within]
        return self._theirs(m[1] for c in commands for text in top if (m := c.fullmatch(text)))

    def maximum_paths(self, family: Family, kind: str = "") -> int | None:
        """Return the most paths; None where FRR's default counts. `kind`: "" or "ibgp "."""
        command = re.compile(rf"maximum-paths {kind}(\d+)")
        return next((int(m[1]) for t in self._bgp(family) if (m := command.fullmatch(t))), None)

    def network(self, prefix: Prefix) -> str | None:
        """Return their line that originates a prefix."""
        line = f"network {prefix}"
        found = (t for t in self._bgp(Family.of(prefix)) if t == line or t.startswith(f"{line} "))
        return next((text for text in found if OURS not in text), None)

    def filters(self, name: str, family: Family) -> list[str]:
        """Return what of theirs is asked as well before something is sent to a neighbor."""
        found = (f"{kind} {v}" for kind in _FILTERS for v in self._filter(name, family, kind))
        return [f"neighbor {name} {each} out" for each in found]

    def originates(self, family: Family) -> list[str]:
        """Return the lines by which bgpd originates what it is not told prefix by prefix."""
        return [text for text in self._bgp(family) if text.startswith("redistribute ")]

    def static_defaults(self, family: Family) -> list[str]:
        """Return the default routes that FRR was given."""
        ip = "ip" if family is Family.IPV4 else "ipv6"
        begin = f"{ip} route {family.default_prefix} "
        return sorted(x.text for x in self.lines if not x.within and x.text.startswith(begin))

    def internal(self) -> list[str]:
        """Return the neighbors of the same AS."""
        return [name for name in self.neighbors() if not self.is_external(name)]

    def neighbors(self) -> list[str]:
        """Return all neighbors, without peer-groups."""
        said = [text.split() for text in self._bgp()]
        groups = {words[1] for words in said if words[2:] == ["peer-group"]}
        named = {words[1] for words in said if words[0] == "neighbor"}
        return sorted(named - groups)

    def _filter(self, name: str, family: Family, kind: str) -> Iterator[str]:
        return self._values(name, family, rf"{kind} (\S+) out")

    def _bgp(self, family: Family | None = None) -> list[str]:
        """Return the lines of bgpd, those of a family or those of none, in a stable order."""
        asn = self.asn
        block = f"router bgp {asn}"
        within = (block,) if family is None else (block, f"address-family {family} unicast")
        return sorted(line.text for line in self.lines if line.within == within)

    def _values(self, name: str, family: Family | None, pattern: str) -> Iterator[str]:
        """Yield what a neighbor is told, then what its peer-group is."""
        for each in (name, *self._groups(name)):
            command = re.compile(rf"neighbor {re.escape(each)} {pattern}")
            for text in self._bgp(family):
                if match := command.fullmatch(text):
                    yield match[1]

    def _groups(self, name: str) -> Iterator[str]:
        member = re.compile(
            rf"neighbor {re.escape(name)} (?:interface (?:v6only )?)?peer-group (\S+)"
        )
        yield from (match[1] for text in self._bgp() if (match := member.fullmatch(text)))

    def _theirs(self, names: Iterable[str]) -> str | None:
        """Return the first that is theirs, or what the last entry of one of ours calls."""
        for name in names:
            if not name.startswith(OURS):
                return name
            entry = (f"route-map {name} permit {LAST}",)
            called = (line.text for line in self.lines if line.within == entry)
            for text in called:
                if text.startswith("call "):
                    return text.removeprefix("call ")
            if any(line.text == entry[0] for line in self.lines):
                return None  # There was none of theirs when ours was entered.
        return None


def _not_ours(texts: Iterable[str], begin: str) -> str | None:
    return next((t for t in texts if t.startswith(begin) and not t.startswith(begin + OURS)), None)


def existing(configurations: Iterable[str]) -> Existing:
    """Return what one or more of FRR's daemons, or a frr.conf, say."""
    texts = tuple(configurations)
    raw = {" ".join(line.split()) for text in texts for line in text.splitlines()}
    # Of the profiles of FRR 8.4 and later, datacenter alone does without.
    is_default = "frr defaults datacenter" not in raw
    has_policy = "bgp ebgp-requires-policy" in raw or (
        is_default and "no bgp ebgp-requires-policy" not in raw
    )
    return Existing(frozenset(line for text in texts for line in lines(text)), has_policy)
