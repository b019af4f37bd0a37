"""docs/metrics.md is what bgphealth/daemon/metric_names.py says; --update-golden writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bgphealth.daemon.metric_names import METRICS, SECTIONS, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "../../docs/metrics.md"
INTRO = """\
<!-- Made from bgphealth/daemon/metric_names.py:
     pytest tests/golden/test_metric_names.py --update-golden -->

# Metrics

For Prometheus, over HTTP or in a file for node_exporter, where the file has
[`metrics`](configuration.md#metrics). Names and labels are an interface: none is given another
meaning, and the alert rules and the dashboard that come with bgphealth are made of them.

```yaml
metrics: {}                                           # http://127.0.0.1:9179/metrics
metrics: {listen: "10.255.10.1:9179"}                 # for others to read; there is no password
metrics: {textfile: /var/lib/node_exporter/bgphealth.prom}  # every 15 s; or both
```

```yaml
# prometheus.yml: the alert rules want the job to be called bgphealth.
rule_files: [/etc/prometheus/bgphealth-alerts.yml]
scrape_configs:
  - job_name: bgphealth
    scrape_interval: 15s
    static_configs: [{targets: ["server1.example:9179"]}]
```

- **Alert rules** are in `bgphealth/share/prometheus/alerts.yml`, and each has a page in the
  [runbook](runbook/README.md). The **dashboard** for Grafana is
  `bgphealth/share/grafana/bgphealth.json`.
- **Only `GET /metrics`** is answered. A port in use, or a directory that cannot be written to, is
  said in the log (`metrics_not_listening`, `metrics_not_written`), tried again, and costs nothing
  else. All who ask within a second get the same answer. A slow client is left: it has 1 s to ask
  and 5 s to read. Eight are let in at a time, four of them from one address.
- **The textfile** is replaced as a whole, readable for everybody, and taken away at the end. Under
  the rendered units its directory is writable (`ReadWritePaths=`: render them again); the user of
  the unit must be its owner or in its group. What a killed bgphealth leaves behind is old:
  compare `bgphealth_exposition_timestamp_seconds`. The job is node_exporter's.
- **Counters begin with the start** of bgphealth, or with the reload that turned metrics on. A
  reload keeps them; what it removes from the file vanishes.
- **Series**: some 80, and 30 per path, 4 per probe, 4 per service, 4 per check, 3 per route. A host
  with 1,000 services has 11,000: think of how often they are to be read.
- **Labels** have the words of the [log](logs.md) and of the [reasons](reasons.md). `route` is
  `192.0.2.53/32` or `0.0.0.0/0 path 1`; `probe` and `check` are as `bgphealth check` prints them,
  command lines and URLs included: who must not know these must not reach the port.
- **BGP and BFD sessions** of FRR are seen where the file probes them: `bgphealth_probe_up` with
  `probe="bgp 10.0.1.0"` or `probe="bfd 10.0.1.0"`.
- **Without the section** nothing listens and nothing is counted.

"""


def page() -> Iterator[str]:
    yield INTRO.rstrip("\n")
    for title, metrics in SECTIONS.items():
        yield f"\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|"
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
            yield f"| `{metric.name}` | {metric.type} | {labels} | {metric.meaning} |"


def test_page(golden: Callable[[str, str], None]) -> None:
    golden(PAGE, "\n".join(page()) + "\n")


def test_names_follow_the_practice() -> None:
    """https://prometheus.io/docs/practices/naming/."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    # OpenMetrics knows a counter without its suffix.
    bare = [metric.name.removesuffix("_total") for metric in METRICS]
    assert len(set(bare)) == len(bare)
    for metric in METRICS:
        assert re.fullmatch(r"bgphealth_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") is (metric.type is Type.COUNTER)
        assert not re.search("_(ms|milliseconds|kib|percent|time)$", metric.name)
        assert "\n" not in metric.meaning
        assert not metric.meaning.endswith(".")
