"""Two anycast servers with a guarded service, the real FRR and ExaBGP on both, under traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import anycast, convergence, dual_tor, state
from lab.anycast import Variation
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import configure

VARIATIONS = [
    # Of each two of these, every combination is among them; `python -m lab anycast` has all.
    Variation(same_tors=False, same_asn=True, honours=True),
    Variation(same_tors=True, same_asn=True, honours=False),
    Variation(same_tors=True, same_asn=False, honours=True),
    Variation(same_tors=False, same_asn=False, honours=False),
]

WRONG = {"drift", "bgpd_not_asked", "exabgp_refused", "alternatives_unknown"}


@contextmanager
def brought_up(variation: Variation, directory: Path) -> Iterator[NamespaceDriver]:
    directory.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(directory / "state"))
        lab = NamespaceDriver(anycast.varied(variation, directory))
        lab.up()
        try:
            convergence.wait_converged(lab)
            yield lab
        finally:
            lab.down()


@pytest.mark.alone
@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
def test_the_address_moves_and_never_vanishes(
    variation: Variation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with brought_up(variation, tmp_path_factory.mktemp("anycast")) as lab:
        found = anycast.run(lab, variation, lambda _: None)
        failed = [check["what"] for check in found["checks"] if not check["held"]]
        assert failed == [], convergence.diagnosis(lab)
        assert found["direction"]["in"]["sent"] > 1000
        for server in anycast.SERVERS:
            assert not WRONG & {event["event"] for event in events(lab, server)}
        if variation == VARIATIONS[0]:
            nothing_else_may_have_our_as_in_its_path(lab)


def events(lab: NamespaceDriver, server: str) -> list[dict[str, str]]:
    log = lab.run(server, ["cat", dual_tor.EXABGP_LOG]).stdout
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def default_from_tors(lab: NamespaceDriver) -> set[str]:
    """Return the ToRs whose default server1 has."""
    output = lab.run("server1", ["vtysh", "-c", "show bgp ipv4 unicast 0.0.0.0/0 json"]).stdout
    peers = {path["peer"]["peerId"] for path in json.loads(output).get("paths", [])}
    return peers & {"10.0.1.0", "10.0.2.0"}


def nothing_else_may_have_our_as_in_its_path(lab: NamespaceDriver) -> None:
    """`allowas-in` is for what is guarded: a default that has been here is a loop."""
    convergence.wait_until(
        "both ToRs' defaults",
        lambda: [] if len(default_from_tors(lab)) == len(dual_tor.TOR_BEHIND) else ["a default"],
    )
    configure(lab, "core", "route-map LOOP permit 10", "set as-path prepend 65101")
    configure(
        lab,
        "core",
        "router bgp 65000",
        "address-family ipv4 unicast",
        "neighbor TOR4 default-originate route-map LOOP",
    )
    convergence.wait_until(
        "no default with our AS in its path",
        lambda: [f"default from {tor}" for tor in default_from_tors(lab)],
    )
