"""Since when things are as they are."""

from __future__ import annotations

from dataclasses import replace

from bgphealth.core import engine
from bgphealth.core.health import Judgement, PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Family
from bgphealth.core.state import PathChanged, ServiceChanged
from bgphealth.daemon.history import History, Since
from tests.support.hosts import host

TOR1 = PathKey("tor1", Family.IPV4)
UP = Judgement(Level.UP, Reason.PROBES_OK)
TOGETHER = Judgement(Level.DOWN, Reason.SHARED_FATE)
DOWN = Judgement(Level.DOWN, Reason.BEYOND_FAILED)


def test_another_reason_for_the_same_verdict_is_no_other_verdict() -> None:
    history = History(10.0)
    history.effect(PathChanged(20.0, TOR1, UP, TOGETHER))
    history.effect(PathChanged(30.0, TOR1, TOGETHER, DOWN))
    assert history.times.paths == {TOR1: Since(20.0, 30.0)}
    assert history.times.falls == {TOR1: 1}


def test_what_left_the_file_is_forgotten_and_what_is_new_begins() -> None:
    history = History(10.0)
    history.effect(PathChanged(20.0, TOR1, UP, DOWN))
    history.effect(ServiceChanged(20.0, "dns", UP, DOWN))
    whole, less = host(), host()
    less = replace(less, uplinks=less.uplinks[1:], services=less.services[:1])
    before, after = engine.initial(whole), engine.initial(less)
    history.reloaded(40.0, before, after)
    assert (history.times.paths, history.times.services, history.times.falls) == ({}, {}, {})
    history.reloaded(50.0, after, before)
    assert history.times.paths == {TOR1: Since(50.0, 50.0)}
    assert history.times.services == {"dns": Since(50.0, 50.0)}
