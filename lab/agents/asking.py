"""Asks a running bgphealth how it stands, again and again, and says how long that took.

``python -m lab.agents.asking FILE``: each line of stdin is how often, and asks for one line of JSON
with the seconds of each whole command (``bgphealth status --json``) and of each answer over the
socket alone. The end of stdin is the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.cli import control

if TYPE_CHECKING:
    from collections.abc import Callable


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Ask until the end of stdin."""
    file = Path(sys.argv[1])
    command = ["bgphealth", "-c", str(file), "status", "--json"]

    def run() -> None:
        # Its exit status says how the host is, not whether it answered.
        if not subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout:
            raise RuntimeError("no answer")

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        rounds, socket = range(int(line)), control.socket_of(file)
        whole = [_timed(run) for _ in rounds]
        alone = [_timed(partial(control.ask, socket, "status")) for _ in rounds]
        print(json.dumps({"command_s": whole, "socket_s": alone}), flush=True)


if __name__ == "__main__":
    main()
