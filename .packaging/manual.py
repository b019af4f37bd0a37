"""Write the manual pages: bgphealth(1) from the command line, bgphealth.yaml(5) from its reference.

Usage: manual.py DIRECTORY. The second page needs lowdown(1). Made whenever a package is built, so
that they say what the program says.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from bgphealth import __version__
from bgphealth.cli.app import app

CONFIGURATION = Path(__file__).parents[1] / "docs" / "configuration.md"
SITE = "https://github.com/bgphealth/bgphealth"
TABLE = re.compile(r"^\|(.*)\|\n\|[-| ]+\|\n((?:\|.*\|\n)+)", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")


def main() -> None:
    """Write both pages into the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "bgphealth.1").write_text(program(), encoding="utf-8")
    (directory / "bgphealth.yaml.5").write_text(file(), encoding="utf-8")


def _date() -> str:
    made = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return time.strftime("%Y-%m-%d", time.gmtime(made))


# ---- bgphealth(1) --------------------------------------------------------------------------------


def program() -> str:
    """Return bgphealth(1)."""
    context = click.Context(app, info_name="bgphealth", **app.context_settings)
    lines = [
        f'.TH BGPHEALTH 1 "{_date()}" "bgphealth {__version__}" "User Commands"',
        ".SH NAME",
        r"bgphealth \- steers a dual-homed server over BGP, from one verdict per path",
        ".SH SYNOPSIS",
        f".B bgphealth\n{_escaped(' '.join(app.collect_usage_pieces(context)))}",
        ".SH DESCRIPTION",
        *_paragraphs(app.help or ""),
        ".SH OPTIONS",
        *_options(context),
        ".SH COMMANDS",
    ]
    for command in _commands(context):
        usage = " ".join(command.command.collect_usage_pieces(command))
        lines += [
            f'.SS "{_escaped(command.command_path)} {_escaped(usage)}"',
            *_paragraphs(command.command.help or ""),
            *_options(command),
        ]
    lines += [
        ".SH FILES",
        *_item("/etc/bgphealth/bgphealth.yaml", "The configuration, bgphealth.yaml(5)."),
        *_item("/run/bgphealth", "The control socket and the process id."),
        *_item("/var/lib/bgphealth", "What outlives a run: the routes that are ours, the drains."),
        *_item("/usr/share/bgphealth", "The JSON Schema of the configuration, and examples."),
        ".SH SEE ALSO",
        ".BR bgphealth.yaml (5)",
        ".PP",
        _escaped(f"The documentation: {SITE}"),
    ]
    return "\n".join(lines) + "\n"


def _commands(context: click.Context) -> Iterator[click.Context]:
    """Yield a context for each command, a group before its own."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            below = click.Context(command, context, info_name=name)
            yield below
            yield from _commands(below)


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from _item(*record)


def _item(term: str, text: str) -> tuple[str, ...]:
    return ".TP", rf"\fB{_escaped(term)}\fP", _escaped(" ".join(text.split()))


def _paragraphs(text: str) -> Iterator[str]:
    r"""Yield the paragraphs of a command's help; a ``\b`` before one keeps its lines."""
    for place, paragraph in enumerate(cleandoc(text).split("\n\n")):
        if place:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", _escaped(paragraph.removeprefix("\b").lstrip("\n")), ".fi")
        else:
            yield _escaped(paragraph)


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


# ---- bgphealth.yaml(5) ---------------------------------------------------------------------------


def file() -> str:
    """Return bgphealth.yaml(5): docs/configuration.md, its tables as lists, its links as text."""
    text = CONFIGURATION.read_text(encoding="utf-8").partition("\n")[2]
    page = (
        f"title: bgphealth.yaml\nsection: 5\ndate: {_date()}\nsource: bgphealth {__version__}\n"
        "volume: File Formats\n\n"
        "# NAME\n\nbgphealth.yaml - the configuration of bgphealth\n\n# DESCRIPTION\n\n"
        + LINK.sub(r"\1", TABLE.sub(_list, re.sub(r"^##", "#", text, flags=re.MULTILINE)))
        + f"\n# SEE ALSO\n\n**bgphealth**(1), {SITE}\n"
    )
    made = subprocess.run(
        ["lowdown", "-s", "-tman", "-"], input=page, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    # Checkers of pages: not every program knows the font C, and a heading begins a paragraph.
    made = made.replace(r"\fC", r"\fB")
    return re.sub(r"^(\.S[HS]\n.*\n)\.LP\n", r"\1", made, flags=re.MULTILINE)


def _list(table: re.Match[str]) -> str:
    """Return a table as a list of definitions, which a page of 80 columns has room for."""
    head, items = _cells(table[1]), []
    for row in table[2].splitlines():
        term, *cells = (
            f"default: {cell}" if name == "default" and cell != "*required*" else cell
            for name, cell in zip(head, _cells(row), strict=True)
        )
        items.append(f"{term}\n: {'; '.join(filter(None, cells))}\n")
    return "\n".join(items)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))]


if __name__ == "__main__":
    main()
