"""The engine, fed event by event, with a record of what it made of them."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bgphealth.core import engine, last_path
from bgphealth.core.events import (
    Drained,
    Event,
    LinkChanged,
    Settled,
    Started,
    TimePassed,
    Undrained,
)
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.orders import Target, What
from bgphealth.core.reconcile import Announce, reconcile
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.scenario import Drain, Scenario, Step, Undrain
from bgphealth.core.settings import Settings
from bgphealth.core.state import AlternativesWanted, Effect, IntentsChanged, PaceChanged, State
from bgphealth.daemon.alternatives import AlternativesWatch
from bgphealth.daemon.probing import Probing
from bgphealth.daemon.questions import KernelView
from bgphealth.simulation.clock import SimulatedLoop
from bgphealth.simulation.recorded import Reconfigured
from bgphealth.simulation.world import World


@dataclass(frozen=True, slots=True)
class Happened:
    """Something came from outside, in words."""

    at: float
    text: str


Moment: TypeAlias = Happened | Effect


@dataclass(slots=True)
class Played:
    """What came of a trace; times are those of its events, `start` the first and `end` the last.

    `changes` has the time of each announcement and withdrawal that would have been sent; `states`
    the state after each event that changed anything, the first one from before all of them.
    """

    states: list[tuple[float, State]]
    start: float = 0.0
    end: float = 0.0
    events: int = 0
    moments: list[Moment] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The state at the end."""
        return self.states[-1][1]

    @property
    def settings(self) -> Settings:
        """The settings that count at the end."""
        return self.state.settings

    def state_at(self, at: float) -> State:
        """Return the state after everything that happened until then."""
        place = bisect_right(self.states, at, key=lambda entry: entry[0])
        return self.states[max(place - 1, 0)][1]


class Player:
    """Feeds the engine.

    `probing` is who asks the probes, None where they were asked already, as `alternatives` is who
    looks for others; `wake` is told when the
    engine wants to know how late it is, None where that was recorded as well.
    """

    def __init__(self, settings: Settings) -> None:
        self._state = engine.initial(settings)
        self._sent: dict[RouteKey, Announcement] = {}
        self.played = Played([(float("-inf"), self._state)])
        self.probing: Probing | None = None
        self.alternatives: AlternativesWatch | None = None
        self.wake: Callable[[float], None] | None = None

    def happened(self, at: float, text: str) -> None:
        """Note what came from outside."""
        self.played.moments.append(Happened(at, text))

    def post(self, event: Event) -> None:
        """Take an event, and do what the program would do about it."""
        played = self.played
        if not played.events:
            played.start = event.at
        played.events += 1
        played.end = event.at
        before = self._state.next_at
        self._state, effects = engine.step(self._state, event)
        if effects:
            self._take(event.at, effects)
        at = self._state.next_at
        if self.wake is not None and at is not None and at != before:
            self.wake(at)

    def late(self, at: float) -> None:
        """Say how late it is, if the engine still wants to know."""
        due = self._state.next_at
        if due is not None and due <= at:
            self.post(TimePassed(at))

    def ordered(self, at: float, step: Step) -> None:
        """Do what an operator orders, or refuse it."""
        for change in step.changes:
            match change:
                case Drain(target, lasts_s, forced):
                    if self._is_refused(target, forced=forced):
                        text = f"drain {target}: refused, no other uplink is known to work"
                        self.happened(at, text)
                        continue
                    until = None if lasts_s is None else at + lasts_s
                    self.post(Drained(at, *target, at, until, forced))
                case Undrain(target):
                    self.post(Undrained(at, *target))

    def _is_refused(self, target: Target, *, forced: bool) -> bool:
        may_be = target.what is What.UPLINK and not forced
        return may_be and bool(last_path.needs(self._state, target.name))

    def reconfigure(self, reconfigured: Reconfigured) -> None:
        """Take other settings."""
        at, settings = reconfigured
        self._state, effects = reconfigure(self._state, settings, at)
        self._take(at, effects)

    def _take(self, at: float, effects: tuple[Effect, ...]) -> None:
        self.played.states.append((at, self._state))
        self.played.moments += effects
        for effect in effects:
            match effect:
                case IntentsChanged():
                    self._send(effect)
                case PaceChanged(path=path, suspect=suspect) if self.probing is not None:
                    self.probing.pace(path, suspect=suspect)
                case AlternativesWanted(prefixes=prefixes) if self.alternatives is not None:
                    self.alternatives.want(prefixes)

    def _send(self, effect: IntentsChanged) -> None:
        left = {key: self._sent[key] for key in effect.undecided if key in self._sent}
        for change in reconcile({**effect.intents, **left}, self._sent):
            self.played.changes.append(effect.at)
            if isinstance(change, Announce):
                self._sent[change.key] = change.announcement
            else:
                del self._sent[change.key]


def replay(settings: Settings, events: Iterable[Event | Reconfigured]) -> Played:
    """Return what the engine makes of what was recorded."""
    player = Player(settings)
    for event in events:
        if isinstance(event, Reconfigured):
            player.happened(event.at, "another configuration")
            player.reconfigure(event)
            continue
        if isinstance(event, LinkChanged):
            player.happened(event.at, f"{event.uplink}: link {'up' if event.up else 'down'}")
        player.post(event)
    return player.played


def play(scenario: Scenario, player: Player | None = None) -> Played:
    """Return what the program makes of a scenario: it asks its probes as it does in life."""
    player = player or Player(scenario.settings)
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(_play(scenario, player))
    player.played.end = scenario.end
    return player.played


async def _play(scenario: Scenario, player: Player) -> None:
    loop = asyncio.get_running_loop()
    world = World(scenario, player.post)

    def happens(step: Step) -> None:
        if step.said:
            player.happened(step.at, step.said)
        world.happens(step)
        player.ordered(loop.time(), step)

    def wake(at: float) -> None:
        loop.call_at(at, lambda: player.late(loop.time()))

    player.wake = wake
    later = [step for step in scenario.steps if step.at > 0]
    for step in later:
        # Before what is asked at the same time: timers of one time have no order.
        loop.call_at(math.nextafter(step.at, 0), happens, step)
    player.probing = Probing(scenario.settings, _NO_KERNEL, player.post, world.questions())
    # From the loop, like all the others: a mistake in a task would wait for its end.
    player.alternatives = AlternativesWatch(
        world.who_else, lambda event: loop.call_soon(player.post, event)
    )
    player.post(Started(loop.time()))
    settled_at = engine.settling_s(scenario.settings)
    loop.call_at(settled_at, lambda: player.post(Settled(loop.time())))
    for step in scenario.steps:
        if step.at <= 0:
            happens(step)
    # A mistake of ours in a timer's callback would only be logged, and the rest played on.
    broken: asyncio.Future[Exception] = loop.create_future()

    def breaks(_: object, context: dict[str, Any]) -> None:
        if not broken.done():
            broken.set_result(context["exception"])

    loop.set_exception_handler(breaks)
    looking = asyncio.create_task(player.alternatives.run())
    try:
        await asyncio.wait({broken}, timeout=scenario.end)
        if broken.done():
            raise broken.result()
    finally:
        looking.cancel()
        player.probing.close()


def _nothing(_: object) -> str:
    return "simulated"


_NO_KERNEL = KernelView(_nothing, _nothing, _nothing, lambda _: None)
"""Nobody asks it: the questions of a world bring their own answers."""
