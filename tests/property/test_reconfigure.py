"""Another file for a running engine: what was not changed goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bgphealth.core import engine, policy
from bgphealth.core.decisions import default_key
from bgphealth.core.events import Event, LinkChanged, Settled, Started, Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import (
    AllDown,
    Family,
    InjectorLoss,
    Mode,
    ProbeKind,
    ProbeSettings,
    ServiceSettings,
    Settings,
    Timing,
    UplinkSettings,
)
from bgphealth.core.state import DecisionChanged, IntentsChanged, PathChanged, State
from tests.property.test_engine_properties import bursts
from tests.support.hosts import FALL, RISE, checked, host, round_of

FULL, DIRECT = (
    host(uplinks=4, families=(Family.IPV4, Family.IPV6), mode=mode)
    for mode in (Mode.FRR, Mode.DIRECT)
)
TIMING, LOSS = Timing(1, 1, 3, 3), InjectorLoss.WITHDRAW
WEB = ServiceSettings("web", (ip_network("192.0.2.80/32"),), (), 0, TIMING, None, LOSS)


def _edited(uplink: UplinkSettings, edit: str) -> UplinkSettings:
    probe = ProbeSettings(ProbeKind.ICMP, ip_address("198.51.100.9"))
    match edit:
        case "interface":
            return replace(uplink, interface=f"other{uplink.number}")
        case "gateway":
            paths = tuple(replace(p, gateway=(*p.gateway, probe)) for p in uplink.paths)
        case "fewer":
            paths = tuple(replace(p, beyond=p.beyond[:1]) for p in uplink.paths)
        case "source":
            paths = tuple(replace(p, probe_source=p.next_hop) for p in uplink.paths)
        case _:
            return uplink
    return replace(uplink, paths=paths)


@st.composite
def files(draw: st.DrawFn, full: Settings) -> Settings:
    chosen = draw(st.lists(st.sampled_from(range(4)), min_size=1, unique=True))
    edits = st.sampled_from(["", "", "interface", "gateway", "fewer", "source"])
    uplinks = tuple(_edited(full.uplinks[n], draw(edits)) for n in sorted(chosen))
    services = (*full.services, WEB) if draw(st.booleans()) else full.services
    return replace(full, uplinks=uplinks, services=services)


@st.composite
def two_files(draw: st.DrawFn) -> tuple[Settings, Settings]:
    full = draw(hosts)
    return draw(files(full)), draw(files(full))


hosts = st.sampled_from([FULL, DIRECT])


@st.composite
def _grown(draw: st.DrawFn, state: State) -> State:
    events: list[Event] = [e for b in draw(st.lists(bursts(state.settings), max_size=8)) for e in b]
    for event in events:
        state, _ = engine.step(state, event)
    return state


def _up(settings: Settings) -> State:
    state, _ = engine.step(engine.initial(settings), Started(0.0))
    answers = [e for _ in range(RISE) for u in settings.uplinks for e in round_of(u, Verdict.OK)]
    events: list[Event] = [*answers, *[checked(Verdict.OK)] * RISE, Settled(0.0)]
    for event in events:
        state, _ = engine.step(state, event)
    return state


@st.composite
def reloads(draw: st.DrawFn) -> list[tuple[State, State]]:
    """A run with several reloads: the state before and after each of them."""
    full = draw(hosts)
    state = _up(draw(files(full)))
    pairs = []
    for _ in range(draw(st.integers(1, 4))):
        before = draw(_grown(state))
        state, _ = reconfigure(before, draw(files(full)), 1.0)
        pairs.append((before, state))
    return pairs


@given(hosts.flatmap(files), st.data())
def test_the_same_file_changes_nothing(settings: Settings, data: st.DataObject) -> None:
    state, _ = engine.step(engine.initial(settings), Started(0.0))
    state = data.draw(_grown(state))
    assert reconfigure(state, replace(settings), 1.0) == (state, ())


@given(reloads())
def test_no_route_that_stays_in_the_file_is_withdrawn(pairs: list[tuple[State, State]]) -> None:
    """It stays as it is announced, or it waits for a verdict and is left alone.

    Unless an edit has brought up another path of the family, and its own is not as good.
    """
    for before, after in pairs:
        waits = policy.undecided(after.decisions)
        for key in before.intents.keys() & policy.owned(after.settings):
            if key in after.intents or key in waits:
                continue
            assert after.decisions[key].reason in {Reason.PATH_DOWN, Reason.PATH_DEGRADED}
            family = Family.of(key.prefix)
            others = {p: v for p, v in after.path_verdicts.items() if p.family is family}
            up = [path for path, verdict in others.items() if verdict.level is Level.UP]
            assert any(before.path_verdicts.get(path) != others[path] for path in up)


@given(reloads())
def test_a_service_loses_no_uplink_for_having_been_edited(pairs: list[tuple[State, State]]) -> None:
    """Only one that is down, or degraded, by the answers that still count."""
    for before, after in pairs:
        names = {u.number: u.name for u in after.settings.uplinks}
        for key, announced in before.intents.items():
            new = after.intents.get(key)
            if key.path_id or new is None:
                continue
            for community in set(announced.communities) - set(new.communities):
                if name := names.get(community.value):
                    path = PathKey(name, Family.of(key.prefix))
                    assert after.path_verdicts[path].level in {Level.DOWN, Level.DEGRADED}


@given(reloads())
def test_what_is_asked_as_before_keeps_its_verdict(pairs: list[tuple[State, State]]) -> None:
    for before, after in pairs:
        old = {u.name: u for u in before.settings.uplinks}
        for uplink in after.settings.uplinks:
            if old.get(uplink.name) != uplink:
                continue
            for path in uplink.paths:
                key = PathKey(uplink.name, path.family)
                assert after.path_verdicts[key] == before.path_verdicts[key]
                assert after.paths[key].probes == before.paths[key].probes
        for service in ("loopback", "dns"):
            assert after.service_verdicts[service] == before.service_verdicts[service]


@given(reloads())
def test_nothing_of_what_left_the_file_is_left(pairs: list[tuple[State, State]]) -> None:
    for _, after in pairs:
        owned = policy.owned(after.settings)
        names = {u.name for u in after.settings.uplinks}
        assert after.decisions.keys() == owned
        assert {key.uplink for key in after.paths} == names
        assert {key.uplink for key in {*after.held_since, *after.suspects}} <= names
        assert all(last <= names for last in after.last_usable.values())


@given(two_files(), st.data())
def test_after_it_the_verdicts_are_those_of_a_fresh_start(
    both: tuple[Settings, Settings], data: st.DataObject
) -> None:
    """Once everything has been asked anew, where it came from makes no difference."""
    first, second = both
    old, _ = engine.step(engine.initial(first), Started(0.0))
    reloaded, _ = reconfigure(data.draw(_grown(old)), second, 1.0)
    fresh, _ = engine.step(engine.initial(second), Started(0.0))
    links = [e for u in second.uplinks for e in _link_up(u)]
    answers = [e for _ in range(RISE * 6) for u in second.uplinks for e in round_of(u, Verdict.OK)]
    events: list[Event] = [*links, *answers, *[checked(Verdict.OK)] * RISE]
    for event in events:
        reloaded, _ = engine.step(reloaded, event)
        fresh, _ = engine.step(fresh, event)
    assert reloaded.intents == fresh.intents


def _link_up(uplink: UplinkSettings) -> list[Event]:
    return [LinkChanged(1.0, uplink.name, up=True)]


def test_an_edited_uplink_keeps_its_traffic_until_its_first_verdict() -> None:
    settings = host(uplinks=2)
    state = _up(settings)
    edited = replace(
        settings, uplinks=(settings.uplinks[0], _edited(settings.uplinks[1], "interface"))
    )
    after, effects = reconfigure(state, edited, 1.0)
    key = default_key(Family.IPV4, 2)
    assert after.path_verdicts[PathKey("tor2", Family.IPV4)].level is Level.INIT
    assert policy.undecided(after.decisions) == {key}
    services = [k for k in after.intents if not k.path_id]
    assert all(after.intents[k] == state.intents[k] for k in services)
    assert [e.key for e in effects if isinstance(e, DecisionChanged)] == [key]


def test_an_edited_path_that_is_held_back_still_waits_for_the_others() -> None:
    """All of them are failing: it may be shared fate, and the others are not down yet."""
    settings = host(uplinks=2)
    tor1, tor2 = settings.uplinks
    state = _up(settings)
    once = round_of(tor2, Verdict.FAILED)
    for event in (*once, *round_of(tor1, Verdict.FAILED) * FALL):
        state, _ = engine.step(state, event)
    tor1_key = PathKey("tor1", Family.IPV4)
    assert tor1_key in state.held_since
    after, _ = reconfigure(state, replace(settings, uplinks=(_edited(tor1, "fewer"), tor2)), 1.0)
    assert after.path_verdicts[tor1_key].level is Level.UP
    assert after.intents == state.intents
    for event in once * FALL:
        after, _ = engine.step(after, event)
    assert after.path_verdicts[tor1_key].reason is Reason.SHARED_FATE


def test_every_verdict_that_a_reload_changes_is_said() -> None:
    settings = host(uplinks=2)
    edited = replace(
        settings, uplinks=(settings.uplinks[0], _edited(settings.uplinks[1], "interface"))
    )
    _, effects = reconfigure(_up(settings), edited, 1.0)
    (said,) = (e for e in effects if isinstance(e, PathChanged))
    assert (said.path.uplink, said.before.level, said.after.level) == ("tor2", Level.UP, Level.INIT)


def test_a_link_that_is_down_stays_down_in_the_new_file() -> None:
    settings = host(uplinks=2)
    state, _ = engine.step(_up(settings), LinkChanged(0.5, "tor2", up=False))
    edited = replace(
        settings, uplinks=(settings.uplinks[0], _edited(settings.uplinks[1], "source"))
    )
    after, _ = reconfigure(state, edited, 1.0)
    assert after.path_verdicts[PathKey("tor2", Family.IPV4)].reason is Reason.LINK_DOWN


@examples(max_examples=30)
@given(hosts, st.data(), st.integers(20, 200), st.floats(0.05, 2.0))
def test_another_interval_keeps_what_was_answered(
    full: Settings, data: st.DataObject, window: int, interval_s: float
) -> None:
    """Whatever has been answered: the window of loss is another one, and no verdict is lost."""
    before = data.draw(_grown(_up(full)))
    timing = replace(full.path_timing, interval_s=interval_s)
    quality = replace(full.quality, window=window)
    after, effects = reconfigure(before, replace(full, path_timing=timing, quality=quality), 1.0)
    for key, path in before.paths.items():
        for probe, health in path.probes.items():
            assert after.paths[key].probes[probe].hysteresis == health.hysteresis
            answers = health.window.answers
            assert after.paths[key].probes[probe].window.answers == answers[-window:]
    assert not [e for e in effects if isinstance(e, PathChanged) and e.after.level is Level.INIT]


def test_a_service_that_left_the_file_is_withdrawn_at_once() -> None:
    state = _up(host(uplinks=2))
    settings = replace(state.settings, services=state.settings.services[:1])
    after, effects = reconfigure(state, settings, 1.0)
    gone = policy.owned(state.settings) - policy.owned(settings)
    decided = {e.key: e.after.reason for e in effects if isinstance(e, DecisionChanged)}
    assert decided == dict.fromkeys(gone, Reason.NOT_IN_FILE)
    assert not gone & after.intents.keys()
    (wanted,) = (e for e in effects if isinstance(e, IntentsChanged))
    assert not gone & (wanted.intents.keys() | wanted.undecided)


def test_all_down_withdraw_does_not_take_an_edited_uplink_for_dead() -> None:
    state = _up(host(uplinks=1, all_down=AllDown.WITHDRAW))
    edited = replace(state.settings, uplinks=(_edited(state.settings.uplinks[0], "interface"),))
    after, _ = reconfigure(state, edited, 1.0)
    assert policy.undecided(after.decisions) == state.intents.keys()


def test_a_tor_keeps_its_prefixes_until_the_first_verdict_of_its_edited_uplink() -> None:
    """Mode direct, where each ToR has announcements of its own."""
    settings = host(uplinks=2, mode=Mode.DIRECT)
    state = _up(settings)
    edited = replace(
        settings, uplinks=(settings.uplinks[0], _edited(settings.uplinks[1], "gateway"))
    )
    _, effects = reconfigure(state, edited, 1.0)
    tor2 = settings.uplinks[1].paths[0].neighbor
    waiting = {key for key in state.intents if key.neighbor == tor2}
    assert waiting
    (wanted,) = (e for e in effects if isinstance(e, IntentsChanged))
    assert wanted.undecided == waiting
    assert wanted.intents.keys() == state.intents.keys() - waiting


def test_a_tor_that_left_the_file_loses_its_prefixes_at_once() -> None:
    settings = host(uplinks=2, mode=Mode.DIRECT)
    state = _up(settings)
    after, effects = reconfigure(state, replace(settings, uplinks=settings.uplinks[:1]), 1.0)
    tor2 = settings.uplinks[1].paths[0].neighbor
    decided = {e.key: e.after.reason for e in effects if isinstance(e, DecisionChanged)}
    gone = {key for key in state.intents if key.neighbor == tor2}
    assert decided == dict.fromkeys(gone, Reason.NOT_IN_FILE)
    assert after.intents.keys() == state.intents.keys() - gone
