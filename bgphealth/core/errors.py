"""Errors, split by whose fault they are.

Foreign exceptions are mapped to these in one place per room; expected outcomes (a failed probe, an
``error`` reply) are values, not exceptions. Exit statuses follow sysexits(3).
"""

from __future__ import annotations


class BgphealthError(Exception):
    """Base of everything that bgphealth raises on purpose; the message is for the operator."""

    exit_status = 70  # EX_SOFTWARE


class ConfigurationError(BgphealthError):
    """The file is wrong: the operator can mend it there."""

    exit_status = 78  # EX_CONFIG


class PermissionDeniedError(BgphealthError):
    """The operating system refused: a file mode, a capability or a sysctl is missing."""

    exit_status = 77  # EX_NOPERM


class DependencyError(BgphealthError):
    """A program that is needed is absent, or does not speak as expected."""

    exit_status = 69  # EX_UNAVAILABLE


class HostError(BgphealthError):
    """The host is not (yet) as the file says; trying again later may help."""

    exit_status = 75  # EX_TEMPFAIL
