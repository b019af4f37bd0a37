"""The file as YAML 1.2: plain values, and the line that each of them came from.

The node tree is walked here instead of letting ruamel.yaml construct objects: that is what gives
every value a line, finds *all* duplicate keys rather than the first, and keeps tags from making
anything but text, numbers, booleans, lists and mappings. Nothing here knows what the keys mean.
"""

from __future__ import annotations

import re
import warnings
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from bgphealth.config.problems import InvalidFileError, KeyPath, Problem, dotted, printable, shown
from bgphealth.core.errors import ConfigurationError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ruamel.yaml.nodes import Node

_TAG = "tag:yaml.org,2002:"
_LARGEST_BYTES = 4 * 1024 * 1024  # A thousand services take about 200 kB.
_MOST_VALUES = 200_000  # Aliases can multiply a small file; this is where that ends.


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is YAML and whose top is a mapping.

    `lines` has the line (from 1) of every path that exists. `problems` is what is wrong already.
    `unusable` are the paths whose value in `data` only stands in for a wrong one; `lossy` are the
    mappings from which an entry is missing.
    """

    file: str
    data: dict[str, object]
    lines: dict[KeyPath, int]
    problems: tuple[Problem, ...]
    unusable: frozenset[KeyPath]
    lossy: frozenset[KeyPath]
    within: KeyPath = ()
    """Where it is, when it is a part of another file."""

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a path, or of the nearest thing above it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Return a problem at a path of this file."""
        return Problem(self.file, self.line_of(path), dotted((*self.within, *path)), message)

    def part(self, key: str) -> Document:
        """Return the mapping under a key at the top as if it were a file; it has no problems."""
        data = self.data[key]
        assert isinstance(data, dict)  # noqa: S101 - for the type checker; the caller has looked
        return Document(
            self.file,
            data,
            {path[1:]: line for path, line in self.lines.items() if path[:1] == (key,)},
            (),
            frozenset(path[1:] for path in self.unusable if path[:1] == (key,)),
            frozenset(path[1:] for path in self.lossy if path[:1] == (key,)),
            (*self.within, key),
        )


NEEDS = "version, mode, host and uplinks"


def read(path: Path, needs: str = NEEDS) -> Document:
    """Read a file; `raw` and `parse` in one.

    Raises:
        PermissionDeniedError: The file may not be read.
        InvalidFileError: It is not a YAML mapping at all.
        ConfigurationError: There is no such file, or it cannot be read.
    """
    return parse(str(path), raw(path), needs)


