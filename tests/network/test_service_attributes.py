"""What the file says that a service carries is what the ToRs and the core have of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from lab import convergence, dual_tor, faults, state, topology
from lab.namespaces import NamespaceDriver
from lab.topology import Topology

Lab = NamespaceDriver
Path = dict[str, Any]

SAID = """\
  echo:
    announce:
      communities: [65000:100, "65101:999"]
      large_communities: [65101:1:1, 4200000101:0:4294967295]
      med: 50
      prepend: 1
    on_degraded: {prepend: 4, med: 1000}
"""
KEPT = """\
    on_injector_loss: keep
"""
COMMUNITIES = {"65000:100", "65101:999"}
LARGE = {"65101:1:1", "4200000101:0:4294967295"}
PREFIXES = {"ipv4": "192.0.2.53/32", "ipv6": "2001:db8::53/128"}
SERVER_ENDS = {
    "tor1": {"ipv4": "10.0.1.1", "ipv6": "2001:db8:1::1"},
    "tor2": {"ipv4": "10.0.2.1", "ipv6": "2001:db8:2::1"},
}
TOR_ENDS = {
    "tor1": {"ipv4": "10.1.1.1", "ipv6": "2001:db8:11::1"},
    "tor2": {"ipv4": "10.1.2.1", "ipv6": "2001:db8:12::1"},
}
"""Of their links to the core."""
ASN = {"tor1": 65001, "tor2": 65002}


def saying(shipped: Topology, directory: Any) -> Topology:  # noqa: ANN401 - pytest's
    """Return the topology with a file that says more of the service."""
    (bind,) = (b for b in shipped.binds(dual_tor.SERVER) if b.target.name == "bgphealth.yaml")
    text = bind.source.read_text(encoding="utf-8")
    assert text.count("  echo:\n") == 1
    file = directory / "bgphealth.yaml"
    said = SAID + KEPT if shipped.name == dual_tor.NAME else SAID
    file.write_text(text.replace("  echo:\n", said), encoding="utf-8")
    server = shipped.nodes[dual_tor.SERVER]
    binds = tuple(
        f"{file}:{bind.target}:ro" if f":{bind.target}" in text else text for text in server.binds
    )
    shipped.nodes = {
        **shipped.nodes,
        dual_tor.SERVER: server.model_copy(update={"binds": binds}),
    }
    return shipped


@pytest.fixture(scope="module", params=[dual_tor.NAME, dual_tor.DIRECT])
def saying_lab(
    request: pytest.FixtureRequest, _machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("saying")
    directory.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(directory / "state"))
        lab = Lab(saying(topology.load(topology.find(request.param)), directory))
        lab.up()
        try:
            convergence.wait_converged(lab)
            yield lab
        finally:
            lab.down()


def path(lab: Lab, node: str, peer: str, family: str) -> Path | None:
    """Return what a node's bgpd has of the service from one peer."""
    asked = ["vtysh", "-c", f"show bgp {family} unicast {PREFIXES[family]} json"]
    paths = json.loads(lab.run(node, asked).stdout or "{}").get("paths", [])
    return next((p for p in paths if p["peer"]["peerId"] == peer), None)


def differences(found: Path | None, *, as_path: str, med: int | None) -> list[str]:
    if found is None:
        return ["there is no path"]
    seen = {
        "as path": (found["aspath"]["string"], as_path),
        "communities": (set(found.get("community", {}).get("list", [])), COMMUNITIES),
        "large": (set(found.get("largeCommunity", {}).get("list", [])), LARGE),
        # A MED ends at the ToR.
        "med": (found.get("metric", 0), med) if med is not None else (None, None),
    }
    return [f"{what}: {is_} for {said}" for what, (is_, said) in seen.items() if is_ != said]


