"""Reads a topology in containerlab's own format: the part of it that the lab can run.

What the lab does not know is an error and never ignored: a topology must not mean one thing to
containerlab and another to the lab. All errors are reported at once, with their lines.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from lab.errors import TopologyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE = Path(__file__).resolve().parent
SUFFIX = ".clab.yml"

_INTERFACE_NAME_LIMIT = 15
"""IFNAMSIZ without its terminating zero."""


def _splits(line: str) -> str:
    """Refuse an `exec` line that cannot be split into words, as containerlab would."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {error}") from None
    if not words:
        raise ValueError("is empty")
    return line


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bind(_Model):
    """A file or directory of the clab file's directory that a node sees under another name."""

    source: Path
    target: Path
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``source:target`` or ``source:target:ro``.

        Raises:
            ValueError: It is neither, or the target is not absolute.
        """
        source, separator, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if not separator or not source or mode not in {"", "ro", "rw"}:
            raise ValueError(f"'{text}' is not SOURCE:TARGET or SOURCE:TARGET:ro")
        if not target.startswith("/") or ".." in Path(target).parts:
            raise ValueError(f"the target of '{text}' must be an absolute path")
        return cls(source=Path(source), target=Path(target), read_only=mode == "ro")


def _parses_as_bind(text: str) -> str:
    Bind.parse(text)
    return text


class Node(_Model):
    """One node, with the keys of containerlab's node that the lab knows."""

    kind: Literal["linux"] = "linux"
    image: str | None = None
    network_mode: Annotated[Literal["none"] | None, Field(alias="network-mode")] = None
    labels: dict[str, str | int] = {}
    binds: tuple[Annotated[str, AfterValidator(_parses_as_bind)], ...] = ()
    sysctls: dict[str, str | int] = {}
    env: dict[str, str] = {}
    exec: tuple[Annotated[str, AfterValidator(_splits)], ...] = ()

    @property
    def commands(self) -> list[list[str]]:
        """Return the `exec` lines as argument lists."""
        return [shlex.split(line) for line in self.exec]


class Endpoint(_Model):
    """One end of a link."""

    node: str
    interface: str

    def __str__(self) -> str:
        """Return the endpoint as the file has it."""
        return f"{self.node}:{self.interface}"


def _is_endpoint(text: str) -> str:
    node, _, interface = text.partition(":")
    if not node or not interface or len(interface) > _INTERFACE_NAME_LIMIT:
        raise ValueError(f"'{text}' is not NODE:INTERFACE")
    return text


class Link(_Model):
    """A link between two nodes."""

    endpoints: Annotated[
        tuple[Annotated[str, AfterValidator(_is_endpoint)], ...], Field(min_length=2, max_length=2)
    ]

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Return both ends."""
        first, second = (text.partition(":") for text in self.endpoints)
        return (
            Endpoint(node=first[0], interface=first[2]),
            Endpoint(node=second[0], interface=second[2]),
        )


class _Defaults(_Model):
    """What nodes have that do not say otherwise. In namespaces every node is root's, as it was."""

    kind: Literal["linux"] = "linux"
    image: str | None = None
    network_mode: Annotated[Literal["none"] | None, Field(alias="network-mode")] = None
    privileged: Literal[False] = False
    cap_add: Annotated[tuple[str, ...], Field(alias="cap-add")] = ()


class _Management(_Model):
    """No management network: the lab's nodes have the links of the file and no others."""

    skip_when_unused: Annotated[Literal[True], Field(alias="skip-when-unused")] = True


class _Graph(_Model):
    defaults: _Defaults = _Defaults()
    nodes: Annotated[dict[str, Node], Field(min_length=1)]
    links: tuple[Link, ...] = ()


class _File(_Model):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
    mgmt: _Management = _Management()
    topology: _Graph


