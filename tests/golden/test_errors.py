"""What people are told about a wrong file, word by word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgphealth.config import InvalidFileError, load

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = Path(__file__).parent / "errors"
FILES = sorted(file.stem for file in ERRORS.glob("*.yaml"))

NOT_TEXT = {
    "empty": b"",
    "binary": b"version: 1\n\x7fELF\x02\x01\x01\x00\x00",
    "utf-16": "version: 1\n".encode("utf-16"),
    "latin-1": b"version: 1\nmode: fr\xe9\n",
    "too-large": b"# \n" * 1_500_000,
    "nested": b"version: " + b"[" * 5000,
}


def messages(file: Path) -> str:
    with pytest.raises(InvalidFileError) as caught:
        load(file)
    assert caught.value.exit_status == 78
    return f"{caught.value}\n"


@pytest.mark.parametrize("name", FILES)
def test_wrong_file(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ERRORS)
    golden(f"errors/{name}.txt", messages(Path(f"{name}.yaml")))


@pytest.mark.parametrize("name", sorted(NOT_TEXT))
def test_not_even_a_text(
    name: str,
    golden: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bgphealth.yaml").write_bytes(NOT_TEXT[name])
    golden(f"errors/{name}.txt", messages(Path("bgphealth.yaml")))
