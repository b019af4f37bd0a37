"""What another file changes, in the words of the file: one line for each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from bgphealth.core.settings import Settings

_KEYS = {
    "uplinks": "uplinks",
    "path_timing": "paths",
    "suspect_interval_s": "paths.suspect_interval_s",
    "quality": "paths.degraded",
    "damping": "paths.damping",
    "all_down": "policy.all_down",
    "drain_settle_s": "policy.drain_settle_s",
    "guarded_settle_s": "policy.guarded_settle_s",
    "stable_for_s": "policy.stable_for_s",
    "flush_conntrack": "policy.flush_conntrack",
    "control_group": "control.group",
    "control_read": "control.read",
}
"""Where in the file a field of the settings is, where not under its own name."""

_LONGEST = 200


def in_words(before: Settings, after: Settings) -> list[str]:
    """Return what differs, ``services.web: added`` or ``paths.interval: 0.2 s became 1 s``."""
    return [
        line
        for field in fields(before)
        for line in _differences(
            _KEYS.get(field.name, field.name),
            getattr(before, field.name),
            getattr(after, field.name),
        )
    ]


def _differences(key: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if type(before) is type(after) and is_dataclass(before):
        for field in fields(before):
            old, new = getattr(before, field.name), getattr(after, field.name)
            yield from _differences(f"{key}.{field.name}", old, new)
    elif isinstance(before, tuple) and isinstance(after, tuple):
        yield from _members(key, _by_name(before), _by_name(after))
    else:
        name = key.removesuffix("_s")
        unit = " s" if name != key else ""
        yield f"{name}: {_shown(before, unit)} became {_shown(after, unit)}"


def _members(key: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{key}.{name}: removed" for name in before if name not in after)
    yield from (f"{key}.{name}: added" for name in after if name not in before)
    for name in (name for name in before if name in after):
        yield from _differences(f"{key}.{name}", before[name], after[name])


def _by_name(members: tuple[object, ...]) -> dict[str, object]:
    """Return members by what tells them apart: a name, a family, or the whole of them."""
    found: dict[str, object] = {}
    for member in members:
        name = getattr(member, "name", None) or getattr(member, "family", None) or member
        found[str(name)[:_LONGEST]] = member
    return found


def _shown(value: object, unit: str) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}{unit}"
        case frozenset():
            return ", ".join(sorted(map(str, value))) or "nothing"
        case _:
            return str(value)[:_LONGEST]
