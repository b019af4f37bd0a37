"""``python -m lab graph``."""

from __future__ import annotations

from pathlib import Path

import click

from lab import graph, topology


@click.command(name="graph")
@click.argument("name", metavar="[TOPOLOGY]", default="dual-tor")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="The file to write; standard output when left out.",
)
def graph_command(name: str, *, output: Path | None) -> None:
    """Draw a topology from its file, as SVG."""
    drawn = graph.svg(topology.load(topology.find(name)))
    if output is None:
        click.echo(drawn, nl=False)
    else:
        output.write_text(drawn, encoding="utf-8")
