"""exabgp.conf, as far as it says who speaks BGP with whom and which processes are run.

Read by the rules of ExaBGP's own tokeniser (configuration/core/format.py, the same in 4.2 and 5.0):
words and quoted words, ``;``, ``{`` and ``}``, comments, escapes, lines that end in a backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from bgphealth.config.problems import InvalidFileError, Problem, shown
from bgphealth.imports.draft import Address, Peer, Speaker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.imports.draft import Input

_LOOKS_LIKE_IT = re.compile(r"^\s*(?:neighbor|process|template|group)\b[^=;]*\{", re.MULTILINE)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BREAKS = frozenset(";{},[] \t\r\n#")
_GTSM_TTL = "255"
_ANNOUNCING = ("static", "announce", "flow", "l2vpn")


class Process(NamedTuple):
    """A program that ExaBGP runs."""

    name: str
    line: int
    words: tuple[str, ...]


class Configuration(NamedTuple):
    """What is in the file. `neighbors_of` has those whose `api` names a process."""

    speaker: Speaker
    processes: tuple[Process, ...]
    neighbors_of: dict[str, frozenset[Address]]


@dataclass(slots=True)
class _Section:
    """``words { … }``: the statements inside, and the sections inside."""

    words: tuple[str, ...]
    line: int
    statements: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    sections: list[_Section] = field(default_factory=list)

    def last(self, key: str) -> str | None:
        """Return the value of the last statement of that name."""
        for _, words in reversed(self.statements):
            if words[0] == key:
                return words[1] if len(words) > 1 else ""
        return None

    def walk(self) -> Iterator[_Section]:
        """Yield every section inside, outer ones first."""
        for section in self.sections:
            yield section
            yield from section.walk()


def is_exabgp_conf(text: str) -> bool:
    """Tell exabgp.conf from a file of options."""
    return _LOOKS_LIKE_IT.search(text) is not None


def read(file: Input) -> Configuration:
    """Read exabgp.conf.

    Raises:
        InvalidFileError: It is not one, or says what one file of ours cannot.
    """
    top = _Parser(file).sections()
    everything = list(top.walk())
    templates = {
        each.words[1]: each
        for outer in everything
        if outer.words[:1] == ("template",)
        for each in outer.sections
        if each.words[:1] == ("neighbor",) and len(each.words) > 1
    }
    neighbors = [each for each in top.sections if each.words[:1] == ("neighbor",)]
    for each in neighbors:
        _inherit(each, templates)
    peers = tuple(_peer(file, each) for each in neighbors)
    found = tuple(_processes(file, everything))
    return Configuration(
        Speaker(
            _asn(file, neighbors),
            _router_id(file, neighbors, peers),
            peers,
            tuple(_static(file, neighbors)),
        ),
        found,
        {each.name: _listing(each.name, neighbors, peers) for each in found},
    )


def processes(file: Input) -> list[Process]:
    """Return the processes alone.

    Raises:
        InvalidFileError: It is no exabgp.conf.
    """
    return list(_processes(file, list(_Parser(file).sections().walk())))


# ---- words and sections --------------------------------------------------------------------------


class _Parser:
    def __init__(self, file: Input) -> None:
        self._file = file

    def sections(self) -> _Section:
        """Return the whole file as one section without a name."""
        open_ones = [_Section((), 1)]
        for line, words, end in self._statements():
            match end:
                case "{":
                    section = _Section(words, line)
                    open_ones[-1].sections.append(section)
                    open_ones.append(section)
                case "}":
                    # ExaBGP lets one too many pass: an example of its own has it.
                    open_ones = open_ones[: max(1, len(open_ones) - 1)]
                case _ if words:
                    open_ones[-1].statements.append((line, words))
        if len(open_ones) > 1:
            section = open_ones[-1]
            raise _invalid(
                self._file, section.line, f"{' '.join(section.words)}: there is no }} for this {{"
            )
        return open_ones[0]

    def _statements(self) -> Iterator[tuple[int, tuple[str, ...], str]]:
        """Yield the line, the words and the end of each statement."""
        for line, text in self._lines():
            begun: list[str] = []
            for word in self._words(line, text):
                if word in _ENDS:
                    yield line, tuple(begun), word.text
                    begun = []
                else:
                    begun.append(word.text)
            if begun:
                message = f"{shown(' '.join(begun))} does not end in ; or {{ on its line"
                raise _invalid(self._file, line, message)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield lines, those that end in a backslash with what follows them."""
        begun, first = "", 1
        for number, text in enumerate(self._file.text.split("\n"), 1):
            stripped = text.rstrip()
            first = first if begun else number
            if stripped.endswith("\\"):
                begun += stripped
                continue
            yield first, begun + stripped
            begun = ""
        if begun:
            yield first, begun

    def _words(self, line: int, text: str) -> Iterator[_Word]:
        """Yield words; a quote of the other kind inside quotes does not count, it takes over."""
        word, quote = "", ""
        for character in self._unescaped(line, text):
            if character == quote:
                yield _Word(word, is_quoted=True)
                word, quote = "", ""
            elif character in "'\"":
                quote = character
            elif quote or character not in _BREAKS:
                word += character
            else:
                if word:
                    yield _Word(word)
                    word = ""
                if character == "#":
                    return
                if not character.isspace():
                    yield _Word(character)
        if quote:
            message = f"there is no second {quote} on this line; ExaBGP has no quotes inside quotes"
            raise _invalid(self._file, line, message)
        if word:
            yield _Word(word)

    def _unescaped(self, line: int, text: str) -> Iterator[str]:
        characters = iter(text)
        for character in characters:
            if character != "\\":
                yield character
                continue
            escaped = next(characters, "")
            if escaped == "u":
                digits = "".join(next(characters, "") for _ in range(4))
                if re.fullmatch("[0-9A-Fa-f]{4}", digits) is None:
                    raise _invalid(self._file, line, f"\\u{digits} is no character")
                yield chr(int(digits, 16))
            else:
                yield _ESCAPES.get(escaped, escaped)


