"""Another file for a running program: whether it may be, and what it changes, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from bgphealth.core.errors import HostError
from bgphealth.core.settings import Mode, Settings
from bgphealth.daemon import loading
from bgphealth.daemon.peers import group_number


class ReloadOutcome(StrEnum):
    """What came of a reload."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    WOULD_APPLY = "would_apply"
    """Nobody did: it was only asked for."""
    REFUSED = "refused"


class Reloaded(NamedTuple):
    """A reload that is over.

    `at` is on the clock of the events; `by` says in words who asked for it; `problems` is why it
    was refused, one line each; `changes` what it changed; `render` names the rendered files that
    would be other ones now.
    """

    at: float
    by: str
    outcome: ReloadOutcome
    problems: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    render: tuple[str, ...] = ()


def load(
    file: Path, before: Settings, read: Callable[[Path], Settings] = loading.load
) -> tuple[Settings, Mapping[str, list[str]]]:
    """Read the file again; return it, and what it changes (`changes`).

    Takes some time: to be called in a thread.

    Raises:
        InvalidFileError: the file is wrong, or changes what a running ExaBGP cannot follow.
        PermissionDeniedError: the file may not be read.
    """
    after = read(file)
    refused = refusals(before, after)
    if after.control_group is not None and after.control_group != before.control_group:
        refused += _no_such_group(after.control_group)
    if refused:
        from bgphealth.config import document  # noqa: PLC0415 - see `loading`
        from bgphealth.config.problems import InvalidFileError  # noqa: PLC0415

        at = document.read(file)
        parts = (line.partition(": ") for line in refused)
        raise InvalidFileError([at.problem(tuple(k.split(".")), why) for k, _, why in parts])
    said = changes(before, after)
    if stale := stale_files(before, after, file):
        said["render"] = stale
    return after, said


def refusals(before: Settings, after: Settings) -> list[str]:
    """Return what only a restart can change, of ExaBGP where there is one, in words."""
    who = "bgphealth" if before.mode is Mode.LOCAL else "ExaBGP"
    if before.mode is not after.mode:
        # Whatever else differs comes of that.
        return [_needs_restart("mode", before.mode, after.mode, who)]
    pairs = {
        "host.asn": (before.host.asn, after.host.asn),
        "host.injector": (before.host.injector, after.host.injector),
        "control.socket": (before.control_socket, after.control_socket),
    }
    return [_needs_restart(key, old, new, who) for key, (old, new) in pairs.items() if old != new]


def _no_such_group(name: str) -> list[str]:
    """Say that there is no such group on this host, if so."""
    try:
        group_number(name)
    except HostError as error:
        return [f"control.group: {error}"]
    return []


def _needs_restart(key: str, old: object, new: object, who: str) -> str:
    return f"{key}: {old} became {new}, which needs 'bgphealth render all', and a restart of {who}"


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
        "control": (
            (before.control_group, before.control_read),
            (after.control_group, after.control_read),
        ),
        "metrics": (before.metrics, after.metrics),
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
    # Templates are needed for nothing else here, and their library takes memory.
    from bgphealth.exabgp import unit  # noqa: PLC0415

    # What the host allows is the same in both.
    needs = [unit.needs(settings, raw_icmp=True) for settings in (before, after)]
    if after.mode is Mode.LOCAL:
        return ["bgphealth.service"] if needs[0] != needs[1] else []
    from bgphealth.exabgp import render as exabgp_render  # noqa: PLC0415
    from bgphealth.frr import render as frr_render  # noqa: PLC0415

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
