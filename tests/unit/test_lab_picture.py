"""The colours that pictures of the laboratory share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab import fleet_page, graph, picture, racks, topology

FLEET = Path(__file__).parents[2] / "docs" / "fleet.json"
NAMED = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
USED = re.compile(r"var\(--([a-z-]+)\)")


@pytest.fixture(params=["topology", "fleet"])
def drawn(request: pytest.FixtureRequest) -> str:
    if request.param == "fleet":
        return fleet_page.svg(json.loads(FLEET.read_text(encoding="utf-8")))
    return graph.svg(topology.load(topology.find(racks.FABRIC)))


def test_every_colour_is_there_by_light_and_by_night(drawn: str) -> None:
    light, night = drawn.split("prefers-color-scheme: dark", 1)

    assert dict(NAMED.findall(light)).keys() == dict(NAMED.findall(night)).keys()
    assert set(USED.findall(drawn)) <= dict(NAMED.findall(light)).keys()


def test_pictures_share_their_ink(drawn: str) -> None:
    named = dict(NAMED.findall(drawn.split("prefers-color-scheme: dark", 1)[0]))

    assert (named["ink"], named["muted"]) == (picture.INK, picture.MUTED)
    assert (named["grid"], named["track"]) == (picture.GRID, picture.TRACK)
