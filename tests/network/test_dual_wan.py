"""A server with two gateways and no BGP: bgphealth alone, beside the defaults of a DHCP client."""

from __future__ import annotations

import json
import time
from typing import Any

from lab import convergence, dual_tor, dual_wan, experiment, faults, results, scene, watch
from lab.catalogue import find
from lab.namespaces import NamespaceDriver
from tests.support.survey import guessed, own


def measure(lab: NamespaceDriver, name: str) -> dict[str, Any]:
    found = results.result(experiment.run(lab, find(name, dual_wan.NAME), lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps({"failed": failed, "timeline": found["timeline"]}, indent=2)
    return found


def kernel(lab: NamespaceDriver) -> str:
    """Return every route and every rule of the server."""
    shown = "ip -d route show table all; ip -6 -d route show table all; ip rule; ip -6 rule"
    return lab.run(dual_tor.SERVER, ["sh", "-c", shown]).stdout


def events(lab: NamespaceDriver, name: str) -> list[dict[str, Any]]:
    log = lab.run(dual_tor.SERVER, ["cat", dual_wan.LOG]).stdout.splitlines()
    return [json.loads(line) for line in log if f'"event": "{name}"' in line]


def in_use(lab: NamespaceDriver) -> dict[str, str]:
    """Return the gateway that was last said to be in use, by family."""
    return {each["family"]: each["uplink"] for each in events(lab, "default_in_use")}


def wait_for_verdict(lab: NamespaceDriver, verdict: str) -> None:
    """Wait until every path of every gateway was last judged so."""
    gateways = scene.of(dual_wan.NAME).behind.values()
    paths = {(gateway, family) for gateway in gateways for family in dual_tor.FAMILIES}

    def missing() -> list[str]:
        last = {(each.uplink, each.family): each.after for each in watch.read_verdicts(lab)}
        return [f"{path} {verdict}" for path in sorted(paths) if last.get(path) != verdict]

    convergence.wait_until("the verdicts", missing)


def test_init_writes_what_is_essentially_the_labs_own(wan_lab: NamespaceDriver) -> None:
    """From the defaults that are not bgphealth's, which come first in the meantime."""
    there, labs = guessed(wan_lab), own(wan_lab)
    assert there.mode is labs.mode
    assert [(u.name, u.interface, [p.family for p in u.paths]) for u in there.uplinks] == [
        (u.name, u.interface, [p.family for p in u.paths]) for u in labs.uplinks
    ]
    # DHCP and advertisements made them all.
    assert {path.neighbor for uplink in there.uplinks for path in uplink.paths} == {None}


def test_a_gateway_that_leads_nowhere_is_left_and_used_again_when_it_is_stable(
    wan_lab: NamespaceDriver,
) -> None:
    found = measure(wan_lab, "uplink-blackhole")

    for family in found["families"].values():
        assert family["detect_s"] < family["kernel_s"]
        assert family["direction"]["out"]["lost"] > 0
    # The address of a link dies with the link; new connections have another one long before.
    assert found["direction"]["kept"]["lost"] > found["direction"]["out"]["lost"]
    assert found["direction"]["in"]["lost"] == 0
    assert found["recovery_s"] > scene.settings(dual_wan.NAME).stable_for_s


def test_nothing_at_all_changes_in_the_kernel_while_both_lead_nowhere(
    wan_lab: NamespaceDriver,
) -> None:
    both, before = find("both-uplinks", dual_wan.NAME), kernel(wan_lab)
    faults.run_steps(wan_lab, both.inject)
    try:
        wait_for_verdict(wan_lab, "down")
        time.sleep(1.0)  # Whatever it might still do.
        assert kernel(wan_lab) == before
    finally:
        faults.run_steps(wan_lab, both.heal)
    # The first one that is up again is used, whichever it is.
    wait_for_verdict(wan_lab, "up")
    convergence.wait_until(
        "the use of gw1",
        lambda: [f"{f} over it" for f, gateway in in_use(wan_lab).items() if gateway != "gw1"],
    )
    convergence.wait_until("as before", lambda: [] if kernel(wan_lab) == before else ["a route"])


def test_a_deleted_default_of_dhcp_is_explained_and_traffic_goes_on(
    wan_lab: NamespaceDriver,
) -> None:
    measure(wan_lab, "dhcp-default-deleted")

    said = events(wan_lab, "foreign_default_gone")
    (gone,) = (each for each in said if "proto dhcp" in each["default"])
    assert "via 10.0.1.1 dev eth1" in gone["default"]
    assert "via 10.0.1.1 dev eth1" in gone["used"]


def test_traffic_goes_on_when_every_default_is_deleted(wan_lab: NamespaceDriver) -> None:
    found = measure(wan_lab, "defaults-deleted")

    for direction, figures in found["direction"].items():
        assert figures["lost"] < figures["sent"] / 2, direction
