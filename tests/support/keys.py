"""Every key of the file, as its model has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_origin

from pydantic import BaseModel, PlainValidator

from bgphealth.config.asking import BeyondProbe, GatewayProbe, ServiceCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PLACES: dict[str, type[BaseModel]] = {
    "paths.gateway": GatewayProbe,
    "paths.beyond.of": BeyondProbe,
    "services.NAME.checks": ServiceCheck,
}
"""The lists of probes in the file. What their entries can be is explained once for all of them."""


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """Yield every key of the file in dotted form, NAME standing for what the user names."""
    return (key for key, _ in fields_of(model))


def fields_of(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the same with what the model says of each."""
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        yield key, field
        is_text = any(isinstance(each, PlainValidator) for each in field.metadata)
        if key not in PLACES and not is_text:
            yield from _fields_inside(field.annotation, f"{key}.")


def _fields_inside(annotation: object, above: str) -> Iterator[tuple[str, FieldInfo]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from fields_of(annotation, above)
    elif get_origin(annotation) is dict:
        yield from _fields_inside(get_args(annotation)[1], f"{above}NAME.")
    else:
        for inner in get_args(annotation):
            yield from _fields_inside(inner, above)
