"""From what a scenario expects to `Expectation`s about one configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bgphealth.config.problems import KeyPath
from bgphealth.config.scenario import Expect
from bgphealth.core.decisions import default_key
from bgphealth.core.health import PathKey
from bgphealth.core.scenario import (
    ChangesExpected,
    Expected,
    PathExpected,
    RouteExpected,
    ServiceExpected,
)
from bgphealth.core.settings import (
    Family,
    Mode,
    Prefix,
    ServiceSettings,
    Settings,
    UplinkPath,
    UplinkSettings,
)


class NamedPath(NamedTuple):
    """A path, and the uplink that it is of."""

    uplink: UplinkSettings
    path: UplinkPath

    @property
    def key(self) -> PathKey:
        """What the engine calls it."""
        return PathKey(self.uplink.name, self.path.family)


def uplinks_named(settings: Settings, names: tuple[str, ...] | None) -> list[UplinkSettings]:
    """Return the uplinks of these names, in the order of the file."""
    return [uplink for uplink in settings.uplinks if uplink.name in (names or ())]


def paths_named(
    settings: Settings, names: tuple[str, ...] | None, family: Family | None
) -> list[NamedPath]:
    """Return the paths of these uplinks, those of one family or of all."""
    return [
        NamedPath(uplink, path)
        for uplink in uplinks_named(settings, names)
        for path in uplink.paths
        if family in (None, path.family)
    ]


def services_named(settings: Settings, names: tuple[str, ...] | None) -> list[ServiceSettings]:
    """Return the services of these names, in the order of the file."""
    return [service for service in settings.services if service.name in (names or ())]


def expected(settings: Settings, given: Expect) -> Iterator[Expected]:
    """Yield what an entry of the file expects of the configuration."""
    if given.changes is not None:
        yield ChangesExpected(given.since, given.changes.at_least, given.changes.at_most)
    for named in paths_named(settings, given.path, given.family):
        yield PathExpected(named.key, given.verdict, given.reason)
    for named in paths_named(settings, given.default, given.family):
        key = default_key(named.path.family, named.uplink.number)
        yield _route(given, key.prefix, key.path_id)
    for service in services_named(settings, given.service):
        if given.verdict is not None or given.reason is not None:
            yield ServiceExpected(service.name, given.verdict, given.reason)
        if given.uplinks is not None:
            for prefix in service.prefixes:
                yield RouteExpected(prefix, 0, None, frozenset(given.uplinks), None, None)
    if given.route is not None:
        yield _route(given, given.route)


def misfits(settings: Settings, given: Expect) -> Iterator[tuple[KeyPath, str]]:
    """Yield what an entry expects that the configuration cannot have, and at which key."""
    is_direct = settings.mode is Mode.DIRECT
    named = given.path or given.default
    if named is not None and not paths_named(settings, named, given.family):
        yield ("family",), f"there is no {given.family} path there"
    if is_direct and given.default is not None:
        yield ("default",), "no default is announced in mode direct"
    if is_direct and given.local_pref is not None:
        # It stays inside an AS (RFC 4271, 5.1.5).
        yield ("local_pref",), "no local preference is announced in mode direct"
    ours = {prefix for service in settings.services for prefix in service.prefixes}
    if given.route is not None and given.route not in ours:
        known = ", ".join(sorted(map(str, ours)))
        yield ("route",), f"no service announces {given.route}; there are {known}"


def _route(given: Expect, prefix: Prefix, path_id: int = 0) -> RouteExpected:
    uplinks = None if given.uplinks is None else frozenset(given.uplinks)
    return RouteExpected(prefix, path_id, given.announced, uplinks, given.local_pref, given.reason)
