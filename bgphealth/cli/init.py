"""`bgphealth init`: a file for this host, from what it is now."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import click

from bgphealth import config
from bgphealth.cli.render import deliver, refuse_to_replace
from bgphealth.config.writing import write
from bgphealth.core.errors import PermissionDeniedError
from bgphealth.survey.guess import guess, unread
from bgphealth.survey.look import look

_NOT_ENOUGH = 1


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write this file instead of stdout.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_context
def init(context: click.Context, output: Path | None, *, force: bool) -> None:
    """Look at this host and write a file for it, to be read and gone on with.

    Nothing on the host is changed. Each thing that was guessed says where from; what only you know
    stands there as a comment. `bgphealth check` accepts what is written.

    Exit status: 0 when a file was written, 1 when there is not enough for one: what is missing is
    said, and nothing is written; 77 when FRR, or an exabgp.conf that is needed, is there and may
    not be read.
    """
    if output is not None:
        refuse_to_replace(output, force=force)
    seen = asyncio.run(look())
    if needed := unread(seen):
        why = "\n".join(needed)
        raise PermissionDeniedError(f"{why}\nroot may read all of it: nothing was written")
    for why in seen.unread:
        click.echo(f"{why}: not looked at, bgpd has the uplinks", err=True)
    found = guess(seen)
    for why in (*found.missing, *found.doubtful):
        click.echo(why, err=True)
    if found.document is None:
        click.echo("not enough for a file: nothing was written", err=True)
        context.exit(_NOT_ENOUGH)
    text = write(found.document, found.head)
    _accepted(text)
    if output is None:
        click.echo(text, nl=False)
    else:
        deliver({output.name: text}, output.parent)


def _accepted(text: str) -> None:
    """Refuse to write what `check` would refuse: this host is odder than was thought.

    Raises:
        ConfigurationError: it would; the message says what.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "bgphealth.yaml")
        file.write_text(text, encoding="utf-8")
        config.load(file)
