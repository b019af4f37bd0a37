"""Why something is as it is, in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgphealth.core import engine, explain
from bgphealth.core.decisions import default_key
from bgphealth.core.events import Drained, LinkChanged, Started, Verdict
from bgphealth.core.explain import Lived, Moment, Steering
from bgphealth.core.health import PathKey
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import What
from bgphealth.core.settings import Damping, Family, Mode, Role, Settings
from bgphealth.core.state import State
from tests.support.control import Steered, steered
from tests.support.hosts import CHECK_FALL, FALL, RISE, checked, host, probed, round_of, service

TOR1, TOR2 = (PathKey(name, Family.IPV4) for name in ("tor1", "tor2"))
DAMPING = Damping(half_life_s=10.0, suppress=1900.0, reuse=1000.0, max_suppress_s=60.0)
LIVED = Lived(90.0, 2)


def moment(now: float = 100.0) -> Moment:
    return Moment(now, lambda at: f"at {at:.0f}")


def dark(settings: Settings | None = None, *, answers: int = 0, at: float = 90.0) -> State:
    """Return a host whose tor2 has lost what is behind it, and has answered so often since."""
    of = steered(settings)
    tor2 = of.state.settings.uplinks[1]
    both = [(Role.BEYOND, 0), (Role.BEYOND, 1)]
    of.feed(probed(tor2, *one, Verdict.FAILED, at) for _ in range(FALL) for one in both)
    of.feed(probed(tor2, *one, Verdict.OK, at) for _ in range(answers) for one in both)
    return of.state


def said(state: State, key: PathKey = TOR2, now: float = 100.0) -> str:
    return "\n".join(explain.path(state, key, LIVED, moment(now)))


def routed(state: State, key: RouteKey) -> list[str]:
    return [*explain.route(state, key, Steering.of(state.settings), moment())]


def test_a_path_that_is_down_names_probes_counters_thresholds_and_the_next_change() -> None:
    words = said(dark(answers=4))
    assert words.startswith("tor2 ipv4 is down since at 90 (10 s): beyond_failed, ")
    assert "1 of 1 gateway probes are up, all of them are needed." in words
    assert "0 of 2 beyond probes are up, 1 is needed." in words
    assert "icmp 198.51.100.1 (beyond) is down: 4 answers in a row (rise 10)." in words
    assert (
        "It comes up after 10 answers in a row of each probe that it needs (4 so far): in 1.2 s at "
        "the earliest." in words
    )
    assert "Its default is withdrawn: path_down, " in words


def test_what_failed_and_why_is_said() -> None:
    words = said(dark())
    assert "is down: 3 failed in a row (fall 3): no answer within 200 ms." in words


def test_why_more_failures_count_than_the_file_says() -> None:
    of = steered()
    tor2 = of.state.settings.uplinks[1]
    every_other = (Verdict.OK, Verdict.FAILED) * 15
    of.feed(probed(tor2, Role.BEYOND, 0, verdict, 90.0) for verdict in every_other)
    words = said(of.state)
    why = " Fall is more than the file's 3, because answers were lost lately."
    assert f"is up: 1 failed in a row (fall 14): no answer within 200 ms.{why}" in words
    assert f"goes down after 14 failed answers in a row of a probe that it needs.{why}" in words
    assert "more than the file" not in said(of.state, TOR1)


def test_a_path_that_is_up_says_what_would_take_it_down() -> None:
    words = said(dark(), TOR1)
    assert words.startswith("tor1 ipv4 is up since at 90 (10 s): probes_ok, ")
    assert "It goes down after 3 failed answers in a row of a probe that it needs." in words
    assert "gateway) is" not in words


def test_a_path_without_a_verdict_counts_from_nothing() -> None:
    state, _ = engine.step(engine.initial(host()), Started(90.0))
    words = said(state)
    assert "icmp 10.0.2.0 (gateway) is init: no answer counts yet (rise 10, fall 3)." in words
    assert "(0 so far): in 2.0 s at the earliest." in words


def test_a_link_that_is_down_is_all_that_counts() -> None:
    state, _ = engine.step(steered().state, LinkChanged(90.0, "tor2", up=False))
    words = said(state)
    assert "It stays so until the link is back; then it takes 10 answers in a row." in words
    assert "probes are up" not in words


def test_damping_says_the_penalty_and_the_time_until_it_is_used() -> None:
    of = steered(host(damping=DAMPING))
    tor2 = of.state.settings.uplinks[1]
    for at in (80.0, 81.0):
        of.feed(event for _ in range(FALL) for event in round_of(tor2, Verdict.FAILED, at))
        of.feed(event for _ in range(RISE) for event in round_of(tor2, Verdict.OK, at + 0.5))
    words = said(of.state, now=82.0)
    assert words.startswith("tor2 ipv4 is damped since ")
    assert "It fell 2 times since the start; its penalty is 1804, and decays to 1000 at " in words
    assert "at 91 (in 9 s)" in words.replace("8.5", "9")
    assert "it is not used before while another one works." in words


def test_a_penalty_below_suppress_costs_nothing() -> None:
    words = said(dark(host(damping=DAMPING)), now=90.0)
    assert "its penalty is 1000, below 1900 (suppress): it is used as soon as it is up." in words


def test_a_drained_uplink_says_since_when_and_how_to_end_it() -> None:
    state, _ = engine.step(steered().state, Drained(95.0, What.UPLINK, "tor2", 95.0, 700.0))
    words = said(state)
    assert "uplink tor2 is drained since at 95 (5.0 s), until at 700 (in 10 min); " in words
    assert "'bgphealth undrain uplink tor2' ends it." in words
    assert "It is still announced, until at 105 (in 5.0 s) (policy.drain_settle)." in words


def test_a_service_names_its_checks() -> None:
    of = steered()
    of.feed([checked(Verdict.FAILED, 90.0)] * CHECK_FALL)
    words = "\n".join(explain.service(of.state, "dns", LIVED, moment()))
    assert words.startswith("dns is down since at 90 (10 s): check_failed, ")
    assert "0 of 1 checks are up, and it needs 1." in words
    assert "tcp 192.0.2.53:53 is down: 2 failed in a row (fall 2): refused." in words
    assert "It comes up after 4 answers in a row of each check that it needs (0 so far)" in words


def test_a_service_names_what_it_requires() -> None:
    plain = host()
    web = service("web", "192.0.2.80/32", requires=("dns",))
    of = steered(replace(plain, services=(*plain.services, web)))
    of.feed([checked(Verdict.FAILED, 90.0)] * CHECK_FALL)
    words = "\n".join(explain.service(of.state, "web", LIVED, moment()))
    assert "It requires dns, which is down: check_failed." in words


@pytest.mark.parametrize("mode", [Mode.FRR, Mode.DIRECT])
def test_a_route_says_towards_whom_and_why_not(mode: Mode) -> None:
    plain = host(uplinks=3, mode=mode)
    dns = replace(plain.services[1], uplinks=frozenset({"tor1", "tor2"}))
    state = dark(replace(plain, services=(plain.services[0], dns)))
    keys = [key for key in state.decisions if str(key.prefix) == "192.0.2.53/32"]
    words = "\n".join(line for key in keys for line in routed(state, key))
    assert "tor1 is to get it." in words
    assert "tor2 does not: its ipv4 path is down (beyond_failed)." in words
    assert ("services.dns.uplinks has not got it" in words) is (mode is Mode.FRR)


def test_a_withdrawn_route_says_what_to_do() -> None:
    of = steered()
    of.feed([checked(Verdict.FAILED, 90.0)] * CHECK_FALL)
    (key,) = (key for key in of.state.decisions if str(key.prefix) == "192.0.2.53/32")
    words = routed(of.state, key)
    assert words[:2] == [
        "192.0.2.53/32 is withdrawn: service_down, a service: it is down.",
        "What to do: as for the service.",
    ]
    assert isinstance(key, RouteKey)


def returned(settings: Settings) -> Steered:
    """Return a host in local mode whose tor1 has fallen, tor2 has taken over, and tor1 is back."""
    of = steered(replace(settings, stable_for_s=30.0))
    tor1 = settings.uplinks[0]
    of.feed(event for _ in range(FALL) for event in round_of(tor1, Verdict.FAILED, 80.0))
    of.feed(event for _ in range(RISE) for event in round_of(tor1, Verdict.OK, 95.0))
    return of


def test_in_local_mode_the_preferred_one_says_when_it_takes_over() -> None:
    of = returned(host(mode=Mode.LOCAL))
    words = "\n".join(explain.in_use(of.state, Family.IPV4, moment()))
    assert "tor2 is in use for ipv4 since at 80 (20 s)." in words
    assert (
        "tor1 is preferred and up since at 95 (5.0 s); it takes over at at 125 (in 25 s)" in words
    )
    default = default_key(Family.IPV4, 1)
    spare = "\n".join(routed(of.state, default))
    assert spare.startswith("0.0.0.0/0 path 1 is spare: not_stable, ")


@pytest.mark.parametrize(
    ("until", "words"), [(None, "for good"), (700.0, "until at 700 (in 10 min)")]
)
def test_in_local_mode_a_drained_one_does_not_take_over(until: float | None, words: str) -> None:
    of = returned(host(mode=Mode.LOCAL))
    of.post(Drained(96.0, What.UPLINK, "tor1", 96.0, until))
    found = list(explain.in_use(of.state, Family.IPV4, moment()))
    assert found[1:] == [f"tor1 is preferred and does not take over: it is drained, {words}."]


def test_in_local_mode_a_damped_one_does_not_take_over() -> None:
    of = returned(host(mode=Mode.LOCAL, damping=DAMPING._replace(suppress=900.0, reuse=100.0)))
    found = list(explain.in_use(of.state, Family.IPV4, moment()))
    assert found[1:] == ["tor1 is preferred and does not take over: it is damped (damped)."]


def test_in_local_mode_one_that_is_down_does_not_take_over() -> None:
    of = returned(host(mode=Mode.LOCAL))
    of.post(LinkChanged(96.0, "tor1", up=False))
    found = list(explain.in_use(of.state, Family.IPV4, moment()))
    assert found[1:] == ["tor1 is preferred and does not take over: it is down (link_down)."]


def test_in_local_mode_one_without_the_family_is_not_named() -> None:
    plain = host(families=(Family.IPV4, Family.IPV6), mode=Mode.LOCAL)
    tor1, tor2 = plain.uplinks
    of = steered(replace(plain, uplinks=(replace(tor1, paths=tor1.paths[:1]), tor2)))
    (found,) = explain.in_use(of.state, Family.IPV6, moment())
    assert found.startswith("tor2 is in use for ipv6 since ")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (38.2, "38 s"), (720.0, "12 min"), (9000.0, "2.5 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert explain.duration(seconds) == words
