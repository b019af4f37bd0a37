"""bgphealth: one verdict per path steers what a dual-homed server announces and where it sends."""

__version__ = "0.1.0"
"""The one place of the version; the wheel and the packages take it from here."""
