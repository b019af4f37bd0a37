"""bgphealth's tables and rules, made once and without the daemon: ``apply_tables.py FILE``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bgphealth.config import load
from bgphealth.fallback import tables
from bgphealth.fallback.gateways import GatewaySearch
from bgphealth.fallback.netlink import Netlink


async def _apply(file: Path) -> None:
    settings = load(file)
    async with Netlink() as netlink:
        interfaces = await netlink.interfaces()
        gateways = await GatewaySearch(settings).look(interfaces, netlink)
        wanted = tables.plan(settings, interfaces, gateways)
        await tables.apply(settings, wanted, netlink)


if __name__ == "__main__":
    asyncio.run(_apply(Path(sys.argv[1])))
