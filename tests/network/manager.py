"""The service manager's end of the notification socket: it writes down what it is told."""

from __future__ import annotations

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(sys.argv[1])
        while True:
            sys.stdout.write(f"{manager.recv(65536).decode()}\n")
            sys.stdout.flush()
