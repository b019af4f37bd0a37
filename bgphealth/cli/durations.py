"""Durations on the command line, as in the file: ``30m``."""

from __future__ import annotations

import click


def seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read a duration of an option, in seconds."""
    if value is None:
        return None
    from bgphealth.config.fields import (  # noqa: PLC0415 - its libraries take most of the time
        WrongValueError,
        duration,
    )

    try:
        return duration(1.0, 366 * 86400.0, "from 1s to 366d")(value)
    except WrongValueError as error:
        raise click.BadParameter(str(error)) from None
