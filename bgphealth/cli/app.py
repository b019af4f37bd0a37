"""The ``bgphealth`` command and what all of its commands share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from bgphealth.core.errors import BgphealthError

DEFAULT_FILE = Path("/etc/bgphealth/bgphealth.yaml")

_COMMANDS = {
    "check": "bgphealth.cli.check:check",
    "doctor": "bgphealth.cli.doctor:doctor",
    "drain": "bgphealth.cli.drain:drain",
    "events": "bgphealth.cli.events:events",
    "explain": "bgphealth.cli.explain:explain",
    "fallback": "bgphealth.cli.fallback:fallback",
    "probe": "bgphealth.cli.probe:probe",
    "recheck": "bgphealth.cli.recheck:recheck",
    "reload": "bgphealth.cli.reload:reload",
    "render": "bgphealth.cli.render:render",
    "run": "bgphealth.cli.run:run",
    "simulate": "bgphealth.cli.simulate:simulate",
    "source": "bgphealth.cli.source:source",
    "status": "bgphealth.cli.status:status",
    "undrain": "bgphealth.cli.drain:undrain",
    "watch": "bgphealth.cli.watch:watch",
}
"""Where each command is. Imported when asked for: no command waits for another's libraries."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What every command gets as ``context.obj``.

    `commands_fd` is ExaBGP's command channel, which `__main__` has put aside for `run`; None for
    every other command.
    """

    file: Path
    commands_fd: int | None


class Commands(click.Group):
    """Finds commands on demand, and turns our errors into a message and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- As click declares it.
        """Run a command; what it raises on purpose ends in its own exit status."""
        try:
            return super().invoke(ctx)
        except BgphealthError as error:
            if str(error):
                click.echo(str(error), err=True)
            ctx.exit(error.exit_status)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 -- Called by click.
    if not value or ctx.resilient_parsing:
        return
    from importlib import metadata  # noqa: PLC0415 - takes longer than most commands need

    try:
        version = metadata.version("bgphealth")
    except metadata.PackageNotFoundError:
        version = "(not installed: a source checkout)"
    click.echo(f"bgphealth {version}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, readable=False),  # `load` says it with the right exit status.
    default=DEFAULT_FILE,
    envvar="BGPHEALTH_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)
@click.pass_context
def app(ctx: click.Context, file: Path) -> None:
    """Steer what a dual-homed server announces over BGP and where it sends.

    Exit status: 0 ok, 1 unhealthy or a difference found, 2 usage, 69 a needed program is absent,
    70 a fault in bgphealth, 75 try again, 77 permission, 78 configuration.
    """
    commands_fd: int | None = ctx.obj
    if commands_fd is not None and ctx.invoked_subcommand != "run":
        # The word `run` was not the command (``-c run check``): stdout is for data again.
        os.dup2(commands_fd, 1)
        commands_fd = None
    ctx.obj = Invocation(file, commands_fd)
