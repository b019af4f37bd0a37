#!/usr/bin/env python3
"""The floor: a helper of ExaBGP that knows nothing and asks nothing: ``helper.py BOTH ALONE``.

It writes the lines of the first file when it starts and those of the second when it is told by
SIGUSR1, at the moment the fault is made: what is measured is the way from a written line to traffic
that has moved. Replies are read and forgotten, else ExaBGP would stop. When it was told goes to the
log, as bgphealth's verdicts do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

PID_FILE = Path("/run/helper.pid")


def _forget_replies() -> None:
    while os.read(0, 65536):
        pass
    os._exit(0)


def main() -> None:
    """Write, and write again when told."""
    both, alone = (Path(name).read_bytes() for name in sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=_forget_replies, daemon=True).start()
    os.write(1, both)
    PID_FILE.write_text(f"{os.getpid()}\n", encoding="ascii")
    signal.sigwait({signal.SIGUSR1})
    told = {"event": "told", "at": time.monotonic()}
    os.write(1, alone)
    print(json.dumps(told), file=sys.stderr, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
