"""Templates: where they are, and what may be written into them.

Both `frr` and `exabgp` render, and neither may import the other; this imports nothing of ours but
the errors.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bgphealth.core.errors import BgphealthError

_PACKAGE = Path(__file__).resolve().parent


def directory() -> Path:
    """Return where the templates are: inside the wheel, or beside the package in a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parent / "frr-templates"


def render(template: str, **context: object) -> str:
    """Render a template.

    Raises:
        BgphealthError: A value would end the line that it is written into.
    """
    environment = Environment(  # noqa: S701 -- Not HTML; `_one_line` guards what matters here.
        loader=FileSystemLoader(directory()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_one_line,
    )
    return environment.get_template(template).render(context)


def _one_line(value: object) -> object:
    """Refuse what could become a second line; the file's checks should have done so before."""
    text = str(value)
    if not text.isprintable():
        raise BgphealthError(f"{text!r} cannot be written into a configuration")
    return value
