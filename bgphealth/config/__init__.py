"""The YAML file, checked as a whole and turned into `bgphealth.core.settings.Settings`."""

from __future__ import annotations

from bgphealth.config.document import raw
from bgphealth.config.load import load, loads
from bgphealth.config.problems import InvalidFileError, Problem

__all__ = ["InvalidFileError", "Problem", "load", "loads", "raw"]
