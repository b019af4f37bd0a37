"""F6: zebra reads the top byte of a kernel route's metric as its administrative distance.

A fallback default with metric 20200 has distance 0: zebra removes the BGP default. With metric
``(254<<24)+n`` it has distance 254 and BGP stays. A DHCP default (metric 100) on the host does the
same damage.
"""

from __future__ import annotations

import pytest

from tests.network.facts.laboratory import Default, Family, Lab, each_family

pytestmark = pytest.mark.network

LAST_RESORT = (254 << 24) + 1
BGP_DISTANCE = 200
"""Of iBGP, as in FRR by default: a kernel route below it wins."""


def via_tor2(family: Family, metric: int, *more: str) -> tuple[str, ...]:
    return ("default", "via", family.tors[1], "dev", "eth2", "metric", str(metric), *more)


def distance_of_the_kernels(lab: Lab, family: Family) -> int | None:
    """Return the distance that zebra gives to the kernel's default; None while it knows none."""
    entries = lab.zebra(family, family.default)
    return next((e.get("distance", 0) for e in entries if e["protocol"] == "kernel"), None)


@each_family
@pytest.mark.parametrize(
    ("metric", "more"),
    [
        pytest.param(20200, (), id="a fallback's 20200"),
        pytest.param(100, ("proto", "dhcp"), id="DHCP's 100"),
    ],
)
def test_f6_a_kernel_default_with_a_low_metric_evicts_the_bgp_default(
    lab: Lab, family: Family, metric: int, more: tuple[str, ...]
) -> None:
    with lab.route(family, *via_tor2(family, metric, *more)):
        lab.eventually(
            "BGP's default is not in the kernel any more",
            lambda: [r["metric"] for r in lab.kernel("server1", family, "default")] == [metric],
        )
        assert distance_of_the_kernels(lab, family) == 0, lab.evidence()
        # bgpd knows nothing of it: only the kernel shows the damage.
        assert len(lab.injected(family)) == 2, lab.evidence()
    lab.eventually("it comes back", lambda: lab.default(family) == family.injected_default)


@each_family
def test_f6_a_kernel_default_with_distance_254_in_its_metric_leaves_bgp_alone(
    lab: Lab, family: Family
) -> None:
    with lab.route(family, *via_tor2(family, LAST_RESORT)):
        lab.eventually(
            "zebra has seen it", lambda: distance_of_the_kernels(lab, family) == LAST_RESORT >> 24
        )
        lab.throughout(
            1.0, "BGP's default stays", lambda: lab.default(family) == family.injected_default
        )
        assert len(lab.kernel("server1", family, "default")) == 2, lab.evidence()


@each_family
@pytest.mark.parametrize("distance", [BGP_DISTANCE - 1, BGP_DISTANCE + 1])
def test_f6_the_top_byte_is_compared_with_the_distance_of_bgp(
    lab: Lab, family: Family, distance: int
) -> None:
    with lab.route(family, *via_tor2(family, (distance << 24) + 1)):
        lab.eventually(
            "zebra has seen it", lambda: distance_of_the_kernels(lab, family) == distance
        )
        expected = "bgp" if distance > BGP_DISTANCE else "boot"
        lab.eventually(
            f"the default is {expected}'s",
            lambda: (d := lab.default(family)) is not None and d.protocol == expected,
        )


@each_family
def test_f6_a_default_of_last_resort_serves_when_bgp_has_none(lab: Lab, family: Family) -> None:
    bgp = "router bgp 65101"
    with (
        lab.route(family, *via_tor2(family, LAST_RESORT)),
        lab.without((bgp, "bgp shutdown"), afterwards=(bgp, "no bgp shutdown")),
    ):
        lab.eventually(
            "it is the kernel's only default",
            lambda: lab.default(family) == Default("boot", ("eth2",), None),
        )
