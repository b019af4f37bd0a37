"""What several tests do with a lab that is up, and look for in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lab import convergence, dual_tor, watch
from lab.namespaces import NamespaceDriver

TORS = tuple(dual_tor.TOR_BEHIND.values())
FILE = "/etc/bgphealth/bgphealth.yaml"


@contextmanager
def edited(lab: NamespaceDriver, script: str) -> Iterator[None]:
    """Have the file, edited by sed(1), in the place of the one that the topology binds."""
    other = "/run/edited.yaml"
    shell = f"sed '{script}' {FILE} >{other} && mount --bind {other} {FILE}"
    lab.run(dual_tor.SERVER, ["sh", "-c", shell])
    try:
        yield
    finally:
        lab.run(dual_tor.SERVER, ["umount", FILE])


def reload(lab: NamespaceDriver) -> None:
    """Have the file read again, and wait for it."""

    def count() -> int:
        log = lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
        assert '"event": "reload_refused"' not in log
        return log.count('"event": "reloaded"')

    before = count()
    lab.run(dual_tor.SERVER, ["sh", "-c", "kill -HUP $(cat /run/bgphealth/bgphealth.pid)"])
    convergence.wait_until("a reload", lambda: [] if count() > before else ["its log line"])


def verdicts_since(lab: NamespaceDriver, at: float) -> list[watch.Verdict]:
    return [verdict for verdict in watch.read_verdicts(lab) if verdict.at >= at]


def wait_default(lab: NamespaceDriver, *tors: str) -> None:
    """Wait until the server's main table has a default through these ToRs alone, or none at all.

    The fallback defaults, which are there all the time, do not count.
    """
    wanted = sorted(i for i, tor in dual_tor.TOR_BEHIND.items() if tor in tors)

    def missing() -> list[str]:
        found = []
        for option in ("-4", "-6"):
            asked = ["ip", "-o", option, "route", "show", "default"]
            lines = lab.run(dual_tor.SERVER, asked).stdout.splitlines()
            output = "\n".join(line for line in lines if "proto 179" not in line)
            if sorted(set(re.findall(r"dev (\S+)", output))) != wanted:
                found.append(f"default via {wanted}, there is: {output}")
        return found

    convergence.wait_until("the server's default", missing)


def configure(lab: NamespaceDriver, node: str, *lines: str) -> None:
    """Enter lines into the running configuration of a router."""
    asked = ["configure terminal", *lines]
    lab.run(node, ["vtysh", *(word for line in asked for word in ("-c", line))])
