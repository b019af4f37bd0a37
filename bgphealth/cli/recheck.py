"""`bgphealth recheck`: have a running bgphealth ask its probes and checks now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgphealth.cli.app import Invocation

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""


@click.command()
@click.argument("thing", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def recheck(invocation: Invocation, *, thing: str | None, as_json: bool) -> None:
    """Have a running bgphealth ask its probes and checks now, and show the answers.

    THING is an uplink or a service; without it, all are asked. An answer counts once towards rise
    and fall, as every answer does; the next turn comes when it would have come.

    Exit status: 0 what was asked is up, 1 something is not, 2 there is no such thing, 75
    bgphealth does not run, or another recheck is under way, 77 the control socket is not for this
    user.
    """
    fields = {} if thing is None else {"thing": thing}
    answer = control.ask(control.socket_of(invocation.file), "recheck", **fields)
    found = cast("dict[str, Any]", answer)
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **found}, indent=2))
    else:
        for asked in found["asked"]:
            click.echo(_answer(asked))
        for verdict in found["verdicts"]:
            click.echo(f"{_name(verdict)}: {verdict['verdict']} ({verdict['reason']})")
    if any(verdict["verdict"] != "up" for verdict in found["verdicts"]):
        raise control.NotDoneError


def _answer(asked: Mapping[str, Any]) -> str:
    of = f"{_name(asked)}: {asked['probe']}"
    if asked["answer"] is None:
        return f"{of}: no answer yet"
    detail = f", {asked['detail']}" if asked["detail"] else ""
    rtt = "" if asked["rtt_ms"] is None else f" in {asked['rtt_ms']:.1f} ms"
    return f"{of}: {asked['answer']}{rtt}{detail}"


def _name(found: Mapping[str, Any]) -> str:
    if "service" in found:
        return f"service {found['service']}"
    role = f" {found['role']}" if "role" in found else ""
    return f"{found['uplink']} {found['family']}{role}"
