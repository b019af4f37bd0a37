"""What is wrong, worst first: from a snapshot to a few lines for whoever is called at night.

What is drained is away on purpose, and is no problem. All other departures from "everything is up,
announced, seen and used" are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from operator import itemgetter
from typing import Any

from bgphealth.exabgp.silence import DEADLINE_S


class Rank(IntEnum):
    """How bad it is: traffic is lost or may be, redundancy is lost, something is in the way."""

    OUTAGE = 0
    LOST = 1
    WARNING = 2


def problems(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is wrong: `rank`, `of` what, and what it `says`; the worst first."""
    listed = [
        {"rank": rank.name.lower(), "of": of, "says": says, "order": rank}
        for look in (_paths, _services, _exabgp, _defaults, _routes, _drifts, _rest)
        for rank, of, says in look(found)
    ]
    listed.sort(key=itemgetter("order"))
    return [{key: it[key] for key in ("rank", "of", "says")} for it in listed]


def _paths(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    working = {p["family"] for p in found["paths"] if p["verdict"] in _WORKS}
    for path in found["paths"]:
        of = f"{path['uplink']} {path['family']}"
        if path["drain"] == "suspended":
            yield Rank.WARNING, of, "drained, and carries because no other uplink works"
        elif path["drain"] is None and path["verdict"] != "up":
            is_last = path["family"] not in working
            is_down = path["verdict"] == "down"
            rank = Rank.OUTAGE if is_down and is_last else Rank.LOST if is_down else Rank.WARNING
            yield rank, of, _verdict(path)
    for uplink in dict.fromkeys(path["uplink"] for path in found["paths"]):
        yield from _unasked_over(uplink, [p for p in found["paths"] if p["uplink"] == uplink])


def _unasked_over(
    uplink: str, paths: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Rank, str, str]]:
    """Say once per uplink what cannot be asked: without its link that is all there is."""
    probes = [probe for path in paths for probe in path["probes"]]
    unasked = [probe for probe in probes if probe["unknown"]]
    families = [path["family"] for path in paths if any(p["unknown"] for p in path["probes"])]
    if not unasked:
        return
    of = uplink if len(families) > 1 else f"{uplink} {families[0]}"
    which = unasked[0]["probe"] if len(unasked) == 1 else f"{len(unasked)} of {len(probes)} probes"
    whys = dict.fromkeys(probe["unknown"] for probe in unasked)
    yield Rank.WARNING, of, f"{which} cannot be asked: {'; '.join(whys)}"


def _services(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    for service in found["services"]:
        if service["drain"] is None and service["verdict"] != "up":
            is_down = service["verdict"] == "down"
            yield Rank.OUTAGE if is_down else Rank.WARNING, service["name"], _verdict(service)
        for check in service["checks"]:
            if check["unknown"]:
                says = f"{check['check']} cannot be asked: {check['unknown']}"
                yield Rank.WARNING, service["name"], says


def _exabgp(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    exabgp = found["exabgp"]
    if exabgp is None:
        return
    if exabgp["late_s"] >= DEADLINE_S:
        yield Rank.OUTAGE, "ExaBGP", f"has not answered for {exabgp['late_s']:.0f} s"
    for neighbor in exabgp["neighbors"]:
        if neighbor["state"] != "up":
            rank = Rank.OUTAGE if found["mode"] == "frr" else Rank.LOST
            why = f": {neighbor['reason']}" if neighbor["reason"] else ""
            yield rank, f"neighbor {neighbor['neighbor']}", f"{neighbor['state']}{why}"
    if found["looked_up"] is not None and found["looked_up"]["unknown"]:
        yield Rank.WARNING, "bgpd", found["looked_up"]["unknown"]


def _defaults(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    for default in found["defaults"]:
        if default["tier"] not in (None, "injected"):
            rank = Rank.OUTAGE if default["tier"] == "none" else Rank.LOST
            says = f"tier {default['tier']}: not the one that the probes vouch for"
            yield rank, f"default {default['family']}", says


def _routes(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    for route in found["routes"]:
        if route["exabgp"] == "refused":
            yield Rank.LOST, route["route"], "ExaBGP refused it, or did not answer"
        if route["reason"] == "guarded_last_resort":
            yield Rank.OUTAGE, route["route"], "a last resort: no other host is well"
        elif route["reason"] in _HELD_BACK:
            yield Rank.LOST, route["route"], f"{route['decision']}: {route['reason']}"


def _drifts(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    for drift in found["drifts"]:
        says = f"{drift['state']} in {drift['where']}: expected {drift['expected']}, found "
        yield Rank.LOST, drift["route"], says + drift["found"]


def _rest(found: Mapping[str, Any]) -> Iterator[tuple[Rank, str, str]]:
    reload = found["reload"]
    if reload is not None and not reload["applied"]:
        first, *more = reload["problems"]
        rest = f" (and {len(more)} more)" if more else ""
        yield Rank.WARNING, "reload", f"refused at {reload['at']}, nothing changed: {first}{rest}"
    probes = (probe for path in found["paths"] for probe in path["probes"])
    unasked = {probe["unknown"] for probe in probes}
    for trouble in found["troubles"]:
        if trouble["what"] == "probe_source" and trouble["why"] in unasked:
            continue  # That is why they cannot be asked, which has been said.
        yield Rank.WARNING, trouble["of"], f"{trouble['what']}: {trouble['why']}"


_WORKS = ("up", "degraded", "damped")
_HELD_BACK = ("address_missing", "required_service_down", "too_few_uplinks")


def _verdict(thing: Mapping[str, Any]) -> str:
    evidence = f": {thing['evidence']}" if thing["evidence"] else ""
    return f"{thing['verdict']}, {thing['reason']}, since {thing['since']}{evidence}"
