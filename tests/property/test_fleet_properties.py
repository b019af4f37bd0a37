"""Whatever befalls a fleet, no host leaves its last uplink, and damping bounds what it says."""

from __future__ import annotations

from itertools import pairwise
from math import log

from hypothesis import given, settings
from hypothesis import strategies as st

from bgphealth import config
from lab import fleet
from lab.cli_fleet import HOST
from lab.fleet_faults import FAULTS, FleetFault, beyond

SETTINGS = config.load(HOST)


@st.composite
def faults(draw: st.DrawFn) -> FleetFault:
    """Draw something that comes and goes, up to eight times."""
    moments = sorted(draw(st.sets(st.integers(0, 400), min_size=2, max_size=16)))
    spells = tuple((a / 10, b / 10) for a, b in list(pairwise(moments))[::2])
    return FAULTS["spine-dark"]._replace(spells=spells, tail_s=5.0)


@st.composite
def parts(draw: st.DrawFn, losses: tuple[float, ...]) -> fleet.Part:
    hit = [(asked, draw(st.sampled_from(losses))) for asked in beyond(SETTINGS)]
    return fleet.Part(
        tuple((asked, loss) for asked, loss in hit if loss),
        draw(st.integers(0, fleet.PHASES - 1)),
        draw(st.integers(0, 1000)),
    )


@settings(max_examples=15)
@given(faults(), parts((0.0, 0.1, 0.3, 0.7, 1.0)))
def test_nobody_leaves_his_last_uplink(fault: FleetFault, part: fleet.Part) -> None:
    told = fleet.live(SETTINGS, fault, part)
    assert told.fewest >= 1


@settings(max_examples=15)
@given(faults(), parts((0.0, 1.0)))
def test_damping_bounds_what_a_host_says(fault: FleetFault, part: fleet.Part) -> None:
    told = fleet.live(SETTINGS, fault, part)
    damping = SETTINGS.damping
    assert damping is not None
    lasts_s = fault.heals_s + fault.tail_s
    decay = lasts_s * damping.suppress * log(2) / damping.half_life_s
    # Of one path (docs/adr/0014-damping.md).
    falls = (damping.suppress + 1000 + decay) / 1000
    # A fall and the return from it: each may be told to the one ToR and, of a spare, the other.
    assert sum(sent.messages for sent in told.sent) <= 4 * falls * len(SETTINGS.uplinks)
