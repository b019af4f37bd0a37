"""What must hold in direct mode, where each ToR is told of each prefix for itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import policy
from bgphealth.core.carrying import carriers
from bgphealth.core.decisions import session_key
from bgphealth.core.events import Event
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, Intents
from bgphealth.core.reconcile import reconcile
from bgphealth.core.settings import AllDown, Family, Mode, Prefix, Settings, UplinkPath
from bgphealth.core.state import State
from tests.property.test_engine_properties import (
    applied,
    hosts,
    runs,
    states,
    working_paths,
)

DIRECT = (Mode.DIRECT,)

Run = tuple[Settings, list[Event]]


def ends(settings: Settings) -> dict[PathKey, UplinkPath]:
    return {PathKey(u.name, p.family): p for u in settings.uplinks for p in u.paths}


def told(intents: Intents, settings: Settings, prefix: Prefix) -> set[str]:
    """Return the uplinks whose ToRs a prefix is announced to."""
    return {
        key.uplink for key, path in ends(settings).items() if session_key(prefix, path) in intents
    }


def served(state: State) -> list[Prefix]:
    """Return the prefixes of the services that are up."""
    return [
        prefix
        for service in state.settings.services
        if state.service_verdicts[service.name].level is Level.UP
        for prefix in service.prefixes
    ]


@given(runs(DIRECT))
def test_nothing_is_announced_over_a_dead_path_while_another_works(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for prefix in served(state):
            if working := working_paths(state, Family.of(prefix)):
                assert told(state.intents, settings, prefix) <= working


@given(runs(DIRECT))
def test_a_service_goes_to_all_clean_paths_or_to_all_degraded_ones(run: Run) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for prefix in served(state):
            family = Family.of(prefix)
            levels = {
                k.uplink: v.level for k, v in state.path_verdicts.items() if k.family is family
            }
            if usual := carriers(levels):
                assert told(state.intents, settings, prefix) == usual


@given(runs(DIRECT))
def test_every_route_is_for_one_neighbor_of_its_family_and_says_what_ebgp_may(run: Run) -> None:
    settings, events = run
    neighbors = {path.neighbor for path in ends(settings).values()}
    for _, _, state in states(settings, events):
        assert policy.owned(settings) == set(state.decisions)
        for key, announcement in state.intents.items():
            assert key.neighbor in neighbors
            assert key.neighbor is not None
            assert Family.of(key.neighbor) is Family.of(key.prefix)
            assert announcement == Announcement(key, next_hop=None, local_pref=None)


@given(runs(DIRECT))
def test_what_keeps_never_takes_the_last_neighbor_away(run: Run) -> None:
    settings, events = run
    if settings.all_down is AllDown.WITHDRAW:
        return
    for before, _, after in states(settings, events):
        for prefix in set(served(before)) & set(served(after)):
            if told(before.intents, settings, prefix):
                assert told(after.intents, settings, prefix)


@given(st.data())
def test_no_command_on_the_way_takes_a_prefix_from_every_tor(data: st.DataObject) -> None:
    """Make before break: a prefix that moves from one ToR to another is never at none."""
    settings = data.draw(hosts(DIRECT))
    everything = [Announcement(key, None, None) for key in sorted(policy.owned(settings), key=str)]
    tables = st.lists(st.sampled_from(everything), unique=True)
    sent, wanted = ({a.key: a for a in data.draw(tables)} for _ in range(2))
    for prefix in {key.prefix for key in policy.owned(settings)}:
        if told(sent, settings, prefix) and told(wanted, settings, prefix):
            for table in applied(sent, reconcile(wanted, sent)):
                assert told(table, settings, prefix)
