"""`bgphealth fallback`: the fallback defaults, the uplinks' tables and their rules, by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from bgphealth import config
from bgphealth.fallback import by_hand
from bgphealth.fallback.netlink import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import Settings
    from bgphealth.fallback.by_hand import Found

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_DIFFERENT = 1

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def fallback() -> None:
    """Look at, write or delete what bgphealth has in the kernel.

    That is the fallback defaults in the main table, one routing table per uplink, and the rules
    that lead to these. All of it carries the protocol number 179.
    """


@fallback.command()
@_as_json
@click.pass_context
def show(context: click.Context, *, as_json: bool) -> None:
    """Say what the file wants and what is there.

    Exit status: 0 when they are the same, 1 when something is missing or left over.
    """
    invocation: Invocation = context.obj
    settings = config.load(invocation.file)
    found = asyncio.run(by_hand.look(settings))
    if as_json:
        click.echo(json.dumps(_found(str(invocation.file), found), indent=2))
    else:
        click.echo("\n".join(_lines(settings, found)))
    context.exit(0 if found.is_as_wanted else _DIFFERENT)


@fallback.command()
@_as_json
@click.pass_obj
def apply(invocation: Invocation, *, as_json: bool) -> None:
    """Add what is missing. Nothing is deleted or replaced. Needs CAP_NET_ADMIN.

    Exit status: 75 when somebody else's route is in the way, 77 without the capability.
    """
    _say(invocation, asyncio.run(by_hand.apply(config.load(invocation.file))), as_json=as_json)


@fallback.command()
@_as_json
@click.pass_obj
def flush(invocation: Invocation, *, as_json: bool) -> None:
    """Delete all of it, and nothing of anybody else. Needs CAP_NET_ADMIN.

    A running bgphealth writes it again at once: end that first.
    """
    _say(invocation, asyncio.run(by_hand.flush(config.load(invocation.file))), as_json=as_json)


def _say(invocation: Invocation, done: list[str], *, as_json: bool) -> None:
    if as_json:
        answer = {"schema_version": SCHEMA_VERSION, "file": str(invocation.file), "done": done}
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo("\n".join(done or ["nothing to do"]))


def _found(file: str, found: Found) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "as_wanted": found.is_as_wanted,
        "defaults": [
            {
                "uplink": path.uplink,
                "family": path.family.value,
                "wanted": _route(found, wanted) if isinstance(wanted, Route) else None,
                "why_none": wanted if isinstance(wanted, str) else None,
                "is_there": wanted in found.ours,
            }
            for path, wanted in found.defaults.items()
        ],
        "others": [_route(found, route) for route in _by_metric(found)],
        "tables": [
            {
                "uplink": path.uplink,
                "family": path.family.value,
                "table": lack.table,
                "lacks": str(lack),
            }
            for path, lack in found.tables.items()
        ],
    }


def _lines(settings: Settings, found: Found) -> Iterator[str]:
    if not settings.fallback.enabled:
        yield "fallback.enabled is false: nothing is wanted"
    for path, wanted in found.defaults.items():
        if isinstance(wanted, Route):
            state = "there" if wanted in found.ours else "missing"
            yield f"{path.uplink} {path.family}: {_in_words(found, wanted)}: {state}"
        else:
            yield f"{path.uplink} {path.family}: none: {wanted}"
    for route in _by_metric(found):
        yield f"left over: {_in_words(found, route)}"
    for path, lack in found.tables.items():
        yield f"{path.uplink} {path.family}: {lack}"
    if settings.fallback.enabled and not found.tables:
        yield "tables and rules: as wanted"


def _by_metric(found: Found) -> list[Route]:
    return sorted(found.others, key=lambda route: (route.family, route.metric))


def _in_words(found: Found, route: Route) -> str:
    source = "" if route.source is None else f" src {route.source}"
    device = found.names.get(route.interface, f"interface {route.interface}")
    via = "" if route.gateway is None else f" via {route.gateway}"
    return f"{route.prefix}{via} dev {device}{source} metric {route.metric}"


def _route(found: Found, route: Route) -> dict[str, object]:
    return {
        "family": route.family.value,
        "gateway": None if route.gateway is None else str(route.gateway),
        "interface": found.names.get(route.interface),
        "source": None if route.source is None else str(route.source),
        "metric": route.metric,
    }
