"""The file and the programs of `exec` probes: who can change them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bgphealth.doctor import process
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.trust import writable_by_others

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings

WRITABLE_BY_OTHERS = Kind(
    "writable_by_others",
    Severity.WARNING,
    "somebody other than root and bgphealth's user can change the file, or a program of an `exec` "
    "probe",
    "whoever can do that can have this host announce and route what they like",
)

KINDS = (WRITABLE_BY_OTHERS,)


async def findings(settings: Settings, *, file: Path, control_socket: Path) -> list[Finding]:
    """Return what others can change.

    Raises:
        HostError: the kernel does not tell who runs.
        PermissionDeniedError: the control socket is not for this user.
    """
    runs_as = process.user(control_socket)
    users = {os.geteuid()} if runs_as is None else {os.geteuid(), runs_as}
    return [
        WRITABLE_BY_OTHERS.found(
            file, said, "chown and chmod, so that only root and the user of bgphealth can write it"
        )
        for said in writable_by_others(file, settings, users)
    ]
