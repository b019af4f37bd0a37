"""`bgphealth status`, `explain` and `watch`: what they print, and their exit statuses."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from bgphealth.cli import status
from bgphealth.cli.changes import changes
from bgphealth.cli.live import render
from bgphealth.core.events import Drained, Verdict
from bgphealth.core.orders import What
from bgphealth.daemon import snapshot
from bgphealth.daemon.draining import listed
from tests.support.control import Steered, listening, steered
from tests.support.hosts import CHECK_FALL, FALL, checked, host, round_of
from tests.unit.test_cli_drain import FILE, bgphealth


def over(tmp_path: Path, *arguments: str, of: Steered) -> Result:
    async def run() -> Result:
        async with listening(of) as it:
            file = tmp_path / "bgphealth.yaml"
            file.write_text(f"{FILE}control: {{socket: {it.path}}}\n")
            return await asyncio.to_thread(bgphealth, file, *arguments)

    return asyncio.run(run())


def troubled() -> Steered:
    of = steered()
    tor2 = of.state.settings.uplinks[1]
    of.feed(event for _ in range(FALL) for event in round_of(tor2, Verdict.FAILED, 90.0))
    of.feed([checked(Verdict.FAILED, 95.0)] * CHECK_FALL)
    return of


def seen(of: Steered) -> dict[str, Any]:
    known = of.known
    return asyncio.run(snapshot.of(known, "bgphealth.yaml", listed(known.state, known.now)))


def test_all_is_well(tmp_path: Path) -> None:
    result = over(tmp_path, "status", of=steered())
    assert result.exit_code == 0
    first, second, *rest = result.output.splitlines()
    assert first.startswith("bgphealth 0.")
    assert ", mode frr, pid " in first
    assert second == "well: 2 of 2 uplinks up (ipv4), 2 of 2 services announced"
    assert "  tor1 ipv4  up  probes_ok  for 1 min 40 s" in "\n".join(rest)


def test_the_worst_comes_first(tmp_path: Path) -> None:
    result = over(tmp_path, "status", of=troubled())
    assert result.exit_code == 1
    _, summary, *wrong = result.output.splitlines()
    assert summary.startswith("not well: 1 of 2 uplinks up (ipv4), 1 of 2 services announced")
    assert wrong[0].startswith("  outage: dns: down, check_failed, since 2023-11-14T22:14:55")
    assert wrong[0].endswith(": tcp 192.0.2.53:53: refused")
    assert wrong[1].startswith("  lost: tor2 ipv4: down, gateway_failed, since ")


def test_json_is_one_line_with_a_version(tmp_path: Path) -> None:
    result = over(tmp_path, "status", "--json", of=troubled())
    found = json.loads(result.output)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert (found["schema_version"], found["healthy"]) == (1, False)


def test_of_many_services_those_that_are_not_well_are_named() -> None:
    plain = host()
    dns = plain.services[1]
    many = tuple(replace(dns, name=f"many{number}", checks=(), need=0) for number in range(20))
    of = steered(replace(plain, services=(*plain.services, *many)))
    of.feed([checked(Verdict.FAILED, 95.0)] * CHECK_FALL)
    words = "\n".join(status.lines(seen(of)))
    assert "  dns        down  check_failed  for 5 s" in words
    assert "  21 others  up" in words
    assert "many7" not in words.partition("services")[2].partition("routes")[0]


def test_what_is_drained_is_listed() -> None:
    of = steered()
    of.post(Drained(90.0, What.UPLINK, "tor2", 90.0, None))
    words = "\n".join(status.lines(seen(of)))
    assert "well: 2 of 2 uplinks up" in words
    assert "drained\n  uplink tor2  draining  since 20" in words


def test_explain_prints_sentences_and_knows_names(tmp_path: Path) -> None:
    of = troubled()
    result = over(tmp_path, "explain", "tor2", of=of)
    assert result.exit_code == 0
    assert result.output.startswith("tor2 ipv4 is down since 22:14:50 UTC (10 s): ")
    for thing, first in (
        ("tor1/ipv4", "tor1 ipv4 is up"),
        ("dns", "dns is down"),
        ("192.0.2.53/32", "192.0.2.53/32 is withdrawn: service_down"),
        ("192.0.2.53", "192.0.2.53/32 is withdrawn: service_down"),
        ("default", "tor1 is up (probes_ok): 0.0.0.0/0 path 1 is announced"),
        ("0.0.0.0/0", "tor1 is up (probes_ok): 0.0.0.0/0 path 1 is announced"),
    ):
        assert over(tmp_path, "explain", thing, of=of).output.startswith(first), thing


def test_explain_as_json_has_what_status_has(tmp_path: Path) -> None:
    result = over(tmp_path, "explain", "tor2", "--json", of=troubled())
    (found,) = json.loads(result.output)["explained"]
    assert (found["kind"], found["of"], found["data"]["verdict"]) == ("path", "tor2 ipv4", "down")


def test_a_guess_may_be_no_name_of_the_file(tmp_path: Path) -> None:
    result = over(tmp_path, "explain", "defaults", of=steered())
    assert "did you mean default?" in result.output


@pytest.mark.parametrize("thing", ["tro1", "tor1/ipv6", "2001:db8::1", "x" * 299, "\x1b[2J"])
def test_what_nobody_knows_is_refused_with_a_guess(tmp_path: Path, thing: str) -> None:
    result = over(tmp_path, "explain", thing, of=steered())
    assert (result.exit_code, "there is no thing" in result.output) == (2, True)
    assert "(there is tor1, tor2, loopback, dns, default, each prefix of" in result.output
    assert len(result.output) < 300
    assert "\x1b" not in result.output


def test_nothing_listens(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(f"{FILE}control: {{socket: {tmp_path / 'none'}}}\n")
    for command in (["status"], ["explain", "tor1"], ["watch"]):
        result = bgphealth(file, *command)
        assert (result.exit_code, "nothing listens" in result.output) == (75, True)


def test_changes_between_two_looks() -> None:
    of = steered()
    before = seen(of)
    assert list(changes(before, before)) == []
    tor2 = of.state.settings.uplinks[1]
    of.feed(event for _ in range(FALL) for event in round_of(tor2, Verdict.FAILED, 90.0))
    of.post(Drained(90.0, What.SERVICE, "dns", 90.0))
    said = list(changes(before, seen(of)))
    assert said[0].startswith("tor2 ipv4: up, probes_ok → down, gateway_failed (icmp ")
    assert "service dns: up, checks_ok → up, checks_ok, draining" in said
    assert "route 0.0.0.0/0 path 2: announced, path_up → withdrawn, path_down" in said
    assert "drain service dns: not there → draining" in said


def test_the_live_table_has_what_is_wrong_and_all_paths() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(render(seen(troubled())))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "outage: dns: down" in shown
    assert "tor1" in shown
    assert shown.index("dns ") < shown.index("loopback")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(38.9, "38 s"), (123, "2 min 3 s"), (11520, "3 h 12 min"), (1051200, "12 d 4 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert status.in_words(seconds) == words
