"""A flapping uplink costs no more UPDATEs than its penalty allows, counted on the wire."""

from __future__ import annotations

import math
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bgphealth.core.damping import PENALTY
from lab import convergence, faults
from lab.namespaces import NamespaceDriver
from tests.support.capture import captured, messages, updates
from tests.support.laboratory import edited, reload, verdicts_since

INJECTOR = "127.0.0.2"
HALF_LIFE_S, SUPPRESS = 60.0, 2500
"""The defaults; in the laboratory's file damping is off."""

STOP = "/run/lab-flapping.stop"
ROUTES = 6
"""In two families: the default of the uplink, the service and the host loopback."""


def allowed(seconds: float) -> int:
    """Return how many UPDATEs the falls in a time, and the returns from them, may cost."""
    decayed = seconds * SUPPRESS * math.log(2) / HALF_LIFE_S
    falls = math.floor((SUPPRESS + PENALTY + decayed) / PENALTY)
    return falls * 2 * ROUTES


@contextmanager
def flapping(lab: NamespaceDriver, dark_s: float, good_s: float) -> Iterator[None]:
    """Have tor2 drop everything, and forward again, in turn."""
    fault = faults.FAULTS["uplink-blackhole"]
    (inject,), (heal,) = fault.inject, fault.heal
    script = (
        f"rm -f {STOP}; while [ ! -e {STOP} ]; do {shlex.join(inject.arguments)}; sleep {dark_s}; "
        f"{shlex.join(heal.arguments)}; sleep {good_s}; done"
    )
    with subprocess.Popen(lab.command(inject.node, ["sh", "-c", script])) as process:
        try:
            yield
        finally:
            lab.run(heal.node, ["touch", STOP])
            process.wait()


def falls(lab: NamespaceDriver, since: float) -> int:
    """Return how often a path through tor2 went down."""
    found = [v for v in verdicts_since(lab, since) if v.uplink == "tor2" and v.after == "down"]
    return len(found)


def sent_while_flapping(
    lab: NamespaceDriver, dark_s: float, good_s: float, seconds: float, least: int
) -> int:
    convergence.wait_converged(lab)
    with captured(lab) as agents:
        start = time.monotonic()
        with flapping(lab, dark_s, good_s):
            while time.monotonic() < start + seconds:
                time.sleep(1.0)  # the time is what is tested
        sent = [u for u in updates(messages(agents))["server1 lo"] if u["from"] == INJECTOR]
    assert falls(lab, start) >= least
    return len(sent)


@pytest.mark.parametrize(
    ("dark_s", "good_s", "seconds", "least"),
    [
        # Half of the answers are lost, so the path may be degraded instead of down.
        pytest.param(0.05, 0.05, 60.0, 0, id="10 Hz"),
        # Long enough to be seen down, and up again, each time: damping alone ends it.
        pytest.param(0.6, 2.4, 45.0, 4, id="every 3 s"),
    ],
)
def test_a_flapping_uplink_costs_no_more_updates_than_damping_allows(
    lab: NamespaceDriver, dark_s: float, good_s: float, seconds: float, least: int
) -> None:
    with edited(lab, f"s/suppress: off/suppress: {SUPPRESS}/"):
        reload(lab)
        sent = sent_while_flapping(lab, dark_s, good_s, seconds, least)
    reload(lab)
    assert 0 < sent <= allowed(seconds)
