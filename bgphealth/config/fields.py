"""The kinds of value that the file is made of, and what is said when one is wrong.

Each parser takes what YAML gave and returns the value, or raises WrongValueError, whose message
says what is wrong and what would be right. YAML's own types are kept apart: ``"65101"`` in quotes
is text, not a number. Nothing is ever resolved: a name where an address belongs is an error.
"""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Literal, TypeVar

from bgphealth.config.problems import shown
from bgphealth.core.communities import Community, LargeCommunity
from bgphealth.core.settings import Address, Family, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable


SAFE_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9._@-]*")
"""Names of interfaces that are one word to FRR, and neither an address nor a comment."""


class WrongValueError(ValueError):
    """A value of the file is wrong; the message is for the operator. Pydantic collects these."""


_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_Number = TypeVar("_Number", int, float)

_UNITS_S = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%")
_PORTED = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")

_LARGEST_16_BITS = 65535
LARGEST_PORT = 65535
LARGEST_ASN = 4294967295
RESERVED_ASNS = {
    0: "reserved (RFC 7607)",
    23456: "AS_TRANS, a placeholder (RFC 6793)",
    65535: "reserved (RFC 7300)",
    LARGEST_ASN: "reserved (RFC 7300)",
}
_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # RFC 1122, section 3.2.1.3: never a host.
SOCKET_PATH_BYTES = 103
"""What unix(7) has room for, less what the name that the socket is made with may be longer."""
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
IFNAME_BYTES = 15
"""IFNAMSIZ less its final NUL."""


def integer(lowest: int, highest: int) -> Callable[[object], int]:
    """Return a parser for whole numbers in a range."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            hint = " (remove the quotes)" if isinstance(value, str) and value.isdecimal() else ""
            raise WrongValueError(
                f"must be a whole number from {lowest} to {highest}, not {shown(value)}{hint}"
            )
        if not lowest <= value <= highest:
            raise WrongValueError(f"must be from {lowest} to {highest}, not {shown(value)}")
        return value

    return parse


def boolean(value: object) -> bool:
    """Parse true or false; YAML 1.2 has no yes and no."""
    if not isinstance(value, bool):
        raise WrongValueError(f"must be true or false, not {shown(value)}")
    return value


def or_word(parse: Callable[[object], int], *words: str) -> Callable[[object], int | str]:
    """Return a parser for some words, and for whatever else `parse` takes."""

    def parse_word(value: object) -> int | str:
        if isinstance(value, str) and value in words:
            return value
        try:
            return parse(value)
        except WrongValueError as error:
            other = str(error).removeprefix("must be ")
            raise WrongValueError(f"must be {', '.join(words)} or {other}") from None

    return parse_word


def choice(*here: str, later: tuple[str, ...] = ()) -> Callable[[object], str]:
    """Return a parser for one of several words, some of which only later versions know."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in here:
            return value
        known = " or ".join(filter(None, (", ".join(here[:-1]), here[-1])))
        if isinstance(value, str) and value in later:
            raise WrongValueError(
                f"{shown(value)} arrives in a later version; here it must be {known}"
            )
        raise WrongValueError(f"must be {known}, not {shown(value)}")

    return parse


def asn(value: object) -> int:
    """Parse an AS number in plain decimal (asplain, RFC 5396)."""
    if isinstance(value, float):
        raise WrongValueError(f"must be a whole number: write {shown(value)} as asplain (RFC 5396)")
    number = integer(1, LARGEST_ASN - 1)(value)
    if number in RESERVED_ASNS:
        raise WrongValueError(f"{number} is {RESERVED_ASNS[number]} and cannot be used")
    return number


def asn_or_external(value: object) -> int | None:
    """Parse an AS number, or ``external`` for any AS but our own (None)."""
    if value == "external":
        return None
    if isinstance(value, str):
        raise WrongValueError(f"must be an AS number or external, not {shown(value)}")
    return asn(value)


def duration(lowest_s: float, highest_s: float, span: str) -> Callable[[object], float]:
    """Return a parser for durations in a range, in seconds; `span` is the range in words."""

    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise WrongValueError(
                f"needs a unit: {shown(value)}ms, {shown(value)}s or {shown(value)}m"
            )
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise WrongValueError(f"must be a duration like 200ms, 2s or 30m, not {shown(value)}")
        seconds = float(Decimal(match[1]) * _UNITS_S[match[2]])
        if not lowest_s <= seconds <= highest_s:
            raise WrongValueError(f"must be {span}, not {shown(value)}")
        return seconds

    return parse


def whole_milliseconds(parse: Callable[[object], float]) -> Callable[[object], float]:
    """Return a parser for durations that are given to FRR, which counts in milliseconds."""

    def parse_whole(value: object) -> float:
        seconds = parse(value)
        if not Decimal(str(seconds)).scaleb(3) % 1 == 0:
            raise WrongValueError(f"must be whole milliseconds, not {shown(value)}")
        return seconds

    return parse_whole


def or_off(parse: Callable[[object], _Number]) -> Callable[[object], _Number | None]:
    """Return a parser that takes the word ``off`` as well (None)."""

    def parse_or_off(value: object) -> _Number | None:
        return None if value == "off" else parse(value)

    return parse_or_off


