"""What `bgphealth check` says of local mode, and what it says of every mode alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bgphealth.core.settings import Settings, UplinkPath


def summary(settings: Settings) -> list[str]:
    """Return what the uplinks are, and which of them is used when."""
    lines: list[str] = []
    for uplink in sorted(settings.uplinks, key=lambda uplink: uplink.number):
        lines.append(f"uplink {uplink.number}  {uplink.name} on {uplink.interface}")
        lines += [
            f"  {path.family}  gateway {path.neighbor or 'learned'}; asked: {asked(path)}"
            for path in uplink.paths
        ]
    stable_s = settings.stable_for_s
    given = ", ".join(str(address) for address in settings.fallback.source)
    return [
        *lines,
        "",
        "in use, per family: the first that works; another one at once when it does not",
        f"back to a better one: when it has been up for {stable_s:g} s without a break",
        f"all uplinks down: {settings.all_down}: nothing changes",
        (
            "defaults: metric n for the uplink in use, above 65536 for the others; "
            f"source: {given or 'the address of the link'}"
        ),
        f"probes leave through {tables(settings)}",
    ]


def asked(path: UplinkPath) -> str:
    """Return what is asked of a path."""
    said = ", ".join(str(probe) for probe in path.gateway) or "nothing"
    if path.beyond:
        beyond = ", ".join(str(probe) for probe in path.beyond)
        said += f"; beyond: {path.beyond_need} of {beyond}"
    return said


def tables(settings: Settings) -> str:
    """Return the numbers of the uplinks' tables and rules."""
    numbers = [uplink.number for uplink in settings.uplinks]
    of_uplinks = ", ".join(str(settings.fallback.table + number) for number in numbers)
    rules = ", ".join(str(settings.fallback.rule_priority + number) for number in numbers)
    return f"tables {of_uplinks}, rules {rules}"
