"""A document as YAML with comments, for the commands that write a file to be read and gone on with.

What comes out is read back as the same values; that, and that it looks as a person would write it,
is all that this module knows.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

_WIDTH = 100
_INDENT = 2
_NEVER_FOLD = 1 << 30
_PLAIN = re.compile(
    r"-?[A-Za-z/](?:[A-Za-z0-9_./@%+=-]| (?=[A-Za-z0-9_./@%+=-]))*"
    r"|[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?"  # An IPv4 address or prefix.
    r"|[0-9]+(?:\.[0-9]+)?(?:ms|[smhd%])"  # A duration or percentage.
)
"""Texts that need no quotes. Some others would not, either: an IPv6 address, for one."""
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "y", "n"}
"""Words that some reader of YAML takes for something else. `off` is a word of the file."""


@dataclass(frozen=True, slots=True)
class Noted:
    """The value of a key, with comments: one `beside` it if the line has room, and some `above`.

    `above` is a paragraph or some, which are wrapped; one that begins with a space stays as it is,
    for what is to be copied. An empty one is an empty line.
    """

    value: object
    beside: str = ""
    above: str | Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """A mapping in one line: ``{icmp: neighbor}``."""

    entries: Mapping[str, object]


def write(document: Mapping[str, object], head: Sequence[str] = ()) -> str:
    """Return a document as YAML; `head` are paragraphs at its top.

    Values are texts, numbers, truths, mappings, sequences of these, `Flow`, and as values of keys
    `Noted`. A sequence whose entries are all texts, numbers and truths is in one line.
    """
    top = "".join(f"{line}\n" for line in _lines(head, "# ", 0))
    return f"{top}\n{_dumped(_mapping(document, 0))}" if top else _dumped(_mapping(document, 0))


def _dumped(node: CommentedMap) -> str:
    yaml = YAML()
    yaml.width = _NEVER_FOLD
    yaml.indent(mapping=_INDENT, sequence=2 * _INDENT, offset=_INDENT)
    stream = io.StringIO()
    yaml.dump(node, stream)
    return stream.getvalue()


def _node(value: object, indent: int) -> object:
    match value:
        case Flow(entries):
            flow = CommentedMap({key: _node(each, 0) for key, each in entries.items()})
            flow.fa.set_flow_style()
            return flow
        case Mapping():
            return _mapping(value, indent)
        case str():
            plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
            return value if plain else DoubleQuotedScalarString(value)
        case Sequence():
            items = CommentedSeq(_node(each, indent + 2 * _INDENT) for each in value)
            if not any(isinstance(each, CommentedMap | CommentedSeq) for each in items):
                items.fa.set_flow_style()
            return items
        case _:
            return value


def _mapping(entries: Mapping[str, object], indent: int) -> CommentedMap:
    node = CommentedMap()
    for key, given in entries.items():
        noted = given if isinstance(given, Noted) else Noted(given)
        node[key] = value = _node(noted.value, indent + _INDENT)
        above = [noted.above] if isinstance(noted.above, str) else [*noted.above]
        if noted.beside:
            column = indent + _width(key, value) + len("  ")
            if column + len("# ") + len(noted.beside) <= _WIDTH and noted.beside.isprintable():
                node.yaml_add_eol_comment(noted.beside, key, column)
            else:
                above.append(noted.beside)
        lines = _lines(above, "", indent + 2)
        is_block = isinstance(value, CommentedMap | CommentedSeq) and not value.fa.flow_style()
        is_entry = is_block and isinstance(value, CommentedMap)
        stands_apart = lines or is_block if indent == 0 else lines and is_entry
        if stands_apart and len(node) > 1:
            lines.insert(0, "")
        if lines:
            node.yaml_set_comment_before_after_key(key, before="\n".join(lines), indent=indent)
    return node


def _width(key: str, value: object) -> int:
    """Return the length of the line that a key is on, without its indent."""
    if isinstance(value, CommentedMap | CommentedSeq):
        is_flow = value.fa.flow_style()
        return len(_dumped(CommentedMap({key: value})).rstrip("\n") if is_flow else f"{key}:")
    return len(f"{key}: {value}") + len('""') * isinstance(value, DoubleQuotedScalarString)


def _lines(paragraphs: Sequence[str], prefix: str, taken: int) -> list[str]:
    """Return paragraphs as lines of comment."""
    lines: list[str] = []
    for given in paragraphs:
        paragraph = "".join(c if c.isprintable() else "?" for c in given)
        width = _WIDTH - taken - len(prefix)
        whole = not paragraph or paragraph.startswith(" ")
        wrapped = [paragraph] if whole else wrap(paragraph, width, break_on_hyphens=False)
        lines += [f"{prefix}{line}".rstrip() for line in wrapped]
    return lines
