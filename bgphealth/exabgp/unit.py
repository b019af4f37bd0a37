"""The systemd units: exabgp.service and, in local mode, bgphealth.service.

The first runs ExaBGP 4.2 or 5.0, and bgphealth below it; the second runs bgphealth alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Mode, Settings

_PLAIN = re.compile(r"[A-Za-z0-9_./@+=:,~-]+")
"""What systemd takes as it is: no spaces, quotes, specifiers (%) or variables ($)."""


class Host(NamedTuple):
    """Where things are on the host, all as absolute paths, and the user of ExaBGP.

    `pid_file` is where bgphealth writes its process id.
    """

    file: Path
    exabgp: Path
    conf: Path
    pid_file: Path
    user: str = "exabgp"


class Alone(NamedTuple):
    """Where things are on a host without ExaBGP: the file, how to start bgphealth, and its user."""

    file: Path
    program: Sequence[str]
    user: str = "bgphealth"


def render(settings: Settings, host: Host) -> str:
    """Return exabgp.service.

    Raises:
        ConfigurationError: systemd could not read one of the words, or a path is not absolute.
    """
    _require_plain("exabgp.service", map(str, host))
    _require_absolute("exabgp.service", (host.file, host.exabgp, host.conf, host.pid_file))
    return templating.render("exabgp.service.j2", **host._asdict(), frr=settings.mode is Mode.FRR)


def render_alone(host: Alone) -> str:
    """Return bgphealth.service.

    Raises:
        ConfigurationError: systemd could not read one of the words, or a path is not absolute.
    """
    _require_plain("bgphealth.service", (str(host.file), *host.program, host.user))
    _require_absolute("bgphealth.service", (host.file, *map(Path, host.program[:1])))
    return templating.render(
        "bgphealth.service.j2", file=host.file, program=" ".join(host.program), user=host.user
    )


def _require_plain(unit: str, words: Iterable[str]) -> None:
    for word in words:
        if _PLAIN.fullmatch(word) is None:
            raise ConfigurationError(
                f"{word!r} cannot be written into {unit}: only letters, digits and "
                "_ . / @ + = : , ~ - are possible there"
            )


def _require_absolute(unit: str, paths: Iterable[Path]) -> None:
    if not all(path.is_absolute() for path in paths):
        raise ConfigurationError(f"{unit} needs absolute paths")
