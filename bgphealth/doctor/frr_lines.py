"""FRR's running configuration against the rendered one: findings by what a line is for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.frr.configuration import Line, is_ours, missing

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
    extra = [line for line in running if line not in wanted and is_ours(line)]
    groups: dict[tuple[Kind, str], tuple[list[Line], list[Line]]] = {}
    for index, found in enumerate((absent, extra)):
        for line in found:
            groups.setdefault((_kind(line), _subject(line)), ([], []))[index].append(line)
    return [
        kind.found(
            subject,
            "; ".join(
                f"{what}: {_listed(some)}"
                for what, some in (("missing", lacking), ("not rendered", more))
                if some
            ),
            _mend(lacking, more, loading),
        )
        for (kind, subject), (lacking, more) in groups.items()
    ]


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


def _mend(lacking: Collection[Line], more: Collection[Line], loading: Loading) -> str:
    if any(line.text.endswith("***") for line in lacking):
        return str(loading)  # A password is not shown.
    gone = {line.text for line in more if not line.within}
    entered = ["configure terminal"]
    within: tuple[str, ...] = ()
    for line, text in (
        *((line, f"no {line.text}") for line in more if gone.isdisjoint(line.within)),
        *((line, line.text) for line in lacking),
    ):
        if line.within != within:
            # vtysh takes what begins an outermost block inside another one.
            entered += line.within
            within = line.within
        entered.append(text)
    return "vtysh " + " ".join(f"-c {shlex.quote(line)}" for line in entered)
