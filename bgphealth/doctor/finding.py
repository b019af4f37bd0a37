"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: `ERROR` breaks something now, `WARNING` will when something fails.

    A `NOTE` is worth knowing, or says what could not be looked at; it is no fault of the host.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    `word` is stable and names the kind of finding, `subject` what it is about (an interface, an
    address, a service, a file). `mend` is the command or the line that mends it, None where there
    is nothing to be done on this host.
    """

    word: str
    severity: Severity
    subject: str
    found: str
    why: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding; docs/doctor.md is made of them.

    The `word` is an interface: it is never reused for something else. `means` says what is not as
    it should be, `why` what that does, in a sentence.
    """

    word: str
    severity: Severity
    means: str
    why: str

    def found(self, subject: object, found: str, mend: str | None = None) -> Finding:
        """Return a finding of this kind."""
        return Finding(self.word, self.severity, str(subject), found, self.why, mend)
