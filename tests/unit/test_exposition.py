"""What is exposed, and that nothing else has to wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core import engine
from bgphealth.core.addresses import Addresses
from bgphealth.core.events import Drained, Event, PathProbed, Started, Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.intents import RouteKey
from bgphealth.core.orders import What
from bgphealth.core.reasons import Reason
from bgphealth.core.reconfigure import reconfigure
from bgphealth.core.settings import (
    Family,
    HttpQuestion,
    Mode,
    ProbeKind,
    ProbeSettings,
    Role,
    Settings,
)
from bgphealth.core.truth import Drift, Tier, Where
from bgphealth.core.truth import State as RouteState
from bgphealth.daemon.closed_loop import Truth
from bgphealth.daemon.exposition import PORTION, render
from bgphealth.daemon.metric_names import METRICS, Metric, Type
from bgphealth.daemon.observer import Histogram, Observer
from bgphealth.daemon.reload import Reloaded, ReloadOutcome
from bgphealth.daemon.snapshot import Told
from bgphealth.exabgp.driver import Driver, DriverEvent
from bgphealth.fallback.tables import Applied
from tests.support.hosts import CHECK_RISE, FALL, RISE, checked, host, probed, round_of, service
from tests.support.metrics import Values, exposed, known, observed, promtool, read, value

TOR1 = {"uplink": "tor1", "family": "ipv4"}


def up(settings: Settings) -> list[Event]:
    """Return what makes everything up."""
    rounds = [e for u in settings.uplinks for _ in range(RISE) for e in round_of(u, Verdict.OK)]
    return [Started(0.0), *rounds, *[checked(Verdict.OK)] * CHECK_RISE]


def down(settings: Settings) -> list[Event]:
    """Return what takes the first path down."""
    return [probed(settings.uplinks[0], Role.GATEWAY, 0, Verdict.FAILED)] * FALL


def states(values: Values, series: str, **labels: str) -> set[str]:
    """Return which states a series says there are."""
    return {
        dict(found)["state"]
        for (name, found), is_so in values.items()
        if name == f"bgphealth_{series}" and is_so and labels.items() <= dict(found).items()
    }


def test_verdicts_answers_and_transitions() -> None:
    settings = host()
    state, observer = observed(settings, [*up(settings), *down(settings)])
    values = read(exposed(known(state), observer))
    assert states(values, "path_state", **TOR1) == {"down"}
    assert states(values, "path_state", uplink="tor2") == {"up"}
    assert states(values, "service_state", service="dns") == {"up"}
    gateway = {**TOR1, "role": "gateway", "probe": "icmp 10.0.1.0"}
    assert value(values, "probe_answers_total", **gateway, verdict="ok") == RISE
    assert value(values, "probe_answers_total", **gateway, verdict="failed") == FALL
    assert value(values, "probe_answers_total", **gateway, verdict="unknown") == 0
    assert value(values, "probe_up", **gateway) == 0
    of = {"service": "dns", "check": "tcp 192.0.2.53:53"}
    assert value(values, "check_answers_total", **of, verdict="ok") == CHECK_RISE
    assert value(values, "check_up", **of) == 1
    fell = {"state": "down", "reason": "gateway_failed"}
    assert value(values, "path_transitions_total", **TOR1, **fell) == 1
    # There from the start, so that the first one counts as an increase.
    assert value(values, "path_transitions_total", uplink="tor2", family="ipv4", **fell) == 0
    assert value(values, "routes", reason="path_down") == 1
    assert value(values, "decisions_total", reason="path_down") == 1
    assert value(values, "route_wanted", route="0.0.0.0/0 path 1") == 0
    assert value(values, "route_wanted", route="0.0.0.0/0 path 2") == 1
    assert value(values, "link_up", uplink="tor1") == 1


def test_round_trips_are_a_histogram() -> None:
    settings = host()
    uplink = settings.uplinks[0]
    first = probed(uplink, Role.BEYOND, 0, Verdict.OK)
    rtts = (0.0004, 0.0005, 0.003, 2.0)
    state, observer = observed(settings, [first._replace(rtt_s=rtt) for rtt in rtts])
    values = read(exposed(known(state), observer))
    of = {**TOR1, "role": "beyond"}
    assert value(values, "probe_duration_seconds_bucket", **of, le="0.0005") == 2
    assert value(values, "probe_duration_seconds_bucket", **of, le="0.005") == 3
    assert value(values, "probe_duration_seconds_bucket", **of, le="+Inf") == 4
    assert value(values, "probe_duration_seconds_count", **of) == 4
    assert value(values, "probe_duration_seconds_sum", **of) == pytest.approx(sum(rtts))


def test_a_reload_keeps_counters_and_forgets_what_left_the_file() -> None:
    before = host()
    state, observer = observed(before, up(before))
    after = replace(before, uplinks=before.uplinks[:1], services=before.services[:1])
    state, effects = reconfigure(state, after, 100.0)
    for effect in effects:
        observer.effect(effect)
    observer.configure(after)
    # An answer that was under way.
    observer.answer(probed(before.uplinks[1], Role.GATEWAY, 0, Verdict.OK))
    text = exposed(known(state), observer)
    values = read(text)
    gateway = {**TOR1, "role": "gateway", "probe": "icmp 10.0.1.0"}
    assert value(values, "probe_answers_total", **gateway, verdict="ok") == RISE
    assert "tor2" not in text
    assert 'service="dns"' not in text
    observer.configure(after)
    assert {key[0] for key in observer.answers} == {"tor1"}


def test_a_role_that_left_a_path_is_forgotten_too() -> None:
    before = host()
    tor1, tor2 = before.uplinks
    answers = [probed(tor1, role, 0, Verdict.OK)._replace(rtt_s=0.001) for role in Role]
    _, observer = observed(before, answers)
    less = replace(tor1, paths=tuple(replace(path, beyond=()) for path in tor1.paths))
    assert observer.durations.keys() == {("tor1", Family.IPV4, role) for role in Role}
    observer.configure(replace(before, uplinks=(less, tor2)))
    assert observer.durations.keys() == {("tor1", Family.IPV4, Role.GATEWAY)}


def test_two_checks_in_the_same_words_are_one_series() -> None:
    """Otherwise Prometheus would refuse all of it."""

    def question(status: int) -> ProbeSettings:
        asked = HttpQuestion(
            tls=False, path="/", host=None, status=(status,), body=None, verify=True, min_valid_s=0
        )
        return ProbeSettings(ProbeKind.HTTP, ip_address("192.0.2.53"), 80, asked)

    settings = host()
    checks = (question(200), question(204))
    dns = replace(settings.services[1], checks=checks, need=2)
    settings = replace(settings, services=(settings.services[0], dns))
    answers = [
        replace(checked(verdict), check=check)
        for check, verdict in zip(checks, (Verdict.OK, Verdict.FAILED), strict=True)
        for _ in range(CHECK_RISE)
    ]
    state, observer = observed(settings, [Started(0.0), *answers])
    values = read(exposed(known(state), observer))
    of = {"service": "dns", "check": "http://192.0.2.53:80/"}
    assert value(values, "check_answers_total", **of, verdict="ok") == CHECK_RISE
    assert value(values, "check_answers_total", **of, verdict="failed") == CHECK_RISE
    assert value(values, "check_up", **of) == 0


async def acknowledging(settings: Settings, events: list[Event]) -> str:
    """Return the metrics of a run whose ExaBGP has taken all but the last command."""
    state, observer = observed(settings, events)
    said: list[DriverEvent] = []

    async def write(_: bytes) -> None:
        pass

    driver = Driver(write, frozenset(), said.append)
    running = asyncio.create_task(driver.run())
    driver.received("exabgp 5.0.15")
    driver.want(state.intents)
    await asyncio.sleep(0.01)
    sent = driver.pending
    for _ in range(sent - 1):
        driver.received("done")
    text = (await render(known(state, told=Told.of(driver)), observer, "8.4.4")).decode()
    running.cancel()
    await asyncio.wait({running})
    assert sent > 1
    assert value(read(text), "exabgp_commands_sent_total") == sent
    return text


def test_what_exabgp_has_not_acknowledged_is_seen() -> None:
    settings = host()
    values = read(asyncio.run(acknowledging(settings, up(settings))))
    assert value(values, "exabgp_commands_pending") == 1
    routes = [v for (name, _), v in values.items() if name == "bgphealth_route_acknowledged"]
    assert value(values, "exabgp_routes_pending") == routes.count(0) > 0
    assert routes.count(1) > 0
    answered = value(values, "exabgp_commands_answered_total", answer="acknowledged")
    assert answered is not None
    assert value(values, "exabgp_commands_sent_total") == answered + 1
    assert value(values, "exabgp_commands_answered_total", answer="lost") == 0


def test_what_bgpd_has_and_which_tier_serves() -> None:
    settings = host()
    state, observer = observed(settings, up(settings))
    dns = RouteKey(ip_network("192.0.2.53/32"))
    drift = Drift(dns, Where.BGPD, RouteState.MISSING, "", "")
    seen = dict.fromkeys(state.intents, RouteState.SEEN) | {dns: RouteState.MISSING}
    truth = Truth(1.0, "", seen, (drift,), looks=7, drifted=2, asserted=3)
    values = read(exposed(known(state, truth=truth, tiers={Family.IPV4: Tier.TOR}), observer))
    assert value(values, "route_verified", route="192.0.2.53/32") == 0
    assert value(values, "route_verified", route="10.255.10.1/32") == 1
    assert value(values, "drifting_routes", where="bgpd", state="missing") == 1
    assert value(values, "drifting_routes", where="kernel", state="differs") == 0
    assert value(values, "default_tier", family="ipv4", tier="tor") == 1
    assert value(values, "default_tier", family="ipv4", tier="injected") == 0
    assert value(values, "bgpd_known") == 1
    assert (value(values, "drifts_total"), value(values, "lookups_total")) == (2, 7)
    unknown = read(exposed(known(state, truth=Truth(1.0, "bgpd is not running")), observer))
    assert value(unknown, "bgpd_known") == 0
    assert value(unknown, "route_verified", route="10.255.10.1/32") is None


def test_the_kernel_drains_and_addresses() -> None:
    settings = host()
    settings = replace(settings, fallback=replace(settings.fallback, defaults=True))
    events = [*up(settings), Drained(5.0, What.UPLINK, "tor2", 5.0, 65.0)]
    state, observer = observed(settings, events)
    state = state._replace(addresses=Addresses(missing=frozenset({ip_address("192.0.2.53")})))
    tor1, tor2 = (PathKey(name, Family.IPV4) for name in ("tor1", "tor2"))
    observer.kernel(Applied((), {}, {tor2: "taken"}, present=frozenset({tor1})))
    values = read(exposed(known(state, now=10.0), observer))
    assert value(values, "fallback_default_present", **TOR1) == 1
    assert value(values, "fallback_default_present", uplink="tor2", family="ipv4") == 0
    assert value(values, "kernel_failed", uplink="tor2") == 0
    assert value(values, "missing_addresses") == 1
    start = value(values, "drain_start_timestamp_seconds", what="uplink", name="tor2")
    end = value(values, "drain_end_timestamp_seconds", what="uplink", name="tor2")
    assert start is not None
    assert end is not None
    assert end - start == pytest.approx(60)


def test_a_refused_file_is_seen_and_when_one_was_taken_last() -> None:
    state, observer = observed(host(), [])
    refused = Reloaded(50.0, "SIGHUP", ReloadOutcome.REFUSED, ("wrong",))
    values = read(exposed(known(state, now=60.0, reload=refused), observer))
    now = value(values, "exposition_timestamp_seconds")
    assert now is not None
    assert value(values, "config_last_reload_successful") == 0
    taken = value(values, "config_last_reload_success_timestamp_seconds")
    assert taken == pytest.approx(now - 60)
    unchanged = refused._replace(outcome=ReloadOutcome.UNCHANGED)
    values = read(exposed(known(state, now=60.0, reload=unchanged), observer))
    assert value(values, "config_last_reload_successful") == 1
    taken = value(values, "config_last_reload_success_timestamp_seconds")
    assert taken == pytest.approx(now - 10, abs=5)


def test_local_mode_has_no_routes_but_one_default_in_use() -> None:
    settings = host(mode=Mode.LOCAL)
    state, observer = observed(settings, up(settings))
    text = exposed(known(state), observer)
    values = read(text)
    assert value(values, "default_in_use", **TOR1) == 1
    assert value(values, "default_in_use", uplink="tor2", family="ipv4") == 0
    assert value(values, "routes", reason="less_preferred") == 1
    assert "bgphealth_route_wanted" not in text
    assert "bgphealth_exabgp" not in text


def test_every_metric_is_exposed_and_every_series_is_in_the_table() -> None:
    """Names, types and labels are those of the table that the documentation is made of."""
    texts = [_everything(host()), _everything(host(mode=Mode.LOCAL))]
    found: dict[str, set[frozenset[str]]] = {}
    for text in texts:
        for name, labels in read(text):
            found.setdefault(name, set()).add(frozenset(dict(labels)))
    table = {series: metric for metric in METRICS for series in metric.series}
    assert found.keys() == table.keys()
    for name, kinds in found.items():
        assert kinds == {_labels(table[name], name)}, name
    told = {line for text in texts for line in text.splitlines() if line.startswith("# ")}
    assert told == {
        line
        for metric in METRICS
        for line in (
            f"# HELP {metric.name} {metric.meaning}",
            f"# TYPE {metric.name} {metric.type}",
        )
    }


def _labels(metric: Metric, series: str) -> frozenset[str]:
    is_bucket = metric.type is Type.HISTOGRAM and series.endswith("_bucket")
    return frozenset({*metric.labels, *(["le"] if is_bucket else [])})


def _everything(settings: Settings) -> str:
    """Return metrics of which none is missing in the mode."""
    settings = replace(settings, fallback=replace(settings.fallback, defaults=True))
    settings = replace(settings, quality=replace(settings.quality, window=20))
    answers = [
        probed(uplink, role, index, Verdict.OK)._replace(rtt_s=0.001)
        for uplink in settings.uplinks
        for _ in range(20)
        for role, index in ((Role.GATEWAY, 0), (Role.BEYOND, 0), (Role.BEYOND, 1))
    ]
    service_down = [checked(Verdict.FAILED)] * 2
    drained = Drained(5.0, What.UPLINK, "tor2", 5.0, 65.0)
    state, observer = observed(settings, [*up(settings), *answers, *service_down, drained])
    observer.kernel(Applied((), {}))
    observer.lags.add(0.001)
    if settings.mode is Mode.LOCAL:
        return exposed(known(state), observer)
    seen = dict.fromkeys(state.intents, RouteState.SEEN)

    async def with_driver() -> str:
        driver = Driver(lambda _: asyncio.sleep(0), frozenset(), lambda _: None)
        driver.received(
            '{ "exabgp": "5.0.15", "time": 1.0, "host" : "h", "pid" : 1, "ppid" : 1, '
            '"counter": 1, "type": "state", "neighbor": { "address": { "local": '
            '"127.0.0.2", "peer": "127.0.0.1" }, "asn": { "local": 65101, "peer": '
            '65101 } , "state": "up" } }'
        )
        tiers = {Family.IPV4: Tier.INJECTED}
        of = known(state, told=Told.of(driver), truth=Truth(1.0, "", seen), tiers=tiers, now=9.0)
        return (await render(of, observer, "")).decode()

    return asyncio.run(with_driver())


def healthy(mode: Mode) -> str:
    """Return the metrics of a host of which everything is as it should be."""
    settings = host(mode=mode)
    has_defaults = mode is not Mode.DIRECT
    settings = replace(settings, fallback=replace(settings.fallback, defaults=has_defaults))
    state, observer = observed(settings, up(settings))
    observer.kernel(Applied((), {}, present=frozenset(state.paths)))
    if mode is not Mode.FRR:
        return exposed(known(state), observer)
    truth = Truth(1.0, "", dict.fromkeys(state.intents, RouteState.SEEN))
    return exposed(known(state, truth=truth, tiers={Family.IPV4: Tier.INJECTED}), observer)


def test_promtool_finds_nothing_to_say() -> None:
    for mode in Mode:
        checked_text = promtool("check", "metrics", stdin=_everything(host(mode=mode)))
        assert (checked_text.returncode, checked_text.stdout + checked_text.stderr) == (0, "")


def test_others_come_in_between() -> None:
    """With 1,000 services nobody waits for more than a portion."""
    base = host()
    named = [service(f"s{n}", f"192.0.{2 + n // 250}.{n % 250}/32") for n in range(1000)]
    settings = replace(base, services=(base.services[0], *named))
    state, observer = observed(settings, [Started(0.0)])
    of = known(state)

    async def turns_while_rendering() -> tuple[int, int]:
        turns = 0
        rendering = asyncio.create_task(render(of, observer, ""))
        while not rendering.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, len(read((await rendering).decode()))

    turns, series = asyncio.run(turns_while_rendering())
    assert series > 4000
    assert turns >= series // PORTION


def test_a_value_counts_where_its_bound_is() -> None:
    histogram = Histogram((1.0, 2.0))
    for each in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.add(each)
    assert histogram.counts == [2, 2, 1]


def test_the_observer_ignores_what_is_no_answer() -> None:
    observer = Observer()
    observer.answer(Started(0.0))
    assert not observer.answers
    assert not observer.checks


def test_a_round_trip_of_a_failed_probe_is_none() -> None:
    observer = Observer()
    failed = probed(host().uplinks[0], Role.GATEWAY, 0, Verdict.FAILED)
    assert isinstance(failed, PathProbed)
    observer.answer(failed._replace(rtt_s=0.3))
    assert not observer.durations


def test_the_first_state_of_a_path_is_no_transition() -> None:
    settings = host()
    values = read(exposed(known(engine.initial(settings)), Observer()))
    assert states(values, "path_state", **TOR1) == {"init"}
    transitions = {v for (name, _), v in values.items() if name.endswith("path_transitions_total")}
    assert transitions == {0}
    assert value(values, "routes", reason=Reason.INIT) == 0
