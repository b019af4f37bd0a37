"""Look whether bgpd and the kernel have what ExaBGP took, and put right what can be put right.

Theory of operation. ExaBGP's ``done`` says that a route is in ExaBGP's table. `ClosedLoop` looks
for it in bgpd's and, for defaults, in the kernel's: soon after each change, and everything once a
minute. bgpd, zebra and the kernel need a moment, so what is not as it should be is first suspected
and looked at again; it is drift when it is still so `SETTLE_S` after the last change.

A drift of bgpd's table is answered with the same route again (`doubt`): that mends what ExaBGP has
wrong. If that is not enough, ExaBGP shall send its whole table again (`refresh`): a route that it
has already it does not send twice. Both are repeated with growing waits; a drift is logged when it
is found, when it changes and when it is gone. What is wrong in the kernel is only reported: these
routes are FRR's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple, TypeAlias

from structlog.typing import FilteringBoundLogger

from bgphealth.core import truth
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reconcile import Announce, Change
from bgphealth.core.settings import Address, Family, Prefix, Settings
from bgphealth.core.truth import BgpRoute, Drift, KernelDefault, KernelView, State, Tier, Where
from bgphealth.daemon.tiers import Tiers
from bgphealth.exabgp.driver import Acknowledged, DriverEvent, NeighborChanged
from bgphealth.frr.routes import Injected

ROUND_S = 60.0
"""How often everything is looked at."""

SOON_S = 0.2
"""How long after a change to look: on a calm host a route is in the kernel after some 65 ms."""

GATHER_S = 0.6
"""How long a look may wait at most for changes to end."""

PORTION = 100
"""Prefixes to ask bgpd for in one go.

That takes some 50 ms, of which reading the answer holds the event loop for 5 ms.
"""

AGAIN_S = 0.4
"""How long after a look to look again at what was not as it should be."""

SETTLE_S = 1.0
"""How long after a change, or after the session came up, nothing is drift yet."""

AWAY_S = 10.0
"""How often to look whether bgpd can be asked, and whether its session with ExaBGP is up, again."""

WAITS_S = (0.5, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""After which time a drift is looked at, and answered, again; the last one from then on."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the closed loop knows.

    `looked_at` is when bgpd answered last, on the loop's clock; `unknown` says why it is not known
    what there is now (bgpd cannot be asked, the session with ExaBGP is down), or is empty. `states`
    holds each route that was looked up, but for those that may still be on their way. `looks`,
    `drifted` and `asserted` count look-ups, drifts and what was asserted again since the start.
    """

    looked_at: float | None = None
    unknown: str = ""
    states: Mapping[RouteKey, State] = field(default_factory=dict)
    drifts: tuple[Drift, ...] = ()
    looks: int = 0
    drifted: int = 0
    asserted: int = 0


class Lookups(NamedTuple):
    """Where to look: `injected`, `kernel_defaults`. They say in words why they cannot."""

    bgpd: Callable[[Address, Collection[Prefix]], Awaitable[Injected | str]]
    kernel: Callable[[Settings, Family], Awaitable[KernelView | str]]


class Remedies(NamedTuple):
    """What can be done about drift; must not block.

    `doubt` asserts routes again, announcements and withdrawals alike; `refresh` lets ExaBGP send
    its whole table again. `refresh` is called only when the session has just been seen up. `tell`
    is called when `ClosedLoop.drifts` or `ClosedLoop.tiers` changed.
    """

    doubt: Callable[[Set[RouteKey]], None]
    refresh: Callable[[], None]
    tell: Callable[[], None]


_Place: TypeAlias = tuple[RouteKey, Where]


class _Times(NamedTuple):
    began: float
    session_up: float


@dataclass(slots=True)
class _Drifting:
    drift: Drift
    since: float
    tries: int = 0
    next_at: float = 0.0


