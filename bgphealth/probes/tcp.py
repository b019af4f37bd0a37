"""TCP connect (RFC 9293): ok when the handshake completes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Family, ProbeSettings
from bgphealth.probes.binding import Binding, CannotBindError, bind
from bgphealth.probes.outcome import Answer, Outcome, no_answer, unknown

_CANNOT_ASK = {errno.EPERM, errno.EACCES, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EMFILE}


class TcpProber:
    """Connects from one path, or from a service's own address. Needs a running event loop.

    Args:
        binding: where to connect from.
        unbound: the verdict when the source address is not there: `UNKNOWN` for a path (we could
            not ask), `FAILED` for a service (its address is not on this host, so nobody here can
            serve it).
    """

    def __init__(self, binding: Binding, unbound: Verdict = Verdict.UNKNOWN) -> None:
        self._binding = binding
        self._unbound = unbound
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Connect once. See `Prober.ask`."""
        task = asyncio.get_running_loop().create_task(self._ask(probe, timeout_s, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Give up on the connections that are under way."""
        for task in self._tasks:
            task.cancel()

    async def _ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET if Family.of(probe.target) is Family.IPV4 else socket.AF_INET6
        started_at = loop.time()
        try:
            with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
                source = self._binding.source()
                if isinstance(source, str):
                    raise CannotBindError(source)  # noqa: TRY301 - one way out for "no socket"
                bind(sock, self._binding.interface, source)
                async with asyncio.timeout(timeout_s):
                    await loop.sock_connect(sock, (str(probe.target), probe.port))
        except CannotBindError as error:
            outcome = Outcome(self._unbound, str(error))
        except TimeoutError:
            late_s = loop.time() - started_at - timeout_s
            stalled = late_s > timeout_s
            outcome = (
                unknown(f"we were stalled for {late_s:.1f} s") if stalled else no_answer(timeout_s)
            )
        except OSError as error:
            verdict = Verdict.UNKNOWN if error.errno in _CANNOT_ASK else Verdict.FAILED
            # asyncio puts its own words into strerror.
            outcome = Outcome(verdict, os.strerror(error.errno) if error.errno else str(error))
        else:
            outcome = Outcome(Verdict.OK, rtt_s=loop.time() - started_at)
        answer(outcome)
