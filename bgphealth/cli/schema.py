"""`bgphealth schema`: the JSON Schema of the file, for editors."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = Path(__file__).resolve().parents[1] / "share" / "bgphealth.schema.json"


@click.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors.

    An editor that knows it completes keys, shows what they mean, and marks what is wrong by itself;
    what must hold between keys, only `bgphealth check` knows. With yaml-language-server, the first
    line of the file names it:

    \b
    # yaml-language-server: $schema=/usr/share/bgphealth/bgphealth.schema.json
    """  # noqa: D301 -- A backspace, which tells click to keep the line.
    click.echo(_FILE.read_text(encoding="utf-8"), nl=False)
