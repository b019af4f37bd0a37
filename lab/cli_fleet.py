"""``python -m lab fleet``: what a fleet says to its fabric."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from bgphealth import config
from bgphealth.core.errors import BgphealthError
from lab import fleet, fleet_page
from lab.errors import LabError
from lab.fleet_faults import FAULTS, Fabric
from lab.steps import Steps

HOST = Path(__file__).with_name("fleet.yaml")

_AT_LEAST_ONE = click.IntRange(1, 100_000)


@click.command(name="fleet")
@click.argument("names", metavar="[FAULT]…", nargs=-1, type=click.Choice(list(FAULTS)))
@click.option("--hosts", type=_AT_LEAST_ONE, default=10_000, show_default=True)
@click.option("--rack", type=_AT_LEAST_ONE, default=48, show_default=True, help="Hosts per rack.")
@click.option("--spines", type=_AT_LEAST_ONE, default=4, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Other luck, other hashes.")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=HOST,
    help="The file of every host; lab/fleet.yaml when left out.",
)
@click.option("--each", is_flag=True, help="Play every host, also those in the same situation.")
@click.option("--jobs", type=_AT_LEAST_ONE, help="Processes; as many as processors when left out.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write an SVG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(  # noqa: PLR0913 - one for each option
    names: tuple[str, ...],
    *,
    hosts: int,
    rack: int,
    spines: int,
    seed: int,
    file: Path,
    each: bool,
    jobs: int | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Play a fleet of hosts with the real engine, and count what its ToRs hear.

    Needs no root and makes no lab. All faults when none is named.
    """
    fabric = Fabric(hosts, rack, spines, seed)
    runs, appetites, timed = [], [], []
    try:
        settings = config.load(file)
        with Steps(Console(stderr=True)) as steps:
            for fault in [FAULTS[name] for name in dict.fromkeys(names) or FAULTS]:
                for variant in fault.variants:
                    steps.next(f"{fault.name}, {fleet_page.in_words(*variant)}")
                    runs.append(fleet.run(fabric, settings, fault, variant, jobs=jobs, each=each))
            if not names:
                steps.next("how often a target that loses some is asked")
                appetites = [fleet.appetite(fabric, settings, loss) for loss in fleet.LOSSES]
                steps.next("how soon a dark ToR is left, with other timers")
                timed = [fleet.timers(settings, *each) for each in fleet.TIMERS]
    except (LabError, BgphealthError) as error:
        click.echo(f"lab: {error}", err=True)
        raise SystemExit(error.exit_status) from None
    found = fleet.as_json(fabric, settings, runs, appetites, timed)
    if picture is not None:
        picture.write_text(fleet_page.svg(found), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        fleet_page.show(found, Console())
