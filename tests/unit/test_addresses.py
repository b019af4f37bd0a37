"""The addresses of services: announced while they are there, and never taken away too early."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core import engine
from bgphealth.core.addresses import LEAST_SETTLE_S, AddressChanged, AddressesChanged
from bgphealth.core.events import (
    AddressesSeen,
    AddressWithdrawn,
    Drained,
    Event,
    Settled,
    Started,
    TimePassed,
    Verdict,
)
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import (
    LOOPBACK,
    Address,
    AddressUse,
    Family,
    InjectorLoss,
    Mode,
    Settings,
)
from bgphealth.core.state import Effect, IntentsChanged, State
from bgphealth.daemon import standing
from tests.support.hosts import (
    CHECK_FALL,
    CHECK_RISE,
    RISE,
    SETTLE_S,
    WITH_BGP,
    checked,
    host,
    round_of,
)

OK, FAILED = Verdict.OK, Verdict.FAILED
V4, V6 = ip_address("192.0.2.53"), ip_address("2001:db8::53")
OWN = ip_address("10.255.10.1")
ALL = frozenset({V4, V6, OWN, ip_address("2001:db8:10::1")})
DNS4, DNS6 = (RouteKey(ip_network(address)) for address in (V4, V6))


def feed(state: State, events: Iterable[Event]) -> tuple[State, list[Effect]]:
    effects: list[Effect] = []
    for event in events:
        state, new = engine.step(state, event)
        effects += new
    return state, effects


def hosted(use: AddressUse = AddressUse.EXPECT, **of_host: object) -> Settings:
    """Return a host whose service says that about its addresses."""
    settings = host(families=tuple(Family), **of_host)  # type: ignore[arg-type]
    services = [replace(s, address=use) if s.name == "dns" else s for s in settings.services]
    return replace(settings, services=tuple(services))


def without_dns(settings: Settings) -> Settings:
    return replace(settings, services=settings.services[:1])


def looked(*missing: Address, at: float = 1.0) -> AddressesSeen:
    return AddressesSeen(at, ALL.difference(missing), frozenset(missing))


def all_up(settings: Settings, *first: Event) -> State:
    answers = [e for _ in range(RISE) for u in settings.uplinks for e in round_of(u, OK)]
    checks = [checked(OK)] * CHECK_RISE
    events = [*first, Started(0.0), *answers, *checks, Settled(0.0)]
    return feed(engine.initial(settings), events)[0]


def reason(state: State, key: RouteKey) -> Reason:
    return state.decisions[key].reason


def test_a_prefix_whose_address_is_gone_is_withdrawn_and_comes_back_with_it() -> None:
    state = all_up(hosted(), looked())
    assert {DNS4, DNS6} <= state.intents.keys()
    state, effects = feed(state, [looked(V4)])
    assert reason(state, DNS4) is Reason.ADDRESS_MISSING
    assert DNS4 not in state.intents
    assert DNS6 in state.intents
    assert AddressChanged(1.0, V4, there=False) in effects
    assert f"{V4} missing" in standing.in_words(state)
    state, effects = feed(state, [looked(at=2.0)])
    assert {DNS4, DNS6} <= state.intents.keys()
    assert AddressChanged(2.0, V4, there=True) in effects


def test_nothing_is_said_of_what_was_said_before() -> None:
    state = all_up(hosted(), looked(V4))
    assert feed(state, [looked(V4, at=3.0)]) == (state, [])


def test_what_nobody_has_looked_at_is_not_missing() -> None:
    assert {DNS4, DNS6} <= all_up(hosted()).intents.keys()


def test_at_a_start_it_is_withdrawn_before_the_first_verdict() -> None:
    """What an earlier run left is not left as it is."""
    state, _ = feed(engine.initial(hosted()), [looked(V4), Started(0.0)])
    assert reason(state, DNS4) is Reason.ADDRESS_MISSING
    assert reason(state, DNS6) is Reason.INIT


@pytest.mark.parametrize("mode", WITH_BGP)
def test_it_is_so_in_every_mode(mode: Mode) -> None:
    state = all_up(hosted(mode=mode), looked(V4))
    announced = {key.prefix for key in state.intents}
    assert DNS4.prefix not in announced
    assert DNS6.prefix in announced


def test_a_file_may_not_care() -> None:
    state = all_up(hosted(AddressUse.IGNORE), looked(V4, V6))
    assert {DNS4, DNS6} <= state.intents.keys()


def test_a_wider_prefix_needs_no_address() -> None:
    settings = hosted()
    prefixes = (ip_network("192.0.2.52/31"), ip_network("2001:db8::53/128"))
    dns = replace(settings.services[1], prefixes=prefixes)
    settings = replace(settings, services=(settings.services[0], dns))
    state = all_up(settings, looked(ip_address("192.0.2.52"), V6))
    assert RouteKey(prefixes[0]) in state.intents
    assert RouteKey(prefixes[1]) not in state.intents


def test_the_host_loopback_is_announced_all_the_same_and_said() -> None:
    state, effects = feed(all_up(hosted(), looked()), [looked(OWN)])
    assert RouteKey(ip_network(OWN)) in state.intents
    assert effects == [AddressChanged(1.0, OWN, there=False)]


def test_where_bgpd_originates_it_too_it_goes_to_no_uplink() -> None:
    state = all_up(hosted(loss=InjectorLoss.KEEP), looked(V4))
    assert state.intents[DNS4].is_quiet
    assert reason(state, DNS4) is Reason.ADDRESS_MISSING


def test_it_is_why_the_checks_fail_but_not_why_the_operator_drains() -> None:
    state, _ = feed(all_up(hosted()), [*[checked(FAILED)] * CHECK_FALL, looked(V4)])
    assert reason(state, DNS4) is Reason.ADDRESS_MISSING
    assert reason(state, DNS6) is Reason.SERVICE_DOWN
    drained = Drained(1.0, What.SERVICE, "dns", 1.0 - SETTLE_S)
    assert reason(feed(state, [drained])[0], DNS4) is Reason.DRAINED


def test_what_is_being_drained_is_withdrawn_at_once() -> None:
    drained = Drained(1.0, What.SERVICE, "dns", 1.0)
    state, _ = feed(all_up(hosted()), [drained, looked(V4)])
    assert DNS4 not in state.intents
    assert DNS6 in state.intents


# Added and taken away


def changes(effects: Iterable[Effect]) -> list[AddressesChanged]:
    return [effect for effect in effects if isinstance(effect, AddressesChanged)]


def test_the_address_of_a_new_service_comes_first() -> None:
    settings = hosted(AddressUse.ADD)
    state = all_up(without_dns(settings), looked())
    # The program says so before the file changes.
    state, effects = feed(state, [looked(V4, V6)])
    state, more = reconfigure(state, settings, 2.0)
    assert changes([*effects, *more]) == [AddressesChanged(2.0, frozenset({V4, V6}), frozenset())]
    # It is no trouble that they are not there yet.
    assert not [e for e in (*effects, *more) if isinstance(e, AddressChanged)]
    state, _ = feed(state, [checked(OK)] * CHECK_RISE)
    assert not {DNS4, DNS6} & state.intents.keys()
    state, _ = feed(state, [looked(V6, at=3.0)])
    assert DNS4 in state.intents
    assert DNS6 not in state.intents


def test_a_new_service_whose_address_is_missing_is_said() -> None:
    settings = hosted()
    state, _ = feed(all_up(without_dns(settings), looked()), [looked(V4)])
    _, effects = reconfigure(state, settings, 2.0)
    assert AddressChanged(2.0, V4, there=False) in effects


def left(settle_s: float = SETTLE_S) -> State:
    """Return a host whose service has just left the file."""
    settings = replace(hosted(AddressUse.ADD), drain_settle_s=settle_s)
    state, effects = reconfigure(all_up(settings, looked()), without_dns(settings), 10.0)
    assert not {DNS4, DNS6} & state.intents.keys()
    # From now on it is not put back, should somebody take it away; it is not taken away either.
    assert changes(effects) == [AddressesChanged(10.0, frozenset(), frozenset())]
    return state


@pytest.mark.parametrize(("settle_s", "stays_s"), [(SETTLE_S, SETTLE_S), (0.0, LEAST_SETTLE_S)])
def test_an_address_leaves_after_the_withdrawal_and_the_settle_time(
    settle_s: float, stays_s: float
) -> None:
    state = left(settle_s)
    state, effects = feed(state, [TimePassed(1000.0), AddressWithdrawn(1000.0, V4)])
    assert changes(effects) == []
    assert state.next_at == 1000.0 + stays_s
    state, effects = feed(state, [TimePassed(1000.0 + stays_s - 0.1)])
    assert changes(effects) == []
    at = 1000.0 + stays_s
    state, effects = feed(state, [TimePassed(at)])
    assert changes(effects) == [AddressesChanged(at, frozenset(), frozenset({V4}))]
    assert state.next_at is None


@pytest.mark.parametrize("use", AddressUse)
def test_an_address_that_the_file_names_again_stays(use: AddressUse) -> None:
    state, _ = feed(left(), [AddressWithdrawn(20.0, V4), AddressWithdrawn(20.0, V6)])
    state, _ = feed(state, [TimePassed(20.0 + SETTLE_S)])
    assert state.addresses.unwanted == {V4, V6}
    state, _ = reconfigure(state, hosted(use), 40.0)
    assert state.addresses.unwanted == frozenset()
    # Nor does a late acknowledgement take it away.
    state, _ = feed(state, [AddressWithdrawn(41.0, V4), TimePassed(100.0)])
    assert state.addresses.unwanted == frozenset()


def test_one_that_is_named_again_while_it_settles_stays() -> None:
    state, _ = feed(left(), [AddressWithdrawn(20.0, V4)])
    state, effects = reconfigure(state, hosted(AddressUse.ADD), 21.0)
    assert changes(effects) == [AddressesChanged(21.0, frozenset({V4, V6}), frozenset())]
    assert changes(feed(state, [TimePassed(100.0)])[1]) == []


def test_a_service_that_is_down_or_drained_keeps_its_address() -> None:
    state = all_up(hosted(AddressUse.ADD), looked())
    drained = Drained(1.0, What.HOST, "", 1.0)
    events: list[Event] = [*[checked(FAILED)] * CHECK_FALL, drained, TimePassed(1.0 + SETTLE_S)]
    state, effects = feed(state, events)
    assert DNS4 not in state.intents
    assert [e for e in effects if isinstance(e, IntentsChanged)]
    assert changes(effects) == []


def test_the_loopback_is_never_ours_to_add() -> None:
    settings = hosted(AddressUse.ADD)
    assert settings.services[0].name == LOOPBACK
    _, effects = reconfigure(all_up(without_dns(settings)), settings, 2.0)
    assert changes(effects)[0].wanted == {V4, V6}
