"""The commands of ``python -m lab``."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from lab import (
    anycast,
    bench_prefixes,
    bench_services,
    bench_table,
    catalogue,
    cli_compare,
    cli_docker,
    cli_fleet,
    cli_graph,
    cli_matrix,
    convergence,
    drivers,
    dual_tor,
    experiment,
    report,
    results,
    scene,
    state,
    story,
    twins,
    twins_table,
)
from lab import bench as benchmark
from lab import status as lab_status
from lab.convergence import OUTPUT
from lab.errors import InterruptedByUserError, LabError, TimedOutError
from lab.faults import FAULTS
from lab.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from lab.driver import Driver
    from lab.experiment import Progress, Record
    from lab.faults import Fault

DEFAULT_TOPOLOGY = "dual-tor"


def driver_for(name: str, driver_name: str | None = None) -> Driver:
    """Return the driver that runs a topology.

    Raises:
        LabError: There is no such topology or driver, or another driver made the lab that is up.
    """
    driver = drivers.of(name, driver_name)
    state.check_driver(driver.topology.name, driver.name)
    return driver


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals that end a command into an exception, so that it tears down what it made."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        # Once: a second Ctrl-C must not end the teardown half-way.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise InterruptedByUserError(signal.Signals(number))

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    yield


def bring_up(driver: Driver, timeout_s: float, *, keep: bool = False) -> None:
    """Make a lab and wait until it has converged; whatever fails, nothing of it is left.

    Raises:
        LabError: It could not be made, is up already, or did not converge in time.
    """
    driver.up()
    try:
        convergence.wait_converged(driver, timeout_s)
    except BaseException as error:
        if not (keep and isinstance(error, TimedOutError)):
            driver.down()
        raise


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the lab's errors into a message and their exit status."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            with interruptible():
                return command(*args, **kwargs)
        except LabError as error:
            click.echo(f"lab: {error}", err=True)
            sys.exit(error.exit_status)

    return wrapped


@click.group()
def main() -> None:
    """A laboratory for bgphealth: containerlab topologies, run in namespaces or by containerlab."""


_topology = click.argument("name", metavar="[TOPOLOGY]", default=DEFAULT_TOPOLOGY)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
with_driver = click.option(
    "--driver",
    "driver_name",
    type=click.Choice(drivers.NAMES),
    envvar=drivers.ENVIRONMENT_VARIABLE,
    default=drivers.NAMES[0],
    show_default=True,
    show_envvar=True,
    help="What runs the nodes.",
)


@main.command()
@_topology
@click.option("--timeout", default=convergence.TIMEOUT_S, show_default=True, help="Seconds.")
@click.option("--keep", is_flag=True, help="Leave it up when it does not converge.")
@with_driver
@reports_errors
def up(name: str, *, timeout: float, keep: bool, driver_name: str) -> None:
    """Make the lab and wait until it has converged."""
    driver = driver_for(name, driver_name)
    bring_up(driver, timeout, keep=keep)
    click.echo(f"{driver.topology.name}: up and converged", err=True)


@main.command()
@_topology
@with_driver
@reports_errors
def down(name: str, *, driver_name: str) -> None:
    """End the lab, also one whose command was killed."""
    driver = driver_for(name, driver_name)
    was_up = driver.down()
    click.echo(f"{driver.topology.name}: {'down' if was_up else 'was not up'}", err=True)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--topology", "name", default=DEFAULT_TOPOLOGY, show_default=True)
@click.argument("node")
@click.argument("arguments", metavar="-- CMD…", nargs=-1, required=True, type=click.UNPROCESSED)
@with_driver
@reports_errors
def exec(  # noqa: A001 - its name in the shell
    name: str, node: str, arguments: tuple[str, ...], *, driver_name: str
) -> None:
    """Run a command inside a node and exit with its status."""
    driver = driver_for(name, driver_name)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    command = driver.command(node, arguments, terminal=terminal)
    # Not a child: terminal, pipes, signals and exit status are the command's own.
    os.execvpe(command[0], command, driver.environment(node))  # noqa: S606


@main.command()
@_topology
@_json
@with_driver
@reports_errors
def status(name: str, *, as_json: bool, driver_name: str) -> None:
    """Show nodes, sessions and routes; exit 1 when not up."""
    found = lab_status.collect(driver_for(name, driver_name))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        lab_status.show(found, Console())
    sys.exit(0 if found.is_up else 1)


@main.command()
@click.argument("fault_name", metavar="NAME", type=click.Choice(catalogue.NAMES))
@_topology
@_json
@with_driver
@reports_errors
def fault(fault_name: str, name: str, *, as_json: bool, driver_name: str) -> None:
    """Measure one fault, on a lab that is up or on one of its own."""
    driver = driver_for(name, driver_name)
    chosen = catalogue.find(fault_name, driver.topology.name)
    with Steps(Console(stderr=True)) as steps:
        record = measured(driver, chosen, steps.next)
    found = results.result(record)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        story.show(found, Console())
    sys.exit(0 if found["passed"] else 1)


@main.command()
@click.argument("bench_name", metavar="NAME", type=click.Choice(["prefixes", "probes", "services"]))
@click.option(
    "--seconds",
    type=click.FloatRange(1, 60),
    default=10.0,
    show_default=True,
    help="probes: each; services: all.",
)
@click.option("--rounds", type=click.IntRange(5, 100), default=7, show_default=True)
@click.option(
    "--prefixes",
    "count",
    type=click.IntRange(1, 10_000),
    default=1000,
    show_default=True,
    help="prefixes, services: how many.",
)
@_json
@reports_errors
def bench(bench_name: str, *, seconds: float, rounds: int, count: int, as_json: bool) -> None:
    """Measure what bgphealth costs and how soon it acts, in nodes of its own.

    probes: processor, memory, jitter, and how soon a path that goes dark is known to be down.
    prefixes: how soon many prefixes have left a ToR, against a helper that only writes.
    services: memory and processor of a server with many services, and how soon it says how it is.
    """
    with Steps(Console(stderr=True)) as steps:
        if bench_name == "prefixes":
            found = bench_prefixes.Bench(count, rounds, steps.next).run()
        elif bench_name == "services":
            found = bench_services.Bench(count, seconds, steps.next).run()
        else:
            found = benchmark.Bench(seconds, rounds, steps.next).run()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        bench_table.show(found, Console())
    sys.exit(0 if found["passed"] else 1)


@main.command(name="anycast")
@click.option("--same-tors", is_flag=True, help="server2 behind the ToRs of server1.")
@click.option("--other-asn", is_flag=True, help="server2 of another AS.")
@click.option("--ignore-shutdown", is_flag=True, help="ToRs that ignore GRACEFUL_SHUTDOWN.")
@_json
@with_driver
@reports_errors
def anycast_command(
    *, same_tors: bool, other_asn: bool, ignore_shutdown: bool, as_json: bool, driver_name: str
) -> None:
    """Let the service die on one of two anycast servers, then on both; leaves no lab up."""
    variation = anycast.Variation(same_tors, not other_asn, not ignore_shutdown)
    with (
        tempfile.TemporaryDirectory() as directory,
        Steps(Console(stderr=True)) as steps,
    ):
        Path(directory).chmod(0o755)
        driver = drivers.make(anycast.varied(variation, Path(directory)), driver_name)
        steps.next("up: seven nodes")
        bring_up(driver, convergence.TIMEOUT_S)
        try:
            found = anycast.run(driver, variation, steps.next)
        finally:
            driver.down()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n".join(anycast.lines(found)))
    sys.exit(0 if found["passed"] else 1)


@main.command(name="twins")
@click.argument("fault_names", metavar="[FAULT]…", nargs=-1, type=click.Choice(twins.NAMES))
@click.option(
    "--topology",
    "topologies",
    multiple=True,
    type=click.Choice(list(scene.TWINS)),
    help="Only this one; may be given twice. Without it those with FRR.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(twins.MIN_SECONDS, 60),
    default=twins.SECONDS,
    show_default=True,
    help="How long a fault lasts.",
)
@click.option("--rounds", type=click.IntRange(1, 100), default=1, show_default=True)
@_json
@reports_errors
def twins_command(
    fault_names: tuple[str, ...],
    topologies: tuple[str, ...],
    *,
    seconds: float,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure faults with and without bgphealth; exit 1 when any traffic is worse off with it.

    In labs of its own, numbered and unnumbered, both families, both directions.
    """
    with Steps(Console(stderr=True)) as steps:
        found = twins.run(
            topologies or list(dual_tor.PLAIN), fault_names, seconds, rounds, steps.next
        )
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        twins_table.show(found, Console())
    sys.exit(0 if found["passed"] else 1)


