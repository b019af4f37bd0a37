"""What the shell completes: commands, and the names of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from bgphealth.cli.app import app

EXAMPLE = Path(__file__).parents[2] / "bgphealth" / "share" / "examples" / "frr.yaml"


def completed(*words: str, file: Path = EXAMPLE) -> list[str]:
    *before, last = words
    shell = ShellComplete(app, {}, "bgphealth", "_BGPHEALTH_COMPLETE")
    return [item.value for item in shell.get_completions(["-c", str(file), *before], last)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("und",), ["undrain"]),
        (("drain", "up"), ["uplink"]),
        (("drain", "uplink", ""), ["tor1", "tor2"]),
        (("undrain", "uplink", "tor2"), ["tor2"]),
        (("drain", "service", ""), ["dns"]),
        (("undrain", "service", "x"), []),
    ],
)
def test_commands_and_names_are_completed(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_a_wrong_file_completes_no_names(tmp_path: Path) -> None:
    wrong = tmp_path / "bgphealth.yaml"
    assert completed("drain", "uplink", "", file=wrong) == []
    wrong.write_text("version: 2\n", encoding="utf-8")
    assert completed("drain", "service", "", file=wrong) == []
