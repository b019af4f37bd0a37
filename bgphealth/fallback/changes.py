"""What the kernel tells unasked over rtnetlink(7): something has changed that may matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)

from bgphealth.core.truth import HARMLESS_METRIC
from bgphealth.fallback.netlink import BGP, MAIN, NTF_ROUTER, PROTOCOL, Router, router_of


async def changes(*, routers: bool = False, routes: bool = False) -> AsyncIterator[None]:
    """Yield once for every change of a link or an address, whatever it is, and for every loss.

    With `routers`, also when a router appears, goes, or becomes reachable or unreachable. The
    kernel tells much more of neighbors than that, several times a minute for each. With `routes`,
    also when a route or a rule of ours is deleted, and when somebody else's route in the main table
    changes that is a default or has a metric such as ours have: it may have replaced one of ours or
    made room for it.

    The kernel drops notifications that nobody read in time (ENOBUFS): then all may have changed.
    """
    groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
    if routers:
        groups |= RTMGRP_NEIGH
    if routes:
        groups |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_RULE
    while True:
        try:
            async with AsyncIPRoute() as ipr:
                await ipr.bind(groups)
                seen: dict[tuple[int, str], Router | None] = {}
                while True:
                    async for message in ipr.get():
                        if _is_news(message, seen):
                            yield None
                    # An empty read must not become a busy loop.
                    await asyncio.sleep(0)
        except (NetlinkError, OSError):
            yield None
            await asyncio.sleep(1)


def _is_news(message: Any, seen: dict[tuple[int, str], Router | None]) -> bool:  # noqa: ANN401 - pyroute2 is not typed
    match str(message["event"]).removeprefix("RTM_"):
        case "NEWNEIGH" | "DELNEIGH":
            return _is_news_of_router(message, seen)
        case "NEWROUTE" | "DELROUTE" as event if message["proto"] == PROTOCOL:
            return event == "DELROUTE"
        case "NEWROUTE" | "DELROUTE":
            # BGP's come and go with every verdict, and cannot have the metric of ours.
            place = message.get_attr("RTA_PRIORITY") or 0
            may_matter = message["dst_len"] == 0 or place >= HARMLESS_METRIC
            return bool(may_matter and message["table"] == MAIN and message["proto"] != BGP)
        case "NEWRULE" | "DELRULE" as event:
            return event == "DELRULE" and bool(message.get_attr("FRA_PROTOCOL") == PROTOCOL)
    return True


def _is_news_of_router(message: Any, seen: dict[tuple[int, str], Router | None]) -> bool:  # noqa: ANN401 - pyroute2 is not typed
    """Return whether what is told of a neighbor changes what is known of a router."""
    here = None if message["event"] == "RTM_DELNEIGH" else router_of(message)
    key = (message["ifindex"], message.get_attr("NDA_DST"))
    before = seen.get(key)
    if here is None:
        # Who is no router may be one that was not seen yet when it was: then it is news to delete.
        seen.pop(key, None)
        return before is not None or (
            message["event"] == "RTM_DELNEIGH" and bool(message["flags"] & NTF_ROUTER)
        )
    seen[key] = here
    return here != before
