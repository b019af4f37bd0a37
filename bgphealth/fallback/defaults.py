"""The kernel's defaults, looked at and not touched: they are FRR's."""

from __future__ import annotations

import socket

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import Address, Family, Settings
from bgphealth.core.truth import KernelView
from bgphealth.fallback.netlink import Netlink


async def kernel_defaults(settings: Settings, family: Family) -> KernelView | str:
    """Return the defaults of one family in the main table, or in words why they are not known."""
    source = settings.host.source_for(family)
    try:
        async with Netlink() as netlink:
            found = await netlink.defaults(family)
        return KernelView(tuple(found), source is None or is_local(source))
    except BgphealthError as error:
        return str(error)
    except OSError as error:
        return f"no socket: {error.strerror}"


def is_local(address: Address) -> bool:
    """Return whether this host has an address, as far as one can bind to it.

    Raises:
        OSError: there is no socket to try it with.
    """
    version = socket.AF_INET if Family.of(address) is Family.IPV4 else socket.AF_INET6
    with socket.socket(version, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
