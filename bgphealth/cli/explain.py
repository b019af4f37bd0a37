"""`bgphealth explain`: why something is as it is, and what would change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control

if TYPE_CHECKING:
    from bgphealth.cli.app import Invocation

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""


@click.command()
@click.argument("thing")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def explain(context: click.Context, thing: str, *, as_json: bool) -> None:
    """Say why something of a running bgphealth is as it is, and what would change it.

    THING is an uplink (tor1), one of its paths (tor1/ipv6), a service, a prefix or an address that
    is announced, or "default".

    Exit status: 0 explained, 2 there is no such thing, 75 bgphealth does not run, 77 the control
    socket is not for this user.
    """
    invocation: Invocation = context.obj
    answer = control.ask(control.socket_of(invocation.file), "explain", thing=thing)
    found = cast("list[dict[str, Any]]", answer["explained"])
    if as_json:
        said = {"schema_version": SCHEMA_VERSION, "explained": found}
        click.echo(json.dumps(said, indent=2))
        return
    for number, each in enumerate(found):
        if number:
            click.echo()
        for sentence in each["says"]:
            click.echo(sentence)
