"""What is written to a recording, and what is left alone."""

from __future__ import annotations

import fcntl
import json
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import LogCapture

from bgphealth.core.events import Event, LinkChanged, PathProbed, Started, Verdict
from bgphealth.core.settings import Family, ProbeKind, ProbeSettings, Role
from bgphealth.daemon import recorder as module
from bgphealth.daemon.recorder import Recorder
from bgphealth.simulation.recorded import Reconfigured, find_run
from tests.support.neighbors import configuration

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict

MIB = 2**20
STORY: list[Event] = [
    Started(1.0),
    LinkChanged(1.5, "tor1", up=False),
    LinkChanged(2.5, "tor1", up=True),
]


@pytest.fixture
def capture() -> LogCapture:
    return LogCapture()


def begun(capture: LogCapture, recording: Path, file: Path, most_bytes: int = MIB) -> Recorder:
    logger = structlog.wrap_logger(None, processors=[capture])
    recorder = Recorder(recording, most_bytes, logger)
    recorder.begin(recorder.load(file))
    return recorder


def record(capture: LogCapture, recording: Path, file: Path, most_bytes: int = MIB) -> None:
    recorder = begun(capture, recording, file, most_bytes)
    for event in STORY:
        recorder.record(event)
    recorder.close()


def stopped(capture: LogCapture) -> str:
    """Return why recording was stopped."""
    (entry,) = (each for each in capture.entries if each["event"] == "recording_stopped")
    return str(entry["why"])


def until_stopped(capture: LogCapture) -> str:
    deadline = time.monotonic() + 20
    while not any(each["event"] == "recording_stopped" for each in capture.entries):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return stopped(capture)


def names(entries: list[EventDict]) -> list[object]:
    return [entry["event"] for entry in entries]


def test_a_header_and_a_line_per_event(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    record(capture, recording, file)
    header, *events = map(json.loads, recording.read_text().splitlines())
    assert header["bgphealth_trace"] == 1
    assert header["config"] == {"file": str(file), "content": file.read_text()}
    assert events == [
        {"is": "started", "at": 1.0},
        {"is": "link_changed", "at": 1.5, "uplink": "tor1", "up": False},
        {"is": "link_changed", "at": 2.5, "uplink": "tor1", "up": True},
    ]
    assert list(find_run(recording).events()) == STORY
    assert recording.stat().st_mode & 0o777 == 0o600
    assert names(capture.entries) == ["recording"]


def test_the_next_start_adds_a_run(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    record(capture, recording, file)
    with recording.open("a") as stream:
        stream.write('{"is": "link_cha')  # Killed in the middle of a line.
    record(capture, recording, file)
    first, second = find_run(recording, 1), find_run(recording)
    assert [list(first.events()), list(second.events())] == [STORY, STORY]
    assert (first.cut, second.cut) == (True, False)
    assert (second.number, second.count) == (2, 2)


def test_other_settings_are_recorded_with_their_file(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    recorder = begun(capture, recording, file)
    recorder.record(STORY[0])
    file.write_text(file.read_text().replace("icmp: 198.51.100.2", "icmp: 203.0.113.2"))
    settings = recorder.load(file)
    probe = settings.uplinks[0].paths[0].beyond[1]
    answer = PathProbed(2.5, "tor1", Family.IPV4, Role.BEYOND, probe, Verdict.OK)
    recorder.reconfigured(2.0, settings)
    recorder.record(answer)
    recorder.close()
    expected = [STORY[0], Reconfigured(2.0, settings), answer]
    assert list(find_run(recording).events()) == expected


def test_what_was_asked_by_the_old_file_is_left_out(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    recorder = begun(capture, recording, file)
    probe = ProbeSettings(ProbeKind.ICMP, ip_address("203.0.113.2"))
    recorder.record(PathProbed(1.5, "tor1", Family.IPV4, Role.BEYOND, probe, Verdict.OK))
    recorder.record(STORY[2])
    recorder.close()
    assert list(find_run(recording).events()) == [STORY[2]]


def test_it_ends_before_it_becomes_too_large(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    record(capture, recording, file)
    size = recording.stat().st_size
    recording.unlink()
    record(capture, recording, file, size - 1)
    assert stopped(capture) == f"it has reached its limit of {size - 1} bytes"
    assert list(find_run(recording).events()) == STORY[:-1]


@pytest.mark.parametrize("content", ["version: 1\n", " ", '{"bgphealth_tra'])
def test_no_other_file_is_ever_written_to(
    capture: LogCapture, tmp_path: Path, content: str
) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    recording.write_text(content)
    record(capture, recording, file)
    assert stopped(capture) == "it is there already and is no recording"
    assert recording.read_text() == content


def test_nor_what_a_link_points_to(capture: LogCapture, tmp_path: Path) -> None:
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    recording.symlink_to(tmp_path / "elsewhere")
    record(capture, recording, file)
    assert stopped(capture) == "Too many levels of symbolic links"
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_is_not_there(capture: LogCapture, tmp_path: Path) -> None:
    record(capture, tmp_path / "nowhere" / "recording.jsonl", configuration(tmp_path))
    assert stopped(capture) == "No such file or directory"


def test_two_programs_do_not_mix_their_runs(
    capture: LogCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCKED_BY_NOW_S", 0.3)
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    with recording.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        recorder = begun(capture, recording, file)
        assert until_stopped(capture) == "another program records to it"
        recorder.close()
    assert recording.read_text() == ""


def test_what_waits_for_a_slow_disk_is_bounded(
    capture: LogCapture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    file, recording = configuration(tmp_path), tmp_path / "recording.jsonl"
    with recording.open("w") as other:
        # As long as it is locked, nothing is written.
        fcntl.flock(other, fcntl.LOCK_EX)
        recorder = begun(capture, recording, file)
        for event in STORY:
            recorder.record(event)
        assert stopped(capture) == "the disk is too slow"
    recorder.close()
