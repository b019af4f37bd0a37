"""bgphealth.nft: source NAT for hosts whose default has no preferred source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Address, Family, Settings

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]+")
"""What nft takes as it is: no quotes, and no * for any others that begin so."""

_LOCAL = {Family.IPV4: "169.254.0.0/16", Family.IPV6: "fe80::/10"}


@dataclass(frozen=True, slots=True)
class _FamilyPart:
    """What one address family needs. `ip` is nft's keyword: ``ip`` or ``ip6``.

    `source` is None where what leaves gets the uplink's own address. `direct` are destinations on
    the links, `chosen` the sources that the file gives to something.
    """

    name: str
    ip: str
    source: Address | None
    direct: tuple[str, ...]
    chosen: tuple[Address, ...]
    uplinks: tuple[str, ...]


def render(settings: Settings, file: Path, user: str) -> str:
    """Return a file for ``nft -f``.

    Args:
        settings: What the file says.
        file: What the first line tells people to edit.
        user: Whose traffic is left alone, the probes' among it.

    Raises:
        ConfigurationError: There is nothing to translate, or nft could not read the user.
    """
    if _USER.fullmatch(user) is None:
        raise ConfigurationError(f"{user!r} is not the name or the number of a user")
    for uplink in settings.uplinks:
        if _INTERFACE.fullmatch(uplink.interface) is None:
            raise ConfigurationError(
                f"{file}: uplinks.{uplink.name}.interface: {uplink.interface!r} cannot be written "
                "for nft: only letters, digits and _ . @ - are possible there"
            )
    families = [part for family in settings.families if (part := _part(settings, family)).uplinks]
    if not families:
        raise ConfigurationError(
            f"{file}: every uplink is unnumbered: no link has an address that what leaves could "
            "carry, and there is nothing to translate"
        )
    return templating.render("nftables.conf.j2", file=file, user=user, families=families)


def _part(settings: Settings, family: Family) -> _FamilyPart:
    sources, source = settings.sources, settings.host.source_for(family)
    given = [pin.source for pin in sources.pins]
    given += [policy.source for policy in sources.policies if policy.source is not None]
    # An unnumbered link has no address that could be taken for the host's.
    paths = [
        (uplink, path)
        for uplink in settings.uplinks
        for path in uplink.paths
        if path.family is family and (path.neighbor is not None or source is None)
    ]
    return _FamilyPart(
        name=family.value,
        ip="ip" if family is Family.IPV4 else "ip6",
        source=source,
        direct=(*(str(p.neighbor) for _, p in paths if p.neighbor is not None), _LOCAL[family]),
        chosen=tuple(dict.fromkeys(a for a in given if Family.of(a) is family)),
        uplinks=tuple(uplink.interface for uplink, _ in paths),
    )
