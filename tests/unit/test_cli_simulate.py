"""`bgphealth simulate`: its options, and recordings that are not as they should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from tests.support.recordings import write

if TYPE_CHECKING:
    from click.testing import Result

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
BLACKHOLE = EXAMPLES / "direct-blackhole.yaml"


def bgphealth(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two runs: direct-blackhole, and link-down on another configuration."""
    file = tmp_path / "recording.jsonl"
    write(file, BLACKHOLE, EXAMPLES / "link-down.yaml")
    return file


def edit(recording: Path, number: int, line: str) -> None:
    """Write another line in the place of one."""
    lines = recording.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = line
    recording.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_last_run_unless_another_is_wanted(recording: Path) -> None:
    last = json.loads(bgphealth("simulate", recording, "--json").stdout)
    first = json.loads(bgphealth("simulate", recording, "--json", "--run", "1").stdout)
    assert last["about"].startswith("run 2 of 2, recorded from 2026-01-02T03:04:05+00:00")
    assert last["config"] == f"{EXAMPLES / 'host.yaml'} as recorded"
    assert first["config"] == f"{EXAMPLES / 'direct.yaml'} as recorded"
    assert [m["text"] for m in last["timeline"] if m["event"] == "happens"] == [
        "tor2: link down",
        "tor2: link up",
    ]


@pytest.mark.parametrize("number", ["0", "3", "-1"])
def test_a_run_that_there_is_not(recording: Path, number: str) -> None:
    result = bgphealth("simulate", recording, "--run", number)
    assert result.exit_code == 78
    assert result.stderr == f"{recording}:1: has no run {number}; it has 2\n"


def test_another_hash_seed_tells_the_same_story() -> None:
    stories = {
        subprocess.run(
            [
                sys.executable,
                "-m",
                "bgphealth",
                "simulate",
                "--json",
                str(EXAMPLES / "uplink-loss.yaml"),
            ],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(stories) == 1


def test_a_scenario_is_one_run() -> None:
    result = bgphealth("simulate", BLACKHOLE, "--run", "1")
    assert result.exit_code == 2
    assert "--run is for recordings" in result.stderr


def test_a_recording_with_another_configuration(recording: Path) -> None:
    result = bgphealth("-c", EXAMPLES / "direct.yaml", "simulate", recording, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["config"] == str(EXAMPLES / "direct.yaml")
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()] == told["warnings"]
    another, left_out = told["warnings"]
    assert another == f"was recorded with another configuration, {EXAMPLES / 'host.yaml'}"
    assert left_out.endswith("direct.yaml does not have: left out")


def test_a_configuration_that_was_changed_on_the_way(recording: Path) -> None:
    file = EXAMPLES / "direct.yaml"
    text = file.read_text(encoding="utf-8")
    changed = text.replace("services:", "services:\n  web: {prefixes: [192.0.2.80/32]}")
    record = {
        "is": "reconfigured",
        "at": 15.0,
        "config": {"file": str(file), "content": changed},
    }
    lines = recording.read_text(encoding="utf-8").splitlines()
    at = next(n for n, line in enumerate(lines) if n and json.loads(line)["at"] > 15)
    recording.write_text("\n".join([*lines[:at], json.dumps(record), *lines[at:]]) + "\n")
    told = json.loads(bgphealth("simulate", recording, "--run", "1", "--json").stdout)
    there = [m for m in told["timeline"] if m["at"] == 15.0]
    assert [(m["event"], m.get("route")) for m in there] == [
        ("happens", None),
        ("announce", "192.0.2.80/32 to 10.0.1.0"),
        ("not_announced", "192.0.2.80/32 to 10.0.2.0"),
    ]
    held = bgphealth("-c", file, "simulate", recording, "--run", "1")
    assert (held.exit_code, held.stderr) == (0, "")
    assert "192.0.2.80" not in held.stdout


def test_a_scenario_on_another_configuration() -> None:
    result = bgphealth("-c", EXAMPLES / "host.yaml", "simulate", BLACKHOLE)
    assert result.exit_code == 1
    assert f"configuration {EXAMPLES / 'host.yaml'};" in result.stdout
    assert "changes after 9 s: expected 2, saw 6" in result.stdout


def test_a_last_line_that_is_not_whole(recording: Path) -> None:
    whole = bgphealth("simulate", recording).stdout
    recording.write_text(recording.read_text() + '{"is": "link_ch')
    result = bgphealth("simulate", recording)
    assert (result.exit_code, result.stdout) == (0, whole)
    assert result.stderr == f"{recording}: the last line is not whole: the program was killed\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"is": "reconfigured"}', "needs at, and config with its file and content"),
        ('{"is": "started"}', "at: is missing"),
        ('{"is": "ended", "at": 1}', "is: must be one of started, settled, path_probed,"),
    ],
)
def test_a_line_that_is_no_event(recording: Path, line: str, message: str) -> None:
    edit(recording, 5, line)
    edit(recording, 7, line)
    result = bgphealth("simulate", recording, "--run", "1")
    assert (result.exit_code, result.stdout) == (78, "")
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{recording}:5: {message}")
    assert second.startswith(f"{recording}:7: {message}")


