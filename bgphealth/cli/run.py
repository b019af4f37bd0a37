"""`bgphealth run`: the program itself."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, TextIO

import click

from bgphealth import config
from bgphealth.daemon import life, log

if TYPE_CHECKING:
    from pathlib import Path

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
    stderr. Ends with status 0 when ExaBGP goes away or a signal says so. SIGHUP reads the file
    again. A file that is wrong is waited for; what is announced stays as it is meanwhile.
    """
    if invocation.commands_fd is None:
        raise AssertionError("stdout is not guarded")  # The entry point does it for `run`.
    if dry_run:
        settings = config.load(invocation.file)
        with os.fdopen(invocation.commands_fd, "w", encoding="ascii") as stdout:
            asyncio.run(_dry_run(settings, stdout, verbose=verbose))
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
        asyncio.run(_run(invocation.file, stdout_pipe, verbose=verbose))


async def _dry_run(settings: Settings, stdout: TextIO, *, verbose: bool) -> None:
    await life.dry_run(settings, log.configure(verbose=verbose), stdout)


async def _run(file: Path, stdout: BinaryIO, *, verbose: bool) -> None:
    await life.Life(file, log.configure(verbose=verbose)).run(sys.stdin.buffer, stdout)
