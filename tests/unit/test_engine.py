from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from bgphealth.core import engine, policy
from bgphealth.core.events import (
    Event,
    LinkChanged,
    PathProbed,
    PathProbeOverdue,
    Settled,
    Started,
    Verdict,
)
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import RouteKey
from bgphealth.core.quality import MIN_SAMPLES
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import (
    AllDown,
    Export,
    Family,
    InjectorLoss,
    ProbeKind,
    Role,
    ServiceSettings,
    Settings,
    UplinkSettings,
)
from bgphealth.core.state import Effect, IntentsChanged, PaceChanged, PathChanged, State
from tests.support.hosts import (
    CHECK_FALL,
    CHECK_RISE,
    FALL,
    RISE,
    WINDOW,
    checked,
    host,
    probed,
    round_of,
    service,
)

OK, FAILED, UNKNOWN = Verdict.OK, Verdict.FAILED, Verdict.UNKNOWN
V4, V6 = Family.IPV4, Family.IPV6


def feed(state: State, events: Iterable[Event]) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, new = engine.step(state, event)
        effects += new
    return state, effects


def started(settings: Settings) -> State:
    return feed(engine.initial(settings), [Started(0.0)])[0]


def all_up(settings: Settings) -> State:
    rounds = [e for u in settings.uplinks for _ in range(RISE) for e in round_of(u, OK)]
    return feed(started(settings), [*rounds, *[checked(OK)] * CHECK_RISE])[0]


def answers(uplink: UplinkSettings, verdict: Verdict, rtt_s: float = 0.001) -> list[PathProbed]:
    return [event._replace(rtt_s=rtt_s) for event in round_of(uplink, verdict)]


def settled(settings: Settings) -> State:
    """Everything is up, and long enough for loss and latency to be known."""
    rounds = [e for u in settings.uplinks for _ in range(WINDOW) for e in answers(u, OK)]
    return feed(all_up(settings), rounds)[0]


def announced(state: State) -> dict[str, list[str]]:
    """Return the routes and the communities that steer them."""
    return {
        str(key): [str(c) for c in announcement.communities if c.asn == 65101]
        for key, announcement in state.intents.items()
    }


def reasons(state: State) -> dict[str, Reason]:
    return {str(key): decision.reason for key, decision in state.decisions.items()}


def test_nothing_is_announced_before_the_first_verdict() -> None:
    state = started(host())
    assert announced(state) == {}
    assert set(reasons(state).values()) == {Reason.INIT}


def test_everything_up_announces_defaults_loopback_and_service() -> None:
    assert announced(all_up(host(families=(V4, V6)))) == {
        "0.0.0.0/0 path 1": [],
        "::/0 path 1": [],
        "0.0.0.0/0 path 2": [],
        "::/0 path 2": [],
        "10.255.10.1/32": ["65101:1", "65101:2"],
        "2001:db8:10::1/128": ["65101:1", "65101:2"],
        "192.0.2.53/32": ["65101:1", "65101:2"],
        "2001:db8::53/128": ["65101:1", "65101:2"],
    }


def test_the_first_uplink_that_is_up_carries_alone_while_the_other_waits() -> None:
    settings = host()
    state, _ = feed(started(settings), round_of(settings.uplinks[0], OK) * RISE)
    # An earlier run may have left the service announced to both.
    assert announced(state) == {"0.0.0.0/0 path 1": []}
    assert reasons(state)["10.255.10.1/32"] is Reason.INIT
    state, _ = feed(state, [Settled(engine.settling_s(settings))])
    assert announced(state) == {"0.0.0.0/0 path 1": [], "10.255.10.1/32": ["65101:1"]}
    assert reasons(state)["0.0.0.0/0 path 2"] is Reason.INIT


