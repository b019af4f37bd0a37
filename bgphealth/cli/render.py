"""`bgphealth render`: the configuration of what stands around bgphealth."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bgphealth.config import load
from bgphealth.core.errors import HostError, PermissionDeniedError
from bgphealth.exabgp import render as exabgp_render
from bgphealth.frr import render as frr_render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgphealth.cli.app import Invocation

_NEW_FILE_MODE = 0o644  # Nothing secret is in these files; FRR and ExaBGP run as other users.

_output = click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write into this directory instead of stdout.",
)


@click.group()
def render() -> None:
    """Write the configuration of everything around bgphealth."""


@render.command()
@_output
@click.pass_obj
def frr(invocation: Invocation, directory: Path | None) -> None:
    """Render frr.conf for the host's own FRR."""
    file = _absolute(invocation.file)
    _deliver({"frr.conf": frr_render.render(load(invocation.file), file)}, directory)


@render.command()
@_output
@click.option(
    "--program",
    help="bgphealth's absolute path, and arguments if it needs any. [default: this program]",
)
@click.pass_obj
def exabgp(invocation: Invocation, directory: Path | None, program: str | None) -> None:
    """Render exabgp.conf, and with -o exabgp.env as well."""
    file = _absolute(invocation.file)
    settings = load(invocation.file)
    words = program.split() if program is not None else this_program()
    files = {"exabgp.conf": exabgp_render.render_conf(settings, file, words)}
    if directory is not None:
        files["exabgp.env"] = exabgp_render.render_env(file)
    _deliver(files, directory)


def _absolute(file: Path) -> Path:
    """Return the path for another program to use: absolute, but with its links left alone."""
    return Path(os.path.abspath(file))  # noqa: PTH100 -- Path.resolve follows links.


def this_program() -> list[str]:
    """Return how to start this bgphealth again, from any directory."""
    started = shutil.which(sys.argv[0])
    if started is not None and not started.endswith(".py"):
        return [os.path.abspath(started)]  # noqa: PTH100 -- The link is what is in PATH.
    return [sys.executable, "-m", "bgphealth"]


def _deliver(files: Mapping[str, str], directory: Path | None) -> None:
    if directory is None:
        for text in files.values():
            click.echo(text, nl=False)
        return
    for name, text in files.items():
        target = directory / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _write(target, text)
        except PermissionError as error:
            raise PermissionDeniedError(f"{target}: permission denied") from error
        except OSError as error:
            raise HostError(f"{target}: cannot be written: {error.strerror}") from error
        click.echo(f"wrote {target}", err=True)


def _write(target: Path, text: str) -> None:
    """Put a file into place as a whole, or not at all; an old one's owner and mode stay."""
    target = target.resolve()  # Behind a link, the file itself is replaced.
    old = target.stat() if target.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), _NEW_FILE_MODE if old is None else old.st_mode & 0o7777)
            if old is not None:
                with suppress(PermissionError):  # Only root can give a file to somebody else.
                    os.fchown(stream.fileno(), old.st_uid, old.st_gid)
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
