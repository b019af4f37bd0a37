"""bgphealth's own ICMP prober, for one path and without the daemon, inside a node of the lab.

``ping.py INTERFACE SOURCE TARGET COUNT`` prints one JSON list of verdicts and their details.
"""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import ip_address

from bgphealth.core.settings import Family, ProbeKind, ProbeSettings
from bgphealth.probes.binding import Binding
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.outcome import Outcome

TIMEOUT_S = 0.5


async def _ask(interface: str, source: str, target: str, count: int) -> list[Outcome]:
    probe = ProbeSettings(ProbeKind.ICMP, ip_address(target))
    prober = IcmpProber(
        Family.of(ip_address(target)), Binding(interface, lambda: ip_address(source))
    )
    loop = asyncio.get_running_loop()
    outcomes = []
    for _ in range(count):
        answered: asyncio.Future[Outcome] = loop.create_future()
        prober.ask(probe, TIMEOUT_S, answered.set_result)
        outcomes.append(await answered)
    prober.close()
    return outcomes


def main() -> None:
    interface, source, target, count = sys.argv[1:]
    outcomes = asyncio.run(_ask(interface, source, target, int(count)))
    sys.stdout.write(json.dumps([outcome._asdict() for outcome in outcomes]))


if __name__ == "__main__":
    main()
