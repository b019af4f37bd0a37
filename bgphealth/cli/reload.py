"""`bgphealth reload`: have a running bgphealth read its file again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control

if TYPE_CHECKING:
    from bgphealth.cli.app import Invocation

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_SAID = {
    "applied": "applied",
    "would_apply": "would change this",
    "unchanged": "nothing has changed",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what it would change, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def reload(invocation: Invocation, *, dry_run: bool, as_json: bool) -> None:
    """Have a running bgphealth read its file again, and say what that changes.

    As SIGHUP does. What is asked as before keeps its verdicts, counters and timers. A file that is
    wrong, or that needs a restart, changes nothing.

    Exit status: 0 done, 75 bgphealth does not run, 77 the control socket is not for this user,
    78 the file is wrong.
    """
    fields = {"dry_run": True} if dry_run else {}
    answer = control.ask(control.socket_of(invocation.file), "reload", **fields)
    found = cast("dict[str, Any]", answer)
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **found}, indent=2))
        return
    for line in found["changes"]:
        click.echo(line)
    click.echo(_SAID.get(found["outcome"], found["outcome"]))
    if found["render"]:
        files = " and ".join(found["render"])
        verb = "would be" if dry_run else "is"
        click.echo(f"{files} {verb} another one: 'bgphealth render all -o DIR'", err=True)
