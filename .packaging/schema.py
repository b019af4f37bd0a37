"""Write the JSON Schema of the file, for editors: shapes from the model, words from its reference.

Usage: schema.py > bgphealth/share/bgphealth.schema.json, or pytest tests/golden --update-golden.
The schema accepts whatever `bgphealth check` accepts, and refuses what is wrong by itself; what
must hold between fields only `check` knows.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bgphealth.config import fields
from bgphealth.config.asking import ServiceCheck
from bgphealth.config.local import Gateway, LocalFile
from bgphealth.config.model import DiscardNextHop, File, PerFamily
from bgphealth.core.settings import Mode

CONFIGURATION = Path(__file__).parents[1] / "docs" / "configuration.md"
LOCAL = "### Mode `local`"
"""Where the keys begin that are other ones in that mode."""
ROW = re.compile(r"^\| `([a-zA-Z0-9_.]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
KIND = re.compile(r"^\| `([a-z]+)` \| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")
ASKED = ("paths.gateway.", "paths.beyond.of.", "services.NAME.checks.")
"""Where probes are: their options are explained once for all of these."""

Form = dict[str, Any]


def main() -> None:
    """Print the schema."""
    sys.stdout.write(text())


def text() -> str:
    """Return the schema, as it is committed."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> Form:
    """Return the schema of the file in every mode."""
    reference, _, local = CONFIGURATION.read_text(encoding="utf-8").partition(LOCAL)
    meanings = _meanings(reference)
    local_meanings = meanings | _meanings(local)
    defs: Form = {}
    for root in (File, LocalFile):
        made = root.model_json_schema(schema_generator=_Forms)
        defs |= made.pop("$defs")
        defs[root.__name__] = made
    for below in (below for form in defs.values() for below in form.get("properties", {}).values()):
        for key in ("description", "examples"):  # Those are parts of messages.
            below.pop(key, None)
    _explain(defs[File.__name__], "", defs, meanings)
    _explain(defs[LocalFile.__name__], "", defs, local_meanings)
    return {
        "$schema": _Forms.schema_dialect,
        "title": "bgphealth.yaml",
        "description": "The configuration of bgphealth, version 1.",
        "if": {"properties": {"mode": {"const": Mode.LOCAL.value}}, "required": ["mode"]},
        "then": {"$ref": f"#/$defs/{LocalFile.__name__}"},
        "else": {"$ref": f"#/$defs/{File.__name__}"},
        "$defs": dict(sorted(defs.items())),
    }


# ---- words ---------------------------------------------------------------------------------------


def _meanings(reference: str) -> dict[str, str]:
    """Return what the reference says of each key."""
    text = LINK.sub(r"\1", reference)
    return dict(KIND.findall(text)) | {
        key: f"{meaning} ({kind})" + ("" if "required" in default else f". Default: {default}")
        for key, kind, default, meaning in ROW.findall(text)
    }


def _explain(form: Form, at: str, defs: Form, meanings: Mapping[str, str]) -> None:
    """Give each property below a form its meaning; one that is used twice keeps the first one."""
    for key, below in form.get("properties", {}).items():
        path = f"{at}{key}"
        for place in ASKED:
            path = path.removeprefix(place)
        if path in meanings:
            below.setdefault("description", meanings[path])
        _explain_inside(below, f"{path}.", defs, meanings)


def _explain_inside(form: Form, at: str, defs: Form, meanings: Mapping[str, str]) -> None:
    for each in (form, *form.get("anyOf", ())):
        name = each.get("$ref", "").rpartition("/")[2]
        if name in _SHARED:
            continue  # Its keys mean something else in each place.
        if name:
            _explain(defs[name], at, defs, meanings)
        _explain(each, at, defs, meanings)
        if isinstance(named := each.get("additionalProperties"), dict):
            _explain_inside(named, f"{at}NAME.", defs, meanings)
        if "items" in each:
            _explain_inside(each["items"], at, defs, meanings)


# ---- shapes --------------------------------------------------------------------------------------

_SHARED = (PerFamily.__name__,)


class _Forms(GenerateJsonSchema):
    """What the parsers of `fields` and `asking` take, where pydantic cannot know."""

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return form_of(cast("Callable[..., object]", schema["function"]["function"]))

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return form_of(cast("Callable[..., object]", schema["function"]["function"]), inner)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # A key without a value is refused.

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # As the program has it, not as it is written.

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        names = self.generate_inner(schema["keys_schema"])
        return {
            "type": "object",
            "propertyNames": names,
            "additionalProperties": self.generate_inner(schema["values_schema"]),
        } | ({"minProperties": schema["min_length"]} if "min_length" in schema else {})

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("description", None)  # The reference has better ones.
        model = cast("type[BaseModel]", schema["cls"])
        if issubclass(model, ServiceCheck):
            made |= {"minProperties": 1, "maxProperties": 1}
        elif issubclass(model, PerFamily | Gateway) and model is not DiscardNextHop:
            made["minProperties"] = 1
        return made

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 -- pydantic's.
        return False


def _any(*forms: Form) -> Form:
    return {"anyOf": list(forms)} if len(forms) > 1 else forms[0]


def _text(pattern: str) -> Form:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _words(*words: str) -> Form:
    return {"enum": [str(word) for word in words]}


