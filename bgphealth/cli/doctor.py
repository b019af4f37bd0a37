"""`bgphealth doctor`: what of this host is not as the file needs it."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bgphealth import config
from bgphealth.daemon import places
from bgphealth.doctor.examine import KINDS, examine
from bgphealth.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bgphealth.cli.app import Invocation

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_FOUND = 1
_WORDS = sorted(kind.word for kind in KINDS)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="WORD",
    type=click.Choice(_WORDS),
    help="Leave out findings of this kind, which are meant to be so. May be repeated.",
)
@click.pass_context
def doctor(context: click.Context, *, as_json: bool, ignore: tuple[str, ...]) -> None:
    """Compare this host, its kernel, FRR and ExaBGP with what the file needs.

    Each finding says what was found, why it matters, and the command or the line that mends it.
    Nothing is changed. Run it as root: others see less, and that is said.

    Exit status: 0 when nothing was found (or notes only), 1 otherwise.
    """
    invocation: Invocation = context.obj
    settings = config.load(invocation.file)
    control_socket = places.control_socket(invocation.file, settings)
    # As `render` writes it for others: absolute, but with its links left alone.
    file = Path(os.path.abspath(invocation.file))  # noqa: PTH100
    everything = asyncio.run(examine(settings, file, control_socket))
    found = [finding for finding in everything if finding.word not in ignore]
    is_ok = all(finding.severity is Severity.NOTE for finding in found)
    if as_json:
        click.echo(json.dumps(_json(str(invocation.file), found, is_ok=is_ok), indent=2))
    else:
        click.echo("\n".join(lines(found)))
    context.exit(0 if is_ok else _FOUND)


def lines(found: Iterable[Finding]) -> Iterator[str]:
    """Yield what is printed for people. Why a kind matters is said once."""
    counts: Counter[Severity] = Counter()
    explained: set[str] = set()
    for finding in found:
        counts[finding.severity] += 1
        yield f"{finding.severity}: {finding.subject}: {finding.found} ({finding.word})"
        if finding.word not in explained:
            yield f"  why: {finding.why}"
            explained.add(finding.word)
        if finding.mend is not None:
            yield f"  mend: {finding.mend}"
    if counts:
        yield ""
    said = [
        f"{count} {severity}{'' if count == 1 else 's'}"
        for severity in Severity
        if (count := counts[severity])
    ]
    yield ", ".join(said) or "nothing found"


def _json(file: str, found: Sequence[Finding], *, is_ok: bool) -> dict[str, object]:
    counts = Counter(finding.severity for finding in found)
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "ok": is_ok,
        "counts": {severity.value: counts[severity] for severity in Severity},
        "findings": [
            {
                "word": finding.word,
                "severity": finding.severity.value,
                "subject": finding.subject,
                "found": finding.found,
                "why": finding.why,
                "mend": finding.mend,
            }
            for finding in found
        ],
    }
