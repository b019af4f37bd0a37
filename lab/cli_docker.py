"""``python -m lab images`` and ``docker``: what containerlab's nodes are, and where they run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from lab import docker
from lab import images as building
from lab.steps import Steps

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def images_command(reports_errors: _Decorator) -> click.Command:
    """Return ``lab images``."""

    @click.command(name="images")
    @reports_errors
    def images() -> None:
        """Build containerlab's images, those that are missing or older than this tree."""
        with Steps(Console(stderr=True)) as steps:
            names = building.build(steps.next)
        click.echo("\n".join(names))

    return images


def docker_group(reports_errors: _Decorator) -> click.Group:
    """Return ``lab docker``."""

    @click.group(name="docker")
    def group() -> None:
        """Use Docker as the lab does: the daemon that answers, or one of the lab's own."""

    @group.command(context_settings={"ignore_unknown_options": True})
    @click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
    @reports_errors
    def run(command: tuple[str, ...]) -> None:
        """Run a command beside the daemon, as in: lab docker run -- docker ps."""
        whole = [*docker.beside(), *command]
        environment = {**os.environ, **docker.environment()}
        try:
            os.execvpe(whole[0], whole, environment)  # noqa: S606 - the user's own command
        except OSError as error:
            raise click.ClickException(f"{whole[0]}: {error.strerror}") from None

    @group.command()
    @reports_errors
    def down() -> None:
        """End the lab's own daemon and its containers; its images stay."""
        click.echo(f"docker: {'down' if docker.down() else 'none of the lab'}", err=True)

    return group