class ClosedLoop:
    """Compares what was acknowledged with what there is. Needs a running event loop.

    Args:
        settings: the file.
        owned: every route that is ours. One that was not acknowledged yet is not looked at.
        lookups: where to look.
        remedies: what to do.
        log: where to say it.
    """

    def __init__(
        self,
        settings: Settings,
        owned: Set[RouteKey],
        lookups: Lookups,
        remedies: Remedies,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._owned = owned
        self._lookups = lookups
        self._remedies = remedies
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._expected: dict[RouteKey, Announcement | None] = {}
        self._changed_at: dict[Prefix, float] = {}
        self._dirty: set[Prefix] = set()
        self._dirty_since = 0.0
        self._due_at = inf
        self._round_at = self._loop.time() + ROUND_S
        self._looked_at: float | None = None
        self._suspected: dict[_Place, float] = {}
        self._drifting: dict[_Place, _Drifting] = {}
        self._states: dict[RouteKey, State] = {}
        self._unasked: dict[Where, str] = {}
        self._unknown = ""
        self._tiers = Tiers(log)
        self._tiers_again_at = inf
        self._defaults: dict[Family, KernelDefault | None] = {}
        self._looks = self._drifted = self._asserted = 0

    @property
    def truth(self) -> Truth:
        """What is known now."""
        return Truth(
            self._looked_at,
            self._unknown,
            dict(self._states),
            self.drifts,
            self._looks,
            self._drifted,
            self._asserted,
        )

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """What was not as announced when it was looked at last."""
        return tuple(it.drift for it in self._drifting.values())

    @property
    def tiers(self) -> Mapping[Family, Tier]:
        """Which tier served the default of each family when it was looked at last."""
        return self._tiers.known

    @property
    def defaults(self) -> Mapping[Family, KernelDefault | None]:
        """The default that the kernel used for each family when it was looked at last."""
        return dict(self._defaults)

    def driver(self, event: DriverEvent) -> None:
        """Take an event of the driver."""
        match event:
            case Acknowledged(command):
                for change in command.changes:
                    self.acknowledged(change)
            case NeighborChanged(neighbor) if neighbor.state == "up" or not self._unknown:
                # Not at each attempt of ExaBGP to get the session back.
                self.look_at_everything()
            case _:
                pass

    def acknowledged(self, change: Change) -> None:
        """Take a change that ExaBGP has acknowledged. Never waits."""
        announcement = change.announcement if isinstance(change, Announce) else None
        now, prefix = self._loop.time(), change.key.prefix
        if change.key not in self._expected or self._expected[change.key] != announcement:
            self._expected[change.key] = announcement
            self._changed_at[prefix] = now
        if not self._dirty:
            self._dirty_since = now
        self._dirty.add(prefix)
        self._due_at = min(now + SOON_S, self._dirty_since + GATHER_S)
        self._wake.set()

    def configure(self, settings: Settings, owned: Set[RouteKey]) -> None:
        """Go on with another file; what was ours until now is not somebody else's."""
        self._settings = settings
        self._owned = self._owned | owned
        self.look_at_everything()

    def look_at_everything(self) -> None:
        """Look at everything soon: something happened to the session, say."""
        self._round_at = min(self._round_at, self._loop.time() + SOON_S)
        self._wake.set()

    async def run(self) -> None:
        """Look for as long as the task lives."""
        while True:
            self._wake.clear()
            wait_s = self._next_at() - self._loop.time()
            if wait_s <= 0:
                before = self.drifts, self.tiers
                await self._look()
                if (self.drifts, self.tiers) != before:
                    self._remedies.tell()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _next_at(self) -> float:
        again_at = (self._looked_at or 0.0) + AGAIN_S if self._suspected else inf
        mend_at = min((it.next_at for it in self._drifting.values()), default=inf)
        return min(self._round_at, self._due_at, again_at, mend_at, self._tiers_again_at)

    async def _look(self) -> None:
        began = self._loop.time()
        if began >= self._round_at:
            self._round_at = began + ROUND_S
            prefixes = {key.prefix for key in self._expected}
        else:
            places = (*self._suspected, *self._drifting)
            prefixes = self._dirty | {key.prefix for key, _ in places}
            prefixes |= {family.default_prefix for family in self._tiers.unsure}
        self._dirty = set()
        self._due_at = self._tiers_again_at = inf
        if not prefixes:
            return
        answer = await self._ask(tuple(prefixes))
        self._looks += 1
        self._asked(Where.BGPD, answer if isinstance(answer, str) else "")
        if isinstance(answer, str):
            self._know_nothing(answer)
            return
        kernel = await self._ask_kernel(answer)
        if not answer.session.is_up:
            self._know_nothing(f"the session with ExaBGP is {answer.session.state}")
        else:
            self._unknown = ""
            self._compare(answer, kernel, began)

    async def _ask(self, prefixes: tuple[Prefix, ...]) -> Injected | str:
        """Ask bgpd, in portions: what comes meanwhile is let by first, as it matters more."""
        routes: dict[Prefix, BgpRoute] = {}
        answer: Injected | str = ""
        for first in range(0, len(prefixes), PORTION):
            # Not for ever: after `GATHER_S` it is due whatever else comes.
            while self._dirty and self._loop.time() < self._due_at:  # noqa: ASYNC110 - it moves
                await asyncio.sleep(self._due_at - self._loop.time())
            portion = prefixes[first : first + PORTION]
            answer = await self._lookups.bgpd(self._settings.host.injector, portion)
            if isinstance(answer, str):
                return answer
            routes.update(answer.routes)
        return answer if isinstance(answer, str) else Injected(answer.session, routes)

    async def _ask_kernel(self, seen: Injected) -> Mapping[Family, KernelView]:
        """Look into the kernel where defaults were asked for, and at whose it uses."""
        views: dict[Family, KernelView] = {}
        # Not of the file's families alone: one that left it may have drifted before.
        for family in Family:
            if (route := seen.routes.get(family.default_prefix)) is None:
                continue
            view = await self._lookups.kernel(self._settings, family)
            self._asked(Where.KERNEL, view if isinstance(view, str) else "")
            if not isinstance(view, str):
                views[family] = view
                self._defaults[family] = truth.used_of(view.defaults)
                self._tiers.seen(family, truth.tier(route, view))
        if self._tiers.unsure & views.keys():
            self._tiers_again_at = self._loop.time() + AGAIN_S
        return views

    def _compare(self, seen: Injected, kernel: Mapping[Family, KernelView], began: float) -> None:
        """Compare what was seen with what was acknowledged."""
        undecided = self._owned - self._expected.keys()
        compared = truth.in_bgpd(self._expected, undecided, seen.routes)
        found = list(compared.drifts)
        looked = {(prefix, Where.BGPD) for prefix in seen.routes}
        for family, view in kernel.items():
            looked.add((family.default_prefix, Where.KERNEL))
            used = self._used(family, compared.states)
            if used and (drift := truth.in_kernel(self._settings, family, used, view)) is not None:
                found.append(drift)
        up_for_s = seen.session.for_s
        up_at = -inf if up_for_s is None else self._loop.time() - up_for_s
        self._weigh(looked, found, _Times(began, up_at))
        self._remember(compared.states, seen.routes.keys())
        self._mend()

    def _used(self, family: Family, states: Mapping[RouteKey, State]) -> list[Announcement]:
        """Return the announced defaults that the kernel should use: the best that bgpd has."""
        seen = [
            announcement
            for key, announcement in self._expected.items()
            if key.prefix == family.default_prefix
            and announcement is not None
            and states.get(key) is State.SEEN
        ]
        best = max((it.local_pref or 0 for it in seen), default=0)
        return [it for it in seen if (it.local_pref or 0) == best]

    def _weigh(self, looked: Set[tuple[Prefix, Where]], found: Iterable[Drift], at: _Times) -> None:
        """Sort what was found into suspected and drift, and forget what is as it should be."""
        now = self._looked_at = self._loop.time()
        drifts = {(drift.key, drift.where): drift for drift in found}
        for place in (*self._suspected, *self._drifting):
            if place not in drifts and (place[0].prefix, place[1]) in looked:
                self._suspected.pop(place, None)
                self._gone(place)
        for place, drift in drifts.items():
            settled_at = max(self._changed_at.get(drift.key.prefix, -inf), at.session_up) + SETTLE_S
            if place in self._drifting:
                if at.began >= settled_at and self._drifting[place].drift != drift:
                    self._drifting[place].drift = drift
                    self._say(drift)
            elif place in self._suspected and at.began >= settled_at:
                self._drifting[place] = _Drifting(drift, self._suspected.pop(place))
                self._drifted += 1
                self._say(drift)
            else:
                self._suspected.setdefault(place, now)

    def _remember(self, states: Mapping[RouteKey, State], prefixes: Set[Prefix]) -> None:
        suspected = {key for key, _ in self._suspected}
        kept = {key: state for key, state in self._states.items() if key.prefix not in prefixes}
        new = {
            key: state
            for key, state in states.items()
            if key.prefix in prefixes and key not in suspected
        }
        self._states = kept | new

    def _mend(self) -> None:
        """Answer the drifts whose time has come: assert them again, then the whole table."""
        now = self._loop.time()
        due = [it for it in self._drifting.values() if it.next_at <= now]
        mended = [it for it in due if self._can_be_mended(it.drift)]
        is_second = any(it.tries and it.drift.state is not State.STALE for it in mended)
        for it in due:
            it.next_at = now + WAITS_S[min(it.tries, len(WAITS_S) - 1)]
            it.tries += 1
        if mended:
            self._asserted += len(mended)
            self._remedies.doubt({it.drift.key for it in mended})
        if is_second:
            self._remedies.refresh()

    def _can_be_mended(self, drift: Drift) -> bool:
        ours = drift.key in self._owned or drift.key in self._expected
        there = drift.where is Where.BGPD and drift.state is not State.UNUSED
        return ours and there

    def _know_nothing(self, why: str) -> None:
        self._unknown = why
        self._states = {}
        self._suspected.clear()
        now = self._loop.time()
        self._round_at = min(self._round_at, now + AWAY_S)
        for it in self._drifting.values():
            it.next_at = max(it.next_at, self._round_at)

    def _asked(self, where: Where, why_not: str) -> None:
        """Say that bgpd or the kernel cannot be asked, once per reason, and when it can again."""
        before = self._unasked.pop(where, "")
        if why_not:
            self._unasked[where] = why_not
        if why_not == before:
            return
        if where is Where.BGPD:
            event = "bgpd_not_asked" if why_not else "bgpd_asked"
        else:
            event = "kernel_not_asked" if why_not else "kernel_asked"
        if why_not:
            self._log.warning(event, why=why_not)
        else:
            self._log.info(event)

    def _say(self, drift: Drift) -> None:
        self._log.warning(
            "drift",
            route=str(drift.key),
            where=str(drift.where),
            state=str(drift.state),
            expected=drift.expected,
            found=drift.found,
            hint=drift.hint,
        )

    def _gone(self, place: _Place) -> None:
        if (drifting := self._drifting.pop(place, None)) is not None:
            key, where = place
            for_s = round(self._loop.time() - drifting.since, 1)
            self._log.info("drift_gone", route=str(key), where=str(where), for_s=for_s)
