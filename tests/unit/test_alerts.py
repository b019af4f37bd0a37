"""Alert rules: each fires when it should and not before, names what there is, and has its page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from bgphealth.cli.app import app
from bgphealth.core.events import Verdict
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Mode
from bgphealth.core.truth import State as RouteState
from bgphealth.core.truth import Tier
from bgphealth.daemon.metric_names import METRICS
from tests.support.metrics import ROOT, promtool, read
from tests.unit.test_exposition import healthy

RULES = ROOT / "bgphealth" / "share" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "bgphealth" / "share" / "grafana" / "bgphealth.json"
PAGES = ROOT / "docs" / "runbook"
URL = "https://github.com/bgphealth/bgphealth/blob/main/docs/runbook"

GROUPS = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))["groups"]
ENTRIES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ENTRIES if "alert" in rule}
RECORDS = {rule["record"] for rule in ENTRIES if "record" in rule}
TABLE = {series: metric for metric in METRICS for series in metric.series}
SELECTOR = re.compile(r"\b(bgphealth[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
VALUES: dict[str, set[str]] = {
    "state": {*Level, *RouteState},
    "verdict": {*Verdict},
    "reason": {*Reason},
    "tier": {*Tier},
}
TARGET = {"job", "instance"}
HEADINGS = [
    "What it means",
    "What is affected",
    "What to look at",
    "What mends it",
    "When to ignore it",
]


def queries() -> list[tuple[str, str]]:
    """Return every expression there is, in rules and on the dashboard, and where it is from."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    of_rules = [(rule.get("alert", rule.get("record")), rule["expr"]) for rule in ENTRIES]
    of_panels = [(p["title"], t["expr"]) for p in panels for t in p.get("targets", ())]
    return of_rules + of_panels


