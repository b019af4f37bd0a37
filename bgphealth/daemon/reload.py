"""Another file for a running program: whether it may be, and what it changes, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bgphealth import config
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Mode, Settings
from bgphealth.exabgp import render as exabgp_render
from bgphealth.exabgp import unit
from bgphealth.frr import render as frr_render


def load(
    file: Path, before: Settings, read: Callable[[Path], Settings] = config.load
) -> tuple[Settings, Mapping[str, list[str]]]:
    """Read the file again; return it, and what it changes (`changes`).

    Takes some time: to be called in a thread.

    Raises:
        ConfigurationError: the file is wrong, or changes what a running ExaBGP cannot follow.
        PermissionDeniedError: the file may not be read.
    """
    after = read(file)
    if refused := refusals(before, after):
        raise ConfigurationError("\n".join(f"{file}: {line}" for line in refused))
    said = changes(before, after)
    if stale := stale_files(before, after, file):
        said["render"] = stale
    return after, said


def refusals(before: Settings, after: Settings) -> list[str]:
    """Return what only a restart can change, of ExaBGP where there is one, in words."""
    who = "bgphealth" if before.mode is Mode.LOCAL else "ExaBGP"
    pairs = {
        "mode": (before.mode, after.mode),
        "host.asn": (before.host.asn, after.host.asn),
        "host.injector": (before.host.injector, after.host.injector),
        "control.socket": (before.control_socket, after.control_socket),
    }
    return [
        f"{key}: {old} became {new}, which needs 'bgphealth render', and a restart of {who}"
        for key, (old, new) in pairs.items()
        if old != new
    ]


def changes(before: Settings, after: Settings) -> dict[str, list[str]]:
    """Return the names of what was added, removed and changed; sections that were changed."""
    uplinks = {u.name: u for u in before.uplinks}, {u.name: u for u in after.uplinks}
    services = {s.name: s for s in before.services}, {s.name: s for s in after.services}
    sections = {
        "host": (before.host, after.host),
        "paths": (
            (before.path_timing, before.suspect_interval_s, before.quality, before.damping),
            (after.path_timing, after.suspect_interval_s, after.quality, after.damping),
        ),
        "policy": (
            (
                before.all_down,
                before.drain_settle_s,
                before.guarded_settle_s,
                before.stable_for_s,
                before.flush_conntrack,
            ),
            (
                after.all_down,
                after.drain_settle_s,
                after.guarded_settle_s,
                after.stable_for_s,
                after.flush_conntrack,
            ),
        ),
        "fallback": (before.fallback, after.fallback),
        "sources": (before.sources, after.sources),
    }
    found = {
        **_differences("uplinks", *uplinks),
        **_differences("services", *services),
        "sections_changed": [name for name, (old, new) in sections.items() if old != new],
    }
    return {key: names for key, names in found.items() if names}


def stale_files(before: Settings, after: Settings, file: Path) -> list[str]:
    """Return which rendered files would be other ones now.

    A password that was changed inside its file is not noticed: only `render` reads passwords.
    """
    # Absolute, as ExaBGP's has to be; which program it starts makes no difference.
    file = Path("/") / file
    # What the host allows is the same in both.
    needs = [unit.needs(settings, raw_icmp=True) for settings in (before, after)]
    if after.mode is Mode.LOCAL:
        return ["bgphealth.service"] if needs[0] != needs[1] else []
    files: dict[str, Sequence[object]] = {
        "exabgp.service": needs,
        "exabgp.conf": [
            exabgp_render.render_conf(settings, file, ["/bgphealth"], _stand_ins(settings))
            for settings in (before, after)
        ],
    }
    if after.mode is Mode.FRR:
        files["frr.conf"] = [
            frr_render.render(settings, file, _stand_ins(settings)) for settings in (before, after)
        ]
    return [name for name, (old, new) in files.items() if old != new]


def _stand_ins(settings: Settings) -> dict[str, str]:
    """Return, instead of passwords, what changes with the files that they are in."""
    return {
        uplink.name: uplink.password_file.encode().hex()
        for uplink in settings.uplinks
        if uplink.password_file is not None
    }


def _differences(
    what: str, before: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, list[str]]:
    return {
        f"{what}_added": [name for name in after if name not in before],
        f"{what}_removed": [name for name in before if name not in after],
        f"{what}_changed": [n for n in after if n in before and before[n] != after[n]],
    }