def until(lab: Lab, as_paths: dict[str, tuple[str, int]]) -> None:
    """Wait until each ToR has of the service what is said, and the core what a ToR passes on."""

    def missing() -> list[str]:
        found = []
        for tor, (as_path, med) in as_paths.items():
            for family in dual_tor.FAMILIES:
                at_tor = path(lab, tor, SERVER_ENDS[tor][family], family)
                seen = differences(at_tor, as_path=as_path, med=med)
                found += [f"{tor} {family}: {difference}" for difference in seen]
                at_core = path(lab, "core", TOR_ENDS[tor][family], family)
                # To a ToR with the worse path, the other one's is better, over the core.
                if (as_path, med) == WORSE:
                    found += [f"the core has it from {tor} ({family})"] if at_core else []
                    continue
                seen = differences(at_core, as_path=f"{ASN[tor]} {as_path}", med=None)
                found += [f"core, from {tor} ({family}): {difference}" for difference in seen]
        return found

    convergence.wait_until("what the file says", missing, 30.0)


CLEAN = ("65101 65101", 50)
WORSE = ("65101 65101 65101 65101 65101", 1000)


@contextmanager
def fault(lab: Lab, name: str) -> Iterator[None]:
    faults.run_steps(lab, faults.FAULTS[name].inject)
    try:
        yield
    finally:
        faults.run_steps(lab, faults.FAULTS[name].heal)


def core_uses(lab: Lab, what: str, family: str) -> set[str]:
    """Return the ToRs over which the core's kernel reaches a prefix."""
    option = "-4" if family == "ipv4" else "-6"
    output = lab.run("core", ["ip", "-json", option, "route", "show", what]).stdout
    hops = [hop for route in json.loads(output) for hop in route.get("nexthops", [route])]
    return {dual_tor.TOR_BEHIND[hop["dev"]] for hop in hops}


def wait(what: str, holds: Callable[[], bool]) -> None:
    convergence.wait_until(what, lambda: [] if holds() else ["it is not so"], 30.0)


def test_the_core_sees_what_the_file_says(saying_lab: Lab) -> None:
    until(saying_lab, {"tor1": CLEAN, "tor2": CLEAN})
    # What the service carries is its own alone.
    for family, loopback in dual_tor.LOOPBACK.items():
        asked = ["vtysh", "-c", f"show bgp {family} unicast {loopback} json"]
        paths = json.loads(saying_lab.run("tor1", asked).stdout)["paths"]
        (mine,) = [p for p in paths if p["peer"]["peerId"] == SERVER_ENDS["tor1"][family]]
        assert mine["aspath"]["string"] == "65101"
        assert not mine.keys() & {"community", "largeCommunity"}


def test_a_degraded_uplink_keeps_the_service_as_a_worse_path(saying_lab: Lab) -> None:
    with fault(saying_lab, "uplink-loss"):
        until(saying_lab, {"tor1": CLEAN, "tor2": WORSE})
        for family, loopback in dual_tor.LOOPBACK.items():
            # The host loopback has nothing of this: the degraded uplink does not carry it.
            for prefix in (PREFIXES[family], loopback):
                wait(
                    f"the core reaches {prefix} over tor1 alone",
                    partial(
                        lambda *asked: core_uses(saying_lab, *asked) == {"tor1"}, prefix, family
                    ),
                )
    until(saying_lab, {"tor1": CLEAN, "tor2": CLEAN})
    log = saying_lab.run(dual_tor.SERVER, ["cat", dual_tor.EXABGP_LOG]).stdout
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    # bgpd has what was announced, and is asked for it all the time.
    assert not [e for e in events if e["event"] in ("drift", "bgpd_not_asked", "exabgp_refused")]


@pytest.mark.parametrize("saying_lab", [dual_tor.NAME], indirect=True, scope="module")
def test_bgpd_goes_on_announcing_it_alike_without_exabgp(saying_lab: Lab) -> None:
    stop = "kill -STOP $(cat /run/exabgp.pid)"
    saying_lab.run(dual_tor.SERVER, ["sh", "-c", stop])
    try:
        asked = ["vtysh", "-c", "show bgp neighbors 127.0.0.2 json"]
        wait(
            "the session has timed out",
            lambda: (
                json.loads(saying_lab.run(dual_tor.SERVER, asked).stdout)["127.0.0.2"]["bgpState"]
                != "Established"
            ),
        )
        until(saying_lab, {"tor1": CLEAN, "tor2": CLEAN})
    finally:
        saying_lab.run(dual_tor.SERVER, ["sh", "-c", stop.replace("STOP", "CONT")])
    convergence.wait_converged(saying_lab)
