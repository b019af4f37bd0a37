"""The figures in docs/compare.md are those of docs/compare-*.json; --update-golden writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import rounds, rounds_report, rounds_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "../../docs/compare.md"
DOCS = Path(__file__).parents[2] / "docs"

BEGIN = "pytest tests/golden/test_compare.py --update-golden -->\n"
END = "<!-- to here -->\n"
ALT = "The outage of every round, on a logarithmic scale"

RESULTS: dict[str, dict[str, Any]] = {
    name: json.loads(file.read_text(encoding="utf-8"))
    for name in rounds.NAMES
    if (file := DOCS / f"compare-{name}.json").exists()
}


def sections() -> Iterator[str]:
    for name, result in RESULTS.items():
        yield f"\n## {name}\n\n![{ALT}](compare-{name}.svg)\n"
        yield from rounds_table.markdown(result)
    yield "\n## What the figures say\n"


def test_page(golden: Callable[[str, str], None]) -> None:
    head, begin, rest = (DOCS / "compare.md").read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    golden(PAGE, head + begin + "\n".join(sections()) + "\n" + end + tail)


@pytest.mark.parametrize("name", RESULTS)
def test_plot(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"../../docs/compare-{name}.svg", rounds_report.svg(RESULTS[name]) + "\n")
