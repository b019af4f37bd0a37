"""`bgphealth probe`: ask everything that the file asks for, once, and say what came back."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bgphealth import config
from bgphealth.cli.hints import Context, hints, is_permission, mend_tables
from bgphealth.core.errors import HostError, PermissionDeniedError
from bgphealth.core.events import Verdict
from bgphealth.core.settings import Family, Role
from bgphealth.daemon.once import Asked, Once, PathFacts, ask_all

if TYPE_CHECKING:
    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import Settings

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_COLOURS = {Verdict.OK: "green", Verdict.FAILED: "red", Verdict.UNKNOWN: "yellow"}
_UNHEALTHY = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--count",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How often to ask, one path interval apart.",
)
@click.option(
    "--tables",
    "make_tables",
    is_flag=True,
    help="First add what the uplinks' routing tables and rules lack, and leave it there.",
)
@click.pass_context
def probe(context: click.Context, *, as_json: bool, count: int, make_tables: bool) -> None:
    """Ask every probe and every check of the file, and say what to look at next.

    All are asked at the same time, from the device and the source that the program would use. The
    tables that keep each probe on its uplink are the program's; without them an answer may be
    another uplink's, and that is said. Nothing is ever deleted.

    Exit status: 0 all ok, 1 something failed, 75 nothing failed but something could not be asked,
    77 that because of a permission.
    """
    invocation: Invocation = context.obj
    settings = config.load(invocation.file)
    found = asyncio.run(ask_all(settings, count=count, make_tables=make_tables))
    if as_json:
        click.echo(json.dumps(_json(str(invocation.file), settings, found), indent=2))
    else:
        _print(found)
    context.exit(_exit_status(found))


def _exit_status(found: Once) -> int:
    bad = [asked for asked in found.asked if asked.verdict is not Verdict.OK]
    if any(asked.verdict is Verdict.FAILED for asked in bad):
        return _UNHEALTHY
    if any(is_permission(asked.detail) for asked in bad):
        return PermissionDeniedError.exit_status
    return HostError.exit_status if bad else 0


def _hints(found: Once, asked: Asked) -> list[str]:
    if isinstance(asked.subject, str):
        return hints(asked, Context())
    gateway_failed = any(
        other.verdict is Verdict.FAILED
        for other in found.asked
        if other.subject == asked.subject and other.role is Role.GATEWAY
    )
    return hints(asked, Context(gateway_ok=not gateway_failed))


# ---- for people ----------------------------------------------------------------------------------


def _print(found: Once) -> None:
    """Print the table, and below it what to look at. Not a terminal: no colour, no folding."""
    is_terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout, highlight=False, soft_wrap=True, width=None if is_terminal else 10_000
    )
    with console.capture() as capture:
        for line in found.added:
            console.print(Text(line))
        console.print(_table(found, folds=is_terminal))
        for line in _below(found):
            console.print(Text(line))
    # rich pads every line of a table to its width.
    lines = [line.rstrip() for line in capture.get().splitlines()]
    click.echo("\n".join(lines))


def _table(found: Once, *, folds: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("what", "target", "device", "source", "result", "time"):
        table.add_column(
            name, no_wrap=not folds, overflow="fold", justify="right" if name == "time" else "left"
        )
    for asked in found.asked:
        path = asked.subject if isinstance(asked.subject, PathFacts) else None
        table.add_row(
            Text(_what(asked)),
            Text(str(asked.probe)),
            Text(path.interface if path else "-"),
            Text(_source(asked) or "-"),
            Text(_result(asked), style=_COLOURS[asked.verdict]),
            Text(_time(asked)),
        )
    return table


def _below(found: Once) -> Iterator[str]:
    for path in found.paths:
        if path.missing is not None:
            yield ""
            yield f"{_path(path)} is not kept on {path.interface}: {path.missing}"
            yield "  probes may leave through another uplink, or fail where the path is good;"
            yield f"  {mend_tables(path.missing)}"
    for rows, their_hints in _grouped_hints(found):
        yield ""
        yield from (f"{_what(asked)}, {asked.probe}, {_result(asked)}" for asked in rows)
        yield from (f"  {hint}" for hint in their_hints)
    yield ""
    counts = Counter(asked.verdict for asked in found.asked)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    yield f"{len(found.asked)} asked: {said}" if said else "nothing is asked for in this file"


def _grouped_hints(found: Once) -> Iterator[tuple[list[Asked], list[str]]]:
    """Yield every hint once, together with the others that are for just the same probes."""
    rows_of: dict[str, list[int]] = {}
    for row, asked in enumerate(found.asked):
        for hint in _hints(found, asked):
            rows_of.setdefault(hint, []).append(row)
    groups: dict[tuple[int, ...], list[str]] = {}
    for hint, rows in rows_of.items():
        groups.setdefault(tuple(rows), []).append(hint)
    for group, their_hints in groups.items():
        yield [found.asked[row] for row in group], their_hints


def _path(path: PathFacts) -> str:
    return f"{path.path.uplink} {path.path.family}"


def _what(asked: Asked) -> str:
    if isinstance(asked.subject, str):
        return f"{asked.subject} check"
    return f"{_path(asked.subject)} {asked.role}"


def _result(asked: Asked) -> str:
    detail = f": {asked.detail}" if asked.detail else ""
    if len(asked.outcomes) == 1 or asked.verdict is Verdict.OK:
        return f"{asked.verdict}{detail}"
    counts = Counter(outcome.verdict for outcome in asked.outcomes)
    return f"{counts[asked.verdict]} of {len(asked.outcomes)} {asked.verdict}{detail}"


def _time(asked: Asked) -> str:
    return f"{median(asked.rtts_s) * 1000:.2f} ms" if asked.rtts_s else ""


def _source(asked: Asked) -> str | None:
    """Return the address that was asked from; None when there is none, or the kernel's choice."""
    if isinstance(asked.subject, PathFacts):
        return None if isinstance(asked.subject.source, str) else str(asked.subject.source)
    return None


