"""F3: two defaults with different path-information from the one session become ECMP.

With ``maximum-paths ibgp N`` in bgpd, and ``capability { add-path send; }`` in ExaBGP.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import FAMILIES, Family, Lab, each_family

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network


def maximum_paths(number: int) -> tuple[str, ...]:
    lines = ["router bgp 65101"]
    for family in FAMILIES:
        lines += [f"address-family {family.name} unicast", f"maximum-paths ibgp {number}", "exit"]
    return tuple(lines)


@contextmanager
def without_add_path(lab: Lab) -> Iterator[None]:
    rendered, changed = "add-path send;", "add-path disable;"
    assert lab.server("grep", "-c", rendered, "/etc/exabgp/exabgp.conf").strip() == "1"

    def replace(old: str, new: str) -> None:
        lab.server("sed", "-i", f"s/{old}/{new}/", "/etc/exabgp/exabgp.conf")
        lab.restart_exabgp()

    try:
        replace(rendered, changed)
        yield
    finally:
        replace(changed, rendered)


def used(lab: Lab, family: Family) -> list[str]:
    """Return the next hops of the injected defaults that bgpd uses."""
    return sorted(
        path["nexthops"][0]["ip"]
        for path in lab.injected(family)
        if path.get("multipath") or path.get("bestpath", {}).get("overall")
    )


def interfaces(lab: Lab, family: Family) -> tuple[str, ...]:
    default = lab.default(family)
    return default.interfaces if default else ()


@each_family
def test_f3_two_defaults_with_different_path_information_become_ecmp(
    lab: Lab, family: Family
) -> None:
    injected = lab.injected(family)
    assert sorted(path["nexthops"][0]["ip"] for path in injected) == list(family.tors)
    assert all(path.get("multipath") for path in injected), lab.evidence()
    assert interfaces(lab, family) == ("eth1", "eth2"), lab.evidence()


@each_family
def test_f3_a_withdrawn_uplink_is_one_withdrawn_path(lab: Lab, family: Family) -> None:
    lab.say(family.withdrawn_path(2))
    lab.eventually(
        "the default of tor1 alone is left",
        lambda: interfaces(lab, family) == ("eth1",) and len(lab.injected(family)) == 1,
    )
    assert used(lab, family) == [family.tors[0]], lab.evidence()
    lab.say(family.default_path(2))
    lab.eventually("both again", lambda: interfaces(lab, family) == ("eth1", "eth2"))


def test_f3_with_maximum_paths_1_only_one_of_the_two_is_used(lab: Lab) -> None:
    with lab.without(maximum_paths(1), afterwards=maximum_paths(2)):
        for family in FAMILIES:
            lab.eventually(
                f"one next hop for the {family} default",
                lambda f: len(interfaces(lab, f)) == 1 and len(used(lab, f)) == 1,
                family,
            )
            assert len(lab.injected(family)) == 2, lab.evidence()


def test_f3_without_add_path_the_second_default_replaces_the_first(lab: Lab) -> None:
    with without_add_path(lab):
        assert "txReceived" not in lab.injector()["neighborCapabilities"]["addPath"]["ipv4Unicast"]
        for family in FAMILIES:
            lab.say(family.default_path(1), family.default_path(2))
            lab.eventually(
                f"the {family} default of tor2 alone is there",
                lambda f: interfaces(lab, f) == ("eth2",) and len(lab.injected(f)) == 1,
                family,
            )
        lab.throughout(
            2.0,
            "never more than one path",
            lambda: all(len(lab.injected(family)) == 1 for family in FAMILIES),
        )
    assert lab.injector()["neighborCapabilities"]["addPath"]["ipv4Unicast"]["txReceived"]
