"""What ExaBGP runs in these tests instead of bgphealth: it passes on what a test writes to a FIFO.

Only the standard library, and no decisions: the facts are about FRR and the kernel. Its replies are
drained (fact E2), and go to ExaBGP's log, to show a command that it refused.
"""

from __future__ import annotations

import os
import sys
import threading

FIFO = "/run/injector"


def _drain_replies() -> None:
    for reply in sys.stdin:
        sys.stderr.write(f"injector: {reply}")
        sys.stderr.flush()
    os._exit(0)


def main() -> None:
    threading.Thread(target=_drain_replies, daemon=True).start()
    # For reading and writing: it never comes to its end when a test has written its line.
    with os.fdopen(os.open(FIFO, os.O_RDWR), "r+b", buffering=0) as fifo:
        while data := fifo.read(4096):
            os.write(sys.stdout.fileno(), data)


if __name__ == "__main__":
    main()
