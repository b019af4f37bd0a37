"""`bgphealth init` in a node of a lab, and what of its file is the lab's own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bgphealth.config import load
from bgphealth.core.settings import Settings
from lab import dual_tor
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import FILE


def guessed(lab: NamespaceDriver) -> Settings:
    """Return the file that init writes for the server."""
    return _loaded(lab.run(dual_tor.SERVER, ["bgphealth", "init"]).stdout)


def own(lab: NamespaceDriver) -> Settings:
    """Return the lab's own file."""
    return _loaded(lab.run(dual_tor.SERVER, ["cat", FILE]).stdout)


def essence(settings: Settings) -> dict[str, Any]:
    """Return what can be seen of a host: not what is behind its ToRs, nor how it is judged."""
    return {
        "mode": settings.mode,
        "host": settings.host,
        "uplinks": [
            (
                uplink.name,
                uplink.number,
                uplink.interface,
                [(p.family, p.neighbor, p.next_hop, p.probe_source) for p in uplink.paths],
            )
            for uplink in settings.uplinks
        ],
        "services": [(s.name, s.prefixes, s.checks) for s in settings.services],
    }


def _loaded(text: str) -> Settings:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "bgphealth.yaml")
        file.write_text(text.replace("/etc/bgphealth/tor.password", "/dev/null"), encoding="utf-8")
        return load(file)
