"""A cell of the matrix in words: the same on the terminal and on the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab import dual_tor, scene
from lab.rounds import middle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NOTHING = "–"


def seconds(value: float | None) -> str:
    """Return a time as the tables have it."""
    return NOTHING if value is None else f"{value:.2f}".removesuffix(".00")


def _middle(values: Iterable[float | None]) -> float | None:
    found = list(values)
    return middle(found) if found else None


def outage(cell: Mapping[str, Any], direction: str) -> str:
    """Return the longest outage of any flow, IPv4 / IPv6: the median of the rounds."""
    rounds = [each for each in cell.get("rounds", []) if direction in each["outage_s"]]
    if not rounds:
        return NOTHING
    shown = " / ".join(
        seconds(_middle(each["outage_s"][direction][family] for each in rounds))
        for family in dual_tor.FAMILIES
    )
    # Measured with few faults, so it has no column of its own.
    with_new = direction == "out" and "new" in rounds[0]["outage_s"]
    return f"{shown} (new connections: {outage(cell, 'new')})" if with_new else shown


def detected(cell: Mapping[str, Any]) -> str:
    """Return how soon bgphealth's verdict came, IPv4 / IPv6."""
    times = [
        _middle(each["detect_s"][family] for each in cell.get("rounds", []))
        for family in dual_tor.FAMILIES
    ]
    return NOTHING if times == [None, None] else " / ".join(map(seconds, times))


def lasted(cell: Mapping[str, Any]) -> str:
    """Return how long the fault lasted; nothing for what mends itself."""
    return seconds(_middle(each["lasted_s"] for each in cell.get("rounds", [])))


def recovery(cell: Mapping[str, Any]) -> str:
    """Return how soon all was as before."""
    return seconds(_middle(each["recovery_s"] for each in cell.get("rounds", [])))


def announced(cell: Mapping[str, Any]) -> str:
    """Return what was announced and withdrawn in the first round, in order."""
    rounds = cell.get("rounds")
    if not rounds:
        return NOTHING
    first: Mapping[str, Any] = rounds[0]
    if first["announced"] is None:
        return "no BGP"
    parts = list(_merged(first["announced"]))
    if ended := first["sessions_ended"]:
        parts.insert(0, f"sessions ended: {', '.join(map(_who, ended))}")
    return "; ".join(parts) or "no UPDATE"


def _who(router: str) -> str:
    return "ExaBGP" if router == dual_tor.SERVER else router


def _merged(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return the steps in words; what several routers were told alike is said once."""
    merged: list[list[Mapping[str, Any]]] = []
    for step in steps:
        for same in merged:
            alike = all(same[0][key] == step[key] for key in ("what", "routes"))
            if alike and step["from_s"] - same[-1]["until_s"] < _TOGETHER_S:
                same.append(step)
                break
        else:
            merged.append([step])
    for same in merged:
        first, last = min(s["from_s"] for s in same), max(s["until_s"] for s in same)
        when = seconds(first) if last - first < _NO_SPAN_S else f"{seconds(first)}–{seconds(last)}"
        where = ""
        if same[0]["to"] != dual_tor.SERVER:
            preposition = "from" if same[0]["what"] == "withdrawn" else "to"
            where = f" {preposition} " + ", ".join(sorted({step["to"] for step in same}))
        yield f"{when} s: {', '.join(same[0]['routes'])} {same[0]['what']}{where}"


_TOGETHER_S = 1.0
_NO_SPAN_S = 0.1


def verdict(cell: Mapping[str, Any]) -> str:
    """Return whether all held; if not, what did not."""
    if cell["held"]:
        return "held"
    if "error" in cell:
        return f"not measured: {cell['error'].splitlines()[0]}"
    failed = {f["what"]: f["saw"] for each in cell["rounds"] for f in each["failed"]}
    return "did not hold: " + "; ".join(f"{what} (saw: {saw})" for what, saw in failed.items())


def directions(topology: str) -> list[tuple[str, str]]:
    """Return the directions of a topology's traffic, each with what it is."""
    return [(name, traffic.title) for name, traffic in scene.of(topology).traffic.items()]


def run(result: Mapping[str, Any]) -> str:
    """Return with what a run was made."""
    versions, machine = result["versions"], result["machine"]
    programs = ", ".join(f"{_PROGRAMS[name]} {version}" for name, version in versions.items())
    times = "once" if result["rounds"] == 1 else f"{result['rounds']} times, the median"
    return (
        f"{result['at'][:10]}, driver {result['driver']}, {programs}; "
        f"each fault {times}; {machine['cpus']} processors, load average "
        f"{machine['load_before']:.2f} before it and {_loads(result)} before a fault"
    )


_PROGRAMS = {"frr": "FRR", "exabgp": "ExaBGP", "bgphealth": "bgphealth"}


def _loads(result: Mapping[str, Any]) -> str:
    loads = [
        each["load_before"]
        for topology in result["topologies"]
        for cell in topology["cells"]
        for each in cell.get("rounds", [])
    ]
    return f"{min(loads):.2f} to {max(loads):.2f}" if loads else "?"


def totals(result: Mapping[str, Any]) -> str:
    """Return in one line what held."""
    cells = [cell for topology in result["topologies"] for cell in topology["cells"]]
    rounds = [each for cell in cells for each in cell.get("rounds", [])]
    parts = (
        f"{sum(cell['held'] for cell in cells)} of {len(cells)} faults held",
        f"recovered: {sum(each['recovery_s'] is not None for each in rounds)} of {len(rounds)}",
        f"stale announcements: {sum(len(each['stale']) for each in rounds)}",
        f"foreign routes untouched: {sum(r['foreign_untouched'] for r in rounds)} of {len(rounds)}",
    )
    return ", ".join(parts) + (", interrupted" if result["interrupted"] else "")


_SHORT_S = 1.0
_NEARLY = 0.9


def severity(cell: Mapping[str, Any], direction: str) -> str:
    """Return how bad an outage is, as the pages colour it."""
    found = [
        max(each["outage_s"][direction].values())
        for each in cell.get("rounds", [])
        if direction in each["outage_s"]
    ]
    if not found:
        return ""
    worst, lasted_s = max(found), cell["rounds"][0]["lasted_s"]
    if worst == 0:
        return "none"
    if worst <= _SHORT_S:
        return "short"
    return "very" if lasted_s is not None and worst >= _NEARLY * lasted_s else "long"
