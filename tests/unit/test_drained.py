"""What is remembered of drains: as it was, on another clock, and never trusted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from bgphealth.core.orders import Order, Target, What
from bgphealth.daemon.drained import DrainMemory, decode, encode

TIMES = st.floats(0, 4e9, allow_nan=False)
TARGETS = st.builds(Target, st.sampled_from(What), st.text(max_size=40))
ORDERS = st.dictionaries(TARGETS, st.builds(Order, TIMES, st.none() | TIMES, st.booleans()))
DNS = Target(What.SERVICE, "dns")
GOOD = {"what": "host", "name": "", "since": 1.0, "until": None, "forced": False}


def memory(file: Path) -> tuple[DrainMemory, LogCapture]:
    capture = LogCapture()
    return DrainMemory(file, structlog.wrap_logger(None, processors=[capture])), capture


@given(ORDERS)
def test_what_is_written_is_read(orders: dict[Target, Order]) -> None:
    assert decode(encode(orders).encode()) == orders


def test_the_end_of_a_drain_is_a_time_of_day(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.drains.json"
    before, _ = memory(file)
    assert before.keep({DNS: Order(since=1000.0, until=2800.0)}, now=1000.0)
    (entry,) = json.loads(file.read_text())["drains"]
    assert entry["until"] == pytest.approx(time.time() + 1800, abs=60)
    # After a reboot, ten minutes later, the monotonic clock has begun anew.
    entry["since"], entry["until"] = entry["since"] - 600, entry["until"] - 600
    file.write_text(json.dumps({"version": 1, "drains": [entry]}))
    order = memory(file)[0].load(now=5.0)[DNS]
    assert order.since == pytest.approx(5.0 - 600, abs=60)
    assert order.until == pytest.approx(5.0 + 1200, abs=60)


def test_a_clock_that_was_set_back_does_not_begin_a_drain_in_the_future(tmp_path: Path) -> None:
    file = tmp_path / "drains.json"
    file.write_text(encode({DNS: Order(since=time.time() + 9999)}))
    assert memory(file)[0].load(now=5.0) == {DNS: Order(since=5.0)}


def test_nothing_there_is_nothing_drained(tmp_path: Path) -> None:
    kept, log = memory(tmp_path / "drains.json")
    assert (kept.load(now=1.0), log.entries) == ({}, [])


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "nonsense",
        "[" * 100_000,
        "{}",
        '{"version": 2, "drains": []}',
        '{"version": 1, "drains": {}}',
        '{"version": 1, "drains": [{}]}',
        *(
            json.dumps({"version": 1, "drains": [{**GOOD, **wrong}]})
            for wrong in (
                {"what": "rack"},
                {"name": 1},
                {"since": float("nan")},
                {"until": float("inf")},
                {"until": "x"},
                {"forced": 1},
            )
        ),
    ],
)
def test_what_makes_no_sense_is_said_and_not_used(tmp_path: Path, raw: str) -> None:
    file = tmp_path / "drains.json"
    file.write_text(raw)
    kept, log = memory(file)
    assert kept.load(now=1.0) == {}
    assert [entry["event"] for entry in log.entries] == ["state_ignored"]


def test_what_cannot_be_written_is_said_once() -> None:
    kept, log = memory(Path("/proc/nowhere/drains.json"))
    for until in (None, 5.0):
        assert not kept.keep({DNS: Order(1.0, until)}, now=1.0)
    assert [entry["event"] for entry in log.entries] == ["state_not_kept"]


def test_what_a_later_version_has_left_is_kept_aside(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.drains.json"
    later = json.dumps({"version": 2, "drained": {"everything": "else"}})
    file.write_text(later)
    kept, log = memory(file)
    assert kept.load(now=5.0) == {}
    assert file.read_text() == later  # Reading changes nothing: a dry run reads as well.
    assert kept.keep({DNS: Order(since=5.0)}, now=5.0)
    aside = tmp_path / "bgphealth.drains.json.v2"
    assert (aside.read_text(), set(decode(file.read_bytes()))) == (later, {DNS})
    assert [entry["event"] for entry in log.entries] == ["state_ignored", "state_set_aside"]
    assert kept.keep({}, now=6.0)
    assert aside.read_text() == later


def test_what_cannot_be_set_aside_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.drains.json"
    file.write_text('{"version": 2}')
    (tmp_path / "bgphealth.drains.json.v2").mkdir()
    kept, log = memory(file)
    kept.load(now=5.0)
    assert not kept.keep({DNS: Order(since=5.0)}, now=5.0)
    assert file.read_text() == '{"version": 2}'
    assert [entry["event"] for entry in log.entries] == ["state_ignored", "state_not_kept"]


def test_what_somebody_deletes_instead_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.drains.json"
    file.write_text('{"version": 2}')
    kept, log = memory(file)
    kept.load(now=5.0)
    file.unlink()
    assert kept.keep({DNS: Order(since=5.0)}, now=5.0)
    assert set(decode(file.read_bytes())) == {DNS}
    assert [entry["event"] for entry in log.entries] == ["state_ignored"]
