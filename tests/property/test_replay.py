"""The same events give the same decisions in another process, whatever its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

STORY = """
from dataclasses import replace

from bgphealth.core import engine
from bgphealth.core.events import LinkChanged, Started, Verdict
from bgphealth.core.settings import Family
from tests.support.hosts import FALL, RISE, checked, host, round_of

settings = host(uplinks=4, families=tuple(Family))
state, told = engine.initial(settings), []
story = [Started(0.0), *[checked(Verdict.OK)] * RISE]
for verdict, times in ((Verdict.OK, RISE), (Verdict.FAILED, FALL), (Verdict.OK, RISE)):
    story += [e for _ in range(times) for u in settings.uplinks for e in round_of(u, verdict)]
story += [LinkChanged(1.0, u.name, up=False) for u in settings.uplinks]
for event in story:
    state, effects = engine.step(state, event)
    told += effects
# The order of a set means nothing, and None has another hash in each process.
print([replace(e, undecided=sorted(map(str, e.undecided))) if hasattr(e, "undecided") else e
       for e in told])
"""


def test_another_hash_seed_tells_the_same_story() -> None:
    stories = {
        subprocess.run(
            [sys.executable, "-c", STORY],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(stories) == 1
    assert "shared_fate" in stories.pop()
