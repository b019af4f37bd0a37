"""What is asked for about a program: it must not keep the program from its work."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any, NamedTuple, cast

import pytest

from bgphealth.core import policy_services
from bgphealth.core.communities import Community
from bgphealth.core.settings import Settings, UplinkSettings
from bgphealth.daemon import looking
from bgphealth.daemon.requests import Request
from bgphealth.daemon.snapshot import Known, Told
from bgphealth.daemon.snapshot_routes import Routes
from bgphealth.exabgp.replies import NeighborState
from tests.support.control import Steered, listening, steered
from tests.support.hosts import host


def many(count: int) -> Steered:
    """Return a host whose service has so many prefixes."""
    plain = host(uplinks=3)
    loopback, dns = plain.services
    more = tuple(IPv4Network((0xC6120000 + number, 32)) for number in range(count - 1))
    return steered(
        replace(plain, services=(loopback, replace(dns, prefixes=(*dns.prefixes, *more))))
    )


async def test_of_many_routes_some_are_named_and_the_others_counted() -> None:
    async with listening(many(looking.MOST_ROUTES + 7)) as it:
        (found,) = (await it.command("explain", thing="dns"))["explained"]
    says = found["says"]
    named = [sentence for sentence in says if " is announced: " in sentence]
    assert len(named) == looking.MOST_ROUTES
    assert says[-1] == "It has 7 routes more: ask about a prefix."
    assert len(found["data"]["prefixes"]) == looking.MOST_ROUTES + 7


async def test_what_all_routes_need_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    of = many(looking.MOST_ROUTES)
    looked, tables = list[str](), list[Routes]()
    real = policy_services.all_steering

    def all_steering(settings: Settings, uplink: UplinkSettings) -> frozenset[Community]:
        looked.append(uplink.name)
        return real(settings, uplink)

    class Counted(Routes):
        def __init__(self, known: Known) -> None:
            super().__init__(known)
            tables.append(self)

    monkeypatch.setattr(policy_services, "all_steering", all_steering)
    monkeypatch.setattr(looking, "Routes", Counted)
    async with listening(of) as it:
        await it.command("explain", thing="dns")
    assert looked == ["tor1", "tor2", "tor3"]
    assert len(tables) == 1


class Seen(NamedTuple):
    known: Known


@pytest.mark.parametrize(("state", "is_said"), [("up", False), ("down", True)])
async def test_what_is_announced_over_a_session_that_is_down_arrives_nowhere(
    state: str, *, is_said: bool
) -> None:
    of = steered(host())
    neighbors = {"127.0.0.1": NeighborState("127.0.0.1", state, "peer reset")}
    told = Told(of.state.intents, frozenset(), frozenset(), neighbors, {}, 0.0, 0, "")
    explain = looking.commands(Seen(of.known._replace(told=told)), "file")["explain"]
    answer = await explain.answer(Request({"thing": "dns"}, ""))
    (found,) = cast("dict[str, Any]", answer)["explained"]
    says = "It does not arrive: the session of ExaBGP with 127.0.0.1 is down (peer reset)."
    assert (says in found["says"]) is is_said