class _Word(NamedTuple):
    text: str
    is_quoted: bool = False


_LIST = {"[", "]", ","}
_ENDS = {_Word(";"), _Word("{"), _Word("}")}


# ---- neighbors -----------------------------------------------------------------------------------


def _inherit(neighbor: _Section, templates: dict[str, _Section]) -> None:
    """Put what templates say before what the neighbor says itself, so that that is the last."""
    for _, words in list(neighbor.statements):
        if words[0] != "inherit":
            continue
        for name in words[1:]:
            if name in templates:
                neighbor.statements[:0] = templates[name].statements
                neighbor.sections[:0] = templates[name].sections


def _peer(file: Input, neighbor: _Section) -> Peer:
    address = _address(file, neighbor.line, neighbor.words[1] if len(neighbor.words) > 1 else "")
    local = neighbor.last("local-address")
    asn = neighbor.last("peer-as")
    return Peer(
        at=f"{file.name}:{neighbor.line}",
        address=address,
        asn=None if asn in (None, "auto") else _number(file, neighbor, "peer-as"),
        local_address=None if local in (None, "auto") else _address(file, neighbor.line, local),
        interface=neighbor.last("source-interface"),
        description=neighbor.last("description") or "",
        has_password=neighbor.last("md5-password") is not None,
        ttl_security=neighbor.last("incoming-ttl") == _GTSM_TTL,
    )


def _asn(file: Input, neighbors: list[_Section]) -> int | None:
    """Return the AS number of the host, which is the same for all."""
    first: tuple[int, int] | None = None
    for neighbor in neighbors:
        if neighbor.last("local-as") in (None, "auto"):
            continue
        asn = _number(file, neighbor, "local-as")
        if first is not None and first[0] != asn:
            raise _invalid(
                file,
                neighbor.line,
                f"local-as {asn} here, {first[0]} on line {first[1]}: a file of bgphealth is for "
                "one AS; import a file for each, with its own neighbors and processes",
            )
        first = first or (asn, neighbor.line)
    return first[0] if first else None


def _router_id(
    file: Input, neighbors: list[_Section], peers: tuple[Peer, ...]
) -> IPv4Address | None:
    """Return the router id; without one ExaBGP takes an IPv4 session's local address."""
    for neighbor in neighbors:
        if (given := neighbor.last("router-id")) is not None:
            address = _address(file, neighbor.line, given)
            if isinstance(address, IPv4Address):
                return address
    return next((a for peer in peers if isinstance(a := peer.local_address, IPv4Address)), None)


def _static(file: Input, neighbors: list[_Section]) -> Iterator[str]:
    for neighbor in neighbors:
        for section in neighbor.walk():
            if section.words[:1] and section.words[0] in _ANNOUNCING:
                for line, words in section.statements:
                    yield f"{file.name}:{line}: {' '.join(words)}"
                for inner in section.sections:
                    yield f"{file.name}:{inner.line}: {' '.join(inner.words)} {{ … }}"


def _listing(
    process: str, neighbors: list[_Section], peers: tuple[Peer, ...]
) -> frozenset[Address]:
    """Return the neighbors whose `api` names a process: what it says goes to no other."""
    found = set()
    for neighbor, peer in zip(neighbors, peers, strict=True):
        for section in neighbor.sections:
            for _, words in section.statements if section.words[:1] == ("api",) else ():
                names = [word for word in words[1:] if word not in _LIST]
                by_name = words[0] == "processes" and process in names
                by_match = words[0] == "processes-match" and any(
                    _matches(n, process) for n in names
                )
                if by_name or by_match:
                    found.add(peer.address)
    return frozenset(found)


def _matches(expression: str, process: str) -> bool:
    try:
        return re.match(expression, process) is not None
    except re.error:
        return False


def _processes(file: Input, sections: list[_Section]) -> Iterator[Process]:
    for section in sections:
        if section.words[:1] != ("process",):
            continue
        name = section.words[1] if len(section.words) > 1 else ""
        runs = [(line, words) for line, words in section.statements if words[0] == "run"]
        if not runs:
            raise _invalid(file, section.line, f"process {name}: has no run")
        line, words = runs[-1]
        yield Process(name, line, words[1:])


# ---- values --------------------------------------------------------------------------------------


def _number(file: Input, neighbor: _Section, key: str) -> int:
    """Return an AS number: plain, or as two halves (RFC 5396)."""
    text = neighbor.last(key) or ""
    match = re.fullmatch(r"(?:([0-9]{1,5})\.)?([0-9]{1,10})", text)
    if match is None:
        line = next(line for line, words in neighbor.statements if words[0] == key)
        raise _invalid(file, line, f"{key} must be a number, not {shown(text)}")
    return (int(match[1] or 0) << 16) + int(match[2])


def _address(file: Input, line: int, text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise _invalid(file, line, f"must be an IP address, not {shown(text)}") from None


def _invalid(file: Input, line: int, message: str) -> InvalidFileError:
    return InvalidFileError([Problem(file.name, line, "", message)])
