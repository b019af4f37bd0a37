"""TCP connect (RFC 9293): ok when the handshake completes."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeSettings
from bgphealth.probes.attempt import Attempt, Attempts
from bgphealth.probes.binding import Binding
from bgphealth.probes.connection import connect, handshake_s, in_words, open_socket
from bgphealth.probes.outcome import Answer, Outcome


class TcpProber:
    """Connects from one path, or from a service's own address. Needs a running event loop.

    Args:
        binding: where to connect from.
        unbound: the verdict when the source address is not there. See `Attempts`.
    """

    def __init__(self, binding: Binding, unbound: Verdict = Verdict.UNKNOWN) -> None:
        self._binding = binding
        self._attempts = Attempts(unbound)

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Connect once. See `Prober.ask`."""
        self._attempts.begin(partial(self._connect, probe), timeout_s, answer)

    def close(self) -> None:
        """Give up on the connections that are under way."""
        self._attempts.close()

    async def _connect(self, probe: ProbeSettings, _: Attempt) -> Outcome:
        loop = asyncio.get_running_loop()
        with open_socket(probe, self._binding, socket.SOCK_STREAM) as sock:
            began_at = loop.time()
            try:
                await connect(sock, probe)
            except OSError as error:
                return Outcome(Verdict.FAILED, in_words(error))
            return Outcome(Verdict.OK, rtt_s=handshake_s(sock) or loop.time() - began_at)
