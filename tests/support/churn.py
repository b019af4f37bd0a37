"""A helper whose wanted state changes faster than ExaBGP takes it, and whose reader is slow.

It is bgphealth's own driver on bgphealth's own pipes. In between is a reader that takes a few
replies at a time, from a pipe that holds 819 of them instead of 13,107.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

from bgphealth.__main__ import guard_stdout
from bgphealth.core.intents import Announcement, Community, Intents, RouteKey
from bgphealth.core.reconcile import reconcile
from bgphealth.exabgp import pipe
from bgphealth.exabgp.driver import Driver, DriverEvent, Refused

PREFIXES = 2_000
ROUNDS = 101
ROUND_S = 0.15
"""Less than ExaBGP needs for a round, so that most of what is wanted is never sent."""

ATTRIBUTES = 8
"""Of so many kinds are the routes of one round."""

PIPE_BYTES = 4096
SIP_BYTES, SIP_S = 16, 0.002
"""Three replies at a time, some 1,600 a second."""

V4, V6 = int(ip_address("198.18.0.0")), int(ip_address("2001:db8::"))
NEXT_HOPS = ip_address("192.0.0.8"), ip_address("100::1")

KEYS = tuple(
    RouteKey(ip_network((V4 + n, 32)) if n % 2 else ip_network((V6 + n, 128)))
    for n in range(PREFIXES)
)


def wanted(number: int) -> Intents:
    """Return what is wanted in one round: every route is another one than in the round before.

    In each round a tenth of them is not wanted at all.
    """
    found: dict[RouteKey, Announcement] = {}
    for n, key in enumerate(KEYS):
        if (n // 2 + number) % 10:
            communities = (Community(65101, n // 2 % ATTRIBUTES), Community(65101, 100 + number))
            next_hop = NEXT_HOPS[key.prefix.version == 6]
            found[key] = Announcement(key, next_hop, 100 + number % 2, communities)
    return found


def main() -> None:
    """Run under ExaBGP."""
    commands = guard_stdout()
    fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    replies, slowed = os.pipe()
    threading.Thread(target=_sip, args=(slowed,), daemon=True).start()
    asyncio.run(_drive(replies, commands))


def _sip(slowed: int) -> None:
    while data := os.read(0, SIP_BYTES):
        os.write(slowed, data)
        time.sleep(SIP_S)
    os.close(slowed)


async def _drive(replies: int, commands: int) -> None:
    refused: list[DriverEvent] = []

    def report(event: DriverEvent) -> None:
        if isinstance(event, Refused):
            refused.append(event)

    gone = asyncio.Event()
    writer = pipe.Writer()
    driver = Driver(writer.write, frozenset(KEYS), report)
    await pipe.connect(
        os.fdopen(replies, "rb"), os.fdopen(commands, "wb", 0), writer, driver.received, gone.set
    )
    running = asyncio.create_task(driver.run())

    def want(number: int) -> int:
        """Hand a round over; return how many changes it makes."""
        driver.want(wanted(number))
        return len(reconcile(wanted(number), wanted(number - 1) if number else {}))

    async def settled() -> None:
        while driver.adj_rib_out != wanted(number):
            await asyncio.sleep(0.05)

    number = 0
    changes = want(number)
    await settled()
    before = _memory()
    for number in range(1, ROUNDS):
        changes += want(number)
        await asyncio.sleep(ROUND_S)
    await settled()
    _note({"changes": changes, "refused": len(refused), "before": before, "after": _memory()})
    await gone.wait()
    running.cancel()


def _memory() -> dict[str, dict[str, int]]:
    """Return the resident memory of both processes in KiB: now, and the most that it ever was."""
    return {
        name: {
            field: int(line.split()[1])
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if (field := line.partition(":")[0]) in {"VmRSS", "VmHWM"}
        }
        for name, pid in (("helper", os.getpid()), ("exabgp", os.getppid()))
    }


def _note(result: dict[str, object]) -> None:
    file = Path(os.environ["OUT"]) / "result"
    file.with_suffix(".part").write_text(json.dumps(result))
    file.with_suffix(".part").rename(file)
