"""Where a run keeps what outlives it: the directories that systemd makes, or those of the FHS."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings

_STATE = Path("/var/lib/bgphealth")
_RUNTIME = Path("/run/bgphealth")


def state_file(
    file: Path, kind: str = "routes", environment: Mapping[str, str] = os.environ
) -> Path:
    """Return where to remember what must outlive a reboot (systemd's StateDirectory=).

    The name is that of the configuration file: two programs on one host have two files.
    """
    return _directory("STATE_DIRECTORY", _STATE, environment) / f"{file.stem}.{kind}.json"


def runtime_file(file: Path, kind: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return where to keep what a reboot may forget (systemd's RuntimeDirectory=)."""
    return _directory("RUNTIME_DIRECTORY", _RUNTIME, environment) / f"{file.stem}.{kind}"


def control_socket(
    file: Path, settings: Settings | None, environment: Mapping[str, str] = os.environ
) -> Path:
    """Return where the control socket is; without settings, where it is by default."""
    if settings is not None and settings.control_socket is not None:
        return Path(settings.control_socket)
    return runtime_file(file, "socket", environment)


def note_socket(file: Path, socket: Path) -> None:
    """Write down where the program over this file listens, for everybody.

    Raises:
        OSError: it could not be done.
    """
    noted = {"file": os.path.realpath(file), "socket": str(socket)}
    replace_file(runtime_file(file, "control.json"), f"{json.dumps(noted)}\n", 0o644)


def noted_socket(file: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the program over this file listens, if one has written it down.

    Not what a program over another file of the same name has. Nobody need listen there any more.
    """
    try:
        noted = json.loads(runtime_file(file, "control.json", environment).read_bytes())
        if noted["file"] == os.path.realpath(file) and Path(noted["socket"]).is_socket():
            return Path(noted["socket"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def replace_file(target: Path, text: str, mode: int = 0o600) -> None:
    """Put a file into place as a whole and for good, or not at all; make its directory.

    Raises:
        OSError: it could not be done; an old file is as it was.
    """
    import tempfile  # noqa: PLC0415 - those who only look do not wait for it

    target.parent.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _directory(variable: str, default: Path, environment: Mapping[str, str]) -> Path:
    # systemd separates several directories by colons; the first one is ours.
    first = environment.get(variable, "").partition(":")[0]
    return Path(first) if first.startswith("/") else default
