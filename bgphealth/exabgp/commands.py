"""Encode changes as lines of ExaBGP's process API, understood by ExaBGP 4.2 and 5.0 alike.

Everything in a line is made from numbers and addresses that the `ipaddress` module printed, never
from text: a community by name (``graceful-shutdown``) makes ExaBGP run its ``shutdown`` command,
and a line break would begin a second command. `encode` refuses to return anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from bgphealth.core.intents import Announcement, Community, LargeCommunity, RouteKey
from bgphealth.core.reconcile import Announce, Change
from bgphealth.core.settings import Family

BATCH = 100
"""Routes in one command. Larger batches are no faster, in ExaBGP 4.2 and 5.0 alike: 1,000 routes
take it 0.65 s one by one, 0.32 s by 25 as by 1,000; and it does nothing else during a command."""

PING = "version"
"""Answered at once with ``exabgp X.Y.Z``, before commands that still wait for their replies."""

_MAX_16_BITS = 0xFFFF
_MAX_32_BITS = 0xFFFFFFFF
_MOST_ASNS = 255
"""In one segment of an AS path (RFC 4271, section 4.3)."""

_PREFIX = r"[0-9a-f.:]+/\d+"
_ADDRESS = r"([0-9a-f.:]+|self)"
_LINE = re.compile(
    rf"(neighbor [0-9a-f.:]+ )?(announce|withdraw)"
    rf"( route {_PREFIX}| attributes(?=.* nlri ))"
    rf"( next-hop {_ADDRESS})?"
    r"( path-information [0-9.]+)?"
    r"( local-preference \d+)?"
    r"( med \d+)?"
    r"( as-path \[ \d+( \d+)* \])?"
    r"( community \[\d+:\d+( \d+:\d+)*\])?"
    r"( large-community \[\d+:\d+:\d+( \d+:\d+:\d+)*\])?"
    rf"( nlri {_PREFIX}( {_PREFIX})*)?"
)


class Command(NamedTuple):
    """One line, without its line break, and the changes that it makes."""

    line: str
    changes: tuple[Change, ...]


def commands(changes: Iterable[Change]) -> Iterator[Command]:
    """Return the commands that make these changes, routes with the same attributes in batches.

    Announcements and withdrawals stay in the order that they are given in, but for routes that
    share a command with an earlier one.
    """
    batches: dict[object, list[Change]] = {}
    for change in changes:
        batches.setdefault(_shared(change), []).append(change)
    for batch in batches.values():
        for first in range(0, len(batch), BATCH):
            part = tuple(batch[first : first + BATCH])
            yield Command(encode(*part), part)


def encode(*changes: Change) -> str:
    """Return the one line, without its line break, that makes these changes.

    Several changes must differ in nothing but the prefix; `commands` sees to it.

    Raises:
        ValueError: a number does not fit its field, or the line would not be made of numbers, or
            the changes have different attributes.
    """
    if len({_shared(change) for change in changes}) != 1:
        raise ValueError(f"not one batch: {changes}")
    key = changes[0].key
    words = [] if key.neighbor is None else ["neighbor", str(key.neighbor)]
    words += ["announce" if isinstance(changes[0], Announce) else "withdraw"]
    if len(changes) == 1:
        words += ["route", str(key.prefix), *_attributes(changes[0])]
    else:
        # Without a next hop, ExaBGP 4.2 resets the session when a batch is withdrawn.
        words += ["attributes", *(_attributes(changes[0]) or _any_next_hop(key))]
        words += ["nlri", *(str(change.key.prefix) for change in changes)]
    line = " ".join(words)
    if not _LINE.fullmatch(line):
        raise ValueError(f"not a line for ExaBGP: {line!r}")
    return line


def _shared(change: Change) -> object:
    """Return what changes must have in common to share a command."""
    key = change.key
    if key.path_id:
        return change  # Few, and each has a next hop of its own.
    attributes: tuple[object, ...] = ()
    if isinstance(change, Announce):
        route = change.announcement
        attributes = (route.next_hop, route.local_pref, route.communities)
        attributes += (route.large_communities, route.med, route.as_path)
    return type(change), key.neighbor, key.prefix.version, *attributes


def _attributes(change: Change) -> list[str]:
    if not isinstance(change, Announce):
        return _path_information(change.key)
    announcement: Announcement = change.announcement
    words = ["next-hop", str(announcement.next_hop or "self")]
    words += _path_information(announcement.key)
    if announcement.local_pref is not None:
        words += ["local-preference", str(_fits(announcement.local_pref, _MAX_32_BITS))]
    if announcement.med is not None:
        words += ["med", str(_fits(announcement.med, _MAX_32_BITS))]
    if announcement.as_path:
        _fits(len(announcement.as_path), _MOST_ASNS)
        asns = (str(_fits(asn, _MAX_32_BITS)) for asn in announcement.as_path)
        words += ["as-path", "[", *asns, "]"]
    if announcement.communities:
        communities = " ".join(_community(c) for c in announcement.communities)
        words += ["community", f"[{communities}]"]
    if announcement.large_communities:
        large = " ".join(_large_community(c) for c in announcement.large_communities)
        words += ["large-community", f"[{large}]"]
    return words


def _any_next_hop(key: RouteKey) -> list[str]:
    return ["next-hop", str(Family.of(key.prefix).default_prefix.network_address)]


def _path_information(key: RouteKey) -> list[str]:
    """Return the path identifier (RFC 7911) in the dotted form that both versions take."""
    if not key.path_id:
        return []
    return ["path-information", str(IPv4Address(_fits(key.path_id, _MAX_32_BITS)))]


def _community(community: Community) -> str:
    return f"{_fits(community.asn, _MAX_16_BITS)}:{_fits(community.value, _MAX_16_BITS)}"


def _large_community(community: LargeCommunity) -> str:
    return ":".join(str(_fits(part, _MAX_32_BITS)) for part in community)


def _fits(number: int, maximum: int) -> int:
    if not 0 <= number <= maximum:
        raise ValueError(f"{number} does not fit: 0 to {maximum}")
    return number
