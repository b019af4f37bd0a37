"""Reads what `bgphealth run --record` wrote: JSON Lines, one run after the other.

A run begins with a header: when, and the configuration file as it was. One line per event follows,
in the words of `bgphealth.core.trace`; a change of the configuration is a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bgphealth import config
from bgphealth.config.problems import InvalidFileError, Problem, printable
from bgphealth.core.errors import ConfigurationError, PermissionDeniedError
from bgphealth.core.events import Event
from bgphealth.core.settings import Settings
from bgphealth.core.trace import HEADER, RECONFIGURED, VERSION, Codec, NotInFileError

_BEGINS = f'{{"{HEADER}"'.encode()
_LONGEST_LINE = 32 * 1024 * 1024  # A header holds the configuration, of 4 MiB at most.
_MOST_PROBLEMS = 20
_NOT_JSON = "is not JSON"


class Reconfigured(NamedTuple):
    """From now on these settings count."""

    at: float
    settings: Settings


class Header(NamedTuple):
    """How a run began: `start` as the clock on the wall, `file` and its `content` as they were."""

    line: int
    start: str
    file: str
    content: str

    def settings(self) -> Settings:
        """Return what the configuration said.

        Raises:
            InvalidFileError: It is wrong, by the rules of this version.
        """
        return _settings(self.file, self.content)


@dataclass(slots=True)
class Run:
    """One run of a recording; `number` of `count`.

    While it is read, `ignored` counts the events about what the settings do not name, and `cut`
    tells that the last line is not whole.
    """

    path: Path
    header: Header
    number: int
    count: int
    ignored: int = 0
    cut: bool = False

    def events(self, instead: Settings | None = None) -> Iterator[Event | Reconfigured]:
        """Yield what went into the engine, one after the other.

        Args:
            instead: settings that count from the beginning to the end, whatever was recorded.

        Raises:
            InvalidFileError: A line is wrong; the error lists the first of them.
        """
        codec = Codec(instead or self.header.settings())
        problems: dict[int, str] = {}
        last = self.header.line
        for last, line in self._lines():
            if len(problems) == _MOST_PROBLEMS:
                break
            try:
                record = _mapping(line)
                if record.get("is") != RECONFIGURED:
                    yield codec.decode(record)
                elif instead is None:
                    reconfigured = _reconfigured(record)
                    codec = Codec(reconfigured.settings)
                    yield reconfigured
            except NotInFileError:
                self.ignored += 1
            except ValueError as error:
                problems[last] = printable(str(error))
        # A program that was killed leaves its last line unfinished.
        self.cut = problems.get(last) == _NOT_JSON
        if self.cut:
            del problems[last]
        if problems:
            raise InvalidFileError(
                [Problem(str(self.path), number, "", what) for number, what in problems.items()]
            )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of this run below its header, with their numbers."""
        for number, line in _lines(self.path):
            if number > self.header.line:
                if line.startswith(_BEGINS):
                    return
                yield number, line


def is_recorded(path: Path) -> bool:
    """Tell a recorded file from one that a person wrote.

    Raises:
        PermissionDeniedError: The file may not be read.
        ConfigurationError: There is no such file, or it cannot be read.
    """
    # The middle of a recording is one as well, though nothing can be made of it.
    return next(_lines(path), (0, b""))[1].startswith((_BEGINS, b'{"is"'))


def find_run(path: Path, number: int | None = None) -> Run:
    """Return a run of a file, by default the last one.

    Raises:
        InvalidFileError: A header is wrong, or there is no such run.
        PermissionDeniedError, ConfigurationError: as for `is_recorded`.
    """
    begins = [(at, line) for at, line in _lines(path) if line.startswith(_BEGINS)]
    wanted = len(begins) if number is None else number
    if not 1 <= wanted <= len(begins):
        message = f"has no run {wanted}; it has {len(begins)}"
        if not begins:
            message = "lacks the line that a run begins with, which has the configuration"
        raise InvalidFileError([Problem(str(path), 1, "", message)])
    at, line = begins[wanted - 1]
    try:
        header = _header(at, _mapping(line))
    except ValueError as error:
        raise InvalidFileError([Problem(str(path), at, "", printable(str(error)))]) from None
    return Run(path, header, wanted, len(begins))


def _settings(file: str, content: str) -> Settings:
    return config.loads(f"{file} (recorded)", content.encode())


def _reconfigured(record: Mapping[str, object]) -> Reconfigured:
    match record:
        case {"at": int(at) | float(at), "config": {"file": str(file), "content": str(content)}}:
            return Reconfigured(at, _settings(file, content))
        case _:
            raise ValueError("needs at, and config with its file and content")


def _header(line: int, record: dict[str, object]) -> Header:
    if record.get(HEADER) != VERSION:
        raise ValueError(
            f"a trace of version {record.get(HEADER)!r}; this program reads version {VERSION}"
        )
    match record:
        case {"start": str(start), "config": {"file": str(file), "content": str(content)}}:
            return Header(line, start, file, content)
        case _:
            raise ValueError("the header has no start, or no config with its file and content")


def _mapping(line: bytes) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(_NOT_JSON) from None
    if not isinstance(record, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - a value of the file
    return record


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                yield number, line
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file") from None
    except PermissionError:
        raise PermissionDeniedError(f"{path}: permission denied") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
