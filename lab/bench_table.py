"""What a benchmark found, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print the tables."""
    if result["bench"] == "prefixes":
        console.print(_moves(result))
    elif result["bench"] == "services":
        console.print(_services(result))
    else:
        _show_probes(result, console)
    machine = result["machine"]
    console.print(
        f"{machine['cpus']} processors; load average when it began: {machine['load_before']}"
    )


def _show_probes(result: Mapping[str, Any], console: Console) -> None:
    console.print(_loads(result))
    for left_out in result["left_out"]:
        console.print(f"{left_out['rate']} {left_out['kind']}/s left out: {left_out['left_out']}")
    console.print(_detection(result))


def _moves(result: Mapping[str, Any]) -> Table:
    table = Table(
        *("who", "bgpd has it", "the ToR has it", "worst", "rounds"),
        title=f"{result['prefixes']} prefixes moved off one ToR: median",
        box=None,
    )
    for who in ("bgphealth", "floor"):
        bgpd, tor = result[who]["bgpd_s"], result[who]["tor_s"]
        table.add_row(
            who,
            *(f"{found['median'] * 1000:.0f} ms" for found in (bgpd, tor)),
            f"{max(tor['all']) * 1000:.0f} ms",
            str(len(tor["all"])),
        )
    ratio = result["ratio"]
    table.add_row("ratio", f"{ratio['bgpd_s']:.2f}", f"{ratio['tor_s']:.2f}")
    return table


def _services(result: Mapping[str, Any]) -> Table:
    table = Table(
        "what",
        "measured",
        title=f"{result['services']} services, {result['checks_per_s']:.0f} checks a second",
        box=None,
    )
    command, answer = result["status"]["command_s"], result["status"]["socket_s"]
    for what, found in (
        ("memory (VmRSS)", f"{result['rss_mib']:.1f} MiB"),
        ("its highest (VmHWM)", f"{result['peak_rss_mib']:.1f} MiB"),
        ("share of a processor", f"{result['cpu_share']:.1%}"),
        ("status --json, median", f"{command['median'] * 1000:.0f} ms"),
        ("status --json, worst", f"{command['max'] * 1000:.0f} ms"),
        ("the socket alone, median", f"{answer['median'] * 1000:.0f} ms"),
        ("the answer", f"{result['answer_kib']} KiB"),
    ):
        table.add_row(what, found)
    return table


def _loads(result: Mapping[str, Any]) -> Table:
    table = Table(
        *("load", "asked/s", "core", "MiB", "jitter ms", "p99 ms", "ok", "failed", "unknown"),
        title=f"What probing costs, {result['seconds']:.0f} s each: share of a core, RSS, jitter",
        box=None,
    )
    for found in result["loads"]:
        jitter, answers = found["jitter_ms"], found["answers"]
        table.add_row(
            f"{found['rate']} {found['kind']}/s",
            f"{found['measured_rate']:.1f}",
            f"{found['cpu_share']:.2%}",
            f"{found['rss_mib']:.0f}",
            f"{jitter['median']:.2f}" if jitter else "-",
            f"{jitter['p99']:.2f}" if jitter else "-",
            *(str(answers[verdict]) for verdict in ("ok", "failed", "unknown")),
        )
    return table


def _detection(result: Mapping[str, Any]) -> Table:
    table = Table(
        "suspicion",
        "median",
        "worst",
        "verdicts",
        "fall × interval + timeout",
        box=None,
        title="From silence to the verdict, default settings",
    )
    for found in result["detection"]:
        suspect_s = found["suspect_interval_s"]
        table.add_row(
            "off" if suspect_s is None else f"every {suspect_s * 1000:.0f} ms",
            f"{found['median_s'] * 1000:.0f} ms",
            f"{found['max_s'] * 1000:.0f} ms",
            str(found["verdicts"]),
            f"{found['bound_s'] * 1000:.0f} ms",
        )
    return table
