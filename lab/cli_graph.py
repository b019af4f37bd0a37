"""The command ``python -m lab graph``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab import dual_tor, graph, topology

if TYPE_CHECKING:
    from collections.abc import Callable


def command(
    reports_errors: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> click.Command:
    """Return the command.

    Args:
        reports_errors: turns the lab's errors into a message and their exit status.
    """

    @click.command(name="graph")
    @click.argument("name", metavar="[TOPOLOGY]", default=dual_tor.NAME)
    @click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="The file to write; standard output when left out.",
    )
    @reports_errors
    def graph_command(name: str, *, output: Path | None) -> None:
        """Draw a topology from its file, as SVG."""
        drawn = graph.svg(topology.load(topology.find(name)))
        if output is None:
            click.echo(drawn, nl=False)
        else:
            output.write_text(drawn, encoding="utf-8")

    return graph_command
