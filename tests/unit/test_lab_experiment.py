"""When a measurement looks at the routes while its fault lasts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab import convergence, experiment, routes
from lab.experiment import Record
from lab.faults import FAULTS

FAULT_AT = 1000.0


@pytest.mark.parametrize(
    ("name", "looked_s", "healed_s"),
    [
        # Withdrawn after `policy.drain_settle`, 10 s: not before the end is it as promised.
        ("drain-uplink", 14.0, 14.0),
        ("uplink-loss", 20.0, 20.0),
        # Nothing may change, and nobody may be stopped for longer, however long looking takes.
        ("helper-stop", 3.0, 5.0),
        ("link-down", experiment.QUIET_S, experiment.QUIET_S),
    ],
)
def test_what_changes_until_the_end_is_looked_at_then(
    monkeypatch: pytest.MonkeyPatch, name: str, looked_s: float, healed_s: float
) -> None:
    now, looked = [FAULT_AT], list[float]()

    def last(duration_s: float) -> None:
        now[0] += duration_s

    def look(*_: object) -> list[object]:
        looked.append(now[0] - FAULT_AT)
        return []

    monkeypatch.setattr(experiment, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(experiment, "_last", last)
    monkeypatch.setattr(convergence, "wait_until", lambda *_: None)
    monkeypatch.setattr(routes, "snapshot", look)
    monkeypatch.setattr(routes, "sessions", look)
    record = Record(FAULTS[name], "dual-tor", "namespaces", fault_at=FAULT_AT)
    unused: Any = SimpleNamespace(held=dict)

    experiment.watch_reaction(unused, unused, unused, record)

    assert looked == [looked_s, looked_s]
    assert now[0] - FAULT_AT == healed_s
