"""The command ``python -m lab matrix``."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from lab import catalogue, matrix_page, matrix_table, scene
from lab.errors import LabError
from lab.matrix import Matrix
from lab.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.driver import Driver

    _Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_INTERRUPTED = 130
"""As of a command that Ctrl-C has ended."""


def _read(output: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        _ = found["topologies"], found["versions"]
    except OSError as error:
        raise LabError(f"{output}: {error.strerror}: there is nothing to go on with") from None
    except (ValueError, LookupError, TypeError):
        raise LabError(f"{output}: this is not what `lab matrix --output` writes") from None
    return found


def command(
    make: Callable[..., Driver], reports_errors: _Decorator, with_driver: _Decorator
) -> click.Command:
    """Return the command.

    Args:
        make: returns the driver, `driver_name`, that runs a topology.
        reports_errors: turns the lab's errors into a message and their exit status.
        with_driver: adds the option that names the driver.
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
    @click.option(
        "--resume",
        is_flag=True,
        help="Go on with what --output has: topologies on which all held are not measured again.",
    )
    @with_driver
    @reports_errors
    def matrix(  # noqa: PLR0913 - its options
        topologies: tuple[str, ...],
        faults: tuple[str, ...],
        *,
        rounds: int,
        as_json: bool,
        output: Path | None,
        resume: bool,
        driver_name: str,
    ) -> None:
        """Measure every fault on every topology; exit 1 when anything did not hold.

        In labs of its own, one after the other: outages, recovery, what was announced meanwhile.
        Ctrl-C ends it with what has been measured.
        """
        earlier = None
        if resume:
            if output is None:
                raise click.UsageError("--resume: --output must name what to go on with")
            earlier = _read(output)

        def keep(found: dict[str, Any]) -> None:
            if output is not None:
                output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

        with Steps(Console(stderr=True)) as steps:
            of = partial(make, driver_name=driver_name)
            found = Matrix(of, rounds, steps.next, keep).run(topologies, faults, earlier)
        keep(found)
        if output is not None:
            page = output.with_suffix(".html")
            page.write_text(matrix_page.html(found), encoding="utf-8")
            click.echo(f"written: {output}, {page}", err=True)
        if as_json:
            click.echo(json.dumps(found, indent=1))
        else:
            matrix_table.show(found, Console())
        if found["interrupted"]:
            sys.exit(_INTERRUPTED)
        sys.exit(0 if found["passed"] else 1)

    return matrix
