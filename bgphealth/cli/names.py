"""What the shell completes names to: those of the file. A wrong file completes nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bgphealth.core.errors import BgphealthError
from bgphealth.core.settings import LOOPBACK

if TYPE_CHECKING:
    import click

    from bgphealth.core.settings import Settings


def uplinks(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the uplinks whose names begin so."""
    settings = _settings(context)
    found = settings.uplinks if settings else ()
    return [each.name for each in found if each.name.startswith(incomplete)]


def services(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the services whose names begin so."""
    settings = _settings(context)
    found = [s.name for s in settings.services if s.name != LOOPBACK] if settings else []
    return [name for name in found if name.startswith(incomplete)]


def _settings(context: click.Context) -> Settings | None:
    from bgphealth.config import load  # noqa: PLC0415 - takes longer than all that does not complete

    # Of the invocation nothing is there yet but the parameters.
    with suppress(BgphealthError):
        return load(context.find_root().params["file"])
    return None
