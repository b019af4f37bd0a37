"""Whatever happens: nothing is announced for an address that is missing, and none leaves early."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.core import engine, policy
from bgphealth.core.addresses import LEAST_SETTLE_S, AddressesChanged, named, wanted
from bgphealth.core.events import (
    AddressesSeen,
    AddressWithdrawn,
    Drained,
    Event,
    Settled,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.orders import What
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
from bgphealth.core.state import Effect, State
from tests.property.test_engine_properties import bursts
from tests.support.hosts import RISE, checked, host, round_of, service

ADDRESSES = [ip_address(a) for a in ("192.0.2.53", "2001:db8::53", "192.0.2.80", "10.255.10.1")]
HOSTS = [
    host(families=tuple(Family), mode=mode, loss=loss)
    for mode, loss in ((Mode.FRR, InjectorLoss.WITHDRAW), (Mode.DIRECT, InjectorLoss.WITHDRAW))
] + [host(families=tuple(Family), loss=InjectorLoss.KEEP)]


@st.composite
def files(draw: st.DrawFn, base: Settings) -> Settings:
    """The same host with some of its services, each with an address in one of the ways."""
    uses = st.sampled_from(AddressUse)
    web = service("web", "192.0.2.80/32", "192.0.2.128/25")
    there = [s for s in (*base.services[1:], web) if draw(st.booleans())]
    others = tuple(replace(s, address=draw(uses)) for s in there)
    settle_s = draw(st.sampled_from([0.0, 10.0]))
    return replace(base, services=(base.services[0], *others), drain_settle_s=settle_s)


def events(settings: Settings, at: float) -> st.SearchStrategy[list[Event]]:
    """One thing that happens: to addresses, to verdicts, by an operator."""
    drains = st.sampled_from([(What.SERVICE, "dns"), (What.HOST, ""), (What.UPLINK, "tor1")])
    orders: st.SearchStrategy[Event] = drains.flatmap(
        lambda what: st.sampled_from([Drained(at, *what, at), Undrained(at, *what)])
    )
    looks: st.SearchStrategy[Event] = st.frozensets(st.sampled_from(ADDRESSES)).map(
        lambda missing: AddressesSeen(at, frozenset(ADDRESSES) - missing, missing)
    )
    gone: st.SearchStrategy[Event] = st.sampled_from(ADDRESSES).map(
        lambda address: AddressWithdrawn(at, address)
    )
    up = [e for _ in range(RISE) for u in settings.uplinks for e in round_of(u, Verdict.OK, at)]
    works: list[Event] = [*up, *[checked(Verdict.OK, at)] * RISE, Settled(at)]
    return st.one_of(
        looks.map(lambda event: [event]),
        gone.map(lambda event: [event]),
        orders.map(lambda event: [event]),
        st.just(works),
        bursts(settings).map(list),
    )


def announced(state: State) -> set[Address]:
    """Return the addresses that a ToR gets to see as routes."""
    return {
        decision.outward.key.prefix.network_address
        for decision in state.decisions.values()
        if decision.outward is not None and not decision.outward.key.path_id
    }


class Watched:
    """What is known from outside: when each withdrawal was acknowledged, and what was wanted."""

    def __init__(self, settings: Settings) -> None:
        self.acknowledged: dict[Address, float] = {}
        self.told = AddressesChanged(0.0, wanted(settings), frozenset())

    def check(self, state: State, at: float, effects: tuple[Effect, ...]) -> None:
        settings = state.settings
        must = {
            address
            for s in settings.services
            if s.name != LOOPBACK and s.address is not AddressUse.IGNORE
            for address in s.addresses
        }
        assert not announced(state) & must & state.addresses.missing
        for effect in effects:
            if isinstance(effect, AddressesChanged):
                self.told = effect
        # Level-triggered: what was told last is what counts now.
        assert self.told.wanted == wanted(settings)
        assert self.told.unwanted == state.addresses.unwanted
        assert not self.told.unwanted & named(settings)
        assert not self.told.unwanted & announced(state)
        for address in self.told.unwanted:
            assert at - self.acknowledged[address] >= LEAST_SETTLE_S


@given(st.sampled_from(HOSTS), st.data())
def test_nothing_is_announced_without_its_address_and_no_address_leaves_too_early(
    base: Settings, data: st.DataObject
) -> None:
    state, at = engine.initial(data.draw(files(base))), 0.0
    watched = Watched(state.settings)
    state, effects = engine.step(state, Started(at))
    watched.check(state, at, effects)
    for _ in range(data.draw(st.integers(1, 12))):
        at += data.draw(st.sampled_from([0.0, 0.6, 5.0, 20.0]))
        if data.draw(st.booleans()):
            state, effects = reconfigure(state, data.draw(files(base)), at)
            watched.check(state, at, effects)
        for event in (TimePassed(at), *data.draw(events(state.settings, at))):
            state, effects = engine.step(state, event)
            if isinstance(event, AddressWithdrawn):
                watched.acknowledged.setdefault(event.address, at)
            watched.check(state, at, effects)
        # What the file owns is decided, whatever became of its addresses.
        assert state.decisions.keys() == policy.owned(state.settings)


@given(st.sampled_from(HOSTS), st.data())
def test_addresses_that_are_all_there_change_nothing(base: Settings, data: st.DataObject) -> None:
    """To look, and to find everything, is as if nobody had looked."""
    settings = data.draw(files(base))
    looked = AddressesSeen(0.0, frozenset(ADDRESSES), frozenset())
    here, there = engine.initial(settings), engine.step(engine.initial(settings), looked)[0]
    started: list[Event] = [Started(0.0)]
    for event in [*started, *(e for b in data.draw(st.lists(bursts(settings))) for e in b)]:
        here, there = engine.step(here, event)[0], engine.step(there, event)[0]
        assert here.decisions == there.decisions