_V4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_V6 = "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"
_URL = rf"https?://(?:\[{_V6}\]|{_V4})(?::[0-9]{{1,5}})?(?:[/?][!-~]*)?"
_ADDRESS = _text(f"{_V4}|{_V6}")
_FAMILY = {"ipv4": _text(_V4), "ipv6": _text(_V6)}
_PREFIX = _text(rf"(?:{_V4}|{_V6})/[0-9]{{1,3}}")
_ASN: Form = {"type": "integer", "minimum": 1, "maximum": fields.LARGEST_ASN - 1}
_STRING: Form = {"type": "string"}
_STRINGS: Form = {"type": "array", "items": _STRING}
_COMMAND: Form = {**_STRINGS, "minItems": 1, "prefixItems": [_text("/.*[^/]")]}
_STATUS: Form = {"type": "integer", "minimum": 100, "maximum": 599}

_FORMS: dict[str, Form | Callable[..., Form]] = {
    "boolean": {"type": "boolean"},
    "asn": _ASN,
    "asn_or_external": _any(_ASN, _words("external")),
    "percentage": _text(r"[0-9]{1,3}(?:\.[0-9]{1,3})?%"),
    "name": _text("[a-z][a-z0-9_-]{0,30}"),
    "reference": _STRING,
    "boolean_or_reference": {"type": ["boolean", "string"]},
    "community": _text("[0-9]{1,10}:[0-9]{1,10}"),
    "large_community": _text("[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}"),
    "group": _text("[A-Za-z_][A-Za-z0-9_.-]{0,31}"),
    "interface": {**_text(r"[^/:\s]+"), "maxLength": fields.IFNAME_BYTES},
    "absolute_path": _text("/.*[^/]"),
    "socket_path": {**_text("/.*[^/]"), "maxLength": fields.SOCKET_PATH_BYTES},
    "host_address": _ADDRESS,
    "address_or_link": _any(_words("link"), _ADDRESS),
    "router_id": _FAMILY["ipv4"],
    "injector": _text(r"127\.[0-9.]+"),
    "prefix": _PREFIX,
    "destinations": _PREFIX,
    "_listen": _text(rf"(?:{_V4}|\[{_V6}\]):[0-9]{{1,5}}"),
    "_textfile": _text(r"/.*\.prom"),
    "_version": {"const": 1},
    "_url": _text(_URL),
    "_host_name": _STRING,
    "_status": _any(_STATUS, {"type": "array", "items": _STATUS, "minItems": 1}),
    "_regex": {**_STRING, "minLength": 1},
    "_dns_name": _STRING,
    "_rdtype": _STRING,
    "_rcode": _STRING,
    "_server": _ADDRESS,
    "_answers": _STRINGS,
    "_command": _COMMAND,
    "_icmp": _ADDRESS,
    "_gateway_icmp": _any(_words("neighbor"), _ADDRESS),
    "_tcp": _text(rf"(?:\[{_V6}\]|{_V4}):[0-9]{{1,5}}"),
    "_link": _words("carrier", "address"),
    "_session.<locals>.parse": lambda kind: _words("neighbor"),  # noqa: ARG005
    "_gateway.<locals>.parse": lambda of_family: _any(_words("learned"), form_of(of_family)),
    "integer.<locals>.parse": lambda lowest, highest: {
        "type": "integer",
        "minimum": lowest,
        "maximum": highest,
    },
    "duration.<locals>.parse": lambda **_: _text(r"[0-9]{1,9}(?:\.[0-9]{1,6})?(?:ms|s|m|h|d)"),
    "whole_milliseconds.<locals>.parse_whole": lambda parse: form_of(parse),  # noqa: PLW0108 -- Below.
    "of_family.<locals>.parse": lambda family: _FAMILY[family.value],
    "or_off.<locals>.parse_or_off": lambda parse: _any(_words("off"), form_of(parse)),
    "or_word.<locals>.parse_word": lambda parse, words: _any(_words(*words), form_of(parse)),
    "choice.<locals>.parse": lambda here, later: _words(*here),  # noqa: ARG005
}
"""By the parser's name, what it takes; what it was made with are the arguments, by their names."""

_SHORT: dict[str | None, tuple[Form, ...]] = {
    "url": (_text(_URL),),
    "command": (_COMMAND,),
    None: (),
}
"""The short form, by the key of the long one that it stands for."""

_AROUND: dict[str, Callable[..., Form]] = {
    "_one_or_both": lambda inner: _any(_ADDRESS, inner),
    "_neighbor": lambda inner: _any(_words("unnumbered"), _ADDRESS, inner),
    "_short": lambda inner: _any(_words("learned"), _ADDRESS, inner),
    "_on_degraded": lambda inner: _any(_words("withdraw"), {**inner, "minProperties": 1}),
    "ServiceCheck._one_kind": lambda inner: inner,
    "_long.<locals>.widen": lambda inner, key: _any(inner, *_SHORT[key]),
}
"""The same for those that let something short stand for the form inside."""


def form_of(parse: Callable[..., object], inner: Form | None = None) -> Form:
    """Return what a parser takes.

    Raises:
        KeyError: Nobody has said so; add it to `_FORMS`, or to `_AROUND`.
    """
    name = parse.__qualname__
    made_with = dict(inspect.getclosurevars(inspect.unwrap(parse)).nonlocals)
    if inner is None or name in _FORMS:
        form = _FORMS[name]
        return form(**made_with) if callable(form) else form
    around = _AROUND[name]
    wanted = inspect.signature(around).parameters
    return around(inner, **{key: made_with[key] for key in wanted if key != "inner"})


if __name__ == "__main__":
    main()