def test_a_dead_path_loses_default_and_community() -> None:
    settings = host()
    state = all_up(settings)
    dead = [probed(settings.uplinks[1], Role.BEYOND, n, FAILED, 7.0) for n in (0, 1)] * FALL
    state, effects = feed(state, dead)
    assert announced(state) == {
        "0.0.0.0/0 path 1": [],
        "10.255.10.1/32": ["65101:1"],
        "192.0.2.53/32": ["65101:1"],
    }
    assert reasons(state)["0.0.0.0/0 path 2"] is Reason.PATH_DOWN
    (change,) = [e for e in effects if isinstance(e, PathChanged)]
    assert (change.at, change.path) == (7.0, PathKey("tor2", V4))
    assert change.after.reason is Reason.BEYOND_FAILED
    assert "icmp 198.51.100.1: no answer within 200 ms" in change.after.evidence


def test_one_dead_target_of_two_is_not_a_dead_path() -> None:
    settings = host()
    state, effects = feed(
        all_up(settings), [probed(settings.uplinks[1], Role.BEYOND, 0, FAILED)] * 100
    )
    assert not [e for e in effects if isinstance(e, PathChanged)]
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP


def test_quorum_of_two_needs_both() -> None:
    settings = host(need=2)
    state, _ = feed(all_up(settings), [probed(settings.uplinks[1], Role.BEYOND, 0, FAILED)] * FALL)
    assert state.path_verdicts[PathKey("tor2", V4)].reason is Reason.BEYOND_FAILED


def test_a_dead_gateway_is_named_before_what_is_behind_it() -> None:
    settings = host()
    state, _ = feed(all_up(settings), round_of(settings.uplinks[0], FAILED) * FALL)
    assert state.path_verdicts[PathKey("tor1", V4)].reason is Reason.GATEWAY_FAILED


def test_only_the_dead_family_moves() -> None:
    settings = host(families=(V4, V6))
    v6_dead = [e for e in round_of(settings.uplinks[1], FAILED) if e.family is V6] * FALL
    state, _ = feed(all_up(settings), v6_dead)
    assert announced(state)["2001:db8::53/128"] == ["65101:1"]
    assert announced(state)["192.0.2.53/32"] == ["65101:1", "65101:2"]
    assert "::/0 path 2" not in announced(state)
    assert "0.0.0.0/0 path 2" in announced(state)


def test_keep_last_keeps_the_uplink_that_died_last() -> None:
    settings = host()
    state, _ = feed(all_up(settings), round_of(settings.uplinks[0], FAILED) * FALL)
    state, _ = feed(state, round_of(settings.uplinks[1], FAILED) * FALL)
    assert announced(state) == {
        "0.0.0.0/0 path 2": [],
        "10.255.10.1/32": ["65101:2"],
        "192.0.2.53/32": ["65101:2"],
    }
    assert reasons(state)["192.0.2.53/32"] is Reason.ALL_DOWN_KEEP_LAST
    assert reasons(state)["0.0.0.0/0 path 1"] is Reason.PATH_DOWN


def beyond_failed(uplink: UplinkSettings) -> list[PathProbed]:
    return [probed(uplink, Role.BEYOND, index, FAILED) for index in (0, 1)] * FALL


def gateway_failed(uplink: UplinkSettings) -> list[PathProbed]:
    return [probed(uplink, Role.GATEWAY, 0, FAILED)] * FALL


def default_uplinks(state: State) -> set[int]:
    return {key.path_id for key in state.intents if key.path_id}


def test_keep_best_prefers_a_tor_that_answers_to_one_that_was_there_last() -> None:
    settings = host(all_down=AllDown.KEEP_BEST)
    tor1, tor2 = settings.uplinks
    state, _ = feed(all_up(settings), [*beyond_failed(tor1), *gateway_failed(tor2)])
    assert announced(state) == {
        "0.0.0.0/0 path 1": [],
        "10.255.10.1/32": ["65101:1"],
        "192.0.2.53/32": ["65101:1"],
    }
    assert reasons(state)["0.0.0.0/0 path 1"] is Reason.ALL_DOWN_KEEP_BEST
    assert reasons(state)["192.0.2.53/32"] is Reason.ALL_DOWN_KEEP_BEST
    assert reasons(state)["0.0.0.0/0 path 2"] is Reason.PATH_DOWN


