"""A host as it was seen, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bgphealth.core.settings import Address, Family
from bgphealth.core.truth import KernelDefault
from bgphealth.fallback.netlink import Interface
from bgphealth.frr.peers import Speaker


class Listening(NamedTuple):
    """A socket that takes what comes from outside; `address` may be unspecified: all of them."""

    protocol: str
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A host. `bgpd` and `exabgp` are words where they could not be asked or are not there.

    `unread` says what is there and may not be read.
    """

    interfaces: Mapping[str, Interface]
    defaults: Mapping[Family, tuple[KernelDefault, ...]]
    bgpd: Speaker | str = "FRR is not installed"
    exabgp: Speaker | str = "there is no /etc/exabgp/exabgp.conf"
    listening: frozenset[Listening] = frozenset()
    unread: tuple[str, ...] = ()
