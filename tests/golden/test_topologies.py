"""docs/topologies/ is what the topologies' files say; --update-golden draws it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import graph, scene, topology

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "../../docs/topologies"
TEXT = (Path(__file__).parent / PAGE).with_suffix(".md").read_text(encoding="utf-8")
WITHOUT_TWINS = sorted(set(scene.MEASURED) - set(scene.TWINS.values()))


@pytest.mark.parametrize("name", WITHOUT_TWINS)
def test_graph(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{PAGE}/{name}.svg", graph.svg(topology.load(topology.find(name))))


@pytest.mark.parametrize("name", WITHOUT_TWINS)
def test_it_is_shown(name: str) -> None:
    assert f"](topologies/{name}.svg)" in TEXT
    assert f"](../lab/{name}/README.md)" in TEXT
    assert f"\n.venv/bin/python -m lab up {name}\n" in TEXT