def test_keep_best_does_not_move_between_equals() -> None:
    settings = host(all_down=AllDown.KEEP_BEST)
    tor1, tor2 = settings.uplinks
    state, _ = feed(all_up(settings), [*beyond_failed(tor1), *beyond_failed(tor2)])
    assert default_uplinks(state) == {2}
    state, _ = feed(state, gateway_failed(tor2))
    assert default_uplinks(state) == {1}
    state, _ = feed(state, gateway_failed(tor1))
    assert default_uplinks(state) == {1}
    state, _ = feed(state, [LinkChanged(9.0, "tor1", up=False)])
    assert default_uplinks(state) == {2}
    state, _ = feed(state, [LinkChanged(9.0, "tor2", up=False)])
    assert default_uplinks(state) == {2}


def test_keep_best_counts_the_targets_that_still_answer() -> None:
    settings = host(all_down=AllDown.KEEP_BEST, need=2)
    tor1, tor2 = settings.uplinks
    state, _ = feed(all_up(settings), [probed(tor1, Role.BEYOND, 0, FAILED)] * FALL)
    state, _ = feed(state, beyond_failed(tor2))
    assert default_uplinks(state) == {1}


def test_keep_best_waits_for_a_worse_path_that_answers_again() -> None:
    settings = host(all_down=AllDown.KEEP_BEST)
    tor1, tor2 = settings.uplinks
    together = [e for _ in range(FALL) for u in settings.uplinks for e in answers(u, FAILED)]
    state, _ = feed(settled(settings), together)
    assert default_uplinks(state) == {1, 2}
    state, _ = feed(state, [probed(tor2, Role.GATEWAY, 0, OK)])
    state, _ = feed(state, [probed(tor1, Role.GATEWAY, 0, OK)] * RISE)
    assert default_uplinks(state) == {1, 2}
    state, _ = feed(state, [probed(tor2, Role.GATEWAY, 0, FAILED)])
    assert default_uplinks(state) == {1}


def test_keep_best_of_nothing_that_ever_worked_is_nothing() -> None:
    settings = host(all_down=AllDown.KEEP_BEST)
    dead = [e for u in settings.uplinks for e in round_of(u, FAILED) * FALL]
    state, _ = feed(started(settings), dead)
    assert announced(state) == {}
    assert reasons(state)["0.0.0.0/0 path 1"] is Reason.ALL_DOWN_NOTHING_TO_KEEP


def test_all_down_withdraw_withdraws() -> None:
    settings = host(all_down=AllDown.WITHDRAW)
    dead = [e for u in settings.uplinks for e in round_of(u, FAILED) * FALL]
    state, _ = feed(all_up(settings), dead)
    assert announced(state) == {}
    assert set(reasons(state).values()) == {Reason.ALL_DOWN_WITHDRAW}


def test_all_down_from_the_start_has_nothing_to_keep() -> None:
    settings = host()
    dead = [e for u in settings.uplinks for e in round_of(u, FAILED) * FALL]
    state, _ = feed(started(settings), dead)
    assert announced(state) == {}
    assert reasons(state)["0.0.0.0/0 path 1"] is Reason.ALL_DOWN_NOTHING_TO_KEEP


def test_a_dead_service_is_withdrawn_and_the_loopback_stays() -> None:
    state, _ = feed(all_up(host()), [checked(FAILED)] * CHECK_FALL)
    assert "192.0.2.53/32" not in announced(state)
    assert "10.255.10.1/32" in announced(state)
    assert reasons(state)["192.0.2.53/32"] is Reason.SERVICE_DOWN


def test_with_an_origin_in_bgpd_a_withdrawal_is_an_announcement_to_no_uplink() -> None:
    settings = host(loss=InjectorLoss.KEEP, all_down=AllDown.WITHDRAW)
    state, _ = feed(all_up(settings), [checked(FAILED)] * CHECK_FALL)
    assert announced(state)["192.0.2.53/32"] == []
    assert reasons(state)["192.0.2.53/32"] is Reason.SERVICE_DOWN
    dark = [e for _ in range(FALL) for u in settings.uplinks for e in round_of(u, FAILED)]
    state, _ = feed(state, dark)
    assert announced(state) == {"192.0.2.53/32": [], "10.255.10.1/32": []}
    assert reasons(state)["10.255.10.1/32"] is Reason.ALL_DOWN_WITHDRAW


