"""`bgphealth simulate`: what the engine makes of a trace, recorded or written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bgphealth import config
from bgphealth.cli.timeline import Told, as_json, as_text
from bgphealth.config.scenario_load import load_scenario
from bgphealth.core.errors import HostError, PermissionDeniedError
from bgphealth.simulation.expectations import compare
from bgphealth.simulation.picture import svg
from bgphealth.simulation.play import play, replay
from bgphealth.simulation.recorded import find_run, is_recorded

if TYPE_CHECKING:
    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import Settings

_NOT_AS_EXPECTED = 1


@click.command()
@click.argument("trace", type=click.Path(path_type=Path, readable=False))
@click.option("--json", "wants_json", is_flag=True, help="Print JSON.")
@click.option(
    "--picture",
    metavar="FILE.svg",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a timeline as well.",
)
@click.option(
    "--run", "number", type=int, help="Which run of a recording, from 1.  [default: the last]"
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Say as well when a path is suspected, and when a verdict has another reason.",
)
@click.pass_context
def simulate(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    trace: Path,
    wants_json: bool,
    picture: Path | None,
    number: int | None,
    verbose: bool,
) -> None:
    """Play TRACE and say what would be decided, announced and withdrawn, when and why.

    TRACE is what `bgphealth run --record` wrote, or a scenario: a YAML file that says what happens
    and what should come of it. A recording is played with the configuration that is in it, a
    scenario with the one that it names; -c gives another one, or one to a scenario that has none.

    Nothing is probed and nothing is sent. Exit status: 0 ok, 1 something is not as the scenario
    expects, 78 the trace or the configuration is wrong.
    """
    if is_recorded(trace):
        told = _recorded(context, trace, number)
    elif number is not None:
        raise click.UsageError("--run is for recordings; a scenario is one run")
    else:
        told = _scenario(context, trace)
    for warning in told.warnings:
        click.echo(f"{trace}: {warning}", err=True)
    if picture is not None:
        _write(picture, svg(told.about, told.played))
    if wants_json:
        click.echo(json.dumps(as_json(str(trace), told), indent=2))
    else:
        click.echo("\n".join(as_text(str(trace), told, verbose=verbose)))
    if not all(each.held for each in told.compared):
        context.exit(_NOT_AS_EXPECTED)


def _scenario(context: click.Context, trace: Path) -> Told:
    invocation: Invocation = context.obj
    given = invocation.file if _is_given(context) else None
    scenario = load_scenario(trace, given, invocation.file)
    played = play(scenario)
    compared = compare(played, scenario.expectations)
    return Told(scenario.about, None, scenario.config, played, tuple(compared))


def _recorded(context: click.Context, trace: Path, number: int | None) -> Told:
    invocation: Invocation = context.obj
    run = find_run(trace, number)
    header = run.header
    warnings: list[str] = []
    instead: Settings | None = None
    used = f"{header.file} as recorded"
    if _is_given(context):
        used = str(invocation.file)
        content = config.raw(invocation.file)
        instead = config.loads(used, content)
        if content != header.content.encode():
            warnings.append(f"was recorded with another configuration, {header.file}")
    played = replay(instead or header.settings(), run.events(instead))
    if run.ignored:
        warnings.append(f"{run.ignored} events are about what {used} does not have: left out")
    if run.cut:
        warnings.append("the last line is not whole: the program was killed")
    about = f"run {run.number} of {run.count}, recorded from {header.start} on"
    return Told(about, header.start, used, played, (), tuple(warnings))


def _is_given(context: click.Context) -> bool:
    """Tell whether -c is on the command line: the usual file is not meant for every trace."""
    group = context.parent
    return group is not None and group.get_parameter_source("file") is ParameterSource.COMMANDLINE


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except PermissionError:
        raise PermissionDeniedError(f"{file}: permission denied") from None
    except OSError as error:
        raise HostError(f"{file}: cannot be written: {error.strerror}") from None
