"""The entry point. It guards stdout before anything else is imported."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line.

    Under ExaBGP our stdout is its command channel: a stray ``print`` in any library would be a
    command. So for `run`, before anything else is imported, a private duplicate of fd 1 is kept
    for the driver and fd 1 itself leads to stderr.
    """
    wants_help = {"--help", "--version"} & set(sys.argv)
    commands_fd = guard_stdout() if "run" in sys.argv and not wants_help else None
    if commands_fd is not None:
        travel_light()

    from bgphealth.cli.app import app  # noqa: PLC0415 - after the guard

    app(obj=commands_fd)


def guard_stdout() -> int:
    """Lead fd 1 to stderr and return a private duplicate of what it was."""
    private = os.dup(1)  # Not inherited by children (PEP 446).
    os.dup2(2, 1)
    return private


def travel_light() -> None:
    """Keep from being imported what a program that runs for years has no use for: 9 MiB.

    structlog imports rich wherever it is installed. The package pyroute2 imports all of its
    modules, of which we need a few: those are found without it.
    """
    from importlib import util  # noqa: PLC0415 - for this only

    sys.modules["rich"] = None  # type: ignore[assignment] # as `import` documents it
    if (found := util.find_spec("pyroute2")) is not None:
        sys.modules["pyroute2"] = util.module_from_spec(found)


if __name__ == "__main__":
    main()
