"""exabgp.conf and exabgp.env: ExaBGP's sessions, and bgphealth as its helper.

With FRR on the host there is one session, to bgpd. In direct mode there is one to each ToR in each
family that the uplink carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bgphealth.core.settings import Address, Settings

_PLAIN = re.compile(r"[A-Za-z0-9_./@%+=:,~-]+")
"""What ExaBGP's tokeniser takes as it is: no spaces, quotes, braces, semicolons or comments."""

_NO_PASSWORDS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Session:
    """The session to one ToR in one family (direct mode)."""

    name: str
    neighbor: Address
    local_address: Address
    neighbor_asn: int
    family: str
    password: str | None
    ttl_security: bool


def render_conf(
    settings: Settings,
    file: Path,
    program: Sequence[str],
    passwords: Mapping[str, str] = _NO_PASSWORDS,
) -> str:
    """Return exabgp.conf, which starts `program` with ``-c file run``.

    Args:
        settings: What the file says.
        file: The file itself, as an absolute path.
        program: bgphealth, as an absolute path, and arguments that it needs before ``-c``.
        passwords: Of the sessions to the ToRs, by uplink.

    Raises:
        ConfigurationError: ExaBGP could not read `file`, `program` or a password as one word, or
            the file says that there is no ExaBGP.
    """
    if settings.mode is Mode.LOCAL:
        raise ConfigurationError(
            f"{file}: mode: local has no ExaBGP on this host; 'bgphealth render systemd' writes "
            "all that it needs"
        )
    for word in (*program, str(file)):
        if _PLAIN.fullmatch(word) is None:
            raise ConfigurationError(
                f"{word!r} cannot be written into exabgp.conf: only letters, digits and "
                "_ . / @ % + = : , ~ - are possible there"
            )
    if not program or not program[0].startswith("/") or not file.is_absolute():
        raise ConfigurationError("exabgp.conf needs absolute paths of the program and the file")
    return templating.render(
        "exabgp-direct.conf.j2" if settings.mode is Mode.DIRECT else "exabgp.conf.j2",
        file=file,
        program=" ".join(program),
        host=settings.host,
        families=[family.value for family in settings.families],
        sessions=_sessions(settings, passwords) if settings.mode is Mode.DIRECT else [],
    )


def render_env(file: Path) -> str:
    """Return exabgp.env."""
    return templating.render("exabgp.env.j2", file=file)


def _sessions(settings: Settings, passwords: Mapping[str, str]) -> list[_Session]:
    sessions = []
    for uplink in settings.uplinks:
        password = passwords.get(uplink.name)
        if password is not None and _PLAIN.fullmatch(password) is None:
            raise ConfigurationError(
                f"the password of {uplink.name} cannot be written into exabgp.conf"
            )
        for path in uplink.paths:
            if path.neighbor is None or path.probe_source is None or uplink.neighbor_asn is None:
                raise AssertionError(f"{uplink.name}: no session")  # Checked with the file.
            sessions.append(
                _Session(
                    name=uplink.name,
                    neighbor=path.neighbor,
                    local_address=path.probe_source,
                    neighbor_asn=uplink.neighbor_asn,
                    family=path.family.value,
                    password=password,
                    ttl_security=uplink.ttl_security,
                )
            )
    return sessions
