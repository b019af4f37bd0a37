"""TCP connect (RFC 9293): ok when the handshake completes."""

from __future__ import annotations

import asyncio
import socket

from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeSettings
from bgphealth.probes.attempt import Attempt, BoundProber
from bgphealth.probes.connection import connect, handshake_s, in_words, open_socket
from bgphealth.probes.outcome import Outcome


class TcpProber(BoundProber):
    """Connects. See `BoundProber`."""

    async def _attempt(self, probe: ProbeSettings, _: Attempt) -> Outcome:
        loop = asyncio.get_running_loop()
        with open_socket(probe, self._binding, socket.SOCK_STREAM) as sock:
            began_at = loop.time()
            try:
                await connect(sock, probe)
            except OSError as error:
                return Outcome(Verdict.FAILED, in_words(error))
            return Outcome(Verdict.OK, rtt_s=handshake_s(sock) or loop.time() - began_at)
