"""Every kind of probe that asks something, in dual-tor and its like: the core answers all of them.

A file for the server with one beyond probe of each kind, in both families; whoever answers them on
the core; and a second program that decides by them, beside the one that steers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lab import convergence, dual_tor, faults, watch
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import TORS
from tests.support.servers import DNS, HTTP

KINDS = {"tcp": "tcp {} 7", "http": f"tcp {{}} {HTTP}", "dns": f"udp {{}} {DNS}"} | {
    "exec": f"tcp {{}} {DNS}"
}
"""What the packets of each kind look like, beside ICMP's: `dport` asks and `sport` answers."""

_FILE = "/run/kinds.yaml"
_LOG = "/run/kinds.log"

_BEYOND = f"""\
      - {{icmp: 198.51.100.1}}
      - {{tcp: "198.51.100.1:7"}}
      - {{http: "http://198.51.100.1:{HTTP}/"}}
      - {{dns: {{server: 198.51.100.1, port: {DNS}, name: health.example, type: A}}}}
      - {{icmp: "2001:db8:100::1"}}
      - {{tcp: "[2001:db8:100::1]:7"}}
      - {{http: "http://[2001:db8:100::1]:{HTTP}/"}}
      - {{dns: {{server: "2001:db8:100::1", port: {DNS}, name: health.example, type: A}}}}
      - {{exec: [/run/ask-core, 198.51.100.1, "2001:db8:100::1"]}}
"""

_ASK_CORE = f"""\
#!{sys.executable} -IS
# What docs/probes.md asks of a program: it binds to the device and to the source by itself.
import os, socket, sys
is_ipv4 = os.environ["BGPHEALTH_FAMILY"] == "ipv4"
sock = socket.socket(socket.AF_INET if is_ipv4 else socket.AF_INET6)
device = os.environ["BGPHEALTH_INTERFACE"].encode()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
sock.bind((os.environ["BGPHEALTH_SOURCE"], 0))
sock.connect((sys.argv[1 if is_ipv4 else 2], {DNS}))
"""

_TIMING = {
    # No kind may be missing, and the slowest one, which starts Python, has time on a busy machine.
    "need: 1": f"need: {len(('icmp', *KINDS))}",
    "interval: 200ms": "interval: 400ms",
    "timeout: 200ms": "timeout: 1s",
    "rise: 10": "rise: 3",
}


def _until_stdin_ends(command: str) -> list[str]:
    """Return a command that ends another one, by its number, when its own stdin ends."""
    return ["sh", "-c", f"{command} & cat >/dev/null; kill $!; wait $!"]


@contextmanager
def _running(lab: NamespaceDriver, node: str, command: str, first: str = "") -> Iterator[None]:
    process = lab.popen(node, _until_stdin_ends(command))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if first:
            assert process.stdout.readline() == first
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


@contextmanager
def every_kind(lab: NamespaceDriver) -> Iterator[None]:
    """Answer every kind on the core, and let a program on the server judge its paths by them.

    It sends nothing to ExaBGP and writes no table. A path is up for it while every kind answers.
    """
    text = lab.run(dual_tor.SERVER, ["cat", "/etc/bgphealth/bgphealth.yaml"]).stdout
    text, replaced = re.subn(r"(?<=\n    of:\n)(      - .*\n)+", _BEYOND, text)
    assert replaced == 1
    for old, new in _TIMING.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    for path, content in ((_FILE, text), ("/run/ask-core", _ASK_CORE)):
        lab.run(dual_tor.SERVER, ["sh", "-c", f"cat >{path} <<'END'\n{content}END\n"])
    lab.run(dual_tor.SERVER, ["chmod", "+x", "/run/ask-core"])
    targets = " ".join(dual_tor.TARGET.values())
    program = f"bgphealth -c {_FILE} run --dry-run >/dev/null 2>{_LOG}"
    with (
        _running(lab, dual_tor.CORE, f"python3 -m tests.support.servers - {targets}", "ready\n"),
        _running(lab, dual_tor.SERVER, program),
    ):
        yield


def wait_judged_by_every_kind(lab: NamespaceDriver, **levels: str) -> None:
    """Wait until the program that asks every kind judges the ToRs so, in both families."""

    def missing() -> list[str]:
        log = lab.run(dual_tor.SERVER, ["cat", _LOG]).stdout.splitlines()
        last = {(v.uplink, v.family): v for v in watch.verdicts(log)}
        return [
            f"{tor} {family} {level}, not {last.get((tor, family))}"
            for tor, level in levels.items()
            for family in dual_tor.FAMILIES
            if (tor, family) not in last or last[tor, family].after != level
        ]

    convergence.wait_until("every kind's verdict", missing, 20.0)


def assert_every_kind(lab: NamespaceDriver, *, dark: Sequence[str] = ()) -> None:
    """Ask every kind once: over the ToRs that are dark none is answered, over the others all."""
    command = ["bgphealth", "-c", _FILE, "probe", "--json"]
    done = lab.run(dual_tor.SERVER, command, check=False)
    assert done.stdout, done.stderr
    probes: list[dict[str, Any]] = json.loads(done.stdout)["probes"]
    beyond = [probe for probe in probes if probe["role"] == "beyond"]
    assert {(p["uplink"], p["family"], p["kind"]): p["verdict"] for p in beyond} == {
        (tor, family, kind): "failed" if tor in dark else "ok"
        for tor in TORS
        for family in dual_tor.FAMILIES
        for kind in ("icmp", *KINDS)
    }, [(p["uplink"], p["probe"], p["verdict"], p["detail"]) for p in beyond]


def assert_every_kind_notices_and_comes_back(lab: NamespaceDriver) -> None:
    """Let tor2 go dark and come back: each kind must see both, and nobody helps them."""
    fault = faults.FAULTS["uplink-blackhole"]
    wait_judged_by_every_kind(lab, tor1="up", tor2="up")
    assert_every_kind(lab)
    faults.run_steps(lab, fault.inject)
    try:
        wait_judged_by_every_kind(lab, tor1="up", tor2="down")
        assert_every_kind(lab, dark=["tor2"])
    finally:
        faults.run_steps(lab, fault.heal)
    wait_judged_by_every_kind(lab, tor1="up", tor2="up")