def percentage(value: object) -> float:
    """Parse ``10%`` into the ratio 0.1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise WrongValueError(f"needs a percent sign: 10%, not {shown(value)}")
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None or Decimal(match[1]) > 100:  # noqa: PLR2004
        raise WrongValueError(f"must be a percentage such as 10%, not {shown(value)}")
    return float(Decimal(match[1]) / 100)


def name(value: str) -> str:
    """Check the name of an uplink or a service; it becomes part of names in FRR."""
    if _NAME.fullmatch(value) is None:
        raise WrongValueError(
            "a name must begin with a letter a to z and go on with a to z, 0 to 9, _ or -, "
            "at most 31 characters"
        )
    return value


def reference(value: object) -> str:
    """Parse the name of an uplink or a service that is described elsewhere in the file."""
    if not isinstance(value, str):
        raise WrongValueError(f"must be a name, not {shown(value)}")
    return value


def boolean_or_reference(value: object) -> bool | str:
    """Parse true, false, or the name of something that is described elsewhere in the file."""
    if not isinstance(value, bool | str):
        raise WrongValueError(f"must be true, false or a name, not {shown(value)}")
    return value


def community(value: object) -> Community:
    """Parse a community of one's own: two numbers (RFC 1997), and not a well-known one."""
    parts = _parts(
        value, 2, _LARGEST_16_BITS, "a community such as 65000:100, two numbers up to 65535"
    )
    if parts[0] in (0, _LARGEST_16_BITS):
        raise WrongValueError(
            f"{shown(value)} is reserved or well-known (RFC 1997): bgpd and the ToRs would obey it"
        )
    return Community(*parts)


def large_community(value: object) -> LargeCommunity:
    """Parse a large community: three numbers (RFC 8092)."""
    return LargeCommunity(
        *_parts(value, 3, LARGEST_ASN, "a large community such as 4200000101:1:2, three numbers")
    )


def _parts(value: object, count: int, largest: int, what: str) -> list[int]:
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != count or not all(re.fullmatch("[0-9]{1,10}", part) for part in parts):
        raise WrongValueError(f"must be {what}, not {shown(value)}")
    numbers = [int(part) for part in parts]
    if max(numbers) > largest:
        raise WrongValueError(f"must be {what}; {max(numbers)} does not fit")
    return numbers


def interface(value: object) -> str:
    """Parse the name of a network interface by the kernel's rules (dev_valid_name)."""
    if not isinstance(value, str):
        raise WrongValueError(f"must be the name of an interface, not {shown(value)}")
    if not 1 <= len(value.encode()) <= IFNAME_BYTES:
        raise WrongValueError(f"{shown(value)}: an interface's name has 1 to {IFNAME_BYTES} bytes")
    if value in {".", ".."} or any(c in "/:" or c.isspace() or not c.isprintable() for c in value):
        raise WrongValueError(f"{shown(value)} cannot be an interface's name (no /, : or spaces)")
    return value


def absolute_path(value: object) -> str:
    """Parse the absolute path of a file."""
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/"):
        raise WrongValueError(
            f"must be the absolute path of a file such as /etc/bgphealth/tor1.password, "
            f"not {shown(value)}"
        )
    return value


def socket_path(value: object) -> str:
    """Parse the absolute path of a unix socket."""
    if not isinstance(value, str) or not value.startswith("/") or value.endswith("/"):
        raise WrongValueError(
            "must be the absolute path of a socket such as /run/bgphealth/control.sock, "
            f"not {shown(value)}"
        )
    if len(value.encode()) > SOCKET_PATH_BYTES:
        raise WrongValueError(f"is too long: a socket's path has at most {SOCKET_PATH_BYTES} bytes")
    return value


def group(value: object) -> str:
    """Parse the name of a group of users; whether there is one is not known here."""
    if not isinstance(value, str) or not _GROUP.fullmatch(value):
        raise WrongValueError(f"must be the name of a group such as netops, not {shown(value)}")
    return value


def address(value: object) -> Address:
    """Parse an IP address. No zone (``%eth0``), no IPv4 inside IPv6, no name."""
    if not isinstance(value, str):
        raise WrongValueError(f"must be an IP address, not {shown(value)}")
    if "%" in value:
        raise WrongValueError(f"{shown(value)}: an address with a zone cannot be used here")
    try:
        parsed = ip_address(value)
    except ValueError:
        hint = ", without a prefix length" if "/" in value else ""
        raise WrongValueError(f"must be an IP address{hint}, not {shown(value)}") from None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        raise WrongValueError(f"{value} is an IPv4 address inside IPv6: write {parsed.ipv4_mapped}")
    return parsed


def host_address(value: object) -> Address:
    """Parse an address that one host can have and others can reach."""
    parsed = address(value)
    for flaw, word in (
        (parsed.is_unspecified, "the unspecified address"),
        (parsed.is_multicast, "a multicast address"),
        (parsed.is_loopback, "inside this host (loopback)"),
        (parsed.is_link_local, "a link-local address"),
        (parsed == IPv4Address("255.255.255.255"), "the broadcast address"),
        (parsed in _THIS_NETWORK, f"in {_THIS_NETWORK}"),
    ):
        if flaw:
            raise WrongValueError(f"{value} is {word} and cannot be used here")
    return parsed


