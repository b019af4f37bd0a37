"""The floor: a helper of ExaBGP that only writes what it would write anyway.

``python -m lab.agents.bare PREFIXES NEXT_HOP ASN``, started by ExaBGP. It announces so many IPv4
prefixes for both uplinks, in bgphealth's own batches; on SIGUSR1 for the first one only, on SIGUSR2
for both again. Each time it writes one line of JSON to `LOG`: when it began. Replies are read and
forgotten.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.core.decisions import INJECTED_LOCAL_PREF
from bgphealth.core.intents import Announcement, Community, RouteKey
from bgphealth.core.reconcile import Announce
from bgphealth.exabgp.commands import commands
from lab.bench_prefixes import prefixes

if TYPE_CHECKING:
    from bgphealth.core.settings import Address

PID_FILE = Path("/run/bare.pid")
LOG = Path("/run/bare.log")

_UPLINKS = {signal.SIGUSR1: (1,), signal.SIGUSR2: (1, 2)}


def lines(count: int, next_hop: Address, asn: int, uplinks: tuple[int, ...]) -> bytes:
    """Return what announces all prefixes for these uplinks."""
    communities = tuple(Community(asn, number) for number in uplinks)
    changes = (
        Announce(Announcement(RouteKey(prefix), next_hop, INJECTED_LOCAL_PREF, communities))
        for prefix in prefixes(count)
    )
    return "".join(f"{command.line}\n" for command in commands(changes)).encode("ascii")


def _forget_replies() -> None:
    while os.read(0, 65536):
        pass
    os._exit(0)


def main() -> None:
    """Write when told, until ExaBGP ends it."""
    count, next_hop, asn = int(sys.argv[1]), ip_address(sys.argv[2]), int(sys.argv[3])
    written = {number: lines(count, next_hop, asn, to) for number, to in _UPLINKS.items()}
    signal.pthread_sigmask(signal.SIG_BLOCK, _UPLINKS)
    threading.Thread(target=_forget_replies, daemon=True).start()
    PID_FILE.write_text(f"{os.getpid()}\n", encoding="ascii")
    number = signal.SIGUSR2
    while True:
        at = time.monotonic()
        sys.stdout.buffer.write(written[number])
        sys.stdout.buffer.flush()
        with LOG.open("a", encoding="ascii") as log:
            log.write(json.dumps({"at": at, "uplinks": _UPLINKS[number]}) + "\n")
        number = signal.Signals(signal.sigwait(_UPLINKS))


if __name__ == "__main__":
    main()
