from __future__ import annotations

from lab.routes import KernelRoute, best

ECMP = {
    "dst": "default",
    "metric": 20,
    "prefsrc": "10.255.10.1",
    "nexthops": [{"dev": "eth2", "flags": []}, {"dev": "eth1", "flags": []}],
}
WORSE = {"dst": "default", "metric": 4261413000, "dev": "eth1", "flags": []}


def test_the_lowest_metric_counts() -> None:
    assert best([WORSE, ECMP], "default") == KernelRoute(("tor1", "tor2"), "10.255.10.1")


def test_a_dead_next_hop_does_not() -> None:
    hops = [{"dev": "eth2", "flags": ["dead", "linkdown"]}, {"dev": "eth1", "flags": []}]

    assert best([ECMP | {"nexthops": hops}], "default").uplinks == ("tor1",)


def test_no_route_is_an_empty_one() -> None:
    assert best([ECMP], "192.0.2.53") == KernelRoute()
    assert str(KernelRoute()) == "none"


def test_a_route_without_metric_is_the_best() -> None:
    single = {"dst": "default", "dev": "eth2", "flags": []}

    assert best([ECMP, single], "default") == KernelRoute(("tor2",))


def test_a_discard_route_has_no_uplink() -> None:
    assert (
        best([{"type": "blackhole", "dst": "192.0.2.53", "flags": []}], "192.0.2.53").uplinks == ()
    )
