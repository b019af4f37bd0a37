"""FRR's running configuration against the rendered one: findings by what a line is for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.frr.changes import detaching, in_use, is_superfluous, route_maps
from bgphealth.frr.configuration import Line, missing, negated, used

MOST_LINES = 20
"""Entered one by one at most; when more is missing, the file as a whole is read again."""

_SHOWN = 4


NOT_RENDERED = Kind(
    "frr_not_rendered",
    Severity.ERROR,
    "FRR runs with another configuration than the rendered one",
    "what bgphealth announces is steered by the rendered configuration, and by nothing else",
)
UPDATE_SOURCE = Kind(
    "frr_update_source",
    Severity.ERROR,
    "ExaBGP's session in bgpd is without `update-source lo`",
    "zebra does not tell bgpd about 127/8 addresses: without the interface as its source bgpd "
    "resets every connection of ExaBGP",
)
GRACEFUL_RESTART = Kind(
    "frr_graceful_restart",
    Severity.WARNING,
    "bgpd would do graceful restart with ExaBGP",
    "with graceful restart bgpd keeps what a dead ExaBGP announced, and drops it at the End-of-RIB "
    "of the next one, before that has announced anything",
)
DISCARD_NEXT_HOP = Kind(
    "frr_discard_next_hop",
    Severity.ERROR,
    "the next hop that services are announced with is no route of FRR",
    "bgpd uses no path with a next hop that it cannot resolve, and sends none to a ToR",
)
MAXIMUM_PATHS = Kind(
    "frr_maximum_paths",
    Severity.ERROR,
    "bgpd takes fewer paths than there are uplinks",
    "each uplink has a path of its own; those that are too many get no traffic",
)
SERVICE_IN_KERNEL = Kind(
    "frr_service_in_kernel",
    Severity.ERROR,
    "zebra's route-map does not keep service prefixes out of the kernel",
    "a service lives on this host: its prefix must not become a route to the discard next hop",
)
SET_SRC = Kind(
    "frr_set_src",
    Severity.ERROR,
    "zebra's route-map does not give the defaults their source",
    "without it traffic leaves with the address of a link, and dies with that link",
)
PREFIX_LIST = Kind(
    "frr_prefix_list",
    Severity.ERROR,
    "a prefix-list names other prefixes than the file",
    "FRR passes on what these lists name and nothing else: what is missing is announced in vain",
)
FILTER = Kind(
    "frr_filter",
    Severity.ERROR,
    "a session is without its route-map",
    "it takes or passes on everything: this host could become transit between the ToRs",
)
NO_ROUTE_MAP = Kind(
    "frr_no_route_map",
    Severity.ERROR,
    "something uses a route-map of bgphealth that does not exist",
    "to FRR that denies everything: a session takes or passes on nothing at all",
)
NEXTHOP_GROUP = Kind(
    "frr_nexthop_group",
    Severity.WARNING,
    "zebra keeps unused groups of next hops",
    "after a link flap FRR 8.4 uses an emptied group again, and a leg of the default never comes "
    "back",
)
CONFIGURATION = Kind(
    "frr_configuration",
    Severity.WARNING,
    "the running configuration differs from the rendered one in something else",
    "what bgphealth announces is steered by the rendered configuration, and by nothing else",
)

KINDS = (
    NOT_RENDERED,
    UPDATE_SOURCE,
    GRACEFUL_RESTART,
    DISCARD_NEXT_HOP,
    MAXIMUM_PATHS,
    SERVICE_IN_KERNEL,
    SET_SRC,
    PREFIX_LIST,
    FILTER,
    NO_ROUTE_MAP,
    NEXTHOP_GROUP,
    CONFIGURATION,
)

_WHAT_FOR = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r".*: neighbor \S+ update-source lo$", UPDATE_SOURCE),
        (r".*: neighbor \S+ graceful-restart-disable$", GRACEFUL_RESTART),
        (r"(ip|ipv6) route \S+ blackhole$", DISCARD_NEXT_HOP),
        (r".*: maximum-paths ", MAXIMUM_PATHS),
        (r"route-map bgphealth-zebra-\S+ deny ", SERVICE_IN_KERNEL),
        (r"route-map bgphealth-zebra-|(ip|ipv6) protocol bgp ", SET_SRC),
        (r"(ip|ipv6) prefix-list bgphealth-", PREFIX_LIST),
        (r".*: neighbor \S+ route-map ", FILTER),
        (r"zebra nexthop-group keep ", NEXTHOP_GROUP),
        (r"", CONFIGURATION),
    )
)
"""What a line is for: its blocks and itself, joined by ``: ``; the first that matches counts."""


class Loading(NamedTuple):
    """The command that writes what was rendered, and the one by which FRR reads it."""

    render: str
    load: str

    def __str__(self) -> str:
        """Return one after the other."""
        return f"{self.render} && {self.load}"


def findings(
    rendered: Sequence[Line], running: Collection[Line], loading: Loading
) -> list[Finding]:
    """Return what the running configuration lacks, and what it has in objects of ours.

    Args:
        rendered: what it should have.
        running: what it has.
        loading: how FRR gets all of it.
    """
    absent = missing(rendered, running)
    if len(absent) > MOST_LINES:
        return [_whole(absent, running, loading)]
    wanted = frozenset(rendered)
    stay = in_use(rendered, running)
    extra = [line for line in running if line not in wanted and is_superfluous(line, stay)]
    attached = _attached(rendered, running, absent)
    undone = [line for line in absent if negated(line) in attached]
    about: dict[Line, tuple[Kind, str]] = {}
    for line, name in attached.items():
        entries = [x for x in running if _outermost(x).startswith(f"route-map {name} ")]
        key = (CONFIGURATION if entries else NO_ROUTE_MAP), f"route-map {name}"
        by = detaching(line, absent)
        about |= dict.fromkeys([line, *entries, *([by] if by else [])], key)
    groups: dict[tuple[Kind, str], tuple[list[Line], list[Line]]] = {}
    lacking = [line for line in absent if line not in undone]
    for index, found in enumerate((lacking, [*attached, *extra])):
        for line in found:
            key = about.get(line, (_kind(line), _subject(line)))
            groups.setdefault(key, ([], []))[index].append(line)
    return [
        kind.found(
            subject,
            "; ".join(
                f"{what}: {_listed(some)}"
                for what, some in (("missing", lacking), ("not rendered", more))
                if some
            ),
            _mend(lacking, more, loading, absent),
        )
        for (kind, subject), (lacking, more) in groups.items()
    ]


def _attached(
    rendered: Sequence[Line], running: Collection[Line], absent: Sequence[Line]
) -> dict[Line, str]:
    """Return what uses a route-map of ours that is not rendered, and its name.

    Not where another of ours takes the place: that line is missing.
    """
    maps = route_maps(rendered)
    found = {}
    for line in running:
        name = used(line)
        if name is None or name in maps:
            continue
        by = detaching(line, absent)
        if by is None or negated(by) is not None or used(by) is None:
            found[line] = name
    return found


def _whole(absent: Sequence[Line], running: Collection[Line], loading: Loading) -> Finding:
    # bgpd takes no other AS while it runs.
    runs = any(line.text.startswith("router bgp ") for line in running)
    is_other_as = runs and any(line.text.startswith("router bgp ") for line in absent)
    return NOT_RENDERED.found(
        "frr.conf",
        f"{len(absent)} lines are missing in the running configuration: {_listed(absent)}",
        f"{loading.render} && systemctl restart frr" if is_other_as else str(loading),
    )


def _kind(line: Line) -> Kind:
    text = ": ".join((*line.within, line.text))
    return next(kind for pattern, kind in _WHAT_FOR if pattern.match(text))


def _subject(line: Line) -> str:
    first = (*line.within, line.text)[0]
    named = re.search(r"(?:route-map|\S+-list(?: standard| expanded)?) bgphealth-\S+", first)
    if named is not None:
        return named[0]
    about = re.match(r"neighbor \S+", line.text)
    return about[0] if about is not None else (line.within or (line.text,))[0]


def _listed(lines: Sequence[Line]) -> str:
    shown = ", ".join(f"'{line.text}'" for line in lines[:_SHOWN])
    more = len(lines) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _mend(
    lacking: Collection[Line], more: Collection[Line], loading: Loading, absent: Sequence[Line]
) -> str:
    if any(line.text.endswith("***") for line in lacking):
        return str(loading)  # A password is not shown.
    attached = [line for line in more if used(line)]
    for line in attached:
        if line.text.startswith("neighbor ") and detaching(line, absent) is None:
            neighbor = " ".join(line.text.split()[:2])
            return (
                f"'no {neighbor}', or a route-map of your own in the place of '{line.text}': "
                "without one everything goes"
            )
    # A route-map goes when nothing uses it any more: one that does not exist denies everything.
    instead = {line: detaching(line, lacking) for line in attached}
    first = [(line, f"no {line.text}" if by is None else by.text) for line, by in instead.items()]
    others = [line for line in more if line not in instead]
    gone = {line.text for line in others if not line.within}
    entered = ["configure terminal"]
    within: tuple[str, ...] = ()
    for line, text in (
        *first,
        *((line, f"no {line.text}") for line in others if gone.isdisjoint(line.within)),
        *((line, line.text) for line in lacking if line not in instead.values()),
    ):
        if line.within != within:
            # vtysh takes what begins an outermost block inside another one.
            entered += line.within
            within = line.within
        entered.append(text)
    return "vtysh " + " ".join(f"-c {shlex.quote(line)}" for line in entered)


def _outermost(line: Line) -> str:
    return (*line.within, line.text)[0]
