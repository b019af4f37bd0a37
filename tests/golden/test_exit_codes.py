"""docs/exit-codes.md is what the error classes and the commands say; --update-golden writes it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from bgphealth.core.errors import BgphealthError
from tests.support.command_line import commands, paragraphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import click

PAGE = "../../docs/exit-codes.md"
INTRO = """\
<!-- Made from bgphealth/core/errors.py and bgphealth/cli:
     pytest tests/golden/test_exit_codes.py --update-golden -->

# Exit statuses

From 64 on they are those of sysexits(3). What went wrong is on stderr, for people.

| status | what it says | what to do |
|---|---|---|
"""
OTHER = {0: "It is done, and well.", 1: "Done, and something is not as it should be, or refused."}
OTHER |= {2: "The command line is wrong (or names what is not there)."}
DO = {
    0: "nothing",
    1: "read what is printed; the command says below what 1 means",
    2: "`bgphealth COMMAND --help`, or [the command line](cli.md)",
    69: "install the program, or update the one that is too old or too new",
    70: "a bug: report it with what is on stderr",
    75: "look at what the message names (is bgphealth running?), and try again",
    77: "root, the group of the [control socket](configuration.md#control), or a capability; "
    "[`bgphealth doctor`](doctor.md) says what the program lacks",
    78: "mend the file: each error has its line and says what would be right",
}
OF_COMMANDS = """
## By command

Any command ends with 78 when the file is wrong, and with 77 when it cannot be read. Beside that:

| command | statuses |
|---|---|
"""
SAID = re.compile(r"Exit status: (.+)$")


def errors() -> dict[int, str]:
    """Return what each class of our errors says, by its status."""
    of_core = [
        e for e in BgphealthError.__subclasses__() if e.__module__ == BgphealthError.__module__
    ]
    means = {each.exit_status: (inspect.getdoc(each) or "").split("\n")[0] for each in of_core}
    return means | {BgphealthError.exit_status: "A fault in bgphealth."}


def said(context: click.Context) -> str | None:
    """Return what a command's help says of its exit status."""
    found = [match[1] for each in paragraphs(context) if (match := SAID.search(each))]
    assert len(found) <= 1, context.command_path
    return found[0].rstrip(".") if found else None


def of_commands() -> Iterator[tuple[str, str]]:
    for context in commands():
        if context.parent is not None and (statuses := said(context)):
            yield context.command_path, statuses


def test_page(golden: Callable[[str, str], None]) -> None:
    means = sorted((OTHER | errors()).items())
    rows = "".join(f"| {status} | {meaning} | {DO[status]} |\n" for status, meaning in means)
    lines = (f"| `{path}` | {statuses} |\n" for path, statuses in of_commands())
    golden(PAGE, INTRO + rows + OF_COMMANDS + "".join(lines))


def test_no_command_has_a_status_of_its_own() -> None:
    assert {"bgphealth probe", "bgphealth drain"} <= {path for path, _ in of_commands()}
    for path, statuses in of_commands():
        named = {int(number) for number in re.findall(r"(?:^|, |: )(\d+)\b", statuses)}
        assert named <= {*OTHER, *errors()}, path


def test_the_program_names_all_of_them() -> None:
    statuses = said(next(commands()))
    assert statuses is not None
    assert {int(n) for n in re.findall(r"\d+", statuses)} == {*OTHER, *errors()}
