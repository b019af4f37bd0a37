"""Whether a file names local mode is told before it is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bgphealth.daemon.loading import says_local

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = (
    "version: 1\nmode: local\n",
    "mode: 'local' # x\n",
    '"mode" : local\nuplinks: [',
    "{version: 1, mode: local}",
)
OTHERS = ("mode: frr\n", "# mode: local\nmode: frr\n", "mode: locale\n", "", "a:\n  mode: local\n")


@pytest.mark.parametrize(
    ("text", "is_local"), [*((t, True) for t in LOCAL), *((t, False) for t in OTHERS)]
)
def test_says_local(text: str, is_local: bool, tmp_path: Path) -> None:  # noqa: FBT001 - as pytest has it
    file = tmp_path / "bgphealth.yaml"
    file.write_text(text)
    assert says_local(file) is is_local


def test_a_file_that_cannot_be_read_names_none(tmp_path: Path) -> None:
    assert not says_local(tmp_path / "none.yaml")
    assert not says_local(tmp_path)
