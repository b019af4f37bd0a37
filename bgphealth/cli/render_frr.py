"""What `bgphealth render frr` asks of the FRR that runs, and what would change in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bgphealth.core.errors import DependencyError, PermissionDeniedError
from bgphealth.core.settings import Family, Settings
from bgphealth.frr import configuration, setup
from bgphealth.frr.beside import multihop, to_look_at
from bgphealth.frr.changes import changes, text
from bgphealth.frr.existing import Existing
from bgphealth.frr.render import render
from bgphealth.frr.setup import Daemon
from bgphealth.frr.state import Vtysh

_LATE_S = 10.0
"""How long a daemon may take to answer: a busy one is no dead one."""


async def running(settings: Settings) -> Mapping[str, Daemon]:
    """Return what FRR's daemons run with.

    Raises:
        DependencyError: one of them does not run.
        PermissionDeniedError: they may not be asked.
    """
    has_bfd = any(uplink.bfd is not None for uplink in settings.uplinks)
    names = ("zebra", "bgpd", "staticd", *(["bfdd"] if has_bfd else []))
    found = await setup.daemons(Vtysh(timeout_s=_LATE_S), names)
    for why in found.values():
        if isinstance(why, str):
            is_refused = "no permission" in why
            raise (PermissionDeniedError if is_refused else DependencyError)(why)
    return {name: daemon for name, daemon in found.items() if isinstance(daemon, Daemon)}


def differences(
    settings: Settings, file: Path, daemons: Mapping[str, Daemon], beside: Existing | None
) -> Iterator[str]:
    """Yield what would change in FRR, in lines for people.

    Args:
        settings: what the file says.
        file: the file itself.
        daemons: what FRR runs with.
        beside: the same, where only our part is to be entered.
    """
    passwords = {u.name: "***" for u in settings.uplinks if u.password_file is not None}
    wanted = configuration.lines(render(settings, file, passwords, beside))
    there = dict.fromkeys(
        line for daemon in daemons.values() for line in configuration.lines(daemon.configuration)
    )
    may_not = beside is None or not multihop(settings, beside)
    for family in settings.families if may_not else ():
        ip = "ip" if family is Family.IPV4 else "ipv6"
        zebra = daemons["zebra"]
        if configuration.resolves_via_default(zebra.configuration, ip, zebra.version):
            yield f"+ no {ip} nht resolve-via-default"
    found = changes(wanted, tuple(there), is_part=beside is not None)
    yield from text(found)
    if found and beside is not None:
        yield from (f"! look at: {remark}" for remark in to_look_at(settings, beside))
