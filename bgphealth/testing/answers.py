"""What bgphealth in a node answers: `status --json`, `doctor --json`, `events --json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FAMILIES = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True, repr=False)
class Status:
    """What `bgphealth status --json` said; `data` is all of it (docs/status.md has the fields)."""

    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Status({self.data['summary']})"

    @property
    def healthy(self) -> bool:
        """Return whether all is well."""
        return bool(self.data["healthy"])

    @property
    def whole(self) -> bool:
        """Return whether all is well, everything has its verdict, and nothing is on its way.

        On its way is what ExaBGP has not acknowledged, and a default that was not looked up yet.
        """
        exabgp = self.data["exabgp"]
        tiers = {default["tier"] for default in self.data["defaults"]}
        return (
            self.healthy
            and bool(self.data["settled"])
            and (exabgp is None or not exabgp["waiting"])
            and (self.data["mode"] != "frr" or tiers == {"injected"})
        )

    @property
    def uplinks(self) -> Mapping[str, str]:
        """Return the names of the uplinks by their interfaces."""
        return {path["interface"]: path["uplink"] for path in self.data["paths"]}

    @property
    def families(self) -> tuple[str, ...]:
        """Return the families that the file has."""
        return tuple(default["family"] for default in self.data["defaults"])

    def paths(self, uplink: str | None = None, family: str | None = None) -> list[dict[str, Any]]:
        """Return the paths of an uplink, of a family, or all. Raises LookupError: there is none."""
        found = [
            path
            for path in self.data["paths"]
            if path["uplink"] == (uplink or path["uplink"])
            and path["family"] == (family or path["family"])
        ]
        if not found:
            there = ", ".join(f"{it['uplink']} {it['family']}" for it in self.data["paths"])
            wanted = " ".join(word for word in (uplink, family) if word)
            raise LookupError(f"no path {wanted}; there are {there}")
        return found

    def service(self, name: str) -> dict[str, Any]:
        """Return a service. Raises LookupError: there is none."""
        for service in self.data["services"]:
            if service["name"] == name:
                return dict(service)
        there = ", ".join(it["name"] for it in self.data["services"]) or "none"
        raise LookupError(f"no service {name!r}; there are {there}")

    def routes(self, service: str) -> list[dict[str, Any]]:
        """Return the routes of a service. Raises LookupError: there is no such service."""
        self.service(service)
        return [route for route in self.data["routes"] if route["service"] == service]

    def in_words(self) -> str:
        """Return what is wrong, the worst first, and each path: a few lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.data["summary"]
        yield from (f"{it['rank']}: {it['of']}: {it['says']}" for it in self.data["problems"])
        yield from map(path_in_words, self.data["paths"])
        for default in self.data["defaults"]:
            yield f"default {default['family']}: tier {default['tier']}"
        exabgp = self.data["exabgp"]
        if exabgp is not None and exabgp["waiting"]:
            yield f"{exabgp['waiting']} routes are not acknowledged by ExaBGP yet"


def path_in_words(path: Mapping[str, Any]) -> str:
    """Return a path's verdict, why, and which of its probes are not well."""
    words = f"{path['uplink']} {path['family']}: {path['verdict']}, {path['reason']}"
    words += f", since {path['since']}"
    probes = [_probe(it) for it in path["probes"] if it["level"] != "up" or it["last"] != "ok"]
    return "; ".join([words, *probes])


def _probe(probe: Mapping[str, Any]) -> str:
    why = probe["unknown"] or probe["detail"]
    return f"{probe['probe']} is {probe['level']}" + (f" ({why})" if why else "")


@dataclass(frozen=True, slots=True, repr=False)
class Doctor:
    """What `bgphealth doctor --json` found; `ok` when nothing, or notes only."""

    ok: bool
    findings: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        # In an assertion pytest shows so much of it; all of it is in the report.
        return f"Doctor({', '.join(sorted(self.words)) or 'ok'})"

    @property
    def words(self) -> frozenset[str]:
        """Return the stable words of what was found, notes left out (docs/doctor.md)."""
        return frozenset(it["word"] for it in self.findings if it["severity"] != "note")

    def in_words(self) -> str:
        """Return what was found, a line for each, with what mends it."""
        return "\n".join(map(_finding, self.findings)) or "nothing found"


def _finding(it: Mapping[str, Any]) -> str:
    mend = f"; mend: {it['mend']}" if it["mend"] else ""
    return f"{it['severity']}: {it['subject']}: {it['found']} ({it['word']}){mend}"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of bgphealth's log (docs/logs.md); `time` is the node's clock, in Unix seconds."""

    name: str
    time: float
    data: Mapping[str, Any]

    def is_about(self, uplink: str, family: str | None) -> bool:
        """Return whether it is about the paths of an uplink, or about one of them."""
        families = (family,) if family else FAMILIES
        return self.data.get("uplink") == uplink and self.data.get("family") in families


def event(logged: Mapping[str, Any]) -> Event:
    """Return a line of the log."""
    time = datetime.fromisoformat(logged["timestamp"]).timestamp()
    return Event(logged["event"], time, logged)