def test_where_nothing_ever_worked_the_origin_in_bgpd_is_left_alone() -> None:
    settings = host(loss=InjectorLoss.KEEP)
    dead = [e for u in settings.uplinks for e in round_of(u, FAILED) * FALL]
    state, _ = feed(started(settings), dead)
    assert announced(state) == {}
    assert reasons(state)["10.255.10.1/32"] is Reason.ALL_DOWN_NOTHING_TO_KEEP


def test_link_down_counts_at_once_and_a_link_that_comes_back_must_rise_again() -> None:
    settings = host()
    state, _ = feed(all_up(settings), [LinkChanged(5.0, "tor2", up=False)])
    assert state.path_verdicts[PathKey("tor2", V4)].reason is Reason.LINK_DOWN
    late_answer = round_of(settings.uplinks[1], OK) * RISE
    state, effects = feed(state, late_answer)
    assert effects == []
    state, _ = feed(state, [LinkChanged(6.0, "tor2", up=True)])
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DOWN
    state, _ = feed(state, round_of(settings.uplinks[1], OK) * (RISE - 1))
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DOWN
    state, _ = feed(state, round_of(settings.uplinks[1], OK))
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP


def test_unknown_changes_nothing() -> None:
    settings = host()
    before = all_up(settings)
    unknown = [e for u in settings.uplinks for e in round_of(u, UNKNOWN) * 100]
    after, effects = feed(before, [*unknown, *[checked(UNKNOWN)] * 100])
    assert effects == []
    assert after.intents == before.intents


def test_events_about_strangers_are_ignored() -> None:
    settings = host()
    state = all_up(settings)
    stranger = probed(settings.uplinks[0], Role.GATEWAY, 0, FAILED)._replace(uplink="tor9")
    wrong_probe = PathProbed(
        0.0, "tor1", V4, Role.GATEWAY, settings.uplinks[0].paths[0].beyond[0], FAILED
    )
    strange_service = replace(checked(FAILED), service="ntp")
    after, effects = feed(state, [stranger, wrong_probe, strange_service] * 20)
    assert (after, effects) == (state, [])


def test_a_path_without_any_probe_is_up_from_the_start() -> None:
    settings = host(uplinks=1)
    bare = replace(settings.uplinks[0].paths[0], gateway=(), beyond=())
    settings = replace(settings, uplinks=(replace(settings.uplinks[0], paths=(bare,)),))
    assert "0.0.0.0/0 path 1" in announced(started(settings))


def test_a_lossy_path_is_degraded_not_down_and_the_clean_one_carries() -> None:
    settings = host()
    tor2 = settings.uplinks[1]
    lossy = [e for _ in range(WINDOW) for v in (FAILED, OK, OK) for e in answers(tor2, v)]
    state, effects = feed(settled(settings), lossy)
    changes = [e for e in effects if isinstance(e, PathChanged)]
    assert [(c.after.level, c.after.reason) for c in changes] == [(Level.DEGRADED, Reason.LOSS)]
    assert "loss 3" in state.paths[PathKey("tor2", V4)].judge().evidence
    assert announced(state)["192.0.2.53/32"] == ["65101:1"]
    local_prefs = {k.path_id: a.local_pref for k, a in state.intents.items() if k.path_id}
    assert local_prefs == {1: 100, 2: 90}
    assert reasons(state)["0.0.0.0/0 path 2"] is Reason.PATH_DEGRADED


