"""The shape of a scenario file: steps that happen, and what is expected of them.

What concerns the configuration that it plays on is in `scenario_load`.
"""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, model_validator

from bgphealth.config import fields
from bgphealth.config.fields import WrongValueError
from bgphealth.config.problems import shown
from bgphealth.config.section import Section
from bgphealth.core.hysteresis import Level
from bgphealth.core.orders import Target, What
from bgphealth.core.reasons import Reason
from bgphealth.core.scenario import Behaviour
from bgphealth.core.settings import Family, Prefix

_MOST_FLAPS = 10_000

time = fields.duration(0.0, 86400.0, "from 0s to 1d")
"""Parse a time from the start."""

_Time = Annotated[float, PlainValidator(time)]
_Span = Annotated[float, PlainValidator(fields.duration(0.002, 86400.0, "from 2ms to 1d"))]
_Rtt = Annotated[float, PlainValidator(fields.duration(0.0, 60.0, "from 0ms to 1m"))]
_Percentage = Annotated[float, PlainValidator(fields.percentage)]
_Number = Annotated[int, PlainValidator(fields.integer(0, 1_000_000))]
_LocalPref = Annotated[int, PlainValidator(fields.integer(0, 4294967295))]
_Boolean = Annotated[bool, PlainValidator(fields.boolean)]
_Family = Annotated[Family, BeforeValidator(fields.choice(*Family))]
_Level = Annotated[Level, BeforeValidator(fields.choice(*Level))]
_Behaviour = Annotated[Behaviour, BeforeValidator(fields.choice(*Behaviour))]
_Prefix = Annotated[Prefix, PlainValidator(fields.prefix)]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise WrongValueError(f"must be text, not {shown(value)}")
    return value


def _reason(value: object) -> Reason:
    if isinstance(value, str) and value in set(Reason):
        return Reason(value)
    close = get_close_matches(str(value), Reason, n=1)
    right = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(Reason)}"
    raise WrongValueError(f"{shown(value)} is no reason; {right}")


_Text = Annotated[str, PlainValidator(_text)]
_Reason = Annotated[Reason, PlainValidator(_reason)]


def _names_of(what: str, *, may_be_none: bool = False) -> Callable[..., tuple[str, ...]]:
    """Return a parser for one name or a list of them, which must be known in the context."""

    def parse(value: object, info: ValidationInfo) -> tuple[str, ...]:
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names) or not (names or may_be_none):
            raise WrongValueError(f"must be a name, a list of names, or all, not {shown(value)}")
        known = (info.context or {}).get(what, names)
        if names == ["all"]:
            return tuple(known)
        if strange := [name for name in names if name not in known]:
            raise WrongValueError(
                f"{shown(strange[0])} is not in the configuration; it has {', '.join(known)}"
            )
        return tuple(names)

    return parse


UPLINKS, SERVICES = "uplinks", "services"
"""Keys of the validation context: the names that the configuration has, if it is known."""

_Uplinks = Annotated[tuple[str, ...], PlainValidator(_names_of(UPLINKS))]
_SomeUplinks = Annotated[tuple[str, ...], PlainValidator(_names_of(UPLINKS, may_be_none=True))]
_Services = Annotated[tuple[str, ...], PlainValidator(_names_of(SERVICES))]


_OTHERS = ("healthy", "gone", "unknown")


def _target(value: object) -> Target:
    what, _, name = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if what not in set(What) or bool(name) is (what == What.HOST):
        raise WrongValueError(f"must be uplink NAME, service NAME or host, not {shown(value)}")
    return Target(What(what), name)


_Target = Annotated[Target, PlainValidator(_target)]


