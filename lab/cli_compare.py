"""The command ``python -m lab compare``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from lab import faults, rounds, rounds_report, rounds_table
from lab.contenders import CONTENDERS
from lab.convergence import OUTPUT
from lab.steps import Steps


def command(reports_errors: Callable[..., Any]) -> click.Command:
    """Return the command, with its errors reported as those of the others are."""

    @click.command(name="compare")
    @click.argument(
        "fault_name", metavar="[FAULT]", type=click.Choice(rounds.NAMES), default=rounds.NAMES[0]
    )
    @click.option(
        "--with",
        "names",
        multiple=True,
        type=click.Choice(list(CONTENDERS)),
        help="Only this contender; may be given more than once. Without it all of them.",
    )
    @click.option("--rounds", "count", type=click.IntRange(1, 100), default=5, show_default=True)
    @click.option(
        "--seconds",
        type=click.FloatRange(3, 120),
        default=rounds.SECONDS,
        show_default=True,
        help="How long a fault lasts at most.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @reports_errors
    def compare(
        fault_name: str, names: tuple[str, ...], count: int, seconds: float, *, as_json: bool
    ) -> None:
        """Measure a fault with bgphealth and with its peers, each in each round.

        In labs of its own. The report is in lab/out/compare.html; docs/compare.md says who takes
        part, and how each is configured.
        """
        fault = faults.FAULTS[fault_name]
        with Steps(Console(stderr=True)) as steps:
            for found in rounds.run(fault, names or tuple(CONTENDERS), seconds, count, steps.next):
                written = rounds_report.write(found, OUTPUT)
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            rounds_table.show(found, Console())
        click.echo("written: " + ", ".join(map(str, written)), err=True)

    return compare
