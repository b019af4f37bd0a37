"""What must hold whatever happens: random hosts, random events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine, policy
from bgphealth.core.carrying import carriers
from bgphealth.core.events import (
    Event,
    LinkChanged,
    PathProbed,
    PathProbeOverdue,
    ServiceChecked,
    Settled,
    Started,
    Verdict,
)
from bgphealth.core.health import PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement, Intents, RouteKey
from bgphealth.core.reasons import Reason
from bgphealth.core.reconcile import Announce, Change, reconcile
from bgphealth.core.settings import (
    AllDown,
    Damping,
    Family,
    InjectorLoss,
    Mode,
    Role,
    Scope,
    Settings,
    UplinkPath,
)
from bgphealth.core.state import IntentsChanged, PathChanged, State
from tests.support.hosts import CHECK, FALL, RISE, WITH_BGP, host, round_of

DAMPING = Damping(half_life_s=10.0, suppress=1500, reuse=500, max_suppress_s=60.0)
KINDS = ("probe", "path", "path", "host", "service", "link", "overdue", "settled")
EITHER, FRR = WITH_BGP, (Mode.FRR,)


def hosts(modes: Sequence[Mode]) -> st.SearchStrategy[Settings]:
    return st.builds(
        host,
        uplinks=st.integers(1, 4),
        families=st.sampled_from([(Family.IPV4,), (Family.IPV4, Family.IPV6)]),
        need=st.integers(1, 2),
        all_down=st.sampled_from(AllDown),
        mode=st.sampled_from(modes),
        loss=st.sampled_from(InjectorLoss),
        damping=st.sampled_from([None, DAMPING]),
    )


def _probes(path: UplinkPath) -> list[tuple[Role, int]]:
    return [(Role.GATEWAY, 0), *((Role.BEYOND, n) for n in range(len(path.beyond)))]


@st.composite
def bursts(draw: st.DrawFn, settings: Settings) -> list[Event]:
    """Several equal answers in a row, as they come in life: single ones never reach a verdict."""
    verdict = draw(st.sampled_from(Verdict))
    times = draw(st.integers(1, RISE + 2))
    uplink = draw(st.sampled_from(settings.uplinks))
    what = draw(st.sampled_from(KINDS))
    if what == "link":
        return [LinkChanged(0.0, uplink.name, up=draw(st.booleans()))]
    if what == "settled":
        return [Settled(0.0)]
    if what == "service":
        return [ServiceChecked(0.0, "dns", CHECK, verdict)] * times
    if what == "host":
        return [e for _ in range(times) for u in settings.uplinks for e in round_of(u, verdict)]
    path = draw(st.sampled_from(uplink.paths))
    if what == "overdue":
        return [
            PathProbeOverdue(0.0, uplink.name, path.family, Role.BEYOND, path.beyond[0])
        ] * times
    chosen = _probes(path) if what == "path" else [draw(st.sampled_from(_probes(path)))]
    return [
        PathProbed(
            0.0,
            uplink.name,
            path.family,
            role,
            (path.gateway if role is Role.GATEWAY else path.beyond)[index],
            verdict,
        )
        for _ in range(times)
        for role, index in chosen
    ]


@st.composite
def runs(draw: st.DrawFn, modes: Sequence[Mode] = EITHER) -> tuple[Settings, list[Event]]:
    settings = draw(hosts(modes))
    at = 0.0
    events: list[Event] = [Started(at)]
    for burst in draw(st.lists(bursts(settings), max_size=25)):
        at += draw(st.sampled_from([0.0, 0.2, 20.0]))
        events += [
            e._replace(at=at) if isinstance(e, PathProbed) else replace(e, at=at) for e in burst
        ]
    return settings, events


def states(settings: Settings, events: list[Event]) -> Iterator[tuple[State, Event, State]]:
    before = engine.initial(settings)
    for event in events:
        after, _ = engine.step(before, event)
        yield before, event, after
        before = after


def working_paths(state: State, family: Family) -> set[str]:
    return {
        key.uplink
        for key, verdict in state.path_verdicts.items()
        if key.family is family and verdict.level.works
    }


def damped_paths(state: State, family: Family) -> set[str]:
    return {
        key.uplink
        for key, verdict in state.path_verdicts.items()
        if key.family is family and verdict.level is Level.DAMPED
    }


def defaults(table: Intents, family: Family) -> dict[RouteKey, Announcement]:
    return {k: a for k, a in table.items() if k.path_id and Family.of(k.prefix) is family}


@given(runs())
def test_replay_is_deterministic(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run

    def play() -> list[object]:
        state = engine.initial(settings)
        seen: list[object] = []
        for event in events:
            state, effects = engine.step(state, event)
            seen.append((state, effects))
        return seen

    assert play() == play()


@given(runs())
def test_no_verdict_changes_before_rise_or_fall(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    answers: dict[tuple[object, ...], deque[Verdict]] = {}
    state = engine.initial(settings)
    for event in events:
        if isinstance(event, LinkChanged) and not event.up:
            for key in [k for k in answers if k[0] == event.uplink]:
                del answers[key]
        if isinstance(event, PathProbed) and event.verdict is not Verdict.UNKNOWN:
            key = (event.uplink, event.family, event.role, event.probe)
            answers.setdefault(key, deque(maxlen=RISE)).append(event.verdict)
        state, effects = engine.step(state, event)
        for effect in effects:
            if not isinstance(effect, PathChanged):
                continue
            before, after = effect.before.level, effect.after.level
            mine = [list(seen) for key, seen in answers.items() if key[:2] == effect.path]
            if after is Level.DOWN and before is not Level.DOWN:
                if effect.after.reason is not Reason.LINK_DOWN:
                    assert any(seen[-FALL:] == [Verdict.FAILED] * FALL for seen in mine)
            elif after.works and not before.works:
                assert any(seen[-RISE:] == [Verdict.OK] * RISE for seen in mine)


@given(runs(FRR))
def test_never_without_a_path_while_one_works(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for family in settings.families:
            working = working_paths(state, family)
            # What is damped is used when nothing else works.
            best = working - damped_paths(state, family) or working
            numbers = {u.number for u in settings.uplinks if u.name in best}
            if working:
                assert {key.path_id for key in defaults(state.intents, family)} == numbers


@given(runs(FRR))
def test_a_service_goes_where_the_best_defaults_go(run: tuple[Settings, list[Event]]) -> None:
    """Both directions from one verdict: the communities name the uplinks of the defaults in use."""
    settings, events = run
    for _, _, state in states(settings, events):
        for key, announcement in state.intents.items():
            if key.path_id or announcement.is_quiet:
                continue
            injected = defaults(state.intents, Family.of(key.prefix))
            best = max(d.local_pref or 0 for d in injected.values())
            in_use = {k.path_id for k, d in injected.items() if d.local_pref == best}
            assert {c.value for c in announcement.communities} == in_use


@given(runs())
def test_a_dead_service_is_never_announced(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        if state.service_verdicts["dns"].level is not Level.UP:
            dns = next(s for s in settings.services if s.name == "dns")
            seen = {key for key, a in state.intents.items() if not a.is_quiet}
            assert not set(dns.prefixes) & {key.prefix for key in seen}


@given(runs())
def test_a_backup_in_bgpd_comes_out_only_where_nothing_is_known(
    run: tuple[Settings, list[Event]],
) -> None:
    settings, events = run
    kept = {
        RouteKey(prefix)
        for service in settings.services
        for prefix in service.prefixes
        if service.on_injector_loss is InjectorLoss.KEEP
    }
    for _, _, state in states(settings, events):
        out = {key: state.decisions[key].reason for key in kept - set(state.intents)}
        assert set(out.values()) <= {Reason.INIT, Reason.ALL_DOWN_NOTHING_TO_KEEP}


@given(runs())
def test_every_owned_route_has_a_decision_with_a_reason(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        assert set(state.decisions) == policy.owned(settings)
        assert all(isinstance(d.reason, Reason) for d in state.decisions.values())
        assert set(state.intents) <= policy.owned(settings)


@given(runs())
def test_the_effects_tell_the_whole_story(run: tuple[Settings, list[Event]]) -> None:
    """Whoever follows the effects alone knows the same as the state."""
    settings, events = run
    state = engine.initial(settings)
    told: Intents = {}
    levels = {key: verdict.level for key, verdict in state.path_verdicts.items()}
    for event in events:
        state, effects = engine.step(state, event)
        for effect in effects:
            if isinstance(effect, IntentsChanged):
                told = effect.intents
            if isinstance(effect, PathChanged):
                levels[effect.path] = effect.after.level
        assert told == state.intents
        assert levels == {k: v.level for k, v in state.path_verdicts.items()}


@given(runs(FRR))
def test_what_keeps_never_takes_the_last_path_away(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    if settings.all_down is AllDown.WITHDRAW:
        return
    for before, _, after in states(settings, events):
        for family in settings.families:
            if defaults(before.intents, family):
                assert defaults(after.intents, family)


@given(runs(FRR))
def test_paths_that_fall_together_are_kept_together(run: tuple[Settings, list[Event]]) -> None:
    settings, events = run
    if settings.all_down is not AllDown.KEEP_LAST:
        return
    for before, _, after in states(settings, events):
        for family in settings.families:
            shared = [v for k, v in after.path_verdicts.items() if k.family is family]
            fell = any(v.reason is Reason.SHARED_FATE for v in shared) and before != after
            if fell and working_paths(before, family) and not working_paths(after, family):
                clean = carriers(
                    {
                        k.uplink: v.level
                        for k, v in before.path_verdicts.items()
                        if k.family is family
                    }
                )
                numbers = {u.number for u in settings.uplinks if u.name in clean}
                assert {k.path_id for k in defaults(after.intents, family)} == numbers


@given(runs())
def test_a_path_is_held_only_while_the_others_do_the_same(
    run: tuple[Settings, list[Event]],
) -> None:
    settings, events = run
    for _, _, state in states(settings, events):
        for held in state.held_since:
            works = state.path_verdicts[held].level.works
            working = working_paths(state, held.family)
            others = (working if works else state.last_usable[Scope(held.family)]) - {held.uplink}
            assert others
            for uplink in others:
                health = state.paths[PathKey(uplink, held.family)]
                assert health.is_failing if works else health.is_answering
            if not works:
                # It is about to come up, and carries already, with those that are kept beside it.
                assert not working
                assert settings.all_down is AllDown.KEEP_LAST
                assert held.uplink in state.last_usable[Scope(held.family)]


def kept(state: State, family: Family) -> set[str]:
    numbers = {key.path_id for key in defaults(state.intents, family)}
    return {u.name for u in state.settings.uplinks if u.number in numbers}


def keeping_best(run: tuple[Settings, list[Event]]) -> Iterator[tuple[State, State, Family]]:
    """Return the states before and after, of each family of which no path works after."""
    settings, events = run
    for before, _, after in states(replace(settings, all_down=AllDown.KEEP_BEST), events):
        for family in settings.families:
            if not working_paths(after, family):
                yield before, after, family


@given(runs(FRR))
def test_keep_best_leaves_a_path_only_for_a_better_one(
    run: tuple[Settings, list[Event]],
) -> None:
    for before, after, family in keeping_best(run):
        if working_paths(before, family):
            continue
        now = {u: after.paths[PathKey(u, family)].standing for u in kept(after, family)}
        for left in kept(before, family) - now.keys():
            standing = after.paths[PathKey(left, family)].standing
            assert any(better.is_better_than(standing) for better in now.values())


@given(runs(FRR))
def test_keep_best_keeps_no_path_that_is_worse_than_another(
    run: tuple[Settings, list[Event]],
) -> None:
    for _, state, family in keeping_best(run):
        down = [
            state.paths[key].standing
            for key, verdict in state.path_verdicts.items()
            if key.family is family and verdict.level is Level.DOWN
        ]
        for uplink in kept(state, family):
            mine = state.paths[PathKey(uplink, family)].standing
            assert not any(other.is_better_than(mine) for other in down)


def applied(table: Intents, changes: tuple[Change, ...]) -> Iterator[dict[RouteKey, Announcement]]:
    current = dict(table)
    for change in changes:
        if isinstance(change, Announce):
            current[change.key] = change.announcement
        else:
            current.pop(change.key, None)
        yield dict(current)


@given(runs(), st.data())
def test_reconcile_reaches_the_wanted_set_and_is_empty_there(
    run: tuple[Settings, list[Event]], data: st.DataObject
) -> None:
    settings, events = run
    sets = [state.intents for _, _, state in states(settings, events)]
    sent, wanted = data.draw(st.sampled_from(sets)), data.draw(st.sampled_from(sets))
    doubtful = data.draw(st.sets(st.sampled_from(sorted(policy.owned(settings), key=str))))
    changes = reconcile(wanted, sent, doubtful)
    tables = [dict(sent), *applied(sent, changes)]
    assert tables[-1] == wanted
    assert reconcile(wanted, wanted) == ()
    assert doubtful <= {change.key for change in changes}


@given(st.data())
def test_no_command_on_the_way_leaves_a_family_without_a_default(data: st.DataObject) -> None:
    """Make before break: between two sets that have a default there is no instant without one."""
    settings = data.draw(hosts(FRR))
    everything = [
        Announcement(key, settings.host.discard_next_hop_for(Family.of(key.prefix)), 100)
        for key in sorted(policy.owned(settings), key=str)
    ]
    tables = st.lists(st.sampled_from(everything), unique=True)
    sent, wanted = ({a.key: a for a in data.draw(tables)} for _ in range(2))

    for family in settings.families:
        if defaults(sent, family) and defaults(wanted, family):
            for table in applied(sent, reconcile(wanted, sent)):
                assert defaults(table, family)


def test_path_keys_are_what_the_settings_say() -> None:
    settings = host(families=(Family.IPV4, Family.IPV6))
    assert set(engine.initial(settings).paths) == {
        PathKey(f"tor{n}", family) for n in (1, 2) for family in Family
    }
