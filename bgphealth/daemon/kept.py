"""Something that outlives a run, in a file. Its content is never trusted, its absence no error."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from structlog.typing import FilteringBoundLogger

from bgphealth.daemon.places import replace_file

LARGEST_BYTES = 16 * 1024 * 1024

VERSION = 1

_Thing = TypeVar("_Thing")


class LaterVersionError(ValueError):
    """A file was written by a later version of bgphealth, whose `version` it names."""

    def __init__(self, version: int) -> None:
        super().__init__(f"it is of a later version of bgphealth, version {version} of its format")
        self.version = version


class Kept(Generic[_Thing]):
    """A file with one thing in it.

    Args:
        file: where.
        log: where to say what is wrong with it.
        encode: makes a text of the thing.
        decode: makes the thing of what was read; raises ValueError, and the text says why.
        do: what to do when it cannot be written, for the operator.
    """

    def __init__(
        self,
        file: Path,
        log: FilteringBoundLogger,
        encode: Callable[[_Thing], str],
        decode: Callable[[bytes], _Thing],
        do: str,
    ) -> None:
        self._file = file
        self._log = log
        self._encode = encode
        self._decode = decode
        self._do = do
        self._written: _Thing | None = None
        self._trouble = ""
        self._later: int | None = None

    def load_or(self, nothing: _Thing) -> _Thing:
        """Return what an earlier run left; `nothing`, with a warning, if that makes no sense."""
        try:
            # Not to wait for whoever made a named pipe of it.
            descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as stream:
                raw = stream.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            return nothing
        except OSError as error:
            self._log.warning("state_ignored", file=str(self._file), why=error.strerror)
            return nothing
        try:
            self._written = self._decode(raw or b"")
        except ValueError as error:
            self._log.warning("state_ignored", file=str(self._file), why=str(error))
            self._later = error.version if isinstance(error, LaterVersionError) else None
            return nothing
        return self._written

    def save(self, thing: _Thing) -> bool:
        """Write it, if it is not what is there; what prevents it is logged once.

        Returns:
            Whether it is there now.
        """
        if thing == self._written:
            return True
        try:
            self._set_aside()
            replace_file(self._file, self._encode(thing))
        except OSError as error:
            self._written = None
            if self._trouble != (trouble := f"{self._file.parent}: {error.strerror}"):
                self._log.warning("state_not_kept", why=trouble, do=self._do)
            self._trouble = trouble
            return False
        self._written, self._trouble = thing, ""
        return True

    def _set_aside(self) -> None:
        """Leave what only a later version can read, for when that is installed again."""
        if self._later is None:
            return
        aside = self._file.with_name(f"{self._file.name}.v{self._later}")
        try:
            self._file.replace(aside)
        except FileNotFoundError:
            self._later = None  # Somebody has deleted it.
            return
        self._later = None
        self._log.warning("state_set_aside", file=str(self._file), to=str(aside))


def enclosed(name: str, entries: Sequence[Mapping[str, object]]) -> str:
    """Return entries under their name as JSON, with a version."""
    return json.dumps({"version": VERSION, name: entries}, indent=1) + "\n"


def entries_of(raw: bytes, name: str) -> list[object]:
    """Return the entries that a file has under a name.

    Raises:
        LaterVersionError: a later version of bgphealth has written it.
        ValueError: it is not such a file; the text says why.
    """
    if len(raw) > LARGEST_BYTES:
        raise ValueError("it is larger than 16 MiB")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise LaterVersionError(version)  # What else is in it is for that version to know.
    if not isinstance(data, dict) or not isinstance(data.get(name), list):
        raise ValueError("it is not bgphealth's")  # noqa: TRY004 - a value of the file, not a type
    if version != VERSION:
        raise ValueError("it is of another version of bgphealth")
    return list(data[name])
