"""A host with a guarded service, and what its ToRs are told of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from bgphealth.core import engine
from bgphealth.core.events import AlternativesSeen, Event, ServiceChecked, Started, Verdict
from bgphealth.core.guard import HEALTHY
from bgphealth.core.intents import Announcement
from bgphealth.core.settings import Mode, OnDown, Prefix, Settings
from bgphealth.core.state import State
from tests.support.hosts import CHECK_FALL, CHECK_RISE, RISE, checked, host, round_of


def guarded(
    router_id: str = "10.255.10.1", on_down: OnDown = OnDown.GUARDED, mode: Mode = Mode.FRR
) -> Settings:
    """Return a host with two uplinks whose service `dns` is guarded, or not."""
    settings = host(on_down=on_down, mode=mode)
    return replace(settings, host=replace(settings.host, router_id=IPv4Address(router_id)))


def played(state: State, *events: Event) -> State:
    """Return the state after some events."""
    for event in events:
        state, _ = engine.step(state, event)
    return state


def checks(verdict: Verdict, at: float = 0.0) -> list[ServiceChecked]:
    """Return as many answers as it takes to believe them."""
    return [checked(verdict, at)] * max(CHECK_FALL, CHECK_RISE)


def running(settings: Settings) -> State:
    """Return the state of a host where all is well."""
    answers = [e for _ in range(RISE) for u in settings.uplinks for e in round_of(u, Verdict.OK)]
    return played(engine.initial(settings), Started(0.0), *answers, *checks(Verdict.OK))


def dns(state: State) -> Announcement | None:
    """Return what is announced of the service, to whomever."""
    prefix = prefix_of(state)
    found = (a for k, a in state.intents.items() if k.prefix == prefix and not a.is_quiet)
    return next(found, None)


def prefix_of(state: State) -> Prefix:
    """Return the prefix of the service."""
    return state.settings.services[1].prefixes[0]


def is_marked_healthy(announcement: Announcement | None) -> bool:
    """Tell whether others may rely on an announcement."""
    return announcement is not None and announcement.large_communities[-1].value1 == HEALTHY


def seen(state: State, at: float, *, healthy: bool) -> AlternativesSeen:
    """Return what a look for others finds."""
    prefixes = (prefix_of(state),)
    return AlternativesSeen(at, prefixes, prefixes if healthy else ())
