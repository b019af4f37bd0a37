"""docs/configuration.md has the defaults and the ranges that the model has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML

from bgphealth.config.local import LocalFile
from bgphealth.config.model import File
from tests.support.keys import PLACES, fields_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
RANGE = re.compile(r"(?:number|duration), (\w+) to (\w+)|duration from (\w+)|at most (\d+[hd])")
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
OF_OTHERS = {"`host.asn`"}
"""Defaults that are another key's value."""


class Row(NamedTuple):
    type: str
    default: str


def rows() -> dict[str, list[Row]]:
    """Return what the page says of each key; keys of mode local may have a second row."""
    found: dict[str, list[Row]] = {}
    for key, kind, default in ROW.findall(PAGE.read_text(encoding="utf-8")):
        found.setdefault(key, []).append(Row(kind.strip(), default.strip()))
    return found


ROWS = rows()
MODELS: tuple[type[BaseModel], ...] = (File, LocalFile, *PLACES.values())
FIELDS = [
    (f"{model.__name__}:{key}", field, ROWS[key])
    for model in MODELS
    for key, field in fields_of(model)
    if key in ROWS
]


def read(field: FieldInfo, value: object) -> object:
    """Return what the model makes of a value that is written in the file."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(kind).validate_python(value)


def is_so(field: FieldInfo, default: str) -> bool:
    """Say whether a default is as a cell says it."""
    if "required" in default or field.is_required():
        return "required" in default and field.is_required()
    given = field.get_default(call_default_factory=True)
    literal = re.match(r"`([^`]+)`", default)
    depends = given is None and literal is not None and literal[0] != default
    if literal is None or depends or default in OF_OTHERS:
        return not given or isinstance(given, BaseModel)
    return bool(read(field, YAML(typ="safe").load(literal[1])) == given)


@pytest.mark.parametrize(("field", "said"), [f[1:] for f in FIELDS], ids=[f[0] for f in FIELDS])
def test_default_is_as_explained(field: FieldInfo, said: list[Row]) -> None:
    assert any(is_so(field, row.default) for row in said), field.default


def just_outside(lowest: str, highest: str) -> list[object]:
    """Return the nearest values below and above a range of numbers or of durations."""
    if lowest.isdecimal():
        return [int(lowest) - 1, int(highest) + 1]
    return [f"{milliseconds(lowest) - 0.5:g}ms", f"{milliseconds(highest) + 1:g}ms"]


def milliseconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)([a-z]+)", duration)
    assert match is not None
    return int(match[1]) * MILLISECONDS[match[2]]


def written(limit: str) -> object:
    return int(limit) if limit.isdecimal() else limit


RANGES = [
    (name, field, match)
    for name, field, said in FIELDS
    for row in said
    if (match := RANGE.search(row.type))
]


def test_ranges_are_found() -> None:
    assert len(RANGES) > 30
    assert {"File:paths.interval", "File:paths.suspect_interval"} <= {each[0] for each in RANGES}


@pytest.mark.parametrize(("field", "said"), [r[1:] for r in RANGES], ids=[r[0] for r in RANGES])
def test_range_is_as_explained(field: FieldInfo, said: re.Match[str]) -> None:
    lowest, highest = said[1] or said[3], said[2] or said[4]
    outside = just_outside(lowest or highest, highest or lowest)
    for limit, beyond in zip((lowest, highest), outside, strict=True):
        if limit is not None:
            read(field, written(limit))
            with pytest.raises(ValidationError):
                read(field, beyond)
