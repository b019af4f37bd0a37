"""exabgp.service: the systemd unit that runs ExaBGP 4.2 or 5.0, and bgphealth below it."""

from __future__ import annotations

import re
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


def render(settings: Settings, host: Host) -> str:
    """Return exabgp.service.

    Raises:
        ConfigurationError: systemd could not read one of the words, or a path is not absolute.
    """
    for word in map(str, host):
        if _PLAIN.fullmatch(word) is None:
            raise ConfigurationError(
                f"{word!r} cannot be written into a unit: only letters, digits and "
                "_ . / @ + = : , ~ - are possible there"
            )
    paths = (host.file, host.exabgp, host.conf, host.pid_file)
    if not all(path.is_absolute() for path in paths):
        raise ConfigurationError("exabgp.service needs absolute paths")
    return templating.render("exabgp.service.j2", **host._asdict(), frr=settings.mode is Mode.FRR)