main.add_command(cli_graph.command(reports_errors))
main.add_command(cli_compare.command(reports_errors))


@main.command()
@_topology
@_json
@with_driver
@reports_errors
def demo(name: str, *, as_json: bool, driver_name: str) -> None:
    """Show a ToR's uplink going dark; leaves no lab up."""
    driver = driver_for(name, driver_name)
    if driver.topology.name not in dual_tor.NAMES:
        raise LabError(f"the demo is one of {', '.join(dual_tor.NAMES)}")
    if any(driver.nodes().values()):
        raise LabError(f"{driver.topology.name} is up; the demo makes its own (lab down ends it)")
    with Steps(Console(stderr=True)) as steps:
        record = measured(driver, FAULTS["uplink-blackhole"], steps.next)
    found = results.result(record)
    OUTPUT.mkdir(exist_ok=True)
    data = OUTPUT / "demo.json"
    data.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    written = [data, *report.write(found, OUTPUT)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        story.show(found, Console())
    click.echo("written: " + ", ".join(map(str, written)), err=True)
    sys.exit(0 if found["passed"] else 1)


main.add_command(cli_matrix.command(driver_for, reports_errors, with_driver))
main.add_command(cli_fleet.command)


def measured(driver: Driver, fault: Fault, progress: Progress) -> Record:
    """Run an experiment; a lab that is brought up for it is taken down again.

    Raises:
        LabError: The experiment could not be made.
    """
    if all(driver.nodes().values()):
        return experiment.run(driver, fault, progress)
    progress(f"up: {scene.of(driver.topology.name).furniture}")
    bring_up(driver, convergence.TIMEOUT_S)
    try:
        return experiment.run(driver, fault, progress)
    finally:
        progress("down")
        driver.down()


main.add_command(cli_docker.images_command(reports_errors))
main.add_command(cli_docker.docker_group(reports_errors))