class Topology:
    """A topology file that was read and found to make sense."""

    def __init__(self, path: Path, file: _File) -> None:
        self.path = path
        self.name = file.name
        defaults = file.topology.defaults
        self.nodes: Mapping[str, Node] = {
            name: node.model_copy(
                update={
                    "image": node.image or defaults.image,
                    "network_mode": node.network_mode or defaults.network_mode,
                }
            )
            for name, node in file.topology.nodes.items()
        }
        self.links: Sequence[Link] = file.topology.links

    def binds(self, node: str) -> list[Bind]:
        """Return a node's binds, their sources resolved against the file's directory."""
        parsed = [Bind.parse(text) for text in self.nodes[node].binds]
        return [b.model_copy(update={"source": self.path.parent / b.source}) for b in parsed]


def find(name: str) -> Path:
    """Return the topology file for a name such as ``dual-tor``, or for a path.

    Raises:
        TopologyError: There is no such file.
    """
    path = Path(name)
    if not name.endswith((".yml", ".yaml")) and "/" not in name:
        path = HERE / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(sorted(p.name.removesuffix(SUFFIX) for p in HERE.glob(f"*{SUFFIX}")))
        raise TopologyError(f"there is no topology '{name}' (known: {known}; or give a path)")
    return path.resolve()


def load(path: Path) -> Topology:
    """Read and validate one topology file.

    Raises:
        TopologyError: With one line per error, each ``file:line: path: message``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: {error}") from None
    try:
        data = YAML(typ="rt").load(_substituted(path, text))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TopologyError(f"{path}:{line}: {error.problem or error.context}") from None
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        found = [(detail["loc"], _message(detail)) for detail in error.errors()]
        raise _errors(path, data, found) from None
    topology = Topology(path, file)
    if found := [*_wrong_links(file), *_missing_sources(topology)]:
        raise _errors(path, data, found)
    return topology


_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<empty>:?)[=-](?P<default>[^${}]*))?\}|(?P<bare>\w+))?"
)
"""Of the shell's forms that containerlab has, those that the lab knows."""


def _substituted(path: Path, text: str) -> str:
    """Put the environment's variables into a file, anywhere, as containerlab does."""

    def value(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["name"] or found["bare"]
        line = text.count("\n", 0, found.start()) + 1
        if not name:
            raise TopologyError(
                f"{path}:{line}: a dollar is written $$; the lab knows $NAME, ${{NAME}}, and "
                "${NAME:=DEFAULT} with :-, - or = in the place of :="
            )
        inherited = os.environ.get(name)
        if inherited is None or (not inherited and found["empty"]):
            inherited = found["default"]
        if inherited is None:
            raise TopologyError(f"{path}:{line}: there is no {name} in the environment")
        return inherited

    return _VARIABLE.sub(value, text)


_Found = tuple[tuple[int | str, ...], str]


def _wrong_links(file: _File) -> Iterable[_Found]:
    ends = Counter(text for link in file.topology.links for text in link.endpoints)
    for number, link in enumerate(file.topology.links):
        for position, end in enumerate(link.ends):
            where = ("topology", "links", number, "endpoints", position)
            if end.node not in file.topology.nodes:
                yield where, f"there is no node '{end.node}'"
            if ends[str(end)] > 1:
                yield where, f"{end} is the end of more than one link"


def _missing_sources(topology: Topology) -> Iterable[_Found]:
    for name in topology.nodes:
        for number, bind in enumerate(topology.binds(name)):
            if not bind.source.exists():
                where = ("topology", "nodes", name, "binds", number)
                yield where, f"{bind.source} does not exist"


def _message(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        return "the lab does not know this key of containerlab's"
    if detail["type"] == "literal_error":
        return f"the lab knows only {detail['ctx']['expected']}, not {detail['input']!r}"
    text: str = detail["msg"]
    return text.removeprefix("Value error, ")


def _errors(path: Path, data: object, found: Iterable[_Found]) -> TopologyError:
    lines = [
        f"{path}:{_line(data, where)}: {'.'.join(map(str, where)) or 'file'}: {text}"
        for where, text in found
    ]
    return TopologyError("\n".join(lines))


def _line(data: object, where: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of `where` that the file has."""
    line = 1
    for key in where:
        if isinstance(data, CommentedMap) and key in data:
            line = data.lc.key(key)[0] + 1
        elif isinstance(data, CommentedSeq) and isinstance(key, int) and key < len(data):
            line = data.lc.item(key)[0] + 1
        else:
            break
        data = data[key]
    return line
