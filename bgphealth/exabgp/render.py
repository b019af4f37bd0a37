"""exabgp.conf and exabgp.env: one session to bgpd on the same host, and bgphealth as its helper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bgphealth.core.settings import Settings

_PLAIN = re.compile(r"[A-Za-z0-9_./@%+=:,~-]+")
"""What ExaBGP's tokeniser takes as it is: no spaces, quotes, braces, semicolons or comments."""


def render_conf(settings: Settings, file: Path, program: Sequence[str]) -> str:
    """Return exabgp.conf, which starts `program` with ``-c file run``.

    Args:
        settings: What the file says.
        file: The file itself, as an absolute path.
        program: bgphealth, as an absolute path, and arguments that it needs before ``-c``.

    Raises:
        ConfigurationError: ExaBGP could not read `file` or `program` as one word.
    """
    for word in (*program, str(file)):
        if _PLAIN.fullmatch(word) is None:
            raise ConfigurationError(
                f"{word!r} cannot be written into exabgp.conf: only letters, digits and "
                "_ . / @ % + = : , ~ - are possible there"
            )
    if not program or not program[0].startswith("/") or not file.is_absolute():
        raise ConfigurationError("exabgp.conf needs absolute paths of the program and the file")
    return templating.render(
        "exabgp.conf.j2",
        file=file,
        program=" ".join(program),
        host=settings.host,
        families=[family.value for family in settings.families],
    )


def render_env(file: Path) -> str:
    """Return exabgp.env."""
    return templating.render("exabgp.env.j2", file=file)
