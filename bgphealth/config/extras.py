"""Libraries that only some probes need: they are extras of the package."""

from __future__ import annotations

from importlib.util import find_spec

from bgphealth.core.settings import ProbeKind

_NEEDS = {ProbeKind.HTTP: ("httpx", "http"), ProbeKind.DNS: ("dns", "dns")}
"""The module that a kind of probe needs, and the extra that brings it."""


def missing(kind: ProbeKind) -> str | None:
    """Say how to get what a kind of probe needs, or None where it is there already."""
    if kind not in _NEEDS:
        return None
    module, extra = _NEEDS[kind]
    if find_spec(module) is not None:
        return None
    return f"needs a library that is not installed here: pip install 'bgphealth[{extra}]'"
