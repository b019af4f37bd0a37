"""The passwords of BGP sessions (RFC 2385): each in a file of its own, and read only to render.

The file itself stays without secrets: it can be shown, compared and kept under version control.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.core.errors import ConfigurationError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgphealth.core.settings import Settings

LONGEST = 80
"""TCP_MD5SIG_MAXKEYLEN of Linux, which is FRR's and ExaBGP's limit as well."""

_PASSWORD = re.compile(r"[A-Za-z0-9_./@%+=:,~-]+")
"""What FRR's and ExaBGP's tokenisers take as it is. All of base64 is in it."""


def read(settings: Settings) -> Mapping[str, str]:
    """Return the password of each uplink that has one.

    Raises:
        ConfigurationError: A file is missing or holds no password; all of them are listed, and
            what is in them is not shown.
        PermissionDeniedError: A file may not be read.
    """
    passwords: dict[str, str] = {}
    wrong: list[str] = []
    for uplink in settings.uplinks:
        if uplink.password_file is None:
            continue
        found = _read(Path(uplink.password_file))
        if isinstance(found, ConfigurationError):
            wrong.append(f"{found} (uplinks.{uplink.name}.password_file)")
        else:
            passwords[uplink.name] = found
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return passwords


def public(settings: Settings) -> list[Path]:
    """Return the files with passwords that everybody on this machine may read."""
    files = [Path(u.password_file) for u in settings.uplinks if u.password_file is not None]
    return sorted({file for file in files if file.stat().st_mode & 0o004})


def _read(file: Path) -> str | ConfigurationError:
    """Return the password, or what is wrong: the text itself is in no message."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(LONGEST + 3)
    except FileNotFoundError:
        return ConfigurationError(f"{file}: no such file")
    except PermissionError:
        raise PermissionDeniedError(f"{file}: permission denied") from None
    except OSError as error:
        return ConfigurationError(f"{file}: cannot be read: {error.strerror}")
    password = raw.decode("latin-1").removesuffix("\n").removesuffix("\r")
    if not password:
        return ConfigurationError(f"{file}:1: is empty; it must hold the password and nothing else")
    if len(password) > LONGEST:
        return ConfigurationError(f"{file}:1: is longer than {LONGEST} characters")
    if _PASSWORD.fullmatch(password) is None:
        return ConfigurationError(
            f"{file}:1: must be one line of letters, digits and _ . / @ % + = : , ~ -; other "
            "characters could mean something in the configurations that it is written into"
        )
    return password
