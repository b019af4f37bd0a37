"""The options of ``exabgp healthcheck``, of 4.2 and 5.0, from a command line and from its files.

Read by argparse, as there: abbreviations, ``--rise=2`` and ``-i5`` mean here what they mean there.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NoReturn

from bgphealth.config.problems import InvalidFileError, Problem
from bgphealth.imports.draft import Address, Input, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for; the defaults are theirs. `given` are the options that were written."""

    given: frozenset[str] = frozenset()
    silent: bool = False
    syslog_facility: str = "daemon"
    no_syslog: bool = False
    debug: bool = False
    no_ack: bool = False
    sudo: bool = False
    name: str | None = None
    config: str | None = None
    pid: str | None = None
    user: str | None = None
    group: str | None = None
    interval: Decimal = Decimal(5)
    fast_interval: Decimal = Decimal(1)
    timeout: int = 5
    rise: int = 3
    fall: int = 3
    disable: str | None = None
    command: str | None = None
    next_hop: Address | None = None
    ip: tuple[Prefix, ...] = ()
    ip_ifname: tuple[str, ...] = ()
    local_preference: int = -1
    deaggregate_networks: bool = False
    no_ip_setup: bool = False
    dynamic_ip_setup: bool = False
    label: str | None = None
    label_exact_match: bool = False
    start_ip: int = 0
    up_metric: int = 100
    down_metric: int = 1000
    disabled_metric: int = 500
    increase: int = 1
    community: str | None = None
    extended_community: str | None = None
    large_community: str | None = None
    disabled_community: str | None = None
    as_path: str | None = None
    up_as_path: str | None = None
    down_as_path: str | None = None
    disabled_as_path: str | None = None
    withdraw_on_down: bool = False
    path_id: int | None = None
    neighbor: tuple[Address | None, ...] = ()
    """None: every one (``*``)."""
    debounce: bool = False
    execute: tuple[str, ...] = ()
    up_execute: tuple[str, ...] = ()
    down_execute: tuple[str, ...] = ()
    disabled_execute: tuple[str, ...] = ()


class _WrongOptionError(Exception):
    """What argparse has to say."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _WrongOptionError(message)


def of_command_line(
    file: str, line: int, words: Sequence[str], find: Callable[[str], Input | None]
) -> Options:
    """Return the options of a command; `find` returns the file that ``--config`` names.

    Raises:
        InvalidFileError: An option is wrong, or its file is not to be had.
    """
    given = _parse(file, line, words)
    if given.config is None:
        return given
    found = find(given.config)
    if found is None:
        message = f"{given.config} is not here: give it as another FILE"
        raise InvalidFileError([Problem(file, line, "--config", message)])
    # What the command line says comes last, and so counts; what can be given twice adds up.
    return _parse(file, line, [*_words_of_file(found), *words])


def of_file(file: Input) -> Options:
    """Return the options of a file such as ``--config`` names.

    Raises:
        InvalidFileError: An option is wrong.
    """
    return _parse(file.name, 1, _words_of_file(file))


def option_strings() -> dict[str, tuple[str, ...]]:
    """Return how each option of `Options` is written."""
    return {
        action.dest: tuple(action.option_strings)
        for action in _parser()._actions  # noqa: SLF001 - argparse has no other way to ask it
    }


def _words_of_file(file: Input) -> list[str]:
    """Return the command line that a file stands for; each line is looked at by itself."""
    words: list[str] = []
    problems: list[Problem] = []
    for number, text in enumerate(file.text.splitlines(), 1):
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        of_line = [part.strip() for part in f"--{stripped}".split("=", 1)]
        try:
            _parse(file.name, number, of_line)
        except InvalidFileError as error:
            problems += error.problems
        words += of_line
    if problems:
        raise InvalidFileError(problems)
    return words


def _parse(file: str, line: int, words: Sequence[str]) -> Options:
    try:
        found = vars(_parser().parse_args(list(words)))
    except _WrongOptionError as error:
        raise InvalidFileError([Problem(file, line, "", str(error))]) from None
    for key, value in found.items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(each, str) and not each.isprintable() for each in values):
            message = "has a control character in it"
            raise InvalidFileError([Problem(file, line, f"--{key.replace('_', '-')}", message)])
    listed = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    return Options(given=frozenset(found), **{**found, **listed})


def _seconds(text: str) -> Decimal:
    number = float(text)
    if not math.isfinite(number) or number < 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, not {text}")
    return Decimal(str(number))


def _neighbor(text: str) -> Address | None:
    return None if text.strip() == "*" else ip_address(text)


def _parser() -> argparse.ArgumentParser:
    """Return a parser whose result has what was written, and nothing else."""
    parser = _Parser(
        prog="healthcheck", add_help=False, argument_default=argparse.SUPPRESS, usage=""
    )
    flags: tuple[str, ...]
    for flags in (
        ("--silent", "-s"),
        ("--no-syslog",),
        ("--debug", "-d"),
        ("--no-ack", "-a"),
        ("--sudo",),
        ("--deaggregate-networks",),
        ("--no-ip-setup",),
        ("--dynamic-ip-setup",),
        ("--label-exact-match",),
        ("--withdraw-on-down",),
        ("--debounce",),
    ):
        parser.add_argument(*flags, action="store_true")
    parser.add_argument("--syslog-facility", "-sF", nargs="?", const="daemon")
    for flags in (
        ("--name", "-n"),
        ("--config", "-F"),
        ("--pid", "-p"),
        ("--user",),
        ("--group",),
        ("--disable",),
        ("--command", "--cmd", "-c"),
        ("--label",),
        ("--community",),
        ("--extended-community",),
        ("--large-community",),
        ("--disabled-community",),
        ("--as-path",),
        ("--up-as-path",),
        ("--down-as-path",),
        ("--disabled-as-path",),
    ):
        parser.add_argument(*flags)
    for name in ("--ip-ifname", "--execute", "--up-execute", "--down-execute"):
        parser.add_argument(name, action="append")
    parser.add_argument("--disabled-execute", action="append")
    parser.add_argument("--interval", "-i", type=_seconds)
    parser.add_argument("--fast-interval", "-f", type=_seconds)
    parser.add_argument("--timeout", "-t", type=int)
    for name in ("--rise", "--fall", "--local-preference", "--start-ip", "--increase", "--path-id"):
        parser.add_argument(name, type=int)
    for name in ("--up-metric", "--down-metric", "--disabled-metric"):
        parser.add_argument(name, type=int)
    parser.add_argument("--next-hop", "-N", type=ip_address)
    parser.add_argument("--ip", type=ip_network, action="append")
    parser.add_argument("--neighbor", type=_neighbor, action="append")
    return parser
