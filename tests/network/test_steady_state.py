"""In the steady state nothing is sent: seen on the wire, with the capture proved to see."""

from __future__ import annotations

import time

from lab import convergence, faults
from lab.namespaces import NamespaceDriver
from tests.support.capture import captured, messages, updates

STEADY_S = 60.0


def test_in_sixty_seconds_of_steady_state_there_is_not_one_update(lab: NamespaceDriver) -> None:
    convergence.wait_converged(lab)
    with captured(lab) as agents:
        # The last of what an earlier test set in motion: bgpd's own timers are a few seconds.
        quiet_since = time.monotonic()

        def not_quiet() -> list[str]:
            nonlocal quiet_since
            if found := updates(messages(agents)):
                quiet_since = time.monotonic()
                return [str(found)]
            return [] if time.monotonic() - quiet_since > 5 else ["5 s of silence"]

        convergence.wait_until("the last UPDATE of the beginning", not_quiet)
        time.sleep(STEADY_S)  # the time is what is tested
        seen = messages(agents)
        assert updates(seen) == {}
        # All sessions were seen, alive.
        assert {where for where, found in seen.items() if found["others"]} == set(seen)

        # And what this capture is for, it sees: a dead path, on all of the sessions.
        fault = faults.FAULTS["uplink-blackhole"]
        faults.run_steps(lab, fault.inject)
        try:
            seen_on: set[str] = set()

            def not_seen() -> list[str]:
                seen_on.update(updates(messages(agents)))
                return sorted({"server1 lo", "tor2 eth1"} - seen_on)

            convergence.wait_until("UPDATEs", not_seen)
        finally:
            faults.run_steps(lab, fault.heal)
    convergence.wait_converged(lab)
