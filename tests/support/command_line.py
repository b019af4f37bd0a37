"""Every command that there is, as click knows it, and the command lines that pages show."""

from __future__ import annotations

import inspect
import re
import shlex
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from bgphealth.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHOWN = {
    "console": re.compile(r"^\w*[$#] (?:\S*/)?bgphealth +(.*)$"),
    "sh": re.compile(r"^(?:\S*/)?bgphealth +(.*)$"),
}
"""What a line that calls bgphealth looks like in a block of a language."""

LAB = {
    "console": re.compile(r"^\w*[$#] (?:sudo )?\S*python -m lab +(.*)$"),
    "sh": re.compile(r"^\S*python -m lab +(.*)$"),
}
"""The same for the laboratory."""


def commands(above: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the context of each command, groups before what is in them."""
    # With its settings: a command keeps the help option that it is first asked for.
    context = above or click.Context(app, info_name="bgphealth", **app.context_settings)
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if not command.hidden:
                yield from commands(click.Context(command, info_name=name, parent=context))


def paragraphs(context: click.Context) -> list[str]:
    """Return the paragraphs of a command's help, each in one line."""
    text = inspect.cleandoc(context.command.help or "")
    return [" ".join(each.split()) for each in text.split("\n\n") if each]


def command_lines(language: str, text: str) -> Iterator[list[str]]:
    """Yield the arguments of each line of a block that calls bgphealth."""
    for call in _calls(SHOWN, language, text):
        shown = re.split(r" (?:[|>;]|\|\||&&) | 2?>", call)[0]
        yield shlex.split(shown, comments=True)


def lab_command_lines(language: str, text: str) -> Iterator[list[str]]:
    """Yield the arguments of each line of a block that calls the laboratory."""
    for call in _calls(LAB, language, text):
        # What is run in a node is quoted where the shell would read it.
        words = shlex.split(call, comments=True)
        yield list(
            takewhile(lambda word: word not in {"|", "&", "&&", ";"} and word[0] != ">", words)
        )


def _calls(looks: Mapping[str, re.Pattern[str]], language: str, text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines() if language in looks else ():
        if match := looks[language].match(line):
            yield match[1]


def parse(arguments: list[str], command: click.Command = app) -> Mapping[str, Any]:
    """Let click read the arguments of a command line, without calling anything; return them.

    Raises:
        click.UsageError: there is no such command, option or argument, or one is missing.
    """
    context: click.Context | None = None
    name: str | None = command.name
    while True:
        try:
            context = command.make_context(name, list(arguments), parent=context)
        except click.exceptions.Exit:
            return {}  # ``--version`` and the like are done with it.
        if not isinstance(command, click.Group) or not (rest := _rest(context)):
            return context.params
        name, found, arguments = command.resolve_command(context, rest)
        assert found is not None
        command = found


def _rest(context: click.Context) -> list[str]:
    return [*context._protected_args, *context.args]  # noqa: SLF001 -- As click's own `invoke`.
