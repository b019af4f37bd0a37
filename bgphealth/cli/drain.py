"""`bgphealth drain` and `undrain`: take something out of use, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control, names
from bgphealth.cli.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bgphealth.cli.app import Invocation

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_lasts = click.option(
    "--for",
    "lasts_s",
    metavar="DURATION",
    callback=seconds,
    help="Until so long from now, such as 30m; else for good.",
)


@click.group(invoke_without_command=True)
@_json
@click.pass_context
def drain(context: click.Context, *, as_json: bool) -> None:
    """Take an uplink, a service or all services of the host out of use, gracefully.

    What is drained is still announced for policy.drain_settle, so that traffic can go, then
    not any more; so it stays over restarts, until it is undrained. Without a command: list what is
    drained.

    Exit status: 0 done, 1 refused, 2 there is no such thing, 75 bgphealth does not run, 77 the
    control socket is not for this user.
    """
    if context.invoked_subcommand is not None:
        return
    answer = control.ask(control.socket_of(_file(context)), "drains")
    drains = cast("list[dict[str, Any]]", answer.get("drains", []))
    if as_json:
        _print_json({"drains": drains})
        return
    for found in drains:
        click.echo(_in_words(found))
    if not drains:
        click.echo("nothing is drained")


@drain.command("uplink")
@click.argument("name", shell_complete=names.uplinks)
@_lasts
@click.option("--force", is_flag=True, help="Even if it is the last healthy path.")
@_json
@click.pass_context
def drain_uplink(
    context: click.Context, name: str, *, lasts_s: float | None, force: bool, as_json: bool
) -> None:
    """Move all traffic off an uplink: for work on its ToR.

    Refused if no other uplink works. While none does, the drained one carries again, unless it was
    forced.
    """
    _drain(context, "uplink", name, as_json=as_json, for_s=lasts_s, force=force)


@drain.command("service")
@click.argument("name", shell_complete=names.services)
@_lasts
@_json
@click.pass_context
def drain_service(
    context: click.Context, name: str, *, lasts_s: float | None, as_json: bool
) -> None:
    """Announce a service no more from this host."""
    _drain(context, "service", name, as_json=as_json, for_s=lasts_s)


@drain.command("host")
@_lasts
@_json
@click.pass_context
def drain_host(context: click.Context, *, lasts_s: float | None, as_json: bool) -> None:
    """Announce no service from this host. The host itself can still be reached."""
    _drain(context, "host", "", as_json=as_json, for_s=lasts_s)


@click.group()
def undrain() -> None:
    """Take something into use again, as soon as its probes or checks have shown that it works.

    Exit status: 0 done, 1 it was not drained, 2 there is no such thing, 75 bgphealth does not run,
    77 the control socket is not for this user.
    """


@undrain.command("uplink")
@click.argument("name", shell_complete=names.uplinks)
@_json
@click.pass_context
def undrain_uplink(context: click.Context, name: str, *, as_json: bool) -> None:
    """Use an uplink again."""
    _undrain(context, "uplink", name, as_json=as_json)


@undrain.command("service")
@click.argument("name", shell_complete=names.services)
@_json
@click.pass_context
def undrain_service(context: click.Context, name: str, *, as_json: bool) -> None:
    """Announce a service again."""
    _undrain(context, "service", name, as_json=as_json)


@undrain.command("host")
@_json
@click.pass_context
def undrain_host(context: click.Context, *, as_json: bool) -> None:
    """Announce the services of this host again, but for those that are drained by themselves."""
    _undrain(context, "host", "", as_json=as_json)


def _drain(
    context: click.Context, what: str, name: str, *, as_json: bool, **fields: object
) -> None:
    given = {key: value for key, value in fields.items() if value not in (None, False)}
    answer = control.ask(control.socket_of(_file(context)), "drain", what=what, name=name, **given)
    found = cast("dict[str, Any] | None", answer.get("drain"))
    _say(answer, "" if found is None else _in_words(found), as_json=as_json)
    if found is not None and found["stage"] == "draining":
        _warn_if_short(fields["for_s"], found["settles_in_s"])


def _warn_if_short(for_s: object, settles_in_s: float) -> None:
    """Say so if a drain is over before what is drained is withdrawn."""
    settles_in_s = math.ceil(settles_in_s)  # Some of it is gone already.
    if isinstance(for_s, float) and for_s <= settles_in_s:
        click.echo(
            f"it ends in {for_s:g} s, before anything is withdrawn: that is in {settles_in_s} s "
            "(policy.drain_settle); give a longer --for",
            err=True,
        )


def _undrain(context: click.Context, what: str, name: str, *, as_json: bool) -> None:
    answer = control.ask(control.socket_of(_file(context)), "undrain", what=what, name=name)
    _say(answer, f"{what} {name}".rstrip() + ": not drained", as_json=as_json)


def _say(answer: Mapping[str, object], in_words: str, *, as_json: bool) -> None:
    if as_json:
        _print_json({"drain": answer.get("drain"), "kept": answer.get("kept")})
    else:
        click.echo(in_words)
    if not answer.get("kept"):
        click.echo("it could not be written down: a restart will not know of it", err=True)


def _in_words(found: dict[str, Any]) -> str:
    thing = f"{found['what']} {found['name']}".rstrip()
    stage = found["stage"]
    if stage == "draining":
        stage += f", announced for {found['settles_in_s']:.0f} s more"
    elif stage == "suspended":
        stage += ", carries because no other uplink works"
    until = "" if found["until"] is None else f", until {found['until']}"
    forced = ", forced" if found["forced"] else ""
    return f"{thing}: {stage}; since {found['since']}{until}{forced}"


def _print_json(found: dict[str, object]) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **found}, indent=2))


def _file(context: click.Context) -> Path:
    invocation: Invocation = context.obj
    return invocation.file
