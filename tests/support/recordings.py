"""What a recording says when it is played, in the words of the program's own log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from bgphealth.config.scenario_load import load_scenario
from bgphealth.core.events import Event
from bgphealth.core.settings import Settings
from bgphealth.core.trace import HEADER, VERSION, Codec
from bgphealth.daemon.reporting import Reporter
from bgphealth.simulation.play import Happened, Played, Player, play, replay
from bgphealth.simulation.recorded import find_run

DECISIONS = {
    "path_changed",
    "path_suspect",
    "path_not_suspect",
    "service_changed",
    "announce",
    "withdraw",
    "not_announced",
}


def played(file: Path, number: int | None = None) -> Played:
    """Play a run of a recording."""
    run = find_run(file, number)
    return replay(run.header.settings(), run.events())


class Listener(Player):
    """Plays, and keeps what went into the engine."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        """Keep an event, and take it."""
        self.events.append(event)
        super().post(event)


def write(recording: Path, *scenarios: Path) -> None:
    """Write the recording that a program would have written that lived through these scenarios."""
    with recording.open("w", encoding="utf-8") as stream:
        for file in scenarios:
            scenario = load_scenario(file, None, file)
            content = Path(scenario.config).read_text(encoding="utf-8")
            codec = Codec(scenario.settings)
            listener = Listener(scenario.settings)
            play(scenario, listener)
            header = {
                HEADER: VERSION,
                "start": "2026-01-02T03:04:05+00:00",
                "config": {"file": scenario.config, "content": content},
            }
            for record in (header, *map(codec.encode, listener.events)):
                stream.write(json.dumps(record) + "\n")


def told(result: Played) -> list[dict[str, object]]:
    """Return what the program would have logged about what was played."""
    capture = LogCapture()
    reporter = Reporter(
        cast("FilteringBoundLogger", structlog.wrap_logger(None, processors=[capture]))
    )
    for moment in result.moments:
        if not isinstance(moment, Happened):
            reporter.effect(moment)
    entries = ({**entry, "level": entry["log_level"]} for entry in capture.entries)
    return [{k: value for k, value in entry.items() if k != "log_level"} for entry in entries]


def logged(log: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the decisions in the log of a run, without the clock on the wall."""
    return [
        {key: value for key, value in entry.items() if key != "timestamp"}
        for entry in log
        if entry["event"] in DECISIONS
    ]
