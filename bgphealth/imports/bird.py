"""bird.conf of BIRD 1 and 2, as far as it says who speaks BGP with whom."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from bgphealth.config.problems import InvalidFileError, Problem, shown
from bgphealth.imports.draft import Peer, Speaker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bgphealth.imports.draft import Address, Input

_REMARK = re.compile(r"/\*.*?\*/|#[^\n]*", re.DOTALL)
_DEFINE = re.compile(r"^\s*define\s+(\w+)\s*=\s*([^;\s\[{]+)\s*;", re.MULTILINE)
_ROUTER_ID = re.compile(r"^\s*router\s+id\s+([^\s;]+)\s*;", re.MULTILINE)
_BLOCK = re.compile(r"^\s*(protocol|template)\s+bgp\b([^{;]*)\{", re.MULTILINE)
_LOCAL = re.compile(
    r"(?:^|[;{\n])\s*local(?:\s+(?!as\b|port\b|role\b)(\S+))?[^;]*?\s+as\s+([^\s;]+)"
)
_NEIGHBOR = re.compile(
    r"(?:^|[;{\n])\s*neighbor\s+([^\s;%]+)(?:\s*%\s*['\"]?([^\s;'\"]+))?"
    r"(?:\s+port\s+\S+)?(?:\s+as\s+([^\s;]+)|\s+(?:internal|external))?"
)
_SOURCE = re.compile(r"(?:^|[;{\n])\s*source\s+address\s+([^\s;]+)")
_INTERFACE = re.compile(r"(?:^|[;{\n])\s*interface\s+\"([^\"*]+)\"")
_PASSWORD = re.compile(r"(?:^|[;{\n])\s*password\b")
_TTL_SECURITY = re.compile(r"(?:^|[;{\n])\s*ttl\s+security\s+(?:on|yes|true|1|tx)\b")


class _Block(NamedTuple):
    """``protocol bgp`` or ``template bgp``: its text, with that of its templates before it."""

    name: str
    line: int
    text: str


def read(files: Sequence[Input]) -> Speaker:
    """Return the host as a BGP speaker, from BIRD's files; what they include must be among them.

    Raises:
        InvalidFileError: An address or an AS number in them is none, or there are several of ours.
    """
    asns: list[tuple[int, str]] = []
    router_id: IPv4Address | None = None
    peers: list[Peer] = []
    texts = [_REMARK.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), f.text) for f in files]
    defined = {name: value for text in texts for name, value in _DEFINE.findall(text)}
    templates: dict[str, str] = {}
    for file, text in zip(files, texts, strict=True):
        for found in _ROUTER_ID.finditer(text):
            given = _address(file, _line(text, found.start(1)), found[1], defined)
            router_id = given if isinstance(given, IPv4Address) else router_id
        for block in _blocks(file, text, templates):
            local = _last(_LOCAL, block.text)
            if local is not None:
                asns.append((_number(file, block.line, local[2], defined), file.name))
            if (neighbor := _last(_NEIGHBOR, block.text)) is not None:
                peers.append(_peer(file, block, neighbor, defined))
    if len({asn for asn, _ in asns}) > 1:
        said = ", ".join(sorted({str(asn) for asn, _ in asns}))
        message = f"local as {said}: a file of bgphealth is for one AS; import what belongs to one"
        raise InvalidFileError([Problem(asns[-1][1], 1, "", message)])
    return Speaker(asns[0][0] if asns else None, router_id, tuple(peers))


def _blocks(file: Input, text: str, templates: dict[str, str]) -> Iterator[_Block]:
    """Yield the protocols; keep the templates, which BIRD has before what is made from them."""
    for found in _BLOCK.finditer(text):
        line = _line(text, found.start(1))
        name, _, base = (word.strip() for word in f"{found[2]} ".partition(" from "))
        end = _end(text, found.end())
        if end is None:
            raise InvalidFileError([Problem(file.name, line, "", "there is no } for this {")])
        inside = f"{templates.get(base, '')}\n{text[found.end() : end]}"
        if found[1] == "template":
            templates[name] = inside
        else:
            yield _Block(name, line, inside)


def _end(text: str, start: int) -> int | None:
    """Return where the } is that closes what is open at `start`."""
    depth = 1
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return start + found.start()
    return None


def _peer(file: Input, block: _Block, neighbor: re.Match[str], defined: Mapping[str, str]) -> Peer:
    local, source = _last(_LOCAL, block.text), _last(_SOURCE, block.text)
    own = source[1] if source else local[1] if local else None
    interface = _last(_INTERFACE, block.text)
    return Peer(
        at=f"{file.name}:{block.line}",
        address=_address(file, block.line, neighbor[1], defined),
        asn=_number(file, block.line, neighbor[3], defined) if neighbor[3] else None,
        local_address=_address(file, block.line, own, defined) if own else None,
        interface=neighbor[2] or (interface[1] if interface else None),
        description=block.name,
        has_password=_PASSWORD.search(block.text) is not None,
        ttl_security=_TTL_SECURITY.search(block.text) is not None,
    )


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(reversed(list(pattern.finditer(text))), None)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _number(file: Input, line: int, text: str, defined: Mapping[str, str]) -> int:
    value = defined.get(text, text)
    if re.fullmatch("[0-9]{1,10}", value) is None:
        message = f"must be an AS number, not {shown(value)}"
        raise InvalidFileError([Problem(file.name, line, "", message)])
    return int(value)


def _address(file: Input, line: int, text: str, defined: Mapping[str, str]) -> Address:
    value = defined.get(text, text)
    try:
        return ip_address(value)
    except ValueError:
        message = f"must be an IP address, not {shown(value)}"
        raise InvalidFileError([Problem(file.name, line, "", message)]) from None
