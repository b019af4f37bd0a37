"""F12: bgpd's own origin of a prefix, worse in every way, matters only without the injected path.

The host loopback has such an origin in the rendered frr.conf (`on_injector_loss: keep`).
"""

from __future__ import annotations

import pytest

from tests.network.facts.laboratory import BOTH, TORS, Family, Lab, each_family

pytestmark = pytest.mark.network


def prefix(family: Family) -> str:
    return f"{family.loopback}/{family.length}"


def inject(lab: Lab, family: Family, *communities: str) -> None:
    with_them = f" community [{' '.join(communities)}]" if communities else ""
    lab.say(
        f"announce route {prefix(family)} next-hop {family.discard} local-preference 100{with_them}"
    )


def exported(lab: Lab, family: Family) -> list[str]:
    """Return the ToRs that have the prefix from the server itself."""
    links = zip(TORS, family.links, strict=True)
    return [tor for tor, link in links if lab.path_from(tor, link, family, prefix(family))]


def med(lab: Lab, family: Family) -> list[int | None]:
    links = zip(TORS, family.links, strict=True)
    paths = [lab.path_from(tor, link, family, prefix(family)) for tor, link in links]
    return [path.get("metric") if path else None for path in paths]


@each_family
def test_f12_the_backup_loses_to_the_injected_path_and_comes_out_without_it(
    lab: Lab, family: Family
) -> None:
    lab.eventually("bgpd announces it by itself", lambda: exported(lab, family) == list(TORS))
    assert med(lab, family) == [1000, 1000]
    try:
        inject(lab, family, *BOTH)
        # Instead of no MED, bgpd may send 0.
        lab.eventually(
            "it gives way",
            lambda: exported(lab, family) == list(TORS) and 1000 not in med(lab, family),
        )
        inject(lab, family, BOTH[0])
        lab.eventually("one ToR has it", lambda: exported(lab, family) == [TORS[0]])
        lab.throughout(1.0, "and the other has not", lambda: exported(lab, family) == [TORS[0]])

        lab.restart_exabgp()
        # Nothing is injected now: the same as with no ExaBGP.
        lab.eventually("bgpd announces it again", lambda: exported(lab, family) == list(TORS))
        assert med(lab, family) == [1000, 1000]
    finally:
        lab.say(f"withdraw route {prefix(family)}")


@each_family
def test_f12_withdrawn_is_not_away_and_announced_to_no_uplink_is(lab: Lab, family: Family) -> None:
    try:
        inject(lab, family)
        lab.eventually("no ToR has it", lambda: exported(lab, family) == [])
        lab.throughout(1.0, "no ToR has it", lambda: exported(lab, family) == [])
        lab.say(f"withdraw route {prefix(family)}")
        lab.eventually("the backup comes out", lambda: exported(lab, family) == list(TORS))
    finally:
        lab.say(f"withdraw route {prefix(family)}")
