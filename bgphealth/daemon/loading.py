"""Read the file in a process of its own.

The libraries that read and check a file take more memory than the rest of the program together, and
a thousand services take seconds to check, in which a thread would hold the interpreter again and
again while probes wait. So a child does it, hands back plain settings, and is gone. Where there can
be no child, the file is read here.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import get_args, get_type_hints

from bgphealth import __version__
from bgphealth.core.errors import BgphealthError, ConfigurationError, PermissionDeniedError
from bgphealth.core.settings import Settings
from bgphealth.daemon import places

_LOCAL = re.compile(rb"""^(\{.*)?["']?mode["']?\s*:\s*["']?local\b""", re.MULTILINE)
_LONGEST_LOOK = 4 * 1024 * 1024

_ERRORS = {it.__name__: it for it in (ConfigurationError, PermissionDeniedError)}


def load(file: Path) -> Settings:
    """Read a file, like `config.load`. Takes some time: to be called in a thread.

    Raises:
        ConfigurationError: it is wrong.
        PermissionDeniedError: it may not be read.
    """
    found = _by_child(file) if _is_for_others(file) else None
    if found is None:
        from bgphealth import config  # noqa: PLC0415 - see above

        return config.load(file)
    if isinstance(found, BgphealthError):
        raise found
    return found


def says_local(file: Path) -> bool:
    """Tell whether a file names local mode, as quickly as that can be told.

    It may be wrong otherwise, and is read in full by whoever needs it; one that cannot be read
    names none.
    """
    try:
        # Nothing else can be read twice.
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return _LOCAL.search(stream.read(_LONGEST_LOOK)) is not None
    except OSError:
        return False


def form(of: object = Settings) -> str:
    """Return what settings look like in the version that runs: they are pickled by position."""
    lines = [__version__, *dict.fromkeys(_forms(of, set()))]
    return sha256("\n".join(lines).encode()).hexdigest()


def _forms(of: object, seen: set[object]) -> Iterator[str]:
    """Yield a line for every class of ours that a type is made of."""
    for part in get_args(of):
        yield from _forms(part, seen)
    if not isinstance(of, type) or of in seen or not of.__module__.startswith("bgphealth."):
        return
    seen.add(of)
    hints = get_type_hints(of)
    names = [it.name for it in fields(of)] if is_dataclass(of) else list(hints)
    members = [f"{it.name}={it.value}" for it in of] if issubclass(of, Enum) else []
    types = [f"{name}: {hints[name]}" for name in names]
    yield f"{of.__module__}.{of.__qualname__} {types} {members}"
    for hint in hints.values():
        yield from _forms(hint, seen)


def _is_for_others(file: Path) -> bool:
    """Tell whether a child finds under this name what we do, and as often as it likes.

    A pipe can be read by one only, and what is below /proc (/dev/stdin, /dev/fd/3) is our own.
    """
    try:
        if not file.is_file():
            return False
        while not os.path.realpath(file.parent).startswith("/proc/"):
            if not file.is_symlink():
                return True
            file = file.parent / file.readlink()
    except OSError:
        pass  # Whoever reads it says why.
    return False


def _by_child(file: Path) -> Settings | BgphealthError | None:
    """Return what a child has read, or what it says of the file; None where there is no child."""
    # Nothing is imported from where we happen to be, nor from where we ourselves do not.
    options = ["-P", *(["-E"] * sys.flags.ignore_environment), *(["-s"] * sys.flags.no_user_site)]
    command = [sys.executable, *options, "-m", "bgphealth.daemon.loading", str(file)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
    except OSError:
        return None
    theirs, _, answer = done.stdout.partition(b"\n")
    if theirs and theirs != form().encode():
        # To read it here would be no better: what is imported only now is theirs as well.
        return ConfigurationError(
            f"{file}: cannot be read by bgphealth {__version__}, which runs, because another one "
            f"has been installed since: 'kill \"$(cat {places.runtime_file(file, 'pid')})\"' has "
            "that one started, and routes stay as they are"
        )
    if done.returncode:
        return None
    try:
        kind, found = pickle.loads(answer)  # noqa: S301 - our own child's
    except Exception:  # noqa: BLE001 - it may raise any
        return None
    error = _ERRORS.get(kind)
    return found if error is None else error(found)


def main() -> None:
    """Read the file that the command line names; write settings, or what is wrong, to stdout."""
    from bgphealth import config  # noqa: PLC0415 - not in the process that waits

    # First, as what follows may be a mistake of another version.
    sys.stdout.buffer.write(form().encode() + b"\n")
    answer: tuple[str, object]
    try:
        answer = "", config.load(Path(sys.argv[1]))
    except PermissionDeniedError as error:
        answer = PermissionDeniedError.__name__, str(error)
    except ConfigurationError as error:
        answer = ConfigurationError.__name__, str(error)
    sys.stdout.buffer.write(pickle.dumps(answer))


if __name__ == "__main__":
    main()
