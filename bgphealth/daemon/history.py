"""Since when things are as they are, and what became of the last reload.

The engine's state says how things are, its effects say when that changed; this keeps the times, for
whoever asks (`bgphealth.daemon.snapshot`). All times are on the clock of the events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from bgphealth.core.health import Judgement, PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.state import DecisionChanged, Effect, PathChanged, ServiceChanged, State
from bgphealth.daemon.reload import Reloaded, ReloadOutcome


class Since(NamedTuple):
    """Since when a verdict has its level, and since when its reason."""

    level: float
    reason: float


class Times(NamedTuple):
    """What a history knows, at one moment. What is in none of these is so since `began`.

    `falls` count how often a path or a service, by its name, stopped working; `taken` is when a
    file was taken last, be it as it was before.
    """

    began: float
    paths: Mapping[PathKey, Since]
    services: Mapping[str, Since]
    routes: Mapping[RouteKey, float]
    falls: Mapping[PathKey | str, int]
    reload: Reloaded | None
    taken: float


class History:
    """Keeps times since the start at `began`."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._paths: dict[PathKey, Since] = {}
        self._services: dict[str, Since] = {}
        self._routes: dict[RouteKey, float] = {}
        self._falls: Counter[PathKey | str] = Counter()
        self._reload: Reloaded | None = None
        self._taken = began

    @property
    def times(self) -> Times:
        """What is known now."""
        of = dict(self._paths), dict(self._services), dict(self._routes), dict(self._falls)
        return Times(self._began, *of, self._reload, self._taken)

    def effect(self, effect: Effect) -> None:
        """Take an effect of the engine."""
        match effect:
            case PathChanged(at, path, before, after):
                since = self._paths.get(path, Since(self._began, self._began))
                self._paths[path] = _since(since, at, before, after)
                self._falls[path] += _is_fall(before, after)
            case ServiceChanged(at, service, before, after):
                since = self._services.get(service, Since(self._began, self._began))
                self._services[service] = _since(since, at, before, after)
                self._falls[service] += _is_fall(before, after)
            case DecisionChanged(at, key):
                self._routes[key] = at
            case _:
                pass

    def reloaded(self, at: float, before: State, after: State) -> None:
        """Take a change of the file: forget what has left it, begin with what is new."""
        for key in before.paths.keys() - after.paths.keys():
            self._paths.pop(key, None)
            self._falls.pop(key, None)
        for name in before.services.keys() - after.services.keys():
            self._services.pop(name, None)
            self._falls.pop(name, None)
        for route in before.decisions.keys() - after.decisions.keys():
            self._routes.pop(route, None)
        new = Since(at, at)
        self._paths |= dict.fromkeys(after.paths.keys() - before.paths.keys(), new)
        self._services |= dict.fromkeys(after.services.keys() - before.services.keys(), new)

    def reload(self, done: Reloaded) -> None:
        """Take what became of a reload."""
        self._reload = done
        if done.outcome is not ReloadOutcome.REFUSED:
            self._taken = done.at


def _since(since: Since, at: float, before: Judgement, after: Judgement) -> Since:
    return Since(since.level if before.level is after.level else at, at)


def _is_fall(before: Judgement, after: Judgement) -> bool:
    return before.level.works and after.level is Level.DOWN
