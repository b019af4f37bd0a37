"""Encode changes as lines of ExaBGP's process API, understood by ExaBGP 4.2 and 5.0 alike.

Everything in a line is made from numbers and addresses that the `ipaddress` module printed, never
from text: a community by name (``graceful-shutdown``) makes ExaBGP run its ``shutdown`` command,
and a line break would begin a second command. `encode` refuses to return anything else.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from bgphealth.core.intents import Announcement, Community, RouteKey
from bgphealth.core.reconcile import Announce, Change

_MAX_16_BITS = 0xFFFF
_MAX_32_BITS = 0xFFFFFFFF

_LINE = re.compile(
    r"(announce|withdraw) route [0-9a-f.:]+/\d+"
    r"( next-hop [0-9a-f.:]+)?"
    r"( path-information [0-9.]+)?"
    r"( local-preference \d+)?"
    r"( community \[\d+:\d+( \d+:\d+)*\])?"
)


def encode(change: Change) -> str:
    """Return the one line, without its line break, that makes this change.

    Raises:
        ValueError: a number does not fit its field, or the line would not be made of numbers.
    """
    words = (
        _announce(change.announcement) if isinstance(change, Announce) else _withdraw(change.key)
    )
    line = " ".join(words)
    if not _LINE.fullmatch(line):
        raise ValueError(f"not a line for ExaBGP: {line!r}")
    return line


def _announce(announcement: Announcement) -> list[str]:
    key = announcement.key
    words = ["announce", "route", str(key.prefix), "next-hop", str(announcement.next_hop)]
    words += _path_information(key)
    words += ["local-preference", str(_fits(announcement.local_pref, _MAX_32_BITS))]
    if announcement.communities:
        communities = " ".join(_community(c) for c in announcement.communities)
        words += ["community", f"[{communities}]"]
    return words


def _withdraw(key: RouteKey) -> list[str]:
    return ["withdraw", "route", str(key.prefix), *_path_information(key)]


def _path_information(key: RouteKey) -> list[str]:
    """Return the path identifier (RFC 7911) in the dotted form that both versions take."""
    if not key.path_id:
        return []
    return ["path-information", str(IPv4Address(_fits(key.path_id, _MAX_32_BITS)))]


def _community(community: Community) -> str:
    return f"{_fits(community.asn, _MAX_16_BITS)}:{_fits(community.value, _MAX_16_BITS)}"


def _fits(number: int, maximum: int) -> int:
    if not 0 <= number <= maximum:
        raise ValueError(f"{number} does not fit: 0 to {maximum}")
    return number
