"""The lab's HTML pages: one self-contained file each, from the templates beside this module."""

from __future__ import annotations

from pathlib import Path

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """Return a page with these values in it, escaped where they are no markup."""
    return _TEMPLATES.get_template(template).render(values)
