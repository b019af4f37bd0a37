"""What befalls a fleet, and which probes of which host it hits.

A packet between racks crosses one of the spines, which a hash of its addresses chooses: there and
back again each by its own. So a probe of one path to one target always takes the same way, until
the fabric changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.scenario import AskedPath
from bgphealth.core.settings import Role, Settings

LOSS = 0.3
"""What a lossy spine loses of all that crosses it."""

Situation: TypeAlias = tuple[tuple[AskedPath, float], ...]
"""The probes of one host that are hit, and how much is lost of each, up to 1."""


class Fabric(NamedTuple):
    """How large it is; `seed` chooses which flow crosses which spine, and the hosts' luck."""

    hosts: int = 10_000
    rack: int = 48
    spines: int = 4
    seed: int = 1

    @property
    def racks(self) -> int:
        """How many racks the hosts fill."""
        return -(-self.hosts // self.rack)

    def crossings(self, host: int, asked: AskedPath) -> int:
        """Return how often a probe crosses the first spine, on its way there and back."""
        return sum(self._spine(f"{host} {asked} {way}") == 0 for way in ("out", "in"))

    def phase(self, host: int, steps: int) -> int:
        """Return how late in its interval a host asks, in so many steps of it."""
        return self._hash(f"{host} phase") % steps

    def _spine(self, flow: str) -> int:
        return self._hash(flow) % self.spines

    def _hash(self, what: str) -> int:
        digest = blake2b(f"{self.seed} {what}".encode(), digest_size=8).digest()
        return int.from_bytes(digest)


class Variant(NamedTuple):
    """`damping`: as the file says, or off. `jitter`: hosts ask each at its own time, or in step."""

    damping: bool
    jitter: bool


_DAMPED = (Variant(damping=True, jitter=True), Variant(damping=True, jitter=False))
_UNDAMPED = (Variant(damping=False, jitter=True), Variant(damping=False, jitter=False))


class FleetFault(NamedTuple):
    """`spells` are from when to when it lasts, `tail_s` is how long to look on afterwards."""

    name: str
    summary: str
    hits: Callable[[Fabric, Settings, int], Situation]
    spells: tuple[tuple[float, float], ...]
    tail_s: float
    variants: tuple[Variant, ...] = _DAMPED

    @property
    def heals_s(self) -> float:
        """When it is over for good."""
        return self.spells[-1][1]


def beyond(settings: Settings) -> tuple[AskedPath, ...]:
    """Return every probe that goes beyond the ToRs."""
    return tuple(
        AskedPath(PathKey(uplink.name, path.family), PathProbe(Role.BEYOND, probe))
        for uplink in settings.uplinks
        for path in uplink.paths
        for probe in path.beyond
    )


def _spine_dark(fabric: Fabric, settings: Settings, host: int) -> Situation:
    return tuple((a, 1.0) for a in beyond(settings) if fabric.crossings(host, a))


def _spine_lossy(fabric: Fabric, settings: Settings, host: int) -> Situation:
    crossed = ((asked, fabric.crossings(host, asked)) for asked in beyond(settings))
    return tuple((asked, 1 - (1 - LOSS) ** count) for asked, count in crossed if count)


def _tor_dark(fabric: Fabric, settings: Settings, host: int) -> Situation:
    if host >= fabric.rack:
        return ()
    first = settings.uplinks[0].name
    return tuple((asked, 1.0) for asked in beyond(settings) if asked.path.uplink == first)


def _target_dead(_fabric: Fabric, settings: Settings, _host: int) -> Situation:
    return tuple((asked, 1.0) for asked in _firsts(settings))


def _firsts(settings: Settings) -> Iterator[AskedPath]:
    """Yield the probes of all paths to the first target of each family."""
    firsts = {each.path.family: each.probe for each in reversed(beyond(settings))}
    yield from (a for a in beyond(settings) if a.probe == firsts[a.path.family])


def at_first_target(loss: float, lasts_s: float) -> FleetFault:
    """Return a fault: the first target of each family answers only some of what it is asked."""

    def hits(_fabric: Fabric, settings: Settings, _host: int) -> Situation:
        return tuple((asked, loss) for asked in _firsts(settings))

    return FleetFault("target-loss", f"a target loses {loss:.0%}", hits, ((0.0, lasts_s),), 0.0)


def _targets_dead(_fabric: Fabric, settings: Settings, _host: int) -> Situation:
    return tuple((asked, 1.0) for asked in beyond(settings))


_TEN_S = ((0.0, 10.0),)
_FLAPS = tuple((10.0 * n, 10.0 * n + 5.0) for n in range(8))

FAULTS = {
    fault.name: fault
    for fault in (
        FleetFault("spine-dark", "one spine forwards nothing, its sessions stay up, for 10 s",
                   _spine_dark, _TEN_S, 8.0),
        FleetFault("spine-flaps", "the same for 5 s, eight times, every 10 s",
                   _spine_dark, _FLAPS, 200.0, (*_DAMPED, *_UNDAMPED)),
        FleetFault("spine-loss", f"one spine loses {LOSS:.0%} of what crosses it, for 20 s",
                   _spine_lossy, ((0.0, 20.0),), 12.0, _DAMPED[:1]),
        FleetFault("tor-dark", "the uplinks of one ToR go dark, for 10 s",
                   _tor_dark, _TEN_S, 8.0),
        FleetFault("target-dead", "a target that all hosts ask is dead, for 10 s",
                   _target_dead, _TEN_S, 8.0),
        FleetFault("targets-dead", "all targets are dead, for 10 s", _targets_dead, _TEN_S, 8.0),
    )
}  # fmt: skip
