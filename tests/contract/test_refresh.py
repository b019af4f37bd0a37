"""What makes ExaBGP send a route that it believes its neighbor has, and when not to ask for it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.core.reconcile import Announce
from bgphealth.exabgp.commands import encode
from tests.contract.test_exabgp_pipe import LINGER, PRELUDE, wait_for
from tests.support.bgp_listener import listening
from tests.support.conversation import as_table, conversation, told
from tests.support.exabgp import Installed, exabgp

pytestmark = pytest.mark.contract

REFRESH = "flush adj-rib out"
ROUTES = {
    key: Announcement(key, ip_address("192.0.0.8"), 100)
    for key in (RouteKey(ip_network((0xC6120000 + n, 32))) for n in range(3))
}
LINES = [encode(Announce(route)) for route in ROUTES.values()]


async def test_a_route_that_was_sent_is_sent_again_only_when_all_are(
    installed: Installed, tmp_path: Path
) -> None:
    async with listening() as peer, conversation(installed, tmp_path, peer) as running:
        assert await running.say(*LINES) == ["done"] * len(LINES)
        before = peer.updates
        await running.say()
        of_nothing = peer.updates - before
        before = peer.updates
        await running.say(*LINES)
        assert peer.updates - before == of_nothing
        before = peer.updates
        assert await running.say(REFRESH) == ["done"]
        assert peer.updates - before > of_nothing
        assert told(peer) == as_table(ROUTES, peer)
        assert (peer.sessions, peer.faults) == (1, [])


def test_without_a_session_it_is_an_error_that_overtakes_and_exabgp_4_dies_of_it(
    installed: Installed, tmp_path: Path
) -> None:
    """Nobody listens on the neighbor's port."""
    helper = PRELUDE + (
        f'first = ask(1, "{LINES[0]}\\n{REFRESH}")\n'
        'note("replies", first + " " + sys.stdin.readline().strip())\n'
    )
    with exabgp(installed, tmp_path, helper + LINGER) as running:
        if installed.is_4:
            assert running.status_within(20) not in (None, 0), running.logged()
            assert "LOG_warning" in running.log.read_text(errors="replace")
        else:
            assert wait_for(tmp_path, "replies", running) == "error done"
