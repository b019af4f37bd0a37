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
CONFIGURATIONS = {"host", "direct", "local"}
NAMES = sorted({file.stem for file in EXAMPLES.glob("*.yaml")} - CONFIGURATIONS)
ERRORS = HERE / "errors" / "scenarios"
WRONG = sorted({file.stem for file in ERRORS.glob("*.yaml")} - {"host"})


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


def simulated(*arguments: str, status: int = 0) -> str:
    """Return what is printed, where nothing is wrong with the scenario."""
    result = simulate(*arguments)
    assert (result.exit_code, result.stderr) == (status, "")
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_example(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    golden(f"simulate/{name}.txt", simulated(f"{name}.yaml"))


def test_json(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    printed = simulated("direct-blackhole.yaml", "--json")
    assert json.loads(printed)["schema_version"] == 1
    golden("simulate/direct-blackhole.json", printed)


def test_verbose(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    golden("simulate/direct-blackhole-verbose.txt", simulated("direct-blackhole.yaml", "-v"))


def test_picture(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(EXAMPLES)
    picture = tmp_path / "picture.svg"
    simulated("direct-blackhole.yaml", "--picture", str(picture))
    golden("simulate/direct-blackhole.svg", picture.read_text(encoding="utf-8"))


def test_expectations_that_do_not_hold(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE / "simulate")
    golden("simulate/not-as-expected.txt", simulated("not-as-expected.yaml", status=1))
    found = json.loads(simulated("not-as-expected.yaml", "--json", status=1))
    compared = found["expectations"]
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
    golden("simulate/recording.txt", simulated("recording.jsonl"))
