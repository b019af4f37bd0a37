"""Where the metrics can be read."""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

from ipaddress import IPv4Address
from typing import Annotated, Self

from pydantic import PlainValidator, model_validator

from bgphealth.config import fields
from bgphealth.config.fields import WrongValueError
from bgphealth.config.problems import shown
from bgphealth.config.section import Section
from bgphealth.core.settings import Listen, MetricsSettings

LISTEN = Listen(IPv4Address("127.0.0.1"), 9179)
"""Where to listen, if nothing else is said of metrics."""

_SUFFIX = ".prom"


def _textfile(value: object) -> str:
    """Parse the path of a file that node_exporter reads: it takes no others."""
    if not isinstance(value, str) or not value.startswith("/") or not value.endswith(_SUFFIX):
        raise WrongValueError(
            f"must be the absolute path of a file that ends with {_SUFFIX}, such as "
            f"/var/lib/node_exporter/bgphealth.prom, not {shown(value)}"
        )
    return value


def _listen(value: object) -> Listen:
    """Parse an address of this host and a port; the unspecified address stands for all of them."""
    if not isinstance(value, str):
        raise WrongValueError(f'must be an address and a port, "{LISTEN}", not {shown(value)}')
    parsed = Listen(*fields.ported_address(value, fields.address))
    if parsed.address.is_multicast:
        raise WrongValueError(f"{parsed.address} is a multicast address: nobody can listen there")
    return parsed


class Metrics(Section):
    """Where the metrics can be read: over HTTP, in a file, or both."""

    listen: Annotated[Listen | None, PlainValidator(_listen)] = None
    """None for `LISTEN` if there is no `textfile`, else for nowhere."""
    textfile: Annotated[str | None, PlainValidator(_textfile)] = None
    interval: Annotated[float, PlainValidator(fields.duration(1.0, 3600.0, "from 1s to 1h"))] = 15.0
    """How often the file is written."""

    @model_validator(mode="after")
    def _interval_of_textfile(self) -> Self:
        if "interval" in self.model_fields_set and self.textfile is None:
            raise WrongValueError("interval has no effect without textfile: remove it")
        return self


def settings(metrics: Metrics | None) -> MetricsSettings | None:
    """Return what the file says; None where it says nothing of metrics."""
    if metrics is None:
        return None
    listen = metrics.listen
    if listen is None and metrics.textfile is None:
        listen = LISTEN
    return MetricsSettings(listen, metrics.textfile, metrics.interval)