def address_or_link(value: object) -> Address | None:
    """Parse a host address, or ``link`` for the one that a link has itself (None)."""
    if value == "link":
        return None
    try:
        return host_address(value)
    except WrongValueError as error:
        raise WrongValueError(
            str(error).replace("must be an IP address", "must be link or an IP address")
        ) from None


def of_family(family: Family) -> Callable[[object], Address]:
    """Return a parser for host addresses of one family."""

    def parse(value: object) -> Address:
        parsed = host_address(value)
        if Family.of(parsed) is not family:
            raise WrongValueError(f"must be an {label(family)} address; {parsed} is not")
        return parsed

    return parse


def router_id(value: object) -> IPv4Address:
    """Parse a BGP identifier: four octets written as an IPv4 address, not zero (RFC 6286)."""
    try:
        parsed = address(value)
    except ValueError:
        raise WrongValueError(
            f"must be four octets written as an IPv4 address, not {shown(value)}"
        ) from None
    if not isinstance(parsed, IPv4Address) or int(parsed) == 0:
        raise WrongValueError(f"must be a non-zero IPv4 address (RFC 6286), not {parsed}")
    return parsed


def injector(value: object) -> IPv4Address:
    """Parse the address that ExaBGP speaks from: in 127/8, but not the one that bgpd answers on."""
    parsed = address(value)
    inside = IPv4Network("127.0.0.0/8")
    if not isinstance(parsed, IPv4Address) or parsed not in inside:
        raise WrongValueError(f"must be an address in {inside} such as 127.0.0.2, not {parsed}")
    if parsed in {IPv4Address("127.0.0.1"), inside.network_address, inside.broadcast_address}:
        raise WrongValueError(f"{parsed} cannot be used: bgpd needs a neighbor that is not itself")
    return parsed


def prefix(value: object) -> Prefix:
    """Parse a prefix that a service can have."""
    return _prefix(value, "a service cannot announce that")


def destinations(value: object) -> Prefix:
    """Parse a prefix that leads somewhere else."""
    return _prefix(value, "its source is host.source, or fallback.source")


def _prefix(value: object, of_default: str) -> Prefix:
    if not isinstance(value, str):
        raise WrongValueError(f"must be a prefix such as 192.0.2.53/32, not {shown(value)}")
    host, slash, length = value.partition("/")
    at = address(host)
    if not slash:
        raise WrongValueError(
            f"needs a prefix length: {at}/{at.max_prefixlen} for that one address"
        )
    if re.fullmatch("[0-9]{1,3}", length) is None or int(length) > at.max_prefixlen:
        raise WrongValueError(
            f"{shown(value)}: the prefix length must be a number from 1 to {at.max_prefixlen}"
        )
    network: IPv4Network | IPv6Network = ip_network((at, int(length)), strict=False)
    if network.prefixlen == 0:
        raise WrongValueError(f"{value} is the default route; {of_default}")
    if network.network_address != at:
        raise WrongValueError(
            f"{value} has host bits set: write {network} for the network, "
            f"or {at}/{at.max_prefixlen} for the one address"
        )
    try:
        host_address(str(at))
    except ValueError as error:
        raise WrongValueError(str(error).replace(str(at), str(network), 1)) from None
    return network


def ported_address(text: str, parse: Callable[[str], Address] | None = None) -> tuple[Address, int]:
    """Parse an address and a port; an address to ask, unless `parse` takes others."""
    match = _PORTED.fullmatch(text)
    if match is None:
        try:
            bare = address(text)
        except ValueError:
            raise WrongValueError(
                f'must be an address and a port, "198.51.100.2:443" or "[2001:db8::1]:443", '
                f"not {shown(text)}"
            ) from None
        inside = f"[{bare}]" if isinstance(bare, IPv6Address) else str(bare)
        raise WrongValueError(f'needs a port: "{inside}:443"')
    port = int(match["port"])
    if not 1 <= port <= LARGEST_PORT:
        raise WrongValueError(f"the port must be from 1 to {LARGEST_PORT}, not {port}")
    parsed = (parse or target_address)(match["v6"] if match["v4"] is None else match["v4"])
    if isinstance(parsed, IPv6Address) is not (match["v4"] is None):
        raise WrongValueError(f"{shown(text)}: brackets are for IPv6 addresses")
    return parsed, port


def target_address(text: str) -> Address:
    """Parse an address to ask."""
    try:
        parsed = address(text)
    except ValueError:
        raise WrongValueError(
            f"the target must be an IP address, not {shown(text)}: "
            "names are never resolved on the probe path"
        ) from None
    if parsed.is_unspecified or parsed.is_multicast:
        raise WrongValueError(f"{parsed} is not one host and cannot be probed")
    return parsed


def label(family: Family) -> Literal["IPv4", "IPv6"]:
    """Return the name of a family as people write it."""
    return "IPv4" if family is Family.IPV4 else "IPv6"
