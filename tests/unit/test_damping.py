"""What falls often is used when nothing else is left, and when its penalty has decayed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bgphealth.core import engine
from bgphealth.core.carrying import carriers
from bgphealth.core.decisions import default_key
from bgphealth.core.events import Event, LinkChanged, Started, Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import Damping, Family
from bgphealth.core.state import Effect, PathChanged, ServiceChanged, State
from tests.support.hosts import CHECK_FALL, CHECK_RISE, FALL, RISE, checked, host, round_of

OK, FAILED = Verdict.OK, Verdict.FAILED
DAMPING = Damping(half_life_s=60.0, suppress=2500, reuse=750, max_suppress_s=300.0)
HOST = host(uplinks=2, damping=DAMPING)
TOR1, TOR2 = HOST.uplinks
PATH = PathKey("tor2", Family.IPV4)


def feed(state: State, events: Iterable[Event]) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, new = engine.step(state, event)
        effects += new
    return state, effects


def rounds(verdict: Verdict, *uplinks: str, at: float) -> list[Event]:
    times = RISE if verdict is OK else FALL
    asked = [u for u in HOST.uplinks if u.name in uplinks]
    return [e for _ in range(times) for u in asked for e in round_of(u, verdict, at)]


def checks(verdict: Verdict, at: float) -> list[Event]:
    return [checked(verdict, at)] * (CHECK_RISE if verdict is OK else CHECK_FALL)


def up() -> State:
    events = [Started(0.0), *rounds(OK, "tor1", "tor2", at=0.0), *checks(OK, 0.0)]
    return feed(engine.initial(HOST), events)[0]


def flapped(times: int = 3) -> State:
    """tor2 has fallen so often, a second apart, and its probes are fine."""
    state = up()
    for n in range(1, times + 1):
        falls = rounds(FAILED, "tor2", at=float(n))
        state, _ = feed(state, [*falls, *rounds(OK, "tor2", at=n + 0.5)])
    return state


def defaults(state: State) -> set[int]:
    return {key.path_id for key in state.intents if key.path_id}


def test_two_falls_are_forgiven_and_the_third_one_is_not() -> None:
    assert flapped(2).path_verdicts[PATH].level is Level.UP
    verdict = flapped(3).path_verdicts[PATH]
    assert (verdict.level, verdict.reason) == (Level.DAMPED, Reason.DAMPED)
    assert verdict.evidence == "penalty 2949, 750 in 119 s"
    assert defaults(flapped(3)) == {1}
    services = [a for a in flapped(3).intents.values() if not a.key.path_id]
    assert services
    assert all([c.value for c in a.communities] == [1] for a in services)


def test_links_that_flap_count_as_well() -> None:
    state = up()
    for n in range(1, 4):
        flap = [LinkChanged(n, "tor2", up=False), LinkChanged(n, "tor2", up=True)]
        state, _ = feed(state, [*flap, *rounds(OK, "tor2", at=n)])
    assert state.path_verdicts[PATH].level is Level.DAMPED


def test_while_it_is_damped_its_flaps_change_nothing() -> None:
    state = flapped()
    for n in range(4, 40):
        before = state.intents
        state, _ = feed(state, [*rounds(FAILED, "tor2", at=n), *rounds(OK, "tor2", at=n)])
        assert state.intents == before
    wait_s = state.path_penalties[PATH].reuse_in_s(40, DAMPING)
    assert 290 < wait_s <= 300


def test_it_is_used_again_as_soon_as_the_penalty_has_decayed() -> None:
    state, effects = feed(flapped(), round_of(TOR2, OK, 3.5 + 118))
    assert not effects
    state, effects = feed(state, round_of(TOR2, OK, 3.5 + 120))
    (change,) = (effect for effect in effects if isinstance(effect, PathChanged))
    assert (change.before.level, change.after.level) == (Level.DAMPED, Level.UP)
    assert defaults(state) == {1, 2}


def test_it_is_used_when_nothing_else_works() -> None:
    state, _ = feed(flapped(), rounds(FAILED, "tor1", at=5.0))
    assert defaults(state) == {2}
    reasons = {d.reason for d in state.decisions.values() if d.announcement is not None}
    assert reasons == {Reason.DAMPED_LAST}
    # And not before, nor any longer.
    state, _ = feed(state, rounds(OK, "tor1", at=6.0))
    assert defaults(state) == {1}
    assert state.decisions[default_key(Family.IPV4, 2)].reason is Reason.DAMPED


def test_a_degraded_path_is_better_than_a_damped_one() -> None:
    levels = {"tor1": Level.DEGRADED, "tor2": Level.DAMPED}
    assert carriers(levels) == {"tor1"}
    assert carriers({"tor2": Level.DAMPED}) == {"tor2"}


def test_what_fell_together_has_not_flapped() -> None:
    state = up()
    for n in range(1, 6):
        state, _ = feed(state, [e for _ in range(FALL) for e in _both(FAILED, n)])
        assert state.path_verdicts[PATH].reason is Reason.SHARED_FATE
        state, _ = feed(state, [e for _ in range(RISE) for e in _both(OK, n)])
    assert not state.path_penalties
    assert defaults(state) == {1, 2}


def _both(verdict: Verdict, at: float) -> list[Event]:
    return [*round_of(TOR1, verdict, at), *round_of(TOR2, verdict, at)]


def test_without_damping_nothing_is_counted() -> None:
    settings = replace(HOST, damping=None)
    state, _ = reconfigure(flapped(), settings, 4.0)
    state, _ = feed(state, round_of(TOR2, OK, 4.1))
    assert state.path_verdicts[PATH].level is Level.UP
    # What is past is forgiven.
    state, _ = reconfigure(state, HOST, 5.0)
    state, _ = feed(state, rounds(FAILED, "tor2", at=5.1))
    state, _ = feed(state, rounds(OK, "tor2", at=5.2))
    assert state.path_verdicts[PATH].level is Level.UP


def test_a_reload_forgives_nothing() -> None:
    # What the path is asked changes, so that its verdict is made anew.
    paths = tuple(replace(p, beyond=p.beyond[:1]) for p in TOR2.paths)
    settings = replace(HOST, uplinks=(TOR1, replace(TOR2, paths=paths)))
    state, _ = reconfigure(flapped(), settings, 4.0)
    assert state.path_verdicts[PATH].level is Level.DAMPED
    assert state.path_penalties == flapped().path_penalties


def test_a_service_that_flaps_is_not_announced() -> None:
    state = up()
    for n in range(1, 4):
        state, _ = feed(state, [*checks(FAILED, n), *checks(OK, n)])
    assert state.service_verdicts["dns"].level is Level.DAMPED
    assert {d.reason for k, d in state.decisions.items() if str(k).startswith("192.0.2.53")} == {
        Reason.DAMPED
    }
    assert "192.0.2.53/32" not in {str(key) for key in state.intents}
    again, _ = reconfigure(state, replace(HOST, suspect_interval_s=None), 4.0)
    assert again.service_verdicts["dns"].level is Level.DAMPED
    state, effects = feed(state, [checked(OK, 3.0 + 125)])
    assert any(isinstance(effect, ServiceChanged) for effect in effects)
    assert "192.0.2.53/32" in {str(key) for key in state.intents}
