"""What can go wrong in the lab, each kind with the exit status of the command that met it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal


class LabError(Exception):
    """Base of everything that the lab reports by a message instead of a traceback."""

    exit_status: int = 1


class UnmetExpectationError(LabError):
    """The lab ran, and something that must hold did not."""


class UnavailableError(LabError):
    """A program that the lab needs is absent (EX_UNAVAILABLE)."""

    exit_status = 69


class TimedOutError(LabError):
    """The lab did not get there in time (EX_TEMPFAIL)."""

    exit_status = 75


class NotPermittedError(LabError):
    """The lab needs root, or was about to write where it must not (EX_NOPERM)."""

    exit_status = 77


class TopologyError(LabError):
    """The topology file is wrong (EX_CONFIG)."""

    exit_status = 78


class InterruptedByUserError(LabError):
    """Ctrl-C, SIGTERM or SIGHUP: the command tears down what it made."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"interrupted by {number.name}")
        self.exit_status = 128 + number
