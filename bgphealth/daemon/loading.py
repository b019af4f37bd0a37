"""Read the file in a process of its own.

The libraries that read and check a file take more memory than the rest of the program together, and
a thousand services take seconds to check, in which a thread would hold the interpreter again and
again while probes wait. So a child does it, hands back plain settings, and is gone. Where there can
be no child, the file is read here.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.core.errors import BgphealthError, ConfigurationError, PermissionDeniedError

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings

_LOCAL = re.compile(rb"""^(\{.*)?["']?mode["']?\s*:\s*["']?local\b""", re.MULTILINE)
_LONGEST_LOOK = 4 * 1024 * 1024

_ERRORS = {it.__name__: it for it in (ConfigurationError, PermissionDeniedError)}


def load(file: Path) -> Settings:
    """Read a file, like `config.load`. Takes some time: to be called in a thread.

    Raises:
        ConfigurationError: it is wrong.
        PermissionDeniedError: it may not be read.
    """
    found = _by_child(file) if file.is_file() else None  # A pipe can be read by one only.
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


def _by_child(file: Path) -> Settings | BgphealthError | None:
    """Return what a child has read, or what it says of the file; None where there is no child."""
    command = [sys.executable, "-m", "bgphealth.daemon.loading", str(file)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        if done.returncode:
            return None
        kind, found = pickle.loads(done.stdout)  # noqa: S301 - our own child's
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    error = _ERRORS.get(kind)
    return found if error is None else error(found)


def main() -> None:
    """Read the file that the command line names; write settings, or what is wrong, to stdout."""
    from bgphealth import config  # noqa: PLC0415 - not in the process that waits

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
