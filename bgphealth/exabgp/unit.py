"""The systemd units: exabgp.service and, in local mode, bgphealth.service.

The first runs ExaBGP 4.2 or 5.0, and bgphealth below it; the second runs bgphealth alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bgphealth import templating
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import AddressUse, Family, Mode, ProbeKind, Settings

_PLAIN = re.compile(r"[A-Za-z0-9_./@+=:,~-]+")
"""What systemd takes as it is: no spaces, quotes, specifiers (%) or variables ($)."""


class Needs(NamedTuple):
    """What a sandbox must leave: CAP_NET_ADMIN, CAP_NET_RAW, room for programs of `exec` probes.

    `directory` is where metrics are written, None for nowhere.
    """

    net_admin: bool = True
    net_raw: bool = True
    programs: bool = True
    directory: Path | None = None

    @property
    def capabilities(self) -> str:
        """Return the capabilities in systemd's words, empty for none."""
        given = {"CAP_NET_ADMIN": self.net_admin, "CAP_NET_RAW": self.net_raw}
        return " ".join(name for name, is_given in given.items() if is_given)


ANYTHING = Needs()
"""What any file may need: for a unit that is there before its file."""


class Host(NamedTuple):
    """Where things are on the host, all as absolute paths, and the user of ExaBGP.

    `pid_file` is where bgphealth writes its process id.
    """

    file: Path
    exabgp: Path
    conf: Path
    pid_file: Path
    user: str = "exabgp"


class Alone(NamedTuple):
    """Where things are on a host without ExaBGP: the file, how to start bgphealth, and its user."""

    file: Path
    program: Sequence[str]
    user: str = "bgphealth"


def needs(settings: Settings, *, raw_icmp: bool) -> Needs:
    """Return what this file needs.

    Args:
        settings: the file.
        raw_icmp: whether the host's net.ipv4.ping_group_range leaves our group out.
    """
    writes = settings.fallback.enabled
    adds = any(service.address is AddressUse.ADD for service in settings.services)
    kinds = _kinds(settings)
    textfile = settings.metrics.textfile if settings.metrics else None
    return Needs(
        net_admin=writes or adds or settings.flush_conntrack,
        net_raw=(raw_icmp and ProbeKind.ICMP in kinds) or (writes and _solicits(settings)),
        programs=ProbeKind.EXEC in kinds,
        directory=Path(textfile).parent if textfile else None,
    )


def render(needs: Needs, host: Host, *, frr: bool = True) -> str:
    """Return exabgp.service; with `frr`, bgphealth may ask FRR.

    Raises:
        ConfigurationError: systemd could not read one of the words, or a path is not absolute.
    """
    _require_plain("exabgp.service", [*map(str, host), *_directories(needs)])
    _require_absolute("exabgp.service", (host.file, host.exabgp, host.conf, host.pid_file))
    return templating.render("exabgp.service.j2", **host._asdict(), frr=frr, **_sandbox(needs))


def render_alone(needs: Needs, host: Alone) -> str:
    """Return bgphealth.service.

    Raises:
        ConfigurationError: systemd could not read one of the words, or a path is not absolute.
    """
    words = (str(host.file), *host.program, host.user, *_directories(needs))
    _require_plain("bgphealth.service", words)
    _require_absolute("bgphealth.service", (host.file, *map(Path, host.program[:1])))
    return templating.render(
        "bgphealth.service.j2",
        file=host.file,
        program=" ".join(host.program),
        user=host.user,
        **_sandbox(needs),
    )


def _sandbox(needs: Needs) -> dict[str, object]:
    return {
        "capabilities": needs.capabilities,
        "programs": needs.programs,
        "directories": _directories(needs),
    }


def _directories(needs: Needs) -> list[str]:
    return [str(needs.directory)] if needs.directory else []


def _kinds(settings: Settings) -> set[ProbeKind]:
    paths = [path for uplink in settings.uplinks for path in uplink.paths]
    probes = [probe for path in paths for probe in (*path.gateway, *path.beyond)]
    return {p.kind for p in (*probes, *(c for s in settings.services for c in s.checks))}


def _solicits(settings: Settings) -> bool:
    """Tell whether routers are asked to show themselves: where the file has no address of them."""
    learned = {p.family for u in settings.uplinks for p in u.paths if p.neighbor is None}
    return bool(learned & {Family.IPV6} if settings.mode is Mode.LOCAL else learned)


def _require_plain(unit: str, words: Iterable[str]) -> None:
    for word in words:
        if _PLAIN.fullmatch(word) is None:
            raise ConfigurationError(
                f"{word!r} cannot be written into {unit}: only letters, digits and "
                "_ . / @ + = : , ~ - are possible there"
            )


def _require_absolute(unit: str, paths: Iterable[Path]) -> None:
    if not all(path.is_absolute() for path in paths):
        raise ConfigurationError(f"{unit} needs absolute paths")
