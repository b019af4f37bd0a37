"""Runs bgphealth's own program over a file and counts what its probes answered.

``python -m lab.agents.program FILE``: the program of ``bgphealth run --dry-run``, with its log on
stderr. Each line of stdin asks for one line of JSON: what it has used and counted since its start.
The end of stdin is the end.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth import config
from bgphealth.core.events import PathProbed, PathProbeOverdue, ServiceChecked
from bgphealth.daemon import log
from bgphealth.daemon.lifeline import Lifeline
from bgphealth.daemon.program import Program

if TYPE_CHECKING:
    from bgphealth.core.events import Event
    from bgphealth.core.settings import Settings


class _Counted(Program):
    """The program, with an eye on the events that its probes post."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, log.configure(verbose=False))
        self.counts: Counter[str] = Counter()

    def _post(self, event: Event) -> None:
        match event:
            case PathProbed(verdict=verdict):
                self.counts[f"icmp_{verdict}"] += 1
            case ServiceChecked(verdict=verdict):
                self.counts[f"check_{verdict}"] += 1
            case PathProbeOverdue():
                self.counts["overdue"] += 1
        super()._post(event)

    def snapshot(self) -> dict[str, object]:
        return {
            "at": time.monotonic(),
            "cpu_s": time.process_time(),
            "rss_kib": _resident_kib(),
            "counts": dict(self.counts),
        }


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def _answer(program: _Counted) -> None:
    if os.read(0, 4096):
        print(json.dumps(program.snapshot()), flush=True)
    else:
        # As the end of the real program comes.
        asyncio.get_running_loop().remove_reader(0)
        os.kill(os.getpid(), signal.SIGTERM)


async def _run(settings: Settings) -> None:
    program = _Counted(settings)
    print(json.dumps({"ready": True}), flush=True)
    asyncio.get_running_loop().add_reader(0, _answer, program)
    await Lifeline().hold(program.dry_run(io.StringIO()))


def main() -> None:
    """Run until the end of stdin."""
    asyncio.run(_run(config.load(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