class Flap(Section):
    """Half of `every` as the step says, half of it ok again; this long."""

    every: _Span = Field(description="the time from one failure to the next", examples=["1s"])
    for_: _Span = Field(
        alias="for", description="how long it goes on", examples=["10s"], validate_default=True
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.every <= self.for_ <= self.every * _MOST_FLAPS:
            raise WrongValueError(f"for: must be from once to {_MOST_FLAPS:,} times every")
        return self


class Step(Section):
    """Something happens to an uplink or to a service, or an operator drains one."""

    at: _Time = Field(description="when it happens, from the start", examples=["10s"])
    uplink: _Uplinks | None = None
    family: _Family | None = None
    service: _Services | None = None
    gateway: _Behaviour | None = None
    beyond: _Behaviour | None = None
    probes: _Behaviour | None = None
    checks: _Behaviour | None = None
    only: _Text | None = None
    loss: _Percentage | None = None
    rtt: _Rtt | None = None
    link: Annotated[Literal["up", "down"], PlainValidator(fields.choice("up", "down"))] | None = (
        None
    )
    address: (
        Annotated[Literal["there", "missing"], PlainValidator(fields.choice("there", "missing"))]
        | None
    ) = None
    all: Annotated[Literal["ok"], PlainValidator(fields.choice("ok"))] | None = None
    flap: Flap | None = None
    others: Annotated[str | None, PlainValidator(fields.choice(*_OTHERS))] = None
    drain: _Target | None = None
    undrain: _Target | None = None
    for_: _Time | None = Field(alias="for", default=None)
    force: _Boolean = False

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.drain is not None or self.undrain is not None:
            return self._ordered()
        if (self.uplink is None) is (self.service is None):
            raise WrongValueError(
                "needs either uplink or service, what it happens to; or drain, or undrain"
            )
        given = self.model_fields_set - {"at", "uplink", "service"}
        known = _OF_UPLINK if self.service is None else _OF_SERVICE
        if strange := sorted(given - known):
            what = "an uplink" if self.service is None else "a service"
            raise WrongValueError(
                f"{strange[0].rstrip('_')} says nothing about {what}; "
                f"here it may be {', '.join(sorted(known))}"
            )
        if not given & _HAPPENS:
            raise WrongValueError(f"nothing happens; needs {', '.join(sorted(known & _HAPPENS))}")
        if self.probes is not None and (self.gateway or self.beyond):
            raise WrongValueError("probes are the gateway and the beyond probes; give one or two")
        if self.link is not None and self.family is not None:
            raise WrongValueError("a link is of both families; remove family")
        if self.others is not None and given != {"others"}:
            raise WrongValueError("others are other hosts; nothing can be added")
        if self.all is not None and given != {"all"}:
            raise WrongValueError("all: ok is everything of it; nothing can be added")
        return self

    def _ordered(self) -> Self:
        given = self.model_fields_set - {"at"}
        if self.undrain is not None:
            if given != {"undrain"}:
                raise WrongValueError("nothing can be added to undrain")
            return self
        if strange := sorted(given - {"drain", "for_", "force"}):
            raise WrongValueError(
                f"{strange[0]} says nothing about drain; here it may be for, force"
            )
        if self.force and self.drain is not None and self.drain.what is not What.UPLINK:
            raise WrongValueError("force is for an uplink; nothing else is refused")
        return self


_PROBED = frozenset({"gateway", "beyond", "probes", "checks", "loss", "rtt", "link", "all"})
_HAPPENS = _PROBED | {"address", "others"}
_OF_SERVICE = frozenset({"checks", "only", "loss", "rtt", "address", "all", "flap", "others"})
_OF_UPLINK = (_OF_SERVICE | _PROBED | {"family"}) - {"checks", "address", "others"}


class Changes(Section):
    """How many."""

    at_least: _Number = 0
    at_most: _Number | None = None


def _changes(value: object) -> object:
    """Let a number stand for exactly that many."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"at_least": value, "at_most": value}
    return value


class Expect(Section):
    """What should be so at a time: a verdict, an announcement, or the number of changes."""

    at: _Time = Field(description="when it should be so, from the start", examples=["12s"])
    path: _Uplinks | None = None
    service: _Services | None = None
    route: _Prefix | None = None
    default: _Uplinks | None = None
    changes: Annotated[Changes | None, BeforeValidator(_changes)] = None
    family: _Family | None = None
    verdict: _Level | None = None
    reason: _Reason | None = None
    announced: _Boolean | None = None
    uplinks: _SomeUplinks | None = None
    local_pref: _LocalPref | None = None
    since: _Time = 0.0

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        given = self.model_fields_set - {"at"}
        subjects = sorted(given & _EXPECTED.keys())
        if len(subjects) != 1:
            raise WrongValueError(f"needs one of {', '.join(_EXPECTED)}: what is looked at")
        known = _EXPECTED[subjects[0]]
        if strange := sorted(given - known - {subjects[0]}):
            raise WrongValueError(
                f"{strange[0]} says nothing about {subjects[0]}; "
                f"here it may be {', '.join(sorted(known)) or 'nothing else'}"
            )
        if subjects != ["changes"] and not given & _LOOKED_AT:
            raise WrongValueError(f"expects nothing; needs {', '.join(sorted(known & _LOOKED_AT))}")
        return self


_LOOKED_AT = frozenset({"verdict", "reason", "announced", "uplinks", "local_pref"})
_EXPECTED = {
    "path": frozenset({"family", "verdict", "reason"}),
    "service": frozenset({"verdict", "reason", "uplinks"}),
    "route": frozenset({"announced", "uplinks", "local_pref", "reason"}),
    "default": frozenset({"family", "announced", "local_pref", "reason"}),
    "changes": frozenset({"since"}),
}
"""What each kind of expectation may look at."""


def _version(value: object) -> int:
    if isinstance(value, bool) or value != 1:
        raise WrongValueError(
            f"must be 1, the one version of scenarios there is, not {shown(value)}"
        )
    return 1


def _config(value: object) -> object:
    if not isinstance(value, str | dict) or not value:
        raise WrongValueError(f"must be a file, or what would be in it, not {shown(value)}")
    return value


class ScenarioFile(Section):
    """The whole file."""

    scenario: Annotated[Literal[1], PlainValidator(_version)] = Field(
        description="the version of the scenario's format", examples=["1"]
    )
    about: _Text = Field(description="what it shows, in words", examples=["tor2's uplinks go dark"])
    config: Annotated[object, PlainValidator(_config)] = None
    seed: _Number = 1
    end: _Time | None = None
    steps: list[Step] = Field(default_factory=list)
    expect: list[Expect] = Field(default_factory=list)
