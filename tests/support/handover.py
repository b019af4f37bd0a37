"""What ExaBGP runs where a test speaks for itself: it hands its two pipes over, and waits.

The test holds the very pipes that ExaBGP made, with nobody in between who reads or buffers.
"""

from __future__ import annotations

import os
import socket


def main() -> None:
    """Connect to the test, give it stdin and stdout, wait for either to end."""
    with socket.socket(socket.AF_UNIX) as test:
        test.connect("\0" + os.environ["HANDOVER"])
        socket.send_fds(test, [b"pipes"], [0, 1])
        test.recv(1)


if __name__ == "__main__":
    main()
