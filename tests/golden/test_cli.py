"""docs/cli.md is what click knows of the commands; --update-golden writes it."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import click
import pytest

from tests.support.command_line import commands, paragraphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "../../docs/cli.md"
INTRO = """\
<!-- Made from bgphealth/cli: pytest tests/golden/test_cli.py --update-golden -->

# Command line

`bgphealth [-c FILE] COMMAND`: `-c` stands before the command. Each command has `--help`; the page
is what they say. What is printed for people may change; what `--json` prints, and the
[exit statuses](exit-codes.md), are for programs.
"""
ALL = list(commands())
BELOW = {above.command_path: [each for each in ALL if each.parent is above] for above in ALL}


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def wrapped(text: str) -> str:
    return fill(text, 100, break_long_words=False, break_on_hyphens=False)


def options(context: click.Context) -> Iterator[str]:
    shown = [p for p in context.command.get_params(context) if p.name != "_click_default_help"]
    records = [r for p in shown if (r := p.get_help_record(context)) and r[1]]
    if records:
        yield "\n| option | |\n|---|---|\n"
    for names, text in records:
        yield f"| `{cell(names)}` | {cell(' '.join(text.split()))} |\n"


def section(context: click.Context) -> Iterator[str]:
    path, command = context.command_path, context.command
    yield f"\n## `{path}`\n\n"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield from (f"\n{wrapped(each)}\n" for each in paragraphs(context))
    yield from options(context)
    if isinstance(command, click.Group):
        yield "\n"
    for each in BELOW[path]:
        first, *_ = paragraphs(each)
        yield f"- [`{each.command_path}`](#{each.command_path.replace(' ', '-')}): {first}\n"


def test_page(golden: Callable[[str, str], None]) -> None:
    golden(PAGE, INTRO + "".join(text for context in ALL for text in section(context)))


@pytest.mark.parametrize("context", ALL, ids=lambda context: context.command_path)
def test_everything_says_what_it_is_for(context: click.Context) -> None:
    assert paragraphs(context)
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name