def test_a_degraded_path_leaves_at_the_better_level_only() -> None:
    settings = host()
    tor2 = settings.uplinks[1]
    lossy = [e for _ in range(WINDOW) for v in (FAILED, OK, OK) for e in answers(tor2, v)]
    state, _ = feed(settled(settings), lossy)
    # One of 13 is less than the 10 % to enter and more than the 5 % to leave.
    between = [e for _ in range(WINDOW) for v in (FAILED, *[OK] * 12) for e in answers(tor2, v)]
    state, _ = feed(state, between)
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DEGRADED
    state, _ = feed(state, [e for _ in range(WINDOW) for e in answers(tor2, OK)])
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP
    state, _ = feed(state, between)
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP


def test_a_slow_path_is_degraded() -> None:
    settings = host()
    slow = [e for _ in range(WINDOW) for e in answers(settings.uplinks[1], OK, rtt_s=0.150)]
    state, _ = feed(settled(settings), slow)
    assert state.path_verdicts[PathKey("tor2", V4)].reason is Reason.LATENCY


def test_a_lossy_target_does_not_degrade_a_path_that_does_not_need_it() -> None:
    settings = host(need=1)
    tor2 = settings.uplinks[1]
    one_lossy = [probed(tor2, Role.BEYOND, 0, v) for v in (FAILED, OK)] * WINDOW
    state, effects = feed(settled(settings), one_lossy)
    assert not [e for e in effects if isinstance(e, PathChanged)]
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP


def test_a_target_of_which_little_is_known_does_not_make_a_lossy_path_clean() -> None:
    """By bad luck three in a row were lost, and it counts anew."""
    settings = host(need=1)
    tor2 = settings.uplinks[1]
    unlucky = [probed(tor2, Role.BEYOND, 1, v) for v in (*[FAILED] * FALL, OK)]
    one_lossy = [probed(tor2, Role.BEYOND, 0, v) for v in (FAILED, OK, OK)] * WINDOW
    state, _ = feed(settled(settings), [*unlucky, *one_lossy])
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DEGRADED
    risen = [probed(tor2, Role.BEYOND, 1, OK)] * (MIN_SAMPLES - 2)
    state, effects = feed(state, risen)
    assert not [e for e in effects if isinstance(e, PathChanged)]
    state, _ = feed(state, risen[:1])
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP
    # Known again, and no better than the other one.
    lossy = [probed(tor2, Role.BEYOND, 1, v) for v in (FAILED, OK, OK)] * WINDOW
    state, _ = feed(state, lossy)
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DEGRADED


def test_only_degraded_paths_left_carry_the_services() -> None:
    settings = host()
    tor1, tor2 = settings.uplinks
    lossy = [e for _ in range(WINDOW) for v in (FAILED, OK, OK) for e in answers(tor2, v)]
    state, _ = feed(settled(settings), lossy)
    state, _ = feed(state, [LinkChanged(9.0, tor1.name, up=False)])
    assert announced(state)["192.0.2.53/32"] == ["65101:2"]


def overdue(uplink: UplinkSettings) -> PathProbeOverdue:
    first = uplink.paths[0]
    return PathProbeOverdue(3.0, uplink.name, first.family, Role.BEYOND, first.beyond[0])


def test_a_late_answer_makes_a_path_suspect_and_an_answer_clears_it() -> None:
    settings = host()
    key = PathKey("tor2", V4)
    state, effects = feed(settled(settings), [overdue(settings.uplinks[1])])
    assert effects == [PaceChanged(3.0, key, suspect=True)]
    state, effects = feed(state, [overdue(settings.uplinks[1])])
    assert effects == []
    _, effects = feed(state, [probed(settings.uplinks[1], Role.BEYOND, 0, OK, 4.0)])
    assert effects == [PaceChanged(4.0, key, suspect=False)]


def test_a_path_that_is_always_late_is_not_suspect_for_it() -> None:
    settings = host()
    far = [e for _ in range(WINDOW) for e in answers(settings.uplinks[1], OK, rtt_s=0.030)]
    state, _ = feed(settled(settings), far)
    _, effects = feed(state, [overdue(settings.uplinks[1])])
    assert effects == []


def test_a_dead_path_is_not_probed_faster() -> None:
    settings = host()
    dead = [e for _ in range(FALL) for e in answers(settings.uplinks[1], FAILED)]
    state, effects = feed(settled(settings), dead)
    paces = [e.suspect for e in effects if isinstance(e, PaceChanged)]
    assert paces == [True, False]
    assert state.suspects == frozenset()


