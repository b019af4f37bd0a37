"""Routes in the operator's names."""

from __future__ import annotations

from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.policy_services import all_steering
from bgphealth.core.settings import Settings


def carriers(settings: Settings, announcement: Announcement) -> tuple[str, ...]:
    """Return the uplinks that may carry a route, in the order of the file.

    A default has one, its path identifier; a service those of its communities, and where it is
    announced to one neighbor alone, the uplink of that neighbor. What is degraded or being drained
    carries it as well.
    """
    key = announcement.key
    if key.neighbor is not None:
        return _uplinks_to(settings, key)
    if key.path_id:
        return tuple(u.name for u in settings.uplinks if u.number == key.path_id)
    communities = set(announcement.communities)
    return tuple(u.name for u in settings.uplinks if communities & all_steering(settings, u))


def route_name(settings: Settings, key: RouteKey) -> str:
    """Return ``192.0.2.53/32``, ``0.0.0.0/0 via tor1``, or ``192.0.2.53/32 to tor1``."""
    if key.neighbor is not None:
        return f"{key.prefix} to {' + '.join(_uplinks_to(settings, key)) or key.neighbor}"
    if not key.path_id:
        return str(key.prefix)
    names = {uplink.number: uplink.name for uplink in settings.uplinks}
    return f"{key.prefix} via {names.get(key.path_id, f'path {key.path_id}')}"


def _uplinks_to(settings: Settings, key: RouteKey) -> tuple[str, ...]:
    return tuple(
        uplink.name
        for uplink in settings.uplinks
        if any(path.neighbor == key.neighbor for path in uplink.paths)
    )
