"""The routes of one pin, written once and without the daemon: ``write_pin.py FILE TO FROM``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from bgphealth.config import load
from bgphealth.core.settings import Pin, SourceSettings
from bgphealth.fallback import pins
from bgphealth.fallback.gateways import GatewaySearch
from bgphealth.fallback.netlink import Netlink


async def _write(file: Path, pin: Pin) -> None:
    settings = replace(load(file), sources=SourceSettings((pin,)))
    async with Netlink() as netlink:
        interfaces = await netlink.interfaces()
        gateways = await GatewaySearch(settings).look(interfaces, netlink)
        _, lacking = await pins.write(settings, interfaces, gateways, {}, netlink)
        assert lacking == {pin: {}}, lacking


if __name__ == "__main__":
    to, source = ip_network(sys.argv[2]), ip_address(sys.argv[3])
    asyncio.run(_write(Path(sys.argv[1]), Pin(to, source)))
