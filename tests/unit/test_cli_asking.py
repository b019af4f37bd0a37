"""`bgphealth events`, `recheck` and `reload`: what they print, and their exit statuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from click.testing import CliRunner, Result
from structlog.testing import LogCapture

from bgphealth.cli import control
from bgphealth.cli.app import app
from bgphealth.config.problems import InvalidFileError, Problem
from bgphealth.core.events import Verdict
from bgphealth.core.settings import Settings
from bgphealth.core.state import State
from bgphealth.daemon import recent, rechecking
from bgphealth.daemon.history import History
from bgphealth.daemon.notify import Notifier
from bgphealth.daemon.probing import Now
from bgphealth.daemon.program import Program
from bgphealth.daemon.questions import ServiceQuestion
from bgphealth.daemon.recent import Recent
from bgphealth.daemon.reload import ReloadOutcome
from bgphealth.daemon.reloading import Reloader
from bgphealth.daemon.requests import Command, Request
from bgphealth.probes.outcome import Answer, Outcome
from tests.support.control import Steered, listening, steered
from tests.support.hosts import host

FILE = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: 10.255.10.1}
uplinks:
  tor1: {interface: eth1, neighbor: 10.0.1.0, neighbor_asn: 65001}
"""


def over(tmp_path: Path, more: Mapping[str, Command], *commands: str) -> list[Result]:
    """Run commands, one after the other, against a program that listens."""

    async def run() -> list[Result]:
        async with listening(more=more) as it:
            file = tmp_path / "bgphealth.yaml"
            file.write_text(f"{FILE}control: {{socket: {it.path}}}\n")
            return [
                await asyncio.to_thread(
                    CliRunner().invoke, app, ["-c", str(file), *command.split()]
                )
                for command in commands
            ]

    return asyncio.run(run())


def test_events_in_words_and_as_logged(tmp_path: Path) -> None:
    of, kept = steered(), Recent()
    event = {
        "timestamp": "2026-11-21T09:00:00Z",
        "level": "warning",
        "event": "path_changed",
        "at": 1.5,
        "uplink": "tor1",
        "evidence": "3 of 3 failed",
    }
    kept(None, "warning", dict(event))
    words, as_json, about, unknown, wrong = over(
        tmp_path,
        recent.commands(kept, lambda: of.state),
        "events",
        "events --json",
        "events tor2 --since 10m -n 5",
        "events tro1",
        "events --since 10",
    )
    said = '2026-11-21T09:00:00Z path_changed uplink=tor1 evidence="3 of 3 failed"\n'
    assert (words.exit_code, words.output) == (0, said)
    assert json.loads(as_json.output) == event
    assert (about.exit_code, about.output) == (0, "")
    assert (unknown.exit_code, "did you mean tor1?" in unknown.output) == (2, True)
    assert (wrong.exit_code, "like 200ms, 2s or 30m" in wrong.output) == (2, True)


@dataclass
class Asked:
    """A program of which one check can be asked."""

    of: Steered = field(default_factory=steered)
    answers: bool = True

    @property
    def state(self) -> State:
        return self.of.state

    def asked(self, thing: str | None) -> list[Now]:
        dns = self.state.settings.services[1]
        question = ServiceQuestion(dns, dns.checks[0], cast("Any", None))
        return [Now(question, self._ask)] if thing in (None, "dns") else []

    def _ask(self, heard: Answer) -> None:
        if self.answers:
            heard(Outcome(Verdict.OK, "", 0.0012))


def test_recheck_says_what_was_answered_and_what_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rechecking, "APART_S", 0.0)
    done, as_json, unknown = over(
        tmp_path,
        rechecking.commands(Asked()),
        "recheck dns",
        "recheck --json",
        "recheck dsn",
    )
    assert done.output == (
        "service dns: tcp 192.0.2.53:53: ok in 1.2 ms\nservice dns: up (checks_ok)\n"
    )
    assert (done.exit_code, as_json.exit_code, unknown.exit_code) == (0, 0, 2)
    assert json.loads(as_json.output)["asked"][0]["answer"] == "ok"


def test_recheck_waits_no_longer_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rechecking, "PATIENCE_S", 0.01)
    asked = Asked(answers=False)
    (done,) = over(tmp_path, rechecking.commands(asked), "recheck dns")
    assert "no answer yet" in done.output


