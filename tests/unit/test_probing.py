"""What is asked when, over a change of the file: what it does not change is asked as before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from itertools import pairwise

from bgphealth.core.events import Event, PathProbed, ServiceChecked, Verdict
from bgphealth.core.health import PathKey, PathProbe
from bgphealth.core.settings import Family, ProbeSettings, Role, Settings
from bgphealth.daemon.probing import Probing
from bgphealth.daemon.questions import KernelView, PathQuestion, Questions, ServiceQuestion
from bgphealth.probes.outcome import Answer, Outcome
from bgphealth.simulation.clock import SimulatedLoop
from tests.support.hosts import CHECK, host, service

TAKES_S = 0.05
NO_KERNEL = KernelView(lambda _: "", lambda _: "", lambda _: "", lambda _: None)


@dataclass
class World:
    """Probers that answer after a while, and what they were asked."""

    asked: list[tuple[str, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def questions(self) -> Questions:
        return Questions(self._of_paths, self._of_services)

    def times(self, of: str) -> list[float]:
        return [at for name, at in self.asked if name == of]

    def answers_of(self, uplink: str) -> int:
        return sum(isinstance(e, PathProbed) and e.uplink == uplink for e in self.events)

    def _of_paths(self, settings: Settings, _: KernelView) -> Iterator[PathQuestion]:
        for uplink in settings.uplinks:
            for path in uplink.paths:
                prober = OfWorld(self, uplink.name)
                for probe in path.beyond:
                    key = PathKey(uplink.name, path.family)
                    yield PathQuestion(key, PathProbe(Role.BEYOND, probe), prober)

    def _of_services(self, settings: Settings) -> Iterator[ServiceQuestion]:
        for each in settings.services:
            for check in each.checks:
                yield ServiceQuestion(each, check, OfWorld(self, each.name))


class OfWorld:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._under_way: list[asyncio.TimerHandle] = []
        world.made.append(name)

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        self._world.asked.append((self._name, loop.time()))
        outcome = Outcome(Verdict.OK, str(probe), timeout_s)
        self._under_way.append(loop.call_later(TAKES_S, answer, outcome))

    def close(self) -> None:
        for handle in self._under_way:
            handle.cancel()


def played(play: Callable[[World, Probing], Awaitable[None]], settings: Settings) -> World:
    """Probe on simulated time."""

    async def run() -> World:
        world = World()
        probing = Probing(settings, NO_KERNEL, world.events.append, world.questions())
        await play(world, probing)
        probing.close()
        return world

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(run())


def slow() -> Settings:
    """Return a host whose service is checked every 60 s, for the second time after 60 s."""
    base = host()
    checked = tuple(
        replace(s, timing=replace(s.timing, interval_s=60.0)) if s.checks else s
        for s in base.services
    )
    return replace(base, services=checked)


def change(probing: Probing, settings: Settings) -> frozenset[PathKey]:
    left = probing.leave(settings)
    probing.begin(settings)
    return left


def test_what_another_file_asks_alike_keeps_its_turns() -> None:
    before = slow()
    timing = before.services[1].timing
    web = replace(service("web", "192.0.2.80/32"), checks=(CHECK,), timing=timing)
    added = replace(before, services=(*before.services, web))
    fewer = replace(before, uplinks=before.uplinks[:1])

    async def play(world: World, probing: Probing) -> None:
        await asyncio.sleep(59.013)
        for settings in (added, fewer, before):
            change(probing, settings)
            await asyncio.sleep(0.117)
        assert world.made.count("dns") == world.made.count("tor1") == 1
        await asyncio.sleep(2.0)

    world = played(play, before)
    # Three reloads, each just before its turn, have not put it off.
    assert [round(at) for at in world.times("dns")] == [0, 60]
    interval_s = before.path_timing.interval_s
    turns = world.times("tor1")[:: len(before.uplinks[0].paths[0].beyond)]
    gaps = [later - at for at, later in pairwise(turns)]
    assert max(gaps) < 1.1 * interval_s
    assert world.times("web") != []


def test_what_is_asked_otherwise_is_not_answered_any_more() -> None:
    before = host()
    first, second = before.uplinks
    other = replace(before, uplinks=(first, replace(second, interface="eth9")))
    left: list[PathKey] = []

    async def play(world: World, probing: Probing) -> None:
        await asyncio.sleep(10.0)
        while asyncio.get_running_loop().time() - world.times("tor2")[-1] > TAKES_S / 2:
            await asyncio.sleep(TAKES_S / 10)
        seen = world.answers_of("tor2")
        left.extend(probing.leave(other))
        await asyncio.sleep(10.0)
        assert world.answers_of("tor2") == seen
        probing.begin(other)
        await asyncio.sleep(1.0)
        assert world.answers_of("tor2") > seen

    world = played(play, before)
    assert left == [PathKey("tor2", Family.IPV4)]
    assert world.made.count("tor1") == 1


def test_another_interval_is_asked_at_once_and_loses_no_answer_of_a_service() -> None:
    before = host()
    faster = replace(before, path_timing=replace(before.path_timing, interval_s=0.05))

    async def play(world: World, probing: Probing) -> None:
        await asyncio.sleep(10.0)
        assert len(change(probing, faster)) == 2
        world.asked.clear()
        await asyncio.sleep(1.0)

    world = played(play, before)
    assert len(world.times("tor1")) >= 19
    assert world.made.count("dns") == 1


def test_what_is_asked_beside_its_turn_is_an_answer_like_all_others() -> None:
    before = slow()
    heard: list[Outcome] = []

    async def play(world: World, probing: Probing) -> None:
        await asyncio.sleep(1.0)
        (dns,) = probing.now("dns")
        dns.ask(heard.append)
        await asyncio.sleep(1.0)
        assert len([e for e in world.events if isinstance(e, ServiceChecked)]) == 2
        # What has left is not asked any more, whoever still holds it.
        probing.leave(replace(before, services=before.services[:1]))
        dns.ask(heard.append)
        await asyncio.sleep(1.0)
        assert probing.now("dns") == []
        assert len(probing.now(None)) == len(probing.now("tor1")) + len(probing.now("tor2"))

    world = played(play, before)
    assert [outcome.verdict for outcome in heard] == [Verdict.OK]
    assert len(world.times("dns")) == 2


def test_prefixes_that_change_are_another_service_to_ask() -> None:
    before = slow()
    loopback, dns = before.services
    moved = replace(
        before, services=(loopback, replace(dns, prefixes=(ip_network("192.0.2.9/32"),)))
    )

    async def play(world: World, probing: Probing) -> None:
        await asyncio.sleep(1.0)
        change(probing, moved)
        await asyncio.sleep(1.0)
        assert world.made.count("dns") == 2

    played(play, before)
