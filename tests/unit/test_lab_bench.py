from __future__ import annotations

import io
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest
from rich.console import Console

from bgphealth import config
from bgphealth.core.settings import ProbeKind
from lab import bench, bench_services, bench_table, topology
from lab.agents import neighbor


def report(cpu_s: float, **counts: int) -> dict[str, object]:
    return {"at": 100 + cpu_s * 10, "cpu_s": cpu_s, "rss_kib": 51200, "counts": counts}


@pytest.mark.parametrize("load", [*bench.ICMP_LOADS, bench.HTTP_LOAD], ids=lambda load: load.rate)
def test_the_file_of_a_load_asks_as_often_as_its_name_says(
    load: bench.Load, tmp_path: Path
) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(bench.file_for(load), encoding="utf-8")

    settings = config.load(file)

    probes = [probe for u in settings.uplinks for p in u.paths for probe in (*p.gateway, *p.beyond)]
    checks = [(s.timing.interval_s, c) for s in settings.services for c in s.checks]
    if load.kind == "http":
        assert {check.kind for _, check in checks} == {ProbeKind.HTTP}
        assert sum(1 / interval_s for interval_s, _ in checks) == pytest.approx(load.rate)
    else:
        assert checks == []
        assert {probe.kind for probe in probes} == {ProbeKind.ICMP}
        assert len(probes) / settings.path_timing.interval_s == pytest.approx(load.rate)


def test_suspicion_is_asked_for_or_left_to_the_default(tmp_path: Path) -> None:
    found = []
    for suspect in (None, "off"):
        file = tmp_path / "load.yaml"
        file.write_text(bench.file_for(bench.ICMP_LOADS[1], suspect), encoding="utf-8")
        found.append(config.load(file).suspect_interval_s)

    assert found[0] is not None
    assert found[1] is None


def test_an_even_rhythm_has_no_jitter_however_late_it_is() -> None:
    found = bench.jitter([[10.07 + 0.2 * n for n in range(50)]], 0.2)

    assert found is not None
    assert found.longest_s == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("late", [0, 20, 49])
def test_one_late_send_is_the_longest_deviation(late: int) -> None:
    times = [5.0 + 0.2 * n + (0.03 if n == late else 0) for n in range(50)]

    found = bench.jitter([times], 0.2)

    assert found is not None
    assert found.median_s == pytest.approx(0, abs=1e-9)
    assert found.longest_s == pytest.approx(0.03)


def test_sends_left_out_are_no_jitter_and_a_drift_is() -> None:
    gap = [0.2 * n for n in range(50) if not 10 < n < 20]
    drift = [0.201 * n for n in range(50)]

    even, drifting = bench.jitter([gap], 0.2), bench.jitter([drift], 0.2)

    assert even is not None
    assert even.longest_s == pytest.approx(0, abs=1e-9)
    assert drifting is not None
    assert drifting.median_s > 0.01


def test_probes_do_not_share_a_rhythm() -> None:
    found = bench.jitter([[0.0, 0.2, 0.4], [0.1, 0.3, 0.5]], 0.2)

    assert found is not None
    assert found.longest_s == pytest.approx(0, abs=1e-9)


def test_nothing_sent_has_no_jitter() -> None:
    assert bench.jitter([], 0.2) is None
    assert bench.jitter([[1.0]], 0.2) is None


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_percentile_is_the_nearest_rank(ratio: float, expected: float) -> None:
    assert bench.percentile([float(n) for n in range(100, 0, -1)], ratio) == expected


def test_figures_are_differences() -> None:
    before = report(1.0, icmp_ok=100, icmp_failed=1, overdue=2)
    after = report(2.0, icmp_ok=120, icmp_failed=1, icmp_unknown=3, overdue=2)

    found = bench.figures(bench.ICMP_LOADS[0], before, after)

    assert found["cpu_share"] == 0.1
    assert found["measured_rate"] == 2.3
    assert found["rss_mib"] == 50.0
    assert found["answers"] == {"ok": 20, "failed": 0, "unknown": 3}
    assert found["overdue"] == 0


def test_figures_of_checks_leave_the_uplinks_probes_out() -> None:
    found = bench.figures(
        bench.HTTP_LOAD, report(1.0, icmp_failed=1), report(2.0, icmp_failed=9, check_ok=1000)
    )

    assert found["answers"] == {"ok": 1000, "failed": 0, "unknown": 0}
    assert found["measured_rate"] == 100.0


def test_the_nodes_can_be_read() -> None:
    assert set(topology.load(bench.TOPOLOGY).nodes) == {"server1", "tor1", "tor2"}


def ipv4(kind: int, options: bytes = b"", protocol: int = 1) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        0,
        0,
        0,
        64,
        protocol,
        0,
        socket.inet_aton("10.0.1.1"),
        socket.inet_aton("198.51.100.7"),
    )
    return header + options + bytes([kind, 0, 0, 0])


def ipv6(kind: int, next_header: int = 58) -> bytes:
    source, target = ip_address("2001:db8:1::1"), ip_address("2001:db8:100::7")
    header = struct.pack("!IHBB", 6 << 28, 4, next_header, 64) + source.packed + target.packed
    return header + bytes([kind, 0, 0, 0])


@pytest.mark.parametrize(
    ("packet", "target"),
    [
        (ipv4(8), "198.51.100.7"),
        (ipv4(8, options=b"\1" * 4), "198.51.100.7"),
        (ipv4(0), None),
        (ipv4(8, protocol=17), None),
        (ipv6(128), "2001:db8:100::7"),
        (ipv6(129), None),
        (ipv6(128, next_header=6), None),
    ],
)
def test_echo_requests_are_told_from_everything_else(packet: bytes, target: str | None) -> None:
    assert neighbor.destination(packet) == target


def test_the_table_has_the_figures() -> None:
    result = {
        "seconds": 10.0,
        "machine": {"cpus": 2, "load_before": 0.5},
        "bench": "probes",
        "loads": [
            {
                **bench.figures(bench.ICMP_LOADS[2], report(1.0), report(1.1, icmp_ok=1998)),
                "jitter_ms": {"median": 0.21, "p99": 1.5, "max": 2.0},
            }
        ],
        "left_out": [{"kind": "http", "rate": 100, "left_out": "no such prober"}],
        "detection": [
            {"suspect_interval_s": s, "bound_s": 0.8, **bench.spans([0.3, 0.5, 0.4])}
            for s in (0.025, None)
        ],
    }
    console = Console(file=io.StringIO(), width=80)

    bench_table.show(result, console)

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in ("200 icmp/s", "10.00%", "50", "0.21", "1998", "no such prober", "400 ms"):
        assert word in text
    assert "every 25 ms" in text
    assert "off" in text


def test_many_services_are_a_file_that_is_right(tmp_path: Path) -> None:
    own = topology.HERE / "dual-tor" / "server1" / "bgphealth.yaml"
    file = tmp_path / "many.yaml"
    file.write_text(bench_services.file_with(own.read_text(encoding="utf-8"), 300))

    settings = config.load(file)

    many = [service for service in settings.services if service.name.startswith("many")]
    assert len({service.prefixes for service in many}) == 300
    assert {len(service.checks) for service in many} == {1}
