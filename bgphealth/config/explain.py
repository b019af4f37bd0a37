"""Pydantic's findings in the operator's words."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args, get_origin

from pydantic import BaseModel

from bgphealth.config.local import INSTEAD, LocalFile
from bgphealth.config.model import File
from bgphealth.config.problems import KeyPath, shown

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


_CONTAINERS = (dict, list)


def explain(error: ValidationError, root: type[BaseModel] = File) -> list[tuple[KeyPath, str]]:
    """Return where each finding is and what to say there; `root` is the model of the whole."""
    found: list[tuple[KeyPath, str]] = []
    taken: set[KeyPath] = set()  # Required keys that are there, but misspelt.
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "extra_forbidden":
            path = _path(detail)
            message, meant = _unknown_key(path, root)
            found.append((path, message))
            if meant is not None:
                taken.add((*path[:-1], meant))
    for detail in details:
        path = _path(detail)
        if detail["type"] == "extra_forbidden" or (detail["type"] == "missing" and path in taken):
            continue
        found.append((path, _message(detail, path, root)))
    return found


def _path(detail: ErrorDetails) -> KeyPath:
    # A key of a mapping that is wrong itself is reported as (..., key, "[key]").
    return tuple(step for step in detail["loc"] if step != "[key]")


def _message(detail: ErrorDetails, path: KeyPath, root: type[BaseModel]) -> str:
    value = shown(detail["input"])
    match detail["type"]:
        case "value_error":
            message = str(detail["ctx"]["error"])
        case "missing":
            message = _missing(path, root)
        case "model_type":
            model = _model_at(path, root)
            keys = ", ".join(_fields(model)) or "its own"
            message = f"must be a mapping with the keys {keys}, not {value}"
        case "dict_type":
            message = f"must be a mapping of names to their settings, not {value}"
        case "list_type":
            message = f"must be a list, [..., ...], not {value}"
        case "too_short":
            message = "is empty; it needs at least one entry"
        case _:
            message = detail["msg"]
    return message


def _missing(path: KeyPath, root: type[BaseModel]) -> str:
    model = _model_at(path[:-1], root)
    field = _fields(model).get(str(path[-1]))
    message = "is required"
    if field is not None and field.description:
        message += f": {field.description}"
        if field.examples:
            message += f", for example {field.examples[0]}"
    return message


def _unknown_key(path: KeyPath, root: type[BaseModel]) -> tuple[str, str | None]:
    model = _model_at(path[:-1], root)
    allowed = list(_fields(model))
    key = str(path[-1])
    if root is LocalFile and _is_known(path, File):
        return _not_local(path), None
    if root is File and _is_known(path, LocalFile):
        return "is for mode local only: remove it", None
    close = get_close_matches(key, allowed, n=1)
    meant = close[0] if close else None
    guess = f"; did you mean {shown(meant)}?" if meant else ""
    return f"unknown key{guess} (allowed: {', '.join(allowed)})", meant


def _is_known(path: KeyPath, root: type[BaseModel]) -> bool:
    return str(path[-1]) in _fields(_model_at(path[:-1], root))


def _not_local(path: KeyPath) -> str:
    key = str(path[-1])
    if path == ("services",):
        return "mode local does without BGP: there is nobody to announce services to; remove it"
    if key in INSTEAD:
        return f"is for BGP; in mode local it is {INSTEAD[key]}"
    return "is for BGP, which mode local does without: remove it"


def _model_at(path: KeyPath, root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model of the mapping at a path of the file."""
    here: object = root
    for step in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = _fields(here).get(str(step))
            if field is None:
                return None
            here = _bare(field.annotation)
        elif get_origin(here) in _CONTAINERS:
            here = _bare(get_args(here)[-1])
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Return the fields of a model by their names in the file."""
    fields = model.model_fields if model else {}
    return {field.alias or name: field for name, field in fields.items()}


def _bare(annotation: object) -> object:
    """Return the model, dict or list inside ``Annotated[...]`` and ``... | None``."""
    if isinstance(annotation, type) or get_origin(annotation) in _CONTAINERS:
        return annotation
    for inner in get_args(annotation):
        found = _bare(inner)
        if get_origin(found) in _CONTAINERS or (
            isinstance(found, type) and issubclass(found, BaseModel)
        ):
            return found
    return None
