"""What `bgphealth simulate` prints, word by word: of every scenario that is an example."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from tests.support.recordings import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "scenarios"
CONFIGURATIONS = {"host", "direct"}
NAMES = sorted({file.stem for file in EXAMPLES.glob("*.yaml")} - CONFIGURATIONS)
ERRORS = HERE / "errors" / "scenarios"
WRONG = sorted({file.stem for file in ERRORS.glob("*.yaml")} - {"host"})


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


@pytest.mark.parametrize("name", NAMES)
def test_example(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    result = simulate(f"{name}.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    golden(f"simulate/{name}.txt", result.stdout)


def test_json(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    result = simulate("direct-blackhole.yaml", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["schema_version"] == 1
    golden("simulate/direct-blackhole.json", result.stdout)


def test_verbose(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    golden("simulate/direct-blackhole-verbose.txt", simulate("direct-blackhole.yaml", "-v").stdout)


def test_picture(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(EXAMPLES)
    picture = tmp_path / "picture.svg"
    assert simulate("direct-blackhole.yaml", "--picture", str(picture)).exit_code == 0
    golden("simulate/direct-blackhole.svg", picture.read_text(encoding="utf-8"))


def test_expectations_that_do_not_hold(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE / "simulate")
    result = simulate("not-as-expected.yaml")
    assert (result.exit_code, result.stderr) == (1, "")
    golden("simulate/not-as-expected.txt", result.stdout)
    compared = json.loads(simulate("not-as-expected.yaml", "--json").stdout)["expectations"]
    assert not all(each["held"] for each in compared)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_scenario(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ERRORS)
    result = simulate(f"{name}.yaml")
    assert (result.exit_code, result.stdout) == (78, "")
    golden(f"errors/scenarios/{name}.txt", result.stderr)


def test_recording(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in EXAMPLES.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    write(Path("recording.jsonl"), Path("direct-blackhole.yaml"))
    result = simulate("recording.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    golden("simulate/recording.txt", result.stdout)
