"""`bgphealth events`: what a running bgphealth has logged lately, and what it logs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import click

from bgphealth.cli import control
from bgphealth.cli.durations import seconds
from bgphealth.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.cli.app import Invocation

_COLORS = {"warning": "yellow", "error": "red"}
_MOST = 1000


@click.command()
@click.argument("thing", required=False)
@click.option(
    "--since",
    "since_s",
    metavar="DURATION",
    callback=seconds,
    help="Only what is not longer ago than this, such as 10m.",
)
@click.option(
    "-n",
    "--last",
    type=click.IntRange(0, _MOST),
    default=100,
    show_default=True,
    help="At most so many of them, the last ones.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come.")
@click.option("--json", "as_json", is_flag=True, help="Print each as one line of JSON, as logged.")
@click.pass_obj
def events(  # noqa: PLR0913 - one for each option
    invocation: Invocation,
    *,
    thing: str | None,
    since_s: float | None,
    last: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the last events of a running bgphealth: those of its log, from level info on.

    THING is an uplink, a service, a prefix or an address: only events about it. The program keeps
    the last 4,000 events since its start; the log has more.

    Exit status: 0 done, 2 there is no such thing, 75 bgphealth does not run or has ended, 77 the
    control socket is not for this user.
    """
    given = {"thing": thing, "since_s": since_s, "last": last, "follow": follow}
    fields = {key: value for key, value in given.items() if value not in (None, False)}
    path = control.socket_of(invocation.file)
    if not follow:
        _print(control.ask(path, "events", **fields), as_json=as_json)
        return
    with suppress(KeyboardInterrupt):
        for answer in control.answers(path, "events", **fields):
            _print(answer, as_json=as_json)
        raise HostError("bgphealth has ended")


def _print(answer: Any, *, as_json: bool) -> None:  # noqa: ANN401 - JSON
    for event in _events(cast("dict[str, Any]", answer)):
        click.echo(json.dumps(event) if as_json else _in_words(event))


def _events(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from answer.get("events", ())
    if "event" in answer:
        yield answer["event"]


def _in_words(event: dict[str, Any]) -> str:
    """Return an event as ``time event key=value …``, without its monotonic time."""
    fields = {key: value for key, value in event.items() if key not in _HEADLINE}
    words = " ".join(f"{key}={_value(value)}" for key, value in fields.items())
    name = click.style(event["event"], fg=_COLORS.get(event["level"]))
    return f"{event['timestamp']} {name} {words}".rstrip()


_HEADLINE = ("timestamp", "level", "event", "at")


def _value(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and value and " " not in value:
        return value
    return json.dumps(value)
