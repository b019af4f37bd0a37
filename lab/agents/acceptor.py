"""Accepts connections and closes them: ``python -m lab.agents.acceptor ADDRESS PORT``.

With nothing else to do, so that it costs the machine little. The end of stdin is the end.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys

_BACKLOG = 4096


def main() -> None:
    """Accept until the end of stdin."""
    with (
        socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=_BACKLOG) as listening,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print(json.dumps({"ready": True}), flush=True)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if sys.stdin in ready:
                return
            listening.accept()[0].close()


if __name__ == "__main__":
    main()
