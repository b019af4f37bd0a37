"""`bgphealth status`: how a running bgphealth stands, the worst first."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bgphealth.cli.app import Invocation

_MOST_UP = 10
"""So many services that are well are named; of more, their number is."""

_COLORS = {"outage": "red", "lost": "red", "warning": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, on one line.")
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show how a running bgphealth stands: what is wrong, then the rest.

    Exit status: 0 all is well, 1 something is not, 75 bgphealth does not run, 77 the control socket
    is not for this user.
    """
    found = snapshot(_file(context))
    if as_json:
        # Not indented: a thousand services are half a megabyte, and that is for programs.
        click.echo(json.dumps(found))
    else:
        click.echo("\n".join(lines(found)))
    context.exit(0 if found["healthy"] else 1)


def snapshot(file: Path) -> Mapping[str, Any]:
    """Ask the bgphealth over a file how it stands. Raises what `control.ask` does."""
    return cast("Mapping[str, Any]", control.ask(control.socket_of(file), "status")["status"])


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Return a snapshot in words, the worst first."""
    for_s = in_words(found["uptime_s"])
    version = found["version"] or "of a source checkout"
    yield (
        f"bgphealth {version}, mode {found['mode']}, pid {found['pid']}, up {for_s}, "
        f"{found['file']}"
    )
    yield from problems(found)
    yield from _table("uplinks", [_path(path, found["at"]) for path in found["paths"]])
    yield from _services(found["services"], found["at"])
    yield from _table("defaults", [default_words(it) for it in found["defaults"]])
    yield from _routes(found)
    yield from _table("drained", [_drain(it) for it in found["drains"]])
    if found["reload"] is not None and found["reload"]["applied"]:
        yield f"last reload: {found['reload']['at']}"


def problems(found: Mapping[str, Any]) -> Iterator[str]:
    """Return what is wrong, the worst first, or that nothing is."""
    if found["healthy"]:
        yield click.style(f"well: {found['summary']}", fg="green")
        return
    yield click.style(f"not well: {found['summary']}", fg=_COLORS[found["problems"][0]["rank"]])
    for it in found["problems"]:
        yield f"  {click.style(it['rank'], fg=_COLORS[it['rank']])}: {it['of']}: {it['says']}"


def in_words(seconds: float) -> str:
    """Return a duration as people say it: ``38 s``, ``3 h 12 min``, ``12 d 4 h``."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def lived(thing: Mapping[str, Any], now: str) -> str:
    """Return how long something has had its verdict."""
    for_s = datetime.fromisoformat(now) - datetime.fromisoformat(thing["since"])
    return in_words(for_s.total_seconds())


def _path(path: Mapping[str, Any], now: str) -> list[str]:
    works = path["verdict"] in ("up", "degraded", "damped")
    loss = f"loss {path['loss']:.0%}" if works and path["loss"] is not None else ""
    latency = f"{path['latency_ms']:.1f} ms" if works and path["latency_ms"] is not None else ""
    also = [word for word in ("suspect",) if path[word]]
    also += [path["drain"]] if path["drain"] else []
    return [
        f"{path['uplink']} {path['family']}",
        path["verdict"],
        path["reason"],
        f"for {lived(path, now)}",
        loss,
        latency,
        ", ".join(also),
    ]


def _services(services: list[Mapping[str, Any]], now: str) -> Iterator[str]:
    others = [s for s in services if s["verdict"] != "up" or s["drain"]]
    well = len(services) - len(others)
    shown = others if well > _MOST_UP else services
    rows = [
        [s["name"], s["verdict"], s["reason"], f"for {lived(s, now)}", s["drain"] or ""]
        for s in shown
    ]
    if len(shown) < len(services):
        rows.append([f"{well} others", "up"])
    yield from _table("services", rows)


def default_words(default: Mapping[str, Any]) -> list[str]:
    """Return a family, and in words which default it has."""
    kernel, words = default["kernel"], []
    if default["in_use"] is not None:
        words.append(f"in use: {default['in_use']}")
    if default["tier"] is not None:
        words.append(f"tier {default['tier']}")
    if kernel is not None:
        legs = [f"via {leg['gateway'] or '-'} dev {leg['interface']}" for leg in kernel["via"]]
        words += [*legs, f"src {kernel['source'] or '-'}", f"proto {kernel['protocol']}"]
    return [default["family"], ", ".join(words) or "not looked up yet"]


def _routes(found: Mapping[str, Any]) -> Iterator[str]:
    """Return how many routes are how; those that are not as usual one by one."""
    if not found["routes"]:
        return
    decided = Counter(route["decision"] for route in found["routes"])
    said = [f"{count} {decision}" for decision, count in decided.items()]
    acknowledged = Counter(r["exabgp"] for r in found["routes"] if r["exabgp"] is not None)
    seen = Counter(r["bgpd"] for r in found["routes"] if r["bgpd"] is not None)
    said += [f"{count} {word} by ExaBGP" for word, count in acknowledged.items()]
    said += [f"{count} {word} in bgpd" for word, count in seen.items()]
    yield f"routes: {', '.join(said)}"
    others = [r for r in found["routes"] if r["reason"] not in _USUAL]
    yield from _table("", [[r["route"], r["decision"], r["reason"]] for r in others[:_MOST_ROUTES]])
    if len(others) > _MOST_ROUTES:
        yield f"  and {len(others) - _MOST_ROUTES} more that are not as usual"


_USUAL = ("path_up", "service_up")
_MOST_ROUTES = 20


def _drain(drain: Mapping[str, Any]) -> list[str]:
    until = "" if drain["until"] is None else f"until {drain['until']}"
    forced = "forced" if drain["forced"] else ""
    of = f"{drain['what']} {drain['name']}".rstrip()
    return [of, drain["stage"], f"since {drain['since']}", until, forced]


def _table(title: str, rows: list[list[str]]) -> Iterator[str]:
    """Return rows below each other, with aligned columns."""
    if not rows:
        return
    if title:
        yield title
    widths = [
        max(len(row[column]) if column < len(row) else 0 for row in rows)
        for column in range(max(map(len, rows)))
    ]
    for row in rows:
        yield "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip()


def _file(context: click.Context) -> Path:
    invocation: Invocation = context.obj
    return invocation.file
