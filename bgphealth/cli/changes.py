"""What differs between two snapshots of a running bgphealth, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_Json: TypeAlias = "Mapping[str, Any]"


def changes(before: _Json, after: _Json) -> Iterator[str]:
    """Return a line for each thing that is another one now."""
    for section, name, words in _SECTIONS:
        old = {name(it): words(it) for it in before[section]}
        new = {name(it): words(it) for it in after[section]}
        for thing in {**old, **new}:
            if old.get(thing) != new.get(thing):
                yield f"{thing}: {old.get(thing, 'not there')} → {new.get(thing, 'gone')}"


def _verdict(thing: _Json) -> str:
    drained = f", {thing['drain']}" if thing["drain"] else ""
    evidence = f" ({thing['evidence']})" if thing["evidence"] and thing["verdict"] != "up" else ""
    return f"{thing['verdict']}, {thing['reason']}{drained}{evidence}"


def _default(default: _Json) -> str:
    words = [
        f"{word} {default[key]}"
        for word, key in (("in use:", "in_use"), ("tier", "tier"))
        if default[key] is not None
    ]
    return ", ".join(words) or "not known"


_SECTIONS: tuple[tuple[str, Callable[[_Json], str], Callable[[_Json], str]], ...] = (
    ("paths", lambda it: f"{it['uplink']} {it['family']}", _verdict),
    ("services", lambda it: f"service {it['name']}", _verdict),
    ("routes", lambda it: f"route {it['route']}", lambda it: f"{it['decision']}, {it['reason']}"),
    ("defaults", lambda it: f"default {it['family']}", _default),
    ("drifts", lambda it: f"drift {it['route']} in {it['where']}", lambda it: str(it["state"])),
    ("drains", lambda it: f"drain {it['what']} {it['name']}".rstrip(), lambda it: it["stage"]),
)
"""A section of a snapshot, how one of it is called, and how it is."""
