"""Who can change what runs with our rights: the file, and the programs of `exec` probes.

Whoever may write to one of them, or to a directory on its way, can have this host do what bgphealth
may do.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Set
from pathlib import Path

from bgphealth.core.settings import ExecQuestion, Settings

_ROOT = 0


def writable_by_others(file: Path, settings: Settings, users: Set[int]) -> Iterator[str]:
    """Yield in words what somebody other than root and these users (by number) can change.

    What is not there, or cannot be looked at, is no matter of this.
    """
    trusted = {_ROOT, *users}
    seen: set[Path] = set()
    for name in dict.fromkeys((str(file.absolute()), *_programs(settings))):
        # A link, and what it leads to, are reached by different ways.
        for way in (Path(name), Path(os.path.realpath(name))):
            for place in (way, *way.parents):
                if place not in seen:
                    seen.add(place)
                    yield from _words(place, trusted)


def _programs(settings: Settings) -> Iterator[str]:
    paths = [path for uplink in settings.uplinks for path in uplink.paths]
    probes = [probe for path in paths for probe in (*path.gateway, *path.beyond)]
    for probe in (*probes, *(check for s in settings.services for check in s.checks)):
        if isinstance(probe.question, ExecQuestion):
            yield probe.question.command[0]


def _words(place: Path, trusted: Set[int]) -> Iterator[str]:
    try:
        found = place.lstat()
    except OSError:
        return
    if found.st_uid not in trusted:
        yield f"{place} belongs to {_name(found.st_uid)}"
    # In a sticky directory everybody may add something, and take away only what is theirs.
    if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        yield f"{place} can be written by everybody"
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in _groups(trusted):
        yield f"{place} can be written by its group"


def _groups(users: Set[int]) -> set[int]:
    """Return the groups that these users have for themselves."""
    groups = {_ROOT}
    for user in users:
        try:
            groups.add(pwd.getpwuid(user).pw_gid)
        except KeyError:
            continue  # As in a container: a number without a name.
    return groups


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
