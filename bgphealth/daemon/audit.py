"""The audit log: who asked for what over the control socket, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from bgphealth.daemon.peers import Caller, Standing, user_name

QUIET_S = 1.0
"""What strangers are refused is logged once in this time: they must not fill the log."""

_SHOWN = 200


class Audit:
    """Writes a line for whatever changes something, and for what is refused."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._quiet_until = 0.0
        self._left_out = 0

    async def note(
        self,
        caller: Caller,
        standing: Standing,
        request: Mapping[str, object],
        outcome: str,
        message: str | None,
    ) -> None:
        """Write down a request and its outcome."""
        left_out = {}
        if standing is Standing.STRANGER:
            now = asyncio.get_running_loop().time()
            if now < self._quiet_until:
                self._left_out += 1
                return
            self._quiet_until = now + QUIET_S
            left_out = {"left_out": self._left_out} if self._left_out else {}
            self._left_out = 0
        peer = caller.peer
        self._log.info(
            "control_command",
            **peer._asdict(),
            user=await asyncio.to_thread(user_name, peer.uid),
            asked={key: str(value)[:_SHOWN] for key, value in request.items() if key != "version"},
            outcome=outcome,
            message=message,
            **left_out,
        )
