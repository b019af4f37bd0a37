"""What must not be announced is found when it is there: put there by hand, in the real thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab import convergence, dual_tor, experiment, faults, results
from lab.namespaces import NamespaceDriver

STRANGER = "198.18.2.1/32"
_NETWORKS = (f"{dual_tor.SERVICE['ipv4']}/32", STRANGER)


def originated(verb: str) -> faults.Step:
    """Return what makes the server's bgpd announce both to both ToRs by itself, or no more."""
    lines = [f"{verb} network {prefix} route-map bgphealth-backup" for prefix in _NETWORKS]
    permitted = f"{verb} ip prefix-list bgphealth-service-ipv4 seq 99 permit {STRANGER}"
    bgpd = ["router bgp 65101", "address-family ipv4 unicast"]
    lines = ["configure terminal", permitted, *bgpd, *lines]
    return faults.Step(dual_tor.SERVER, ("vtysh", *(w for line in lines for w in ("-c", line))))


def ip(line: str) -> faults.Step:
    return faults.Step(dual_tor.SERVER, ("ip", *line.split()))


def test_what_is_stale_strange_or_touched_is_found(
    lab: NamespaceDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It waits for a withdrawal that does not come.
    monkeypatch.setattr(experiment, "REACTION_S", 6.0)
    down = faults.FAULTS["service-down"]
    planted = "blackhole 198.18.1.0/24 proto 77"
    fault = replace(
        down,
        inject=(
            ip(f"address add {STRANGER} dev lo"),
            originated(""),
            ip(f"route del {planted}"),
            *down.inject,
        ),
        heal=(originated("no"), ip(f"address del {STRANGER} dev lo"), *down.heal),
    )

    found = results.result(experiment.run(lab, fault, lambda _: None))

    failed = {check["what"]: check["saw"] for check in found["checks"] if not check["held"]}
    assert found["stale"] == [f"during: {tor} still has service ipv4" for tor in ("tor1", "tor2")]
    assert failed["no announcement is stale"] == "; ".join(found["stale"])
    assert failed["nothing else is announced"] == f"tor1: {STRANGER}; tor2: {STRANGER}"
    assert "198.18.1.0/24" in failed["no foreign route of the server changed"]
    assert found["foreign_untouched"] is False
    convergence.wait_converged(lab)