@pytest.mark.parametrize(("where", "expression"), queries())
def test_what_is_asked_for_exists(where: str, expression: str) -> None:
    found = SELECTOR.findall(expression)
    assert found or "up{" in expression, where
    for name, matchers in found:
        if name in RECORDS:
            continue
        labels = {*TABLE[name].labels, *TARGET, *(["le"] if name.endswith("_bucket") else [])}
        for label, operator, text in MATCHER.findall(matchers):
            assert label in labels, (where, name, label)
            if label in VALUES and "$" not in text:
                words = set(text.split("|")) if "~" in operator else {text}
                assert words <= VALUES[label], (where, words)


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_is_whole(alert: str) -> None:
    rule = ALERTS[alert]
    assert re.fullmatch(r"Bgphealth[A-Z]\w+", alert)
    assert re.fullmatch(r"[1-9]\d*[smh]", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    said = rule["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"{URL}/{alert}.md"
    assert said["summary"].endswith(tuple("abcdefghijklmnopqrstuvwxyz}"))
    assert said["description"].endswith((".", "}}."))


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*ALERTS, "README"}


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_a_page_says_what_there_is_to_say(alert: str) -> None:
    text = (PAGES / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    assert re.findall("^## (.+)$", text, re.MULTILINE) == HEADINGS
    severity, after = ALERTS[alert]["labels"]["severity"], ALERTS[alert]["for"]
    assert f"Severity `{severity}`, after {after}: " in text
    row = f"\n| [{alert}]({alert}.md) | {severity} | "
    assert row in (PAGES / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"\bbgphealth_\w+", text):
        assert name in TABLE


COMMAND = re.compile(r"(?:^\$ |`)bgphealth ([a-z]+)", re.MULTILINE)


def commands() -> set[str]:
    return {c for page in PAGES.glob("*.md") for c in COMMAND.findall(page.read_text("utf-8"))}


@pytest.mark.parametrize("command", sorted(commands()))
def test_the_commands_of_the_pages_exist(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


class Case(NamedTuple):
    """What makes an alert fire at `fires`, and not yet at `quiet`; labels besides the target's."""

    alert: str
    series: dict[str, str]
    labels: Mapping[str, str] = MappingProxyType({})
    quiet: str | None = None
    fires: str | None = None


PATH = {"uplink": "tor1", "family": "ipv4"}
LASTING = "1x400"

CASES = [
    Case("BgphealthNotScraped", {"up": "0x400"}),
    Case("BgphealthStale", {"bgphealth_exposition_timestamp_seconds": "0x400"}, {}, "3m", "5m"),
    Case(
        "BgphealthRestarts",
        {"bgphealth_process_start_time_seconds": "0x8 100x8 200x8 300x400"},
        quiet="6m",
        fires="8m",
    ),
    Case("BgphealthReloadRefused", {"bgphealth_config_last_reload_successful": "0x400"}),
    Case(
        "BgphealthPathDown",
        {'bgphealth_path_state{uplink="tor1",family="ipv4",state="down"}': LASTING},
        {**PATH, "state": "down"},
    ),
    Case(
        "BgphealthAllPathsDown",
        {
            f'bgphealth_path_state{{uplink="{uplink}",family="ipv4",state="{state}"}}': "0x400"
            for uplink in ("tor1", "tor2")
            for state in ("up", "degraded", "damped")
        },
        {"family": "ipv4"},
    ),
    Case(
        "BgphealthPathDegraded",
        {'bgphealth_path_state{uplink="tor1",family="ipv4",state="degraded"}': LASTING},
        {**PATH, "state": "degraded"},
    ),
    Case(
        "BgphealthPathFlapping",
        {
            (
                'bgphealth_path_transitions_total{uplink="tor1",family="ipv4",state="down",'
                'reason="beyond_failed"}'
            ): "0x20 1x8 2x8 3x8 4x8 5x400"
        },
        PATH,
        "10m",
        "15m",
    ),
    Case(
        "BgphealthPathNoVerdict",
        {'bgphealth_path_state{uplink="tor1",family="ipv4",state="init"}': LASTING},
        {**PATH, "state": "init"},
    ),
    Case(
        "BgphealthProbesNotAsked",
        {
            (
                'bgphealth_probe_answers_total{uplink="tor1",family="ipv4",role="gateway",'
                f'probe="icmp 10.0.1.0",verdict="{verdict}"}}'
            ): values
            for verdict, values in (("ok", "50x400"), ("failed", "0x400"), ("unknown", "0+75x400"))
        },
        {**PATH, "probe": "icmp 10.0.1.0"},
        "4m",
        "12m",
    ),
    Case(
        "BgphealthServiceDown",
        {'bgphealth_service_state{service="dns",state="down"}': LASTING},
        {"service": "dns", "state": "down"},
    ),
    Case(
        "BgphealthServiceFlapping",
        {'bgphealth_service_state{service="dns",state="up"}': "1x8 0x8 1x8 0x8 1x8 0x8 1x400"},
        {"service": "dns", "state": "up"},
        "10m",
        "16m",
    ),
    Case(
        "BgphealthLastResort",
        {'bgphealth_routes{reason="guarded_last_resort"}': LASTING},
        {"reason": "guarded_last_resort"},
    ),
    Case("BgphealthAddressMissing", {"bgphealth_missing_addresses": LASTING}),
    Case("BgphealthExabgpSilent", {"bgphealth_exabgp_unanswered_seconds": "0+15x400"}, {}, "30s"),
    Case("BgphealthExabgpRefuses", {"bgphealth_exabgp_refused_routes": LASTING}),
    Case(
        "BgphealthExabgpSessionDown",
        {'bgphealth_exabgp_session_up{neighbor="127.0.0.1"}': "0x400"},
        {"neighbor": "127.0.0.1"},
    ),
    Case("BgphealthRoutesPending", {"bgphealth_exabgp_routes_pending": LASTING}),
    Case(
        "BgphealthDrift",
        {'bgphealth_drifting_routes{where="bgpd",state="missing"}': LASTING},
        {"where": "bgpd", "state": "missing"},
    ),
    Case("BgphealthBgpdUnknown", {"bgphealth_bgpd_known": "0x400"}),
    Case(
        "BgphealthDefaultTier",
        {
            'bgphealth_default_tier{family="ipv4",tier="tor"}': LASTING,
            'bgphealth_default_tier{family="ipv4",tier="injected"}': "0x400",
        },
        {"family": "ipv4", "tier": "tor"},
    ),
    Case(
        "BgphealthFallbackMissing",
        {
            'bgphealth_fallback_default_present{uplink="tor1",family="ipv4"}': "0x400",
            'bgphealth_link_up{uplink="tor1"}': LASTING,
            # Nothing is wrong where there is no link.
            'bgphealth_fallback_default_present{uplink="tor2",family="ipv4"}': "0x400",
            'bgphealth_link_up{uplink="tor2"}': "0x400",
        },
        PATH,
    ),
    Case(
        "BgphealthFallbackBeaten",
        {'bgphealth_fallback_default_beaten{uplink="tor1",family="ipv4"}': LASTING},
        PATH,
    ),
    Case(
        "BgphealthKernelFailed",
        {'bgphealth_kernel_failed{uplink="tor1"}': LASTING},
        {"uplink": "tor1"},
    ),
    Case("BgphealthSourcesUnmet", {"bgphealth_sources_unmet": LASTING}),
    Case(
        "BgphealthLoopLag",
        {
            'bgphealth_loop_lag_seconds_bucket{le="0.1"}': "0+58x400",
            'bgphealth_loop_lag_seconds_bucket{le="0.25"}': "0+60x400",
            'bgphealth_loop_lag_seconds_bucket{le="+Inf"}': "0+60x400",
        },
        {},
        "9m",
        "12m",
    ),
    Case("BgphealthMemory", {"bgphealth_process_resident_memory_bytes": "3e8x400"}),
]


FORGOTTEN = Case(
    "BgphealthDrainForgotten",
    {
        'bgphealth_drain_start_timestamp_seconds{what="host",name=""}': "0x400",
        # This one ends by itself.
        'bgphealth_drain_start_timestamp_seconds{what="uplink",name="tor1"}': "0x400",
        'bgphealth_drain_end_timestamp_seconds{what="uplink",name="tor1"}': "999999x400",
    },
    {"what": "host"},
    "24h",
    "24h10m",
)


def target(series: str, instance: str = "h:9179") -> str:
    """Return a series with the labels that Prometheus gives it."""
    name, _, labels = series.partition("{")
    given = labels.removesuffix("}")
    return f'{name}{{job="bgphealth",instance="{instance}"{f",{given}" if given else ""}}}'


def seconds(duration: str) -> int:
    return sum(
        int(n) * {"s": 1, "m": 60, "h": 3600}[u] for n, u in re.findall(r"(\d+)([smh])", duration)
    )


def in_words(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), template)


def as_test(case: Case, interval: str = "15s") -> dict[str, object]:
    """Return a case as promtool reads it."""
    rule, labels = ALERTS[case.alert], {"instance": "h:9179", **case.labels}
    annotations = {key: in_words(text, labels) for key, text in rule["annotations"].items()}
    expected = {
        "exp_labels": {"job": "bgphealth", **labels, **rule["labels"]},
        "exp_annotations": annotations,
    }
    quiet = case.quiet or f"{seconds(rule['for']) - 15}s"
    fires = case.fires or f"{seconds(rule['for']) + 15}s"
    return {
        "name": case.alert,
        "interval": interval,
        "input_series": [{"series": target(s), "values": v} for s, v in case.series.items()],
        "alert_rule_test": [
            {"eval_time": quiet, "alertname": case.alert, "exp_alerts": []},
            {"eval_time": fires, "alertname": case.alert, "exp_alerts": [expected]},
        ],
    }


def run(tests: list[dict[str, object]], directory: Path, interval: str = "15s") -> None:
    file = directory / "tests.yml"
    whole = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": tests}
    file.write_text(json.dumps(whole), encoding="utf-8")  # JSON is YAML.
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    fleet = {"BgphealthFleetPathsDown"}
    assert sorted(ALERTS) == sorted({*fleet, FORGOTTEN.alert, *(case.alert for case in CASES)})


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    run([as_test(case) for case in CASES], tmp_path)


def test_a_day_is_long_for_a_drain_that_does_not_end(tmp_path: Path) -> None:
    run([as_test(FORGOTTEN, "5m")], tmp_path, "5m")


def test_a_fifth_of_a_fleet_is_an_alert_of_its_own(tmp_path: Path) -> None:
    alert = "BgphealthFleetPathsDown"
    rule = ALERTS[alert]

    def of_fleet(hosts: int, down: int) -> dict[str, object]:
        series = 'bgphealth_path_state{uplink="tor1",family="ipv4",state="down"}'
        expected = {
            "exp_labels": {"job": "bgphealth", "family": "ipv4", **rule["labels"]},
            "exp_annotations": {
                key: in_words(text, {"family": "ipv4"}) for key, text in rule["annotations"].items()
            },
        }
        fires = hosts >= 5 and down > hosts / 5
        return {
            "interval": "15s",
            "input_series": [
                {"series": target(series, f"h{n}"), "values": f"{int(n < down)}x40"}
                for n in range(hosts)
            ],
            "alert_rule_test": [
                {"eval_time": "1m", "alertname": alert, "exp_alerts": []},
                {"eval_time": "5m", "alertname": alert, "exp_alerts": [expected] * fires},
            ],
        }

    run([of_fleet(10, 3), of_fleet(10, 2), of_fleet(4, 4)], tmp_path)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_healthy_host_fires_nothing(mode: Mode, tmp_path: Path) -> None:
    """Its series are those of the real exposition."""
    series = [
        (f"{name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in labels)}}}", value)
        for (name, labels), value in read(healthy(mode)).items()
        if "resident_memory" not in name  # That of the tests.
    ]
    test: dict[str, object] = {
        "interval": "15s",
        "input_series": [
            {"series": target(of), "values": f"{value:.17g}x400"}
            for of, value in [*series, ("up", 1.0)]
        ],
        "promql_expr_test": [
            {"expr": "ALERTS", "eval_time": "35m", "exp_samples": []},
            {
                "expr": 'count(bgphealth:paths_working:sum{family="ipv4"} == 2)',
                "eval_time": "35m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            },
        ],
    }
    run([test], tmp_path)


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
