"""docs/security.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bgphealth.daemon.places import replace_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\w+/\w+\.py)::(\w+)`", PAGE)


def test_there_are_many() -> None:
    assert len(NAMED) >= len(re.findall(r"^\| .* \| `tests/", PAGE, re.MULTILINE)) > 0


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_every_test_that_is_named_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert test in defined


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    state = tmp_path / "state" / "bgphealth.routes.json"
    state.parent.mkdir()
    state.symlink_to(victim)
    replace_file(state, "ours")
    assert victim.read_text() == "theirs"
    assert not state.is_symlink()
    assert state.read_text() == "ours"
    assert state.stat().st_mode & 0o077 == 0