def test_all_targets_of_all_uplinks_at_once_is_shared_fate_and_keeps_both() -> None:
    settings = host()
    both = [e for _ in range(FALL) for u in settings.uplinks for e in answers(u, FAILED)]
    state, effects = feed(settled(settings), both)
    changes = [e for e in effects if isinstance(e, PathChanged)]
    assert [(c.path.uplink, c.after.reason) for c in changes] == [
        ("tor1", Reason.SHARED_FATE),
        ("tor2", Reason.SHARED_FATE),
    ]
    assert announced(state) == announced(settled(settings))
    assert reasons(state)["192.0.2.53/32"] is Reason.ALL_DOWN_SHARED_FATE
    assert reasons(state)["0.0.0.0/0 path 1"] is Reason.ALL_DOWN_SHARED_FATE


def shared_fate(settings: Settings) -> State:
    dark = [e for _ in range(FALL) for u in settings.uplinks for e in answers(u, FAILED)]
    return feed(settled(settings), dark)[0]


def test_what_was_kept_together_comes_up_together() -> None:
    settings = host()
    tor1, tor2 = settings.uplinks
    nearly = [e for _ in range(RISE - 1) for u in settings.uplinks for e in answers(u, OK)]
    state, _ = feed(shared_fate(settings), nearly)
    state, effects = feed(state, answers(tor1, OK))
    assert effects == []
    assert set(state.held_since) == {PathKey("tor1", V4)}
    state, effects = feed(state, answers(tor2, OK))
    changes = [e for e in effects if isinstance(e, PathChanged)]
    assert [(c.path.uplink, c.after.level) for c in changes] == [
        ("tor1", Level.UP),
        ("tor2", Level.UP),
    ]
    # All that anybody outside could see is that nothing happened.
    assert not [e for e in effects if isinstance(e, IntentsChanged)]
    assert not state.held_since


def test_a_path_does_not_wait_for_one_that_is_still_dead() -> None:
    settings = host()
    tor1, tor2 = settings.uplinks
    alone = [e for _ in range(RISE) for e in (*answers(tor1, OK), *answers(tor2, FAILED))]
    state, _ = feed(shared_fate(settings), alone)
    assert state.path_verdicts[PathKey("tor1", V4)].level is Level.UP
    assert announced(state)["192.0.2.53/32"] == ["65101:1"]


def test_a_path_waits_no_longer_than_the_others_need_to_fail_again() -> None:
    settings = host()
    tor1, tor2 = settings.uplinks
    nearly = [e for _ in range(RISE - 1) for u in settings.uplinks for e in answers(u, OK)]
    for later in (answers(tor2, FAILED), [e._replace(at=60.0) for e in answers(tor1, OK)]):
        state, _ = feed(shared_fate(settings), [*nearly, *answers(tor1, OK)])
        assert state.path_verdicts[PathKey("tor1", V4)].level is Level.DOWN
        state, _ = feed(state, later)
        assert state.path_verdicts[PathKey("tor1", V4)].level is Level.UP
        assert announced(state)["192.0.2.53/32"] == ["65101:1"]


def test_a_path_that_carries_nothing_waits_for_none() -> None:
    settings = host()
    tor1, _ = settings.uplinks
    one_by_one = [e for u in settings.uplinks for _ in range(FALL) for e in answers(u, FAILED)]
    state, _ = feed(settled(settings), one_by_one)
    assert announced(state)["192.0.2.53/32"] == ["65101:2"]
    both = [e for _ in range(RISE - 1) for u in settings.uplinks for e in answers(u, OK)]
    state, _ = feed(state, [*both, *answers(tor1, OK)])
    assert announced(state)["192.0.2.53/32"] == ["65101:1"]


