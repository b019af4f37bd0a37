"""The command ``python -m lab matrix``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from lab import catalogue, matrix_page, matrix_table, scene
from lab.matrix import Matrix
from lab.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.driver import Driver

_INTERRUPTED = 130
"""As of a command that Ctrl-C has ended."""


def command(
    make: Callable[[str], Driver],
    reports_errors: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> click.Command:
    """Return the command.

    Args:
        make: returns the driver that runs a topology.
        reports_errors: turns the lab's errors into a message and their exit status.
    """

    @click.command()
    @click.option(
        "--topology",
        "topologies",
        multiple=True,
        type=click.Choice(list(scene.MEASURED)),
        help="Only this one; may be given more than once. Without it all that have bgphealth.",
    )
    @click.option(
        "--fault",
        "faults",
        multiple=True,
        type=click.Choice(catalogue.NAMES),
        help="Only this one; may be given more than once.",
    )
    @click.option("--rounds", type=click.IntRange(1, 100), default=1, show_default=True)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option(
        "--output",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="Write the JSON there; beside it FILE.html, to be looked at.",
    )
    @reports_errors
    def matrix(
        topologies: tuple[str, ...],
        faults: tuple[str, ...],
        *,
        rounds: int,
        as_json: bool,
        output: Path | None,
    ) -> None:
        """Measure every fault on every topology; exit 1 when anything did not hold.

        In labs of its own, one after the other: outages, recovery, what was announced meanwhile.
        Ctrl-C ends it with what has been measured.
        """
        with Steps(Console(stderr=True)) as steps:
            found = Matrix(make, rounds, steps.next).run(topologies, faults)
        text = json.dumps(found, indent=1)
        if output is not None:
            output.write_text(text + "\n", encoding="utf-8")
            page = output.with_suffix(".html")
            page.write_text(matrix_page.html(found), encoding="utf-8")
            click.echo(f"written: {output}, {page}", err=True)
        if as_json:
            click.echo(text)
        else:
            matrix_table.show(found, Console())
        if found["interrupted"]:
            sys.exit(_INTERRUPTED)
        sys.exit(0 if found["passed"] else 1)

    return matrix
