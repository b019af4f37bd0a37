"""The JSON Schema of the file: as the model is, no stricter than `check`, and not much laxer."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from bgphealth.cli.app import app
from bgphealth.config import InvalidFileError, document, loads

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "bgphealth" / "share" / "bgphealth.schema.json"
ERRORS = ROOT / "tests" / "golden" / "errors"
FORMS: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(FORMS)

BETWEEN_FIELDS = {
    "between-sections",
    "between-uplinks",
    "bfd-without-profiles",
    "community-of-4-byte-asn",
    "damping",
    "degraded",
    "duplicate-key",
    "fallback-direct",
    "fallback-off",
    "fallback-source",
    "family-without-uplink",
    "local-uplinks",
    "session-options",
    "sources-off",
}
"""Each value is right by itself: only `check` knows better."""


def generated() -> str:
    file = ROOT / ".packaging" / "schema.py"
    spec = importlib.util.spec_from_file_location("schema", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.text()
    return text


def documents() -> Iterator[Any]:
    """Yield every whole file there is: examples, tests, laboratory, documentation."""
    files = [*ROOT.glob("bgphealth/share/examples/*.yaml"), *ROOT.glob("tests/golden/*/*.yaml")]
    files += ROOT.glob("lab/**/*.yaml")
    for file in sorted(files):
        yield pytest.param(file.read_bytes(), id=str(file.relative_to(ROOT)))
    for page in sorted(ROOT.glob("docs/*.md")):
        blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            yield pytest.param(block.encode(), id=f"{page.name}-{number}")


def is_accepted(content: bytes) -> bool:
    try:
        loads("bgphealth.yaml", content)
    except InvalidFileError:
        return False
    return True


def flaws(content: bytes) -> list[str]:
    data = document.parse("bgphealth.yaml", content).data
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(data)]


def test_it_is_the_model_s(request: pytest.FixtureRequest) -> None:
    """`pytest tests/golden --update-golden` writes it anew."""
    if request.config.getoption("--update-golden"):
        SCHEMA.write_text(generated(), encoding="utf-8")
    assert generated() == SCHEMA.read_text(encoding="utf-8")


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(FORMS)


def test_it_is_printed() -> None:
    assert CliRunner().invoke(app, ["schema"]).output == SCHEMA.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", list(documents()))
def test_what_check_accepts_it_accepts(content: bytes) -> None:
    assert not is_accepted(content) or not flaws(content)


def test_that_says_something() -> None:
    assert sum(is_accepted(each.values[0]) for each in documents()) > 25


@pytest.mark.parametrize("file", sorted(ERRORS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_wrong_by_itself_it_refuses(file: Path) -> None:
    try:
        found = flaws(file.read_bytes())
    except InvalidFileError:
        return  # It is not even YAML.
    assert bool(found) == (file.stem not in BETWEEN_FIELDS)


def test_every_key_is_explained() -> None:
    """But for those inside of addresses, which mean something else in each place."""
    unsaid = [
        f"{name}.{key}"
        for name, form in FORMS["$defs"].items()
        for key, below in form["properties"].items()
        if "description" not in below
    ]
    assert [key for key in unsaid if not key.startswith("PerFamily.")] == []
