"""Runs in a node: for each line of stdin everything that the doctor finds, as a line of JSON.

One process for many questions: most of what the command takes is the start of Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from bgphealth.config import load
from bgphealth.daemon import places
from bgphealth.doctor.examine import examine

FILE = Path("/etc/bgphealth/bgphealth.yaml")


def main() -> None:
    """Answer until stdin ends."""
    for _ in sys.stdin:
        settings = load(FILE)
        found = asyncio.run(examine(settings, FILE, places.control_socket(FILE, settings)))
        # In one write: ExaBGP's log and others have their own channels.
        os.write(1, f"{json.dumps([asdict(finding) for finding in found])}\n".encode())


if __name__ == "__main__":
    main()
