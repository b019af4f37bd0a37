"""Which routes ExaBGP may have told its neighbors wrongly, though it said ``done`` to everything.

ExaBGP collects changes until a neighbor can be told, and sends them by attributes, not in the order
of the commands. A route that changes twice meanwhile can end as it was in between: A, B, A as B, or
withdrawn as announced. ExaBGP believes otherwise, and does not send the same announcement again
(docs/exabgp.md, From done to the wire). It says of no change when it was sent, so a change is only
sure when the next one comes late enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from bgphealth.core.intents import RouteKey

SURE_S = 0.5
"""How long after a change, and its reply, the neighbors have it. An idle ExaBGP needs some ms."""


class Unsure:
    """Notes changes as they are sent; times are those of one clock that never goes back."""

    def __init__(self) -> None:
        self._changed_at: dict[RouteKey, float] = {}
        self._away: Counter[RouteKey] = Counter()
        self._unsure: set[RouteKey] = set()

    def changed(self, key: RouteKey, at: float, *, away: bool) -> None:
        """Note a change that was sent; `away` unless all sessions are known to be up."""
        if at - self._changed_at.get(key, -inf) < SURE_S:
            self._unsure.add(key)
        if away:
            self._away[key] += 1
        # Until it is answered ExaBGP may not even have begun with it.
        self._changed_at[key] = inf

    def answered(self, keys: Iterable[RouteKey], at: float) -> None:
        """Note that ExaBGP has just got round to these, or that it never will."""
        self._changed_at.update(dict.fromkeys(keys, at))

    def gone(self, at: float) -> None:
        """Note that a session is gone: what it was not told yet is in one go with what comes."""
        self._away.update(key for key, was in self._changed_at.items() if at - was < SURE_S)

    def back(self, keys: Iterable[RouteKey], at: float) -> None:
        """Note that the session which these routes are for is up: all of it was one go."""
        twice = {key for key in keys if self._away.pop(key, 0) > 1}
        self._unsure |= twice
        self._changed_at.update(dict.fromkeys(twice, at))

    def settled(self, at: float) -> frozenset[RouteKey]:
        """Return the routes to be told again, once none of them has changed for a while."""
        if any(at - self._changed_at.get(key, -inf) < SURE_S for key in self._unsure):
            return frozenset()
        self._changed_at = {k: was for k, was in self._changed_at.items() if at - was < SURE_S}
        return frozenset(self._unsure)

    def told_again(self, keys: Iterable[RouteKey]) -> None:
        """Note that these were told again."""
        self._unsure.difference_update(keys)
