"""The communities that a route carries, as numbers."""

from __future__ import annotations

from typing import NamedTuple


class Community(NamedTuple):
    """A community of RFC 1997: two halves of 16 bits."""

    asn: int
    value: int

    def __str__(self) -> str:
        """Return the community as it is written everywhere: ``65101:1``."""
        return f"{self.asn}:{self.value}"


class LargeCommunity(NamedTuple):
    """A large community of RFC 8092: three parts of 32 bits."""

    asn: int
    value1: int
    value2: int

    def __str__(self) -> str:
        """Return the community as it is written everywhere: ``4200000101:1:2``."""
        return f"{self.asn}:{self.value1}:{self.value2}"
