"""Direct mode: who is told of which prefix, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bgphealth.core import engine, policy
from bgphealth.core.events import Event, LinkChanged, Started, Verdict
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import AllDown, Export, Family, Mode, Settings
from bgphealth.core.state import IntentsChanged, State
from tests.support.hosts import (
    CHECK_FALL,
    CHECK_RISE,
    FALL,
    RISE,
    WINDOW,
    checked,
    host,
    round_of,
    service,
)

OK, FAILED = Verdict.OK, Verdict.FAILED
BOTH = (Family.IPV4, Family.IPV6)
DIRECT = host(mode=Mode.DIRECT)


def feed(state: State, events: Iterable[Event]) -> State:
    for event in events:
        state, _ = engine.step(state, event)
    return state


def started(settings: Settings) -> State:
    return feed(engine.initial(settings), [Started(0.0)])


def all_up(settings: Settings) -> State:
    rounds = [e for u in settings.uplinks for _ in range(RISE) for e in round_of(u, OK)]
    return feed(started(settings), [*rounds, *[checked(OK)] * CHECK_RISE])


def announced(state: State) -> set[str]:
    return {str(key) for key in state.intents}


def reasons(state: State) -> dict[str, Reason]:
    return {str(key): decision.reason for key, decision in state.decisions.items()}


def test_each_prefix_goes_to_each_tor_over_the_session_of_its_family() -> None:
    state = all_up(host(families=BOTH, mode=Mode.DIRECT))
    assert announced(state) == {
        "10.255.10.1/32 to 10.0.1.0",
        "10.255.10.1/32 to 10.0.2.0",
        "192.0.2.53/32 to 10.0.1.0",
        "192.0.2.53/32 to 10.0.2.0",
        "2001:db8:10::1/128 to 2001:db8:1::",
        "2001:db8:10::1/128 to 2001:db8:2::",
        "2001:db8::53/128 to 2001:db8:1::",
        "2001:db8::53/128 to 2001:db8:2::",
    }
    assert announced(state) == {str(key) for key in policy.owned(state.settings)}


def test_no_default_no_community_and_the_host_itself_as_next_hop() -> None:
    for announcement in all_up(DIRECT).intents.values():
        assert announcement.key.prefix.prefixlen
        assert (announcement.next_hop, announcement.local_pref) == (None, None)
        assert announcement.communities == ()


def test_before_the_first_verdict_everything_is_left_as_it_is() -> None:
    state, effects = engine.step(engine.initial(DIRECT), Started(0.0))
    assert announced(state) == set()
    (wanted,) = [effect for effect in effects if isinstance(effect, IntentsChanged)]
    assert wanted.undecided == policy.owned(DIRECT)


def test_a_tor_without_a_verdict_is_left_as_it_is_while_the_other_is_told() -> None:
    state = feed(started(DIRECT), round_of(DIRECT.uplinks[0], OK) * RISE)
    assert announced(state) == {"10.255.10.1/32 to 10.0.1.0"}
    assert reasons(state)["10.255.10.1/32 to 10.0.2.0"] is Reason.INIT


def test_a_dead_path_loses_the_prefixes_and_the_other_keeps_them() -> None:
    state = feed(all_up(DIRECT), round_of(DIRECT.uplinks[1], FAILED) * FALL)
    assert announced(state) == {"10.255.10.1/32 to 10.0.1.0", "192.0.2.53/32 to 10.0.1.0"}
    assert reasons(state)["192.0.2.53/32 to 10.0.2.0"] is Reason.PATH_DOWN


def test_only_the_dead_family_moves() -> None:
    settings = host(families=BOTH, mode=Mode.DIRECT)
    dead = [e for e in round_of(settings.uplinks[1], FAILED) if e.family is Family.IPV6]
    gone = announced(all_up(settings)) - announced(feed(all_up(settings), dead * FALL))
    assert gone == {"2001:db8:10::1/128 to 2001:db8:2::", "2001:db8::53/128 to 2001:db8:2::"}


def test_a_degraded_path_is_left_while_there_is_a_clean_one() -> None:
    settings = DIRECT
    slow = [e._replace(rtt_s=0.2) for e in round_of(settings.uplinks[1], OK)] * WINDOW
    quick = [e._replace(rtt_s=0.001) for e in round_of(settings.uplinks[0], OK)] * WINDOW
    state = feed(all_up(settings), [*quick, *slow])
    assert announced(state) == {"10.255.10.1/32 to 10.0.1.0", "192.0.2.53/32 to 10.0.1.0"}
    assert reasons(state)["192.0.2.53/32 to 10.0.2.0"] is Reason.PATH_DEGRADED
    state = feed(state, [LinkChanged(0.0, "tor1", up=False)])
    assert announced(state) == {"10.255.10.1/32 to 10.0.2.0", "192.0.2.53/32 to 10.0.2.0"}


def test_a_dead_service_is_withdrawn_from_every_tor_and_the_loopback_stays() -> None:
    state = feed(all_up(DIRECT), [checked(FAILED)] * CHECK_FALL)
    assert announced(state) == {"10.255.10.1/32 to 10.0.1.0", "10.255.10.1/32 to 10.0.2.0"}
    assert reasons(state)["192.0.2.53/32 to 10.0.1.0"] is Reason.SERVICE_DOWN


def down(state: State, *names: str) -> State:
    return feed(state, [LinkChanged(0.0, name, up=False) for name in names])


def test_keep_last_keeps_the_tor_that_was_used_last() -> None:
    state = down(all_up(DIRECT), "tor1", "tor2")
    assert announced(state) == {"10.255.10.1/32 to 10.0.2.0", "192.0.2.53/32 to 10.0.2.0"}
    assert reasons(state)["192.0.2.53/32 to 10.0.2.0"] is Reason.ALL_DOWN_KEEP_LAST
    assert reasons(state)["192.0.2.53/32 to 10.0.1.0"] is Reason.PATH_DOWN


def test_all_down_withdraw_withdraws_from_every_tor() -> None:
    settings = host(mode=Mode.DIRECT, all_down=AllDown.WITHDRAW)
    state = down(all_up(settings), "tor1", "tor2")
    assert announced(state) == set()
    assert set(reasons(state).values()) == {Reason.ALL_DOWN_WITHDRAW}


def test_what_fell_together_stays_with_both() -> None:
    rounds = [e for _ in range(FALL) for u in DIRECT.uplinks for e in round_of(u, FAILED)]
    state = feed(all_up(DIRECT), rounds)
    assert announced(state) == announced(all_up(DIRECT))
    assert set(reasons(state).values()) == {Reason.ALL_DOWN_SHARED_FATE}


def test_a_service_is_ours_only_towards_the_tors_that_may_have_it() -> None:
    web = service("web", "192.0.2.80/32", uplinks=frozenset({"tor2"}), min_uplinks=1)
    settings = replace(DIRECT, services=(*DIRECT.services, web))
    state = all_up(settings)
    mine = {str(key) for key in policy.owned(settings) if key.prefix in web.prefixes}
    assert mine == {"192.0.2.80/32 to 10.0.2.0"} == {k for k in announced(state) if ".80/" in k}
    state = down(state, "tor2")
    assert reasons(state)["192.0.2.80/32 to 10.0.2.0"] is Reason.TOO_FEW_UPLINKS
    assert not mine & announced(state)


def test_each_tor_is_told_what_the_service_carries_and_a_degraded_one_a_worse_path() -> None:
    web = service("web", "192.0.2.80/32", export=Export(med=10), degraded=Export(2, 1000))
    settings = replace(DIRECT, services=(*DIRECT.services, web))
    slow = [e._replace(rtt_s=0.2) for e in round_of(settings.uplinks[1], OK)] * WINDOW
    quick = [e._replace(rtt_s=0.001) for e in round_of(settings.uplinks[0], OK)] * WINDOW
    state = feed(all_up(settings), [*quick, *slow])
    told = {str(key): a for key, a in state.intents.items()}
    clean, degraded = (told[f"192.0.2.80/32 to 10.0.{n}.0"] for n in (1, 2))
    assert (clean.med, clean.as_path) == (10, ())
    assert (degraded.med, degraded.as_path) == (1000, (65101, 65101, 65101))
    for route in (clean, degraded):
        assert [str(c) for c in route.communities] == ["65000:100"]
        assert [str(c) for c in route.large_communities] == ["65101:1:1"]
    assert reasons(state)["192.0.2.80/32 to 10.0.2.0"] is Reason.PATH_DEGRADED
    assert reasons(state)["192.0.2.80/32 to 10.0.1.0"] is Reason.SERVICE_UP