def test_a_held_path_goes_down_as_soon_as_another_answers() -> None:
    settings = host()
    tor1, tor2 = settings.uplinks
    state, _ = feed(settled(settings), answers(tor1, FAILED))
    state, effects = feed(state, [e for _ in range(FALL) for e in answers(tor2, FAILED)])
    assert not [e for e in effects if isinstance(e, PathChanged)]
    assert set(state.held_since) == {PathKey("tor2", V4)}
    state, effects = feed(state, answers(tor1, OK))
    (change,) = [e for e in effects if isinstance(e, PathChanged)]
    assert (change.path.uplink, change.after.reason) == ("tor2", Reason.GATEWAY_FAILED)
    assert announced(state)["192.0.2.53/32"] == ["65101:1"]


def test_a_path_is_not_held_for_ever() -> None:
    """The other one failed once and says nothing since: that is no shared fate."""
    settings = host()
    tor1, tor2 = settings.uplinks
    state, _ = feed(settled(settings), answers(tor1, FAILED))
    state, _ = feed(state, [e for _ in range(FALL) for e in answers(tor2, FAILED)])
    later = [e._replace(at=60.0) for e in answers(tor2, FAILED)]
    state, _ = feed(state, later)
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.DOWN


def test_a_session_that_is_lost_counts_at_once() -> None:
    settings = host()
    first = settings.uplinks[1].paths[0]
    session = replace(first.gateway[0], kind=ProbeKind.BGP)
    path = replace(first, gateway=(*first.gateway, session))
    settings = replace(
        settings, uplinks=(settings.uplinks[0], replace(settings.uplinks[1], paths=(path,)))
    )
    lost = PathProbed(5.0, "tor2", V4, Role.GATEWAY, session, FAILED, "Idle")
    state, _ = feed(all_up(settings), [lost])
    assert state.path_verdicts[PathKey("tor2", V4)].reason is Reason.GATEWAY_FAILED
    state, _ = feed(state, [lost._replace(verdict=OK)])
    assert state.path_verdicts[PathKey("tor2", V4)].level is Level.UP


def also(extra: ServiceSettings, settings: Settings | None = None) -> Settings:
    settings = settings or host()
    return replace(settings, services=(*settings.services, extra))


def test_a_service_goes_to_the_uplinks_that_may_carry_it() -> None:
    settings = also(
        service("web", "192.0.2.80/32", uplinks=frozenset({"tor1", "tor2"})), host(uplinks=3)
    )
    state = all_up(settings)
    assert announced(state)["192.0.2.80/32"] == ["65101:1", "65101:2"]
    state, _ = feed(state, round_of(settings.uplinks[0], FAILED) * FALL)
    assert announced(state)["192.0.2.80/32"] == ["65101:2"]
    assert announced(state)["192.0.2.53/32"] == ["65101:2", "65101:3"]


def test_a_degraded_uplink_carries_a_service_that_no_clean_one_may_carry() -> None:
    settings = also(service("web", "192.0.2.80/32", uplinks=frozenset({"tor2"})))
    slow = [e for _ in range(WINDOW) for e in answers(settings.uplinks[1], OK, rtt_s=0.150)]
    state, _ = feed(settled(settings), slow)
    assert announced(state)["192.0.2.80/32"] == ["65101:2"]
    assert announced(state)["192.0.2.53/32"] == ["65101:1"]


@pytest.mark.parametrize(
    ("all_down", "reason"),
    [
        (AllDown.KEEP_LAST, Reason.ALL_DOWN_KEEP_LAST),
        (AllDown.KEEP_BEST, Reason.ALL_DOWN_KEEP_BEST),
        (AllDown.WITHDRAW, Reason.ALL_DOWN_WITHDRAW),
    ],
)
def test_all_down_decides_when_no_uplink_that_may_carry_it_works(
    all_down: AllDown, reason: Reason
) -> None:
    web = service("web", "192.0.2.80/32", uplinks=frozenset({"tor2"}))
    settings = also(web, host(all_down=all_down))
    state, _ = feed(all_up(settings), round_of(settings.uplinks[1], FAILED) * FALL)
    kept = None if all_down is AllDown.WITHDRAW else ["65101:2"]
    assert announced(state).get("192.0.2.80/32") == kept
    assert reasons(state)["192.0.2.80/32"] is reason
    assert reasons(state)["192.0.2.53/32"] is Reason.SERVICE_UP


