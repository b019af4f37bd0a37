"""The tables and the picture of docs/fleet.md are what docs/fleet.json says.

That file is what `python -m lab fleet --json` printed; --update-golden writes the rest.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bgphealth import config
from lab import fleet, fleet_page
from lab.cli_fleet import HOST
from lab.fleet_faults import FAULTS, Fabric, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "../../docs/fleet.md"
PICTURE = "../../docs/fleet.svg"
DOCS = Path(__file__).parents[2] / "docs"
MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
TIMES = {"took_s"}
"""What differs from run to run."""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DOCS / "fleet.json").read_text(encoding="utf-8"))
    return read


def test_page(found: dict[str, Any], golden: Callable[[str, str], None]) -> None:
    page = (DOCS / "fleet.md").read_text(encoding="utf-8")
    made = fleet_page.blocks(found)
    assert {match[2] for match in MADE.finditer(page)} == made.keys()
    golden(PAGE, MADE.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[3]}", page))


def test_picture(found: dict[str, Any], golden: Callable[[str, str], None]) -> None:
    golden(PICTURE, fleet_page.svg(found))


@pytest.mark.parametrize("name", ["spine-dark", "tor-dark", "target-dead", "targets-dead"])
def test_ten_thousand_hosts_in_step_do_what_the_page_says(found: dict[str, Any], name: str) -> None:
    fabric = Fabric(*(found[field] for field in Fabric._fields))
    variant = Variant(damping=True, jitter=False)
    run = fleet.run(fabric, config.load(HOST), FAULTS[name], variant, jobs=1)
    said = fleet_page.of(found, name, damping=True, jitter=False)
    run["series"] = [list(each) for each in run["series"]]
    assert {k: v for k, v in run.items() if k not in TIMES} == {
        k: v for k, v in said.items() if k not in TIMES
    }
