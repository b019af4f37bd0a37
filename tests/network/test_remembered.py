"""A service leaves the file while bgphealth is away: bgpd must not keep its prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import convergence, dual_tor, routes
from lab.faults import FAULTS, run_steps
from tests.support.laboratory import edited, reload

if TYPE_CHECKING:
    from lab.namespaces import NamespaceDriver

LENGTH = {"ipv4": 32, "ipv6": 128}
WITHOUT_SERVICES = "/^services:/,/^$/d"


def exabgp(lab: NamespaceDriver) -> str:
    return lab.run(dual_tor.SERVER, ["cat", "/run/exabgp.pid"]).stdout


def wait_service_gone(lab: NamespaceDriver) -> None:
    def missing() -> list[str]:
        seen = routes.snapshot(lab)
        still = [f for f in dual_tor.FAMILIES if seen.core_service[f].uplinks]
        others = [*seen.core_loopback.values(), *seen.server_default.values()]
        lost = [str(route) for route in others if len(route.uplinks) < len(dual_tor.TOR_BEHIND)]
        return [*(f"the core has the {family} service" for family in still), *lost]

    convergence.wait_until("the service is withdrawn, and nothing else", missing)


def test_a_service_that_left_the_file_is_withdrawn_by_the_next_bgphealth(
    lab: NamespaceDriver,
) -> None:
    convergence.wait_converged(lab)
    before = exabgp(lab)
    with edited(lab, WITHOUT_SERVICES):
        run_steps(lab, FAULTS["helper-kill"].inject)
        wait_service_gone(lab)
        for family, address in dual_tor.SERVICE.items():
            shown = lab.run(
                dual_tor.SERVER,
                ["vtysh", "-c", f"show bgp {family} unicast {address}/{LENGTH[family]}"],
            ).stdout
            assert "not in table" in shown
    # ExaBGP has been there all the time: without bgphealth's memory it would have kept the prefix.
    assert exabgp(lab) == before
    reload(lab)
    convergence.wait_converged(lab)


def test_a_service_that_left_the_file_is_withdrawn_by_a_reload(lab: NamespaceDriver) -> None:
    convergence.wait_converged(lab)
    with edited(lab, WITHOUT_SERVICES):
        reload(lab)
        wait_service_gone(lab)
    reload(lab)
    convergence.wait_converged(lab)
