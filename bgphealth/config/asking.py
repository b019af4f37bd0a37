"""The probes and checks as the file writes them: one key, the kind, and what to ask.

What they have in common with every other value (addresses, durations) is in `fields`; what
concerns more than one of them is in `checks`.
"""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

import re
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from bgphealth.config import extras, fields
from bgphealth.config.fields import WrongValueError
from bgphealth.config.problems import shown
from bgphealth.config.section import Section
from bgphealth.core.settings import (
    Address,
    DnsQuestion,
    ExecQuestion,
    HttpQuestion,
    LinkQuestion,
    ProbeKind,
    ProbeSettings,
)

_EXAMPLES = {
    ProbeKind.ICMP: "{icmp: 198.51.100.1}",
    ProbeKind.TCP: '{tcp: "198.51.100.2:443"}',
}

# ---- HTTP ----------------------------------------------------------------------------------------

_URL = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?].*)?"
)
_PATH = re.compile(r"[!-~]*")  # RFC 3986 leaves printable ASCII; anything else is written %XX.
_HOST_NAME = re.compile(r"(?=.{1,253}\.?$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Url(Section):
    """A URL whose host is an address."""

    tls: bool
    target: Address
    port: int
    path: str


def _url(value: object) -> Url:
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None or match["scheme"] not in _DEFAULT_PORTS:
        raise WrongValueError(
            f'must be a URL such as "http://198.51.100.2:8080/health", not {shown(value)}'
        )
    path = match["path"] or "/"
    if "#" in path or _PATH.fullmatch(path) is None:
        raise WrongValueError(
            f"{shown(value)}: a path is plain ASCII without spaces or #; write others as %XX"
        )
    try:
        target = fields.target_address(match["host"].strip("[]"))
    except WrongValueError:
        raise WrongValueError(
            f"the host of the URL must be an IP address, not {shown(match['host'])}: names are "
            "never resolved on the probe path; give the name as host:"
        ) from None
    if isinstance(target, IPv6Address) is not match["host"].startswith("["):
        raise WrongValueError(f"{shown(value)}: brackets are for IPv6 addresses")
    port = int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
    if not 1 <= port <= fields.LARGEST_PORT:
        raise WrongValueError(f"the port must be from 1 to {fields.LARGEST_PORT}, not {port}")
    return Url(
        tls=match["scheme"] == "https",
        target=target,
        port=port,
        path=path if path.startswith("/") else f"/{path}",
    )


def _host_name(value: object) -> str:
    if not isinstance(value, str) or _HOST_NAME.fullmatch(value) is None:
        raise WrongValueError(f"must be a host name such as www.example, not {shown(value)}")
    return value.removesuffix(".")


def _status(value: object) -> tuple[int, ...]:
    one = fields.integer(100, 599)
    if isinstance(value, list) and value:
        return tuple(one(status) for status in value)
    return (one(value),)


def _regex(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise WrongValueError(f"must be a regular expression, not {shown(value)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # What a later Python may read in another way.
            re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise WrongValueError(f"{shown(value)} is not a regular expression: {error}") from None
    return value


class Http(Section):
    """One request and the answer that is expected."""

    url: Annotated[Url, PlainValidator(_url)] = Field(
        description="what to ask for, with an address as its host",
        examples=['"http://198.51.100.2:8080/health"'],
    )
    host: Annotated[str, PlainValidator(_host_name)] | None = None
    status: Annotated[tuple[int, ...], PlainValidator(_status)] = (200,)
    body: Annotated[str, PlainValidator(_regex)] | None = None
    verify: Annotated[bool, PlainValidator(fields.boolean)] = True
    min_valid: Annotated[
        float, PlainValidator(fields.duration(0.0, 397 * 86400.0, "from 0s to 397d"))
    ] = 0.0

    @model_validator(mode="after")
    def _certificate(self) -> Self:
        tls_only = self.model_fields_set & {"verify", "min_valid"}
        if tls_only and not self.url.tls:
            raise WrongValueError(f"{min(tls_only)} is about certificates: it needs an https URL")
        if self.min_valid and not self.verify:
            raise WrongValueError("min_valid needs verify: true, or no certificate is looked at")
        return self

    @property
    def probe(self) -> ProbeSettings:
        """Return it as settings."""
        url = self.url
        question = HttpQuestion(
            url.tls, url.path, self.host, self.status, self.body, self.verify, self.min_valid
        )
        return ProbeSettings(ProbeKind.HTTP, url.target, url.port, question)


# ---- DNS -----------------------------------------------------------------------------------------


def _dns_name(value: object) -> str:
    from dns.exception import DNSException  # noqa: PLC0415 - an extra
    from dns.name import from_text  # noqa: PLC0415

    try:
        if not isinstance(value, str) or re.fullmatch("[!-~]+", value) is None:
            raise ValueError  # noqa: TRY301
        return from_text(value).to_text(omit_final_dot=value != ".")
    except (DNSException, ValueError):
        raise WrongValueError(
            f"must be a domain name such as health.example, not {shown(value)}"
        ) from None


def _dns_word(value: object, what: str, parse: Callable[[str], str]) -> str:
    from dns.exception import DNSException  # noqa: PLC0415 - an extra

    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004, TRY301
        return parse(value)
    except (DNSException, ValueError):
        raise WrongValueError(f"must be {what}, not {shown(value)}") from None


def _rdtype(value: object) -> str:
    from dns import rdatatype  # noqa: PLC0415 - an extra

    def parse(text: str) -> str:
        rdtype = rdatatype.from_text(text)
        if rdatatype.is_metatype(rdtype) or rdtype == 0:
            raise ValueError
        return rdatatype.to_text(rdtype)

    return _dns_word(value, "a record type such as A, AAAA or SOA", parse)


def _rcode(value: object) -> str:
    from dns import rcode  # noqa: PLC0415 - an extra

    def parse(text: str) -> str:
        return rcode.to_text(rcode.from_text(text))

    return _dns_word(value, "a response code such as NOERROR or NXDOMAIN", parse)


def _server(value: object) -> Address:
    if not isinstance(value, str):
        raise WrongValueError(f"must be an IP address, not {shown(value)}")
    return fields.target_address(value)


def _answers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(answer, str) for answer in value):
        raise WrongValueError(f"must be a list of records' texts, [192.0.2.1], not {shown(value)}")
    return tuple(value)


class Dns(Section):
    """One query and the answer that is expected."""

    server: Annotated[IPv4Address | IPv6Address, PlainValidator(_server)] = Field(
        description="the address of the name server", examples=["192.0.2.53"]
    )
    name: Annotated[str, PlainValidator(_dns_name)] = Field(
        description="the name to ask for", examples=["health.example"]
    )
    port: Annotated[int, PlainValidator(fields.integer(1, fields.LARGEST_PORT))] = 53
    type: Annotated[str, PlainValidator(_rdtype)] = "A"
    transport: Annotated[Literal["udp", "tcp"], PlainValidator(fields.choice("udp", "tcp"))] = "udp"
    rcode: Annotated[str, PlainValidator(_rcode)] = "NOERROR"
    answers: Annotated[tuple[str, ...], PlainValidator(_answers)] = ()

    @model_validator(mode="after")
    def _records(self) -> Self:
        from dns.exception import DNSException  # noqa: PLC0415 - an extra
        from dns.rdata import from_text  # noqa: PLC0415

        for answer in self.answers:
            try:
                from_text("IN", self.type, answer)
            except (DNSException, ValueError):
                raise WrongValueError(
                    f"answers: {shown(answer)} is not the text of a record of type {self.type}"
                ) from None
        if self.answers and self.rcode != "NOERROR":
            raise WrongValueError(f"answers: there are none with {self.rcode}; remove one of them")
        return self

    @property
    def probe(self) -> ProbeSettings:
        """Return it as settings."""
        question = DnsQuestion(self.name, self.type, self.transport, self.rcode, self.answers)
        return ProbeSettings(ProbeKind.DNS, self.server, self.port, question)


# ---- exec ----------------------------------------------------------------------------------------

_NO_SHELL = "{exec: [/usr/lib/check, argument]}; there is no shell"


def _command(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise WrongValueError(f"must be a list, the program first: {_NO_SHELL}")
    for word in value:
        if not isinstance(word, str):
            raise WrongValueError(f"an argument must be text: put {shown(word)} in quotes")
    if not value[0].startswith("/") or value[0].endswith("/"):
        raise WrongValueError(
            f"the program must be an absolute path, not {shown(value[0])}: {_NO_SHELL}"
        )
    return value


class Exec(Section):
    """A program and its arguments."""

    command: Annotated[list[str], PlainValidator(_command)] = Field(
        description="the program and its arguments", examples=["[/usr/lib/check, argument]"]
    )

    @property
    def probe(self) -> ProbeSettings:
        """Return it as settings."""
        return ProbeSettings(ProbeKind.EXEC, question=ExecQuestion(tuple(self.command)))


# ---- the places for them -------------------------------------------------------------------------


def _icmp(value: object) -> ProbeSettings:
    text = _target_text(value, ProbeKind.ICMP)
    if text == "neighbor":
        raise WrongValueError("neighbor is for gateway probes; beyond the ToR there is no neighbor")
    return ProbeSettings(ProbeKind.ICMP, fields.target_address(text))


def _gateway_icmp(value: object) -> ProbeSettings:
    return ProbeSettings(ProbeKind.ICMP) if value == "neighbor" else _icmp(value)


def _tcp(value: object) -> ProbeSettings:
    text = _target_text(value, ProbeKind.TCP)
    return ProbeSettings(ProbeKind.TCP, *fields.ported_address(text))


def _session(kind: ProbeKind) -> Callable[[object], ProbeSettings]:
    def parse(value: object) -> ProbeSettings:
        fields.choice("neighbor")(value)
        return ProbeSettings(kind)

    return parse


def _link(value: object) -> ProbeSettings:
    what = fields.choice("carrier", "address")(value)
    return ProbeSettings(ProbeKind.LINK, question=LinkQuestion(what))


def _target_text(value: object, kind: ProbeKind) -> str:
    if not isinstance(value, str):
        raise WrongValueError(f"the target must be text such as {_EXAMPLES[kind]}")
    return value


def _long(kind: ProbeKind, key: str | None) -> Callable[[object], object]:
    """Return what makes the long form of the short one, where the library for it is there."""

    def widen(value: object) -> object:
        if (how := extras.missing(kind)) is not None:
            raise WrongValueError(how)
        if isinstance(value, dict | Section):
            return value
        return value if key is None else {key: value}

    return widen


class ServiceCheck(Section):
    """One check of a service; exactly one of these has a value."""

    tcp: Annotated[ProbeSettings, PlainValidator(_tcp)] | None = None
    http: Annotated[Http, BeforeValidator(_long(ProbeKind.HTTP, "url"))] | None = None
    dns: Annotated[Dns, BeforeValidator(_long(ProbeKind.DNS, None))] | None = None
    exec: Annotated[Exec, BeforeValidator(_long(ProbeKind.EXEC, "command"))] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: object) -> object:
        if isinstance(value, Section):
            return value
        kinds = [kind for kind in ProbeKind if kind in cls.model_fields]
        if not isinstance(value, dict) or len(value) != 1:
            example = next(_EXAMPLES[kind] for kind in kinds if kind in _EXAMPLES)
            raise WrongValueError(f"must be one kind and its target, such as {example}")
        (kind,) = value
        if kind not in kinds:
            close = get_close_matches(str(kind), kinds, n=1)
            guess = f"; did you mean {shown(close[0])}?" if close else ""
            known = ", ".join(kinds)
            raise WrongValueError(
                f"{shown(kind)} is not a probe for this place{guess} (known: {known})"
            )
        return value

    @property
    def probe(self) -> ProbeSettings:
        """Return it as settings; the target is None where it is the neighbor or the host itself."""
        (form,) = (f for name in type(self).model_fields if (f := getattr(self, name)) is not None)
        return form.probe if isinstance(form, Http | Dns | Exec) else form


class BeyondProbe(ServiceCheck):
    """One probe of what lies behind the ToR."""

    icmp: Annotated[ProbeSettings, PlainValidator(_icmp)] | None = None


class GatewayProbe(ServiceCheck):
    """One probe of the ToR itself."""

    icmp: Annotated[ProbeSettings, PlainValidator(_gateway_icmp)] | None = None
    bfd: Annotated[ProbeSettings, PlainValidator(_session(ProbeKind.BFD))] | None = None
    bgp: Annotated[ProbeSettings, PlainValidator(_session(ProbeKind.BGP))] | None = None
    link: Annotated[ProbeSettings, PlainValidator(_link)] | None = None