def test_a_recording_of_another_version(recording: Path) -> None:
    edit(recording, 1, '{"bgphealth_trace": 2}')
    result = bgphealth("simulate", recording, "--run", "1")
    assert result.exit_code == 78
    assert result.stderr == f"{recording}:1: a trace of version 2; this program reads version 1\n"


def test_the_middle_of_a_recording(recording: Path) -> None:
    lines = recording.read_text().splitlines(keepends=True)
    recording.write_text("".join(lines[1:50]))
    result = bgphealth("simulate", recording)
    assert result.exit_code == 78
    assert result.stderr == (
        f"{recording}:1: lacks the line that a run begins with, which has the configuration\n"
    )


def test_a_recorded_configuration_that_is_wrong_by_now(recording: Path) -> None:
    config = {"file": "/etc/bgphealth/bgphealth.yaml", "content": "version: 1\nmode: bird\n"}
    header = {"bgphealth_trace": 1, "start": "2026-01-02T03:04:05+00:00", "config": config}
    edit(recording, 1, json.dumps(header))
    result = bgphealth("simulate", recording, "--run", "1")
    assert result.exit_code == 78
    assert "/etc/bgphealth/bgphealth.yaml (recorded):2: mode: " in result.stderr


def test_no_such_file(tmp_path: Path) -> None:
    result = bgphealth("simulate", tmp_path / "nowhere.yaml")
    assert result.exit_code == 78
    assert result.stderr == f"{tmp_path / 'nowhere.yaml'}: no such file\n"


def test_what_a_probe_said_cannot_write_to_the_terminal(recording: Path) -> None:
    lines = recording.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if '"failed"' in line)
    for at in range(number, len(lines) + 1):
        if '"failed"' in (line := lines[at - 1]):
            edit(recording, at, json.dumps({**json.loads(line), "detail": "\x1b[31m\nred"}))
    result = bgphealth("simulate", recording, "--run", "1", "--picture", recording.parent / "p.svg")
    assert result.exit_code == 0
    assert "\\x1b[31m\\nred" in result.stdout
    assert "\x1b" not in result.stdout
    ET.parse(recording.parent / "p.svg")  # noqa: S314 - our own


def test_the_picture_has_a_lane_for_everything(tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    assert bgphealth("simulate", EXAMPLES / "flap.yaml", "--picture", picture).exit_code == 0
    root = ET.parse(picture).getroot()  # noqa: S314 - our own
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    lanes = {"tor1 ipv4", "tor2 ipv6", "loopback", "dns", "0.0.0.0/0 via tor2", "192.0.2.53/32"}
    assert lanes <= texts
    assert "tor2: link down, and back, every 0.1 s for 60 s" in texts


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    result = bgphealth("simulate", BLACKHOLE, "--picture", tmp_path / "nowhere" / "picture.svg")
    assert result.exit_code == 75
    assert "cannot be written: No such file or directory" in result.stderr
