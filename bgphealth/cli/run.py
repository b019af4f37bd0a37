"""`bgphealth run`: the program itself."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from bgphealth import config
from bgphealth.daemon import log
from bgphealth.daemon.program import Program

if TYPE_CHECKING:
    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import Settings


@click.command()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Probe and decide, print what ExaBGP would be sent, and change nothing.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every reply of ExaBGP as well.")
@click.pass_obj
def run(invocation: Invocation, *, dry_run: bool, verbose: bool) -> None:
    """Probe, decide and steer, as ExaBGP's process.

    ExaBGP starts it (see `bgphealth render exabgp`) and reads its stdout as commands; logs go to
    stderr. Ends with status 0 when ExaBGP goes away or a signal says so.
    """
    if invocation.commands_fd is None:
        raise AssertionError("stdout is not guarded")  # The entry point does it for `run`.
    settings = config.load(invocation.file)
    if not dry_run and sys.stdin.isatty():
        raise click.UsageError(
            "stdin is a terminal, not ExaBGP; 'bgphealth render exabgp' writes the configuration "
            "that starts this program, 'bgphealth run --dry-run' shows what it would send"
        )
    if not dry_run and stat.S_ISREG(os.fstat(invocation.commands_fd).st_mode):
        raise click.UsageError(
            "stdout is a file, not ExaBGP; 'bgphealth run --dry-run >FILE' works"
        )
    asyncio.run(_run(settings, invocation.commands_fd, dry_run=dry_run, verbose=verbose))


async def _run(settings: Settings, commands_fd: int, *, dry_run: bool, verbose: bool) -> None:
    program = Program(settings, log.configure(verbose=verbose))
    if dry_run:
        with os.fdopen(commands_fd, "w", encoding="ascii") as stdout:
            await program.dry_run(stdout)
        return
    with os.fdopen(commands_fd, "wb", buffering=0) as stdout_pipe:
        await program.run(sys.stdin.buffer, stdout_pipe)