def raw(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        PermissionDeniedError: The file may not be read.
        InvalidFileError: It is too large.
        ConfigurationError: There is no such file, or it cannot be read.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: no such file") from None
    except PermissionError:
        raise PermissionDeniedError(f"{file}: permission denied") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_BYTES:
        raise InvalidFileError([Problem(file, 1, "", "is larger than 4 MiB")])
    return content


def parse(file: str, content: bytes, needs: str = NEEDS) -> Document:
    """Return what the content of a file says; `needs` is what an empty one lacks, in words.

    Raises:
        InvalidFileError: It is not a YAML mapping at all.
    """
    return _Reader(file, needs).document(_text(file, content))


def _text(file: str, content: bytes) -> str:
    try:
        text = content.removeprefix(BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"is not a text file in UTF-8 (byte 0x{content[error.start]:02x})"
        raise InvalidFileError([Problem(file, line, "", message)]) from None
    for position, character in enumerate(text):
        if ord(character) < ord(" ") and character not in "\t\r\n":
            line = text.count("\n", 0, position) + 1
            message = f"is not a text file (control character U+{ord(character):04X})"
            raise InvalidFileError([Problem(file, line, "", message)])
    return text


_ADDRESS_WITH_COLON = re.compile(r"[0-9A-Fa-f]::(?=[\s,}\]]|$)")
"""An IPv6 address like that of a ToR on a /127, which YAML takes for a key."""


class _Reader:
    """Walks the node tree of one file."""

    def __init__(self, file: str, needs: str) -> None:
        self._file = file
        self._needs = needs
        self._lines: dict[KeyPath, int] = {(): 1}
        self._problems: list[Problem] = []
        self._unusable: set[KeyPath] = set()
        self._lossy: set[KeyPath] = set()
        self._values = 0

    def document(self, text: str) -> Document:
        root = self._compose(text)
        if root is None or (isinstance(root, ScalarNode) and root.tag == f"{_TAG}null"):
            raise self._invalid(1, f"is empty; it needs at least {self._needs}")
        if not isinstance(root, MappingNode):
            raise self._invalid(_line(root), "must be a mapping of keys to values at the top")
        try:
            data = self._mapping(root, (), ())
        except RecursionError:
            raise self._invalid(1, "is nested too deeply") from None
        return Document(
            self._file,
            data,
            self._lines,
            tuple(self._problems),
            frozenset(self._unusable),
            frozenset(self._lossy),
        )

    def _compose(self, text: str) -> Node | None:
        try:
            with warnings.catch_warnings():
                # Using an anchor's name again is allowed (YAML 1.2, section 3.2.2.2).
                warnings.simplefilter("ignore", ReusedAnchorWarning)
                root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(part for part in (error.context, error.problem) if part)
            if "'\\t'" in said:
                said += "; indent with spaces"
            elif mark and any(map(_ADDRESS_WITH_COLON.search, text.splitlines()[mark.line :][:1])):
                said += '; an address that ends in a colon needs quotes: "2001:db8:1::"'
            raise self._invalid(mark.line + 1 if mark else 1, f"is not YAML: {said}") from None
        except YAMLError as error:
            raise self._invalid(1, f"is not YAML: {printable(str(error))}") from None
        except RecursionError:
            raise self._invalid(1, "is nested too deeply") from None
        return root

    def _mapping(
        self, node: MappingNode, path: KeyPath, above: tuple[Node, ...]
    ) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                self._lossy.add(path)
                continue
            here = (*path, key)
            if here in self._lines:
                first = self._lines[here]
                self._report(
                    here, _line(key_node), f"is given twice; the first one is on line {first}"
                )
                continue
            self._lines[here] = _line(key_node)
            result[key] = self._value(value_node, here, (*above, node))
        return result

    def _key(self, node: Node, path: KeyPath) -> str | None:
        if node.tag == f"{_TAG}merge":
            what = "merge keys (<<) are not supported; write the keys out"
        elif not isinstance(node, ScalarNode) or node.tag != f"{_TAG}str":
            shape = shown(node.value) if isinstance(node, ScalarNode) else "a list or a mapping"
            what = f"a key must be text, not {shape}"
        elif not str(node.value).isprintable():
            what = f"the key {shown(node.value)} has control characters in it"
        else:
            return str(node.value)
        self._report(path, _line(node), what)
        return None

    def _value(self, node: Node, path: KeyPath, above: tuple[Node, ...]) -> object:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise self._invalid(1, f"has more than {_MOST_VALUES:,} values (aliases included)")
        if any(node is outer for outer in above):
            return self._wrong(path, "contains itself through an alias")
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path, above)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            result: list[object] = []
            for index, item in enumerate(node.value):
                self._lines[*path, index] = _line(item)
                result.append(self._value(item, (*path, index), (*above, node)))
            return result
        return self._scalar(node, path)

    def _scalar(self, node: Node, path: KeyPath) -> object:
        tag = str(node.tag).removeprefix(_TAG)
        if not isinstance(node, ScalarNode):
            return self._wrong(path, f"has the type {shown(tag)}, which means nothing here")
        text = str(node.value)
        if tag == "null":
            return self._wrong(path, "has no value; give it one or remove the key")
        if not text.isprintable():
            # Every control, format, separator and surrogate character but the plain space: what
            # is in this file goes into configurations and API lines, and must stay on its line.
            return self._wrong(
                path,
                f"{shown(text)} has a line break or control character in it; "
                "nothing in this file needs one",
            )
        if tag == "str":
            return text
        try:
            return _PLAIN[tag](text)
        except (KeyError, ValueError):
            return self._wrong(path, f"{shown(text)} is read as {shown(tag)}; put it in quotes")

    def _wrong(self, path: KeyPath, message: str) -> str:
        """Report a value that cannot be used, and return what stands in for it."""
        self._unusable.add(path)
        self._report(path, self._lines[path], message)
        return ""

    def _report(self, path: KeyPath, line: int, message: str) -> None:
        self._problems.append(Problem(self._file, line, dotted(path), message))

    def _invalid(self, line: int, message: str) -> InvalidFileError:
        return InvalidFileError([Problem(self._file, line, "", message)])


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    if digits.lstrip("+-").startswith(("0x", "0o")):
        return int(digits, 0)
    return int(digits, 10)


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_PLAIN: dict[str, Callable[[str], object]] = {
    "bool": _boolean,
    "int": _integer,
    "float": lambda text: float(text.replace("_", "")),
}
"""How the texts of YAML 1.2's core types are read; text itself needs no reading."""


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