async def test_there_is_one_recheck_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecking, "PATIENCE_S", 0.5)
    async with listening(more=rechecking.commands(Asked(answers=False))) as it:
        both = await asyncio.gather(*(it.command("recheck") for _ in range(2)))
        assert [a["ok"] for a in both].count(True) == 1
        assert [a["error"]["kind"] for a in both if not a["ok"]] == ["busy"]


@dataclass
class Followed:
    """What follows a file, in the place of the program."""

    settings: Settings
    now: float = 7.0
    history: History = field(default_factory=lambda: History(0.0))

    async def reload(self, settings: Settings) -> None:
        self.settings = settings


def reloading(
    tmp_path: Path, read: Callable[[Path], Settings], *commands: str
) -> tuple[list[Result], Followed, list[Any]]:
    """Run commands against a program whose file is read so."""
    program, capture = Followed(host()), LogCapture()

    async def run() -> list[Result]:
        reloader = Reloader(
            tmp_path / "bgphealth.yaml",
            read,
            cast("Program", program),
            signalled=asyncio.Event(),
            notifier=Notifier({}),
            log=structlog.wrap_logger(None, processors=[capture]),
        )

        async def configure(_: Settings) -> None:
            pass

        async with listening(more=reloader.commands()) as it:
            working = asyncio.create_task(reloader.run(configure))
            file = tmp_path / "bgphealth.yaml"
            file.write_text(f"{FILE}control: {{socket: {it.path}}}\n")
            found = [
                await asyncio.to_thread(
                    CliRunner().invoke, app, ["-c", str(file), *command.split()]
                )
                for command in commands
            ]
            working.cancel()
            return found

    return asyncio.run(run()), program, capture.entries


def test_reload_says_what_it_changes_and_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    after = replace(host(), uplinks=host().uplinks[:1])
    (dry, done, again), program, log = reloading(
        tmp_path, lambda _: after, "reload --dry-run", "reload", "reload --json"
    )
    assert dry.stdout == "uplinks.tor2: removed\nwould change this\n"
    assert "frr.conf would be another one" in dry.stderr
    assert (done.exit_code, done.stdout) == (0, "uplinks.tor2: removed\napplied\n")
    assert json.loads(again.stdout)["outcome"] == "unchanged"
    assert program.settings == after
    assert [e["event"] for e in log] == ["reloaded", "render_needed", "reloaded"]
    assert "uid" in log[0]["by"]


def test_a_wrong_file_changes_nothing_and_is_kept_in_mind(tmp_path: Path) -> None:
    def read(file: Path) -> Settings:
        raise InvalidFileError([Problem(str(file), n, "paths.fall", "is wrong") for n in (3, 4)])

    (refused, dry), program, log = reloading(tmp_path, read, "reload", "reload --dry-run")
    file = tmp_path / "bgphealth.yaml"
    lines = f"{file}:3: paths.fall: is wrong\n{file}:4: paths.fall: is wrong\n"
    assert (refused.exit_code, refused.stderr) == (78, lines)
    assert (dry.exit_code, dry.stderr) == (78, lines)
    assert program.settings == host()
    last = program.history.times.reload
    assert last is not None
    assert (last.outcome, last.at, len(last.problems)) == (ReloadOutcome.REFUSED, 7.0, 2)
    assert [e["event"] for e in log] == ["reload_refused"]


def test_a_mistake_of_ours_in_reading_changes_nothing_either(tmp_path: Path) -> None:
    def read(_: Path) -> Settings:
        raise AttributeError("no such class")

    done, program, log = reloading(tmp_path, read, "reload", "reload --dry-run")
    for refused, event in zip(done, log, strict=True):
        assert (refused.exit_code, "no such class" in refused.stderr) == (78, True)
        assert (event["event"], event["log_level"]) == ("reload_refused", "error")
        assert event["exc_info"] is True
    assert program.settings == host()


def test_a_reload_is_waited_for_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_TIMEOUT_S", 0.1)
    monkeypatch.setitem(control.PATIENCE_S, "recheck", 0.1)

    async def slow(_: Request) -> Mapping[str, object]:
        await asyncio.sleep(0.5)
        return {"outcome": "applied", "changes": [], "render": []}

    more = {"reload": Command(slow), "recheck": Command(slow, frozenset({"thing"}))}
    done, late = over(tmp_path, more, "reload", "recheck")
    assert (done.exit_code, done.stdout) == (0, "applied\n")
    assert (late.exit_code, "no answer in time" in late.stderr) == (75, True)
