"""Two turns of the comparison with the peers: one moves everything, the other nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import rounds, state
from lab.faults import FAULTS

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 12.0


def test_a_peer_is_steered_by_its_checks_and_frr_alone_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path))
    said: list[str] = []

    (found,) = rounds.run(
        FAULTS["uplink-blackhole"],
        ["exabgp-healthcheck-tuned", "frr"],
        SECONDS,
        1,
        said.append,
    )

    assert not found["absent"]
    peer, alone = found["contenders"]
    assert None not in [f["median"] for w in ("outage_s", "moved_s") for f in peer[w].values()]
    assert {f["median"] for w in ("outage_s", "moved_s") for f in alone[w].values()} == {None}
    assert "about" in said[0]
