"""E9: ExaBGP ends its table before its helper has filled it, with graceful restart and without.

What bgpd makes of that is in tests/network/facts/test_e9_graceful_restart.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bgp_listener import listening
from tests.support.conversation import until
from tests.support.exabgp import Installed, Neighbor, exabgp

pytestmark = pytest.mark.contract

SILENT = "import sys\nsys.stdin.read()\n"

FAMILIES = 2


@pytest.mark.parametrize("capabilities", ["", "graceful-restart 120;"], ids=["without", "with"])
async def test_e9_end_of_rib_is_sent_before_the_helper_has_said_a_word(
    installed: Installed, capabilities: str, tmp_path: Path
) -> None:
    async with listening() as peer:
        neighbors = [Neighbor(peer.address, peer.port, capabilities=capabilities)]
        with exabgp(installed, tmp_path, SILENT, neighbors=neighbors) as running:
            await until(lambda: peer.ends_of_rib, running)
            await until(lambda: peer.ends_of_rib == FAMILIES, running)
            assert (peer.updates, peer.sessions, peer.faults) == (0, 1, [])
