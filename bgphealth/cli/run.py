"""`bgphealth run`: the program itself."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from bgphealth.daemon import capabilities, life, loading, log
from bgphealth.daemon.recent import Recent
from bgphealth.daemon.recorder import Recorder

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from bgphealth.cli.app import Invocation

_MIB = 2**20


@click.command()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Probe and decide, print what ExaBGP would be sent (or what would be used), no more.",
)
@click.option(
    "--record",
    "record_to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="BGPHEALTH_RECORD",
    show_envvar=True,
    help="Write down what the probes answer, for `bgphealth simulate`.",
)
@click.option(
    "--record-limit",
    "record_mib",
    metavar="MIB",
    type=click.IntRange(1, 1_000_000),
    default=256,
    show_default=True,
    help="Record no more when FILE would become larger.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every reply of ExaBGP as well.")
@click.pass_obj
def run(
    invocation: Invocation,
    *,
    dry_run: bool,
    record_to: Path | None,
    record_mib: int,
    verbose: bool,
) -> None:
    """Probe, decide and steer, as ExaBGP's process; in mode local alone.

    ExaBGP starts it (see `bgphealth render exabgp`) and reads its stdout as commands; logs go to
    stderr. Ends with status 0 when ExaBGP goes away or a signal says so. SIGHUP reads the file
    again. A file that is wrong is waited for; what is announced stays as it is meanwhile.

    In mode local the service manager starts it (see `bgphealth render systemd`), or you do; stdin
    and stdout are not used. The defaults stay when it ends.
    """
    if invocation.commands_fd is None:
        raise AssertionError("stdout is not guarded")  # The entry point does it for `run`.
    capabilities.keep()
    recent = Recent()
    logger = log.configure(verbose=verbose, keep=[recent])
    recorder = None
    if record_to is not None:
        recorder = Recorder(record_to, record_mib * _MIB, logger)
    if dry_run:
        load = loading.load if recorder is None else recorder.load
        settings = load(invocation.file)
        with os.fdopen(invocation.commands_fd, "w", encoding="ascii") as stdout:
            asyncio.run(life.dry_run(settings, logger, stdout, recorder))
        return
    if loading.says_local(invocation.file):
        os.close(invocation.commands_fd)
        asyncio.run(_run_alone(invocation.file, logger, recorder, recent))
        return
    if sys.stdin.isatty():
        raise click.UsageError(
            "stdin is a terminal, not ExaBGP; 'bgphealth render exabgp' writes the configuration "
            "that starts this program, 'bgphealth run --dry-run' shows what it would send"
        )
    if stat.S_ISREG(os.fstat(invocation.commands_fd).st_mode):
        raise click.UsageError(
            "stdout is a file, not ExaBGP; 'bgphealth run --dry-run >FILE' works"
        )
    with os.fdopen(invocation.commands_fd, "wb", buffering=0) as stdout_pipe:
        asyncio.run(_run(invocation.file, logger, stdout_pipe, recorder, recent))


async def _run_alone(
    file: Path, logger: FilteringBoundLogger, recorder: Recorder | None, recent: Recent
) -> None:
    await life.Life(file, logger, recorder, recent).run_alone()


async def _run(
    file: Path,
    logger: FilteringBoundLogger,
    stdout: BinaryIO,
    recorder: Recorder | None,
    recent: Recent,
) -> None:
    await life.Life(file, logger, recorder, recent).run(sys.stdin.buffer, stdout)
