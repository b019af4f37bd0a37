"""Metrics of a host that a test makes, and how to read them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bgphealth.core import engine
from bgphealth.core.events import Event
from bgphealth.core.settings import Family, Settings
from bgphealth.core.state import State
from bgphealth.core.truth import Tier
from bgphealth.daemon.closed_loop import Truth
from bgphealth.daemon.exposition import render
from bgphealth.daemon.history import History
from bgphealth.daemon.observer import Observer
from bgphealth.daemon.reload import Reloaded
from bgphealth.daemon.reporting import Troubles
from bgphealth.daemon.snapshot import Defaults, Known, Told

ROOT = Path(__file__).parents[2]

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: str) -> Values:
    """Return the value of each series; one that is there twice fails."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(values: Values, series: str, /, **labels: str) -> float | None:
    """Return the value of a series; None if it is not there."""
    return values.get((f"bgphealth_{series}", frozenset(labels.items())))


def observed(settings: Settings, events: Iterable[Event]) -> tuple[State, Observer]:
    """Return what an engine and an observer make of events."""
    state, observer = engine.initial(settings), Observer()
    for event in events:
        observer.answer(event)
        state, effects = engine.step(state, event)
        for effect in effects:
            observer.effect(effect)
    return state, observer


def known(  # noqa: PLR0913 - what of a run a test may choose
    state: State,
    *,
    told: Told | None = None,
    truth: Truth | None = None,
    tiers: Mapping[Family, Tier] | None = None,
    now: float = 0.0,
    reload: Reloaded | None = None,
) -> Known:
    """Return all that is known of a run."""
    history = History(0.0)
    if reload is not None:
        history.reload(reload)
    return Known(
        now=now,
        wall=time.time(),
        state=state,
        times=history.times,
        told=told,
        truth=truth,
        defaults=Defaults(tiers or {}, {}),
        troubles=Troubles({}, {}, {}, {}, {}, {}, {}),
        source_of={},
        gateway_of={},
    )


def exposed(of: Known, observer: Observer, frr: str = "") -> str:
    """Return the metrics of a run."""
    return asyncio.run(render(of, observer, frr)).decode()


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool; skip the test where there is none, but not in CI."""
    found = shutil.which("promtool", path=f"{ROOT / '.promtool'}:{os.environ['PATH']}")
    if found is None:
        why = "no promtool: run `make setup`"
        if "CI" in os.environ:
            pytest.fail(why)
        pytest.skip(why)
    return subprocess.run(
        [found, *arguments], input=stdin, text=True, capture_output=True, check=False, timeout=120
    )
