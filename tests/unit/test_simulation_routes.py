"""By which uplinks a route is said to go, whatever sends it there."""

from __future__ import annotations

from itertools import product

import pytest

from bgphealth.core.decisions import default_key
from bgphealth.core.drain import Stage
from bgphealth.core.intents import Announcement, Community, RouteKey
from bgphealth.core.policy_services import steering
from bgphealth.core.settings import Family
from bgphealth.simulation.routes import carriers
from tests.support.hosts import host

STAGES = (None, Stage.PREPENDED, Stage.SHUTDOWN)


@pytest.mark.parametrize(("stage", "degraded"), [*product(STAGES, (False, True))])
def test_a_service_goes_by_those_that_steer_it(stage: Stage | None, *, degraded: bool) -> None:
    settings = host(uplinks=3)
    tor1, _, tor3 = settings.uplinks
    communities = (
        steering(settings, tor1),
        steering(settings, tor3, stage, degraded=degraded),
        Community(65000, 2),
        Community(65101, 500),
    )
    key = RouteKey(settings.services[1].prefixes[0])
    assert carriers(settings, Announcement(key, None, 100, communities)) == ("tor1", "tor3")


def test_a_default_goes_by_its_own() -> None:
    key = default_key(Family.IPV4, 2)
    assert carriers(host(), Announcement(key, None, 100)) == ("tor2",)