def test_below_its_minimum_a_service_is_withdrawn_whatever_all_down_says() -> None:
    settings = also(service("web", "192.0.2.80/32", min_uplinks=2), host(uplinks=3))
    tor1, tor2, _ = settings.uplinks
    state, _ = feed(all_up(settings), round_of(tor1, FAILED) * FALL)
    assert announced(state)["192.0.2.80/32"] == ["65101:2", "65101:3"]
    state, _ = feed(state, round_of(tor2, FAILED) * FALL)
    assert "192.0.2.80/32" not in announced(state)
    assert reasons(state)["192.0.2.80/32"] is Reason.TOO_FEW_UPLINKS
    state, _ = feed(state, [LinkChanged(9.0, "tor3", up=False)])
    assert reasons(state)["192.0.2.80/32"] is Reason.TOO_FEW_UPLINKS
    assert reasons(state)["192.0.2.53/32"] is Reason.ALL_DOWN_KEEP_LAST


def test_a_minimum_that_may_yet_be_met_is_waited_for() -> None:
    settings = also(service("web", "192.0.2.80/32", min_uplinks=2))
    state, _ = feed(started(settings), round_of(settings.uplinks[0], OK) * RISE)
    assert reasons(state)["192.0.2.80/32"] is Reason.INIT


def test_a_service_goes_and_comes_with_what_it_requires() -> None:
    settings = also(service("web", "192.0.2.80/32", requires=("dns",)))
    state = all_up(settings)
    assert announced(state)["192.0.2.80/32"] == ["65101:1", "65101:2"]
    state, _ = feed(state, [checked(FAILED)] * CHECK_FALL)
    assert "192.0.2.80/32" not in announced(state)
    assert reasons(state)["192.0.2.80/32"] is Reason.REQUIRED_SERVICE_DOWN
    state, _ = feed(state, [checked(OK)] * CHECK_RISE)
    assert announced(state)["192.0.2.80/32"] == ["65101:1", "65101:2"]


def test_what_requires_a_service_without_a_verdict_waits_for_it() -> None:
    settings = also(service("web", "192.0.2.80/32", requires=("dns",)))
    rounds = [e for u in settings.uplinks for _ in range(RISE) for e in round_of(u, OK)]
    state, _ = feed(started(settings), rounds)
    assert reasons(state)["192.0.2.80/32"] is Reason.INIT
    assert RouteKey(ip_network("192.0.2.80/32")) in policy.undecided(state.decisions)


def test_a_degraded_uplink_may_carry_a_service_as_a_worse_path() -> None:
    settings = also(service("web", "192.0.2.80/32", degraded=Export(prepend=3)), host(uplinks=3))
    tor2 = settings.uplinks[1]
    slow = [e for _ in range(WINDOW) for e in answers(tor2, OK, rtt_s=0.150)]
    state, _ = feed(settled(settings), slow)
    assert announced(state)["192.0.2.80/32"] == ["65101:1", "65101:1002", "65101:3"]
    assert announced(state)["192.0.2.53/32"] == ["65101:1", "65101:3"]
    dead = [LinkChanged(9.0, name, up=False) for name in ("tor1", "tor3")]
    state, _ = feed(state, dead)
    assert announced(state)["192.0.2.80/32"] == ["65101:1002"]
    assert announced(state)["192.0.2.53/32"] == ["65101:2"]


def test_a_service_carries_its_own_communities_to_every_uplink() -> None:
    state = all_up(also(service("web", "192.0.2.80/32", export=Export(2, 50))))
    route = state.intents[RouteKey(ip_network("192.0.2.80/32"))]
    assert [str(c) for c in route.communities] == ["65101:1", "65101:2", "65000:100"]
    assert [str(c) for c in route.large_communities] == ["65101:1:1"]
    # bgpd sets these towards each ToR: our own AS in the path would be a loop to it.
    assert (route.med, route.as_path) == (None, ())