# ---- for programs --------------------------------------------------------------------------------


def _json(file: str, settings: Settings, found: Once) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "ok": all(asked.verdict is Verdict.OK for asked in found.asked),
        "timeout_s": settings.path_timing.timeout_s,
        "added": list(found.added),
        "paths": [
            {
                "uplink": path.path.uplink,
                "family": path.path.family.value,
                "interface": path.interface,
                "source": None if isinstance(path.source, str) else str(path.source),
                "no_source": path.source if isinstance(path.source, str) else None,
                "missing": None if path.missing is None else str(path.missing),
                "strict_rp_filter": path.strict_reverse_path,
            }
            for path in found.paths
        ],
        "probes": [_probe_json(found, asked) for asked in found.asked],
    }


def _probe_json(found: Once, asked: Asked) -> dict[str, object]:
    path = asked.subject if isinstance(asked.subject, PathFacts) else None
    probe, family = asked.probe, None
    if path is not None:
        family = path.path.family
    elif probe.target is not None:
        family = Family.of(probe.target)
    return {
        "uplink": path.path.uplink if path else None,
        "service": None if path else asked.subject,
        "role": asked.role.value if asked.role else None,
        "family": family.value if family else None,
        "probe": str(probe),
        "kind": probe.kind.value,
        "target": None if probe.target is None else str(probe.target),
        "port": probe.port,
        "interface": path.interface if path else None,
        "source": _source(asked),
        "verdict": asked.verdict.value,
        "detail": asked.detail,
        "rtt_s": median(asked.rtts_s) if asked.rtts_s else None,
        "answers": [
            {"verdict": o.verdict.value, "detail": o.detail, "rtt_s": o.rtt_s}
            for o in asked.outcomes
        ],
        "hints": _hints(found, asked),
    }
