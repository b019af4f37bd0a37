"""``exabgp healthcheck``: its options, and the exabgp.conf that starts it, become our file.

What they mean is read from ``exabgp/application/healthcheck.py`` of 4.2 and 5.0.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from bgphealth.config.problems import InvalidFileError, Problem
from bgphealth.config.writing import Noted
from bgphealth.core.settings import Mode
from bgphealth.imports import draft, exabgp_conf, healthcheck_options, healthcheck_service
from bgphealth.imports.draft import Draft, Input, Known, Peer, Speaker, Whole
from bgphealth.imports.healthcheck_service import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bgphealth.imports.draft import Address
    from bgphealth.imports.exabgp_conf import Configuration, Process
    from bgphealth.imports.healthcheck_options import Options

_PROGRAMS = {
    "healthcheck",
    "healthcheck.py",
    "exabgp-healthcheck",
    "exabgp.application.healthcheck",
}
_CHECKS = (
    "Checks: exit status 0 is ok, as before. They run in /, without input, with PATH and LANG=C "
    "and nothing else in the environment."
)


def convert(files: Sequence[Input], known: Known, find: Callable[[str], Input | None]) -> str:
    """Return our file for files of options and at most one exabgp.conf.

    Args:
        files: What is imported.
        known: What the operator says beside.
        find: Returns the file that ``--config`` in exabgp.conf names, if it is to be had.

    Raises:
        InvalidFileError: A file is wrong, or there is nothing in it to import.
    """
    confs = [file for file in files if exabgp_conf.is_exabgp_conf(file.text)]
    if len(confs) > 1:
        message = f"{confs[0].name} is an exabgp.conf already; import one at a time"
        raise InvalidFileError([Problem(confs[1].name, 1, "", message)])
    used: set[str] = set()

    def noted(name: str) -> Input | None:
        found = find(name)
        if found is not None:
            used.add(found.name)
        return found

    conf = exabgp_conf.read(confs[0]) if confs else None
    checks, others = _of_conf(confs[0], conf, noted) if conf else ([], [])
    checks += [_of_file(file) for file in files if file not in confs and file.name not in used]
    speaker = conf.speaker if conf else _named_by(checks)
    mode = _mode(speaker, known)
    if _is_inside(speaker):
        # What it says of itself is ExaBGP's, not that of the daemon that speaks to the routers.
        speaker = Speaker(speaker.peers[0].asn, None, (), speaker.static)
        checks = [check._replace(neighbors=None) for check in checks]
    services: list[Draft] = []
    for check in checks:
        services += healthcheck_service.services(check, speaker, {each.name for each in services})
    about = [
        f"From {', '.join(file.name for file in files)}: `bgphealth import exabgp-healthcheck`.",
        _CHECKS,
        *others,
    ]
    policy = {"all_down": Noted("keep_last", beside="as before: a service keeps its last router")}
    return draft.text(Whole(about, mode, speaker, services, policy), known)


def _of_file(file: Input) -> Check:
    options = healthcheck_options.of_file(file)
    stem = file.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return Check(file.name, 1, stem, options, _asked(options))


def _named_by(checks: Sequence[Check]) -> Speaker:
    """Return what options alone tell of BGP: some of the neighbors."""
    addresses = {
        address: check.file
        for check in checks
        for address in sorted(check.neighbors or (), key=str)
    }
    return Speaker(peers=tuple(Peer(at=file, address=a) for a, file in addresses.items()))


def _mode(speaker: Speaker, known: Known) -> Mode:
    """Return the mode: ExaBGP's peers are routers, or a BGP daemon on the host itself."""
    return known.mode or (Mode.FRR if _is_inside(speaker) else Mode.DIRECT)


def _is_inside(speaker: Speaker) -> bool:
    return bool(speaker.peers) and all(peer.address.is_loopback for peer in speaker.peers)


# ---- exabgp.conf ---------------------------------------------------------------------------------


def _of_conf(
    file: Input, conf: Configuration, find: Callable[[str], Input | None]
) -> tuple[list[Check], list[str]]:
    """Return the health checks, and what is said of the other processes."""
    checks, others = [], []
    for process in conf.processes:
        words = _arguments(process.words)
        if words is None:
            others.append(
                f"NOT IMPORTED: {file.name}:{process.line}: process {process.name} is not exabgp "
                "healthcheck. Add it to the rendered exabgp.conf."
            )
            continue
        options = healthcheck_options.of_command_line(file.name, process.line, words, find)
        neighbors = _only(process, options, conf)
        checks.append(Check(file.name, process.line, process.name, options, neighbors))
    if not checks:
        message = "no process here runs exabgp healthcheck"
        raise InvalidFileError([Problem(file.name, 1, "", message)])
    return checks, others


def _only(process: Process, options: Options, conf: Configuration) -> frozenset[Address] | None:
    """Return to whom a process announces: by its options, and whose `api` names it."""
    listed = conf.neighbors_of[process.name] or None
    asked = _asked(options)
    if listed is None or asked is None:
        return listed or asked
    return listed & asked


def _asked(options: Options) -> frozenset[Address] | None:
    return None if None in options.neighbor else frozenset(filter(None, options.neighbor)) or None


def _arguments(words: Sequence[str]) -> list[str] | None:
    """Return the arguments of exabgp healthcheck in a command, None where it is another one."""
    for place, word in enumerate(words):
        if word.rsplit("/", 1)[-1] in _PROGRAMS:
            return list(words[place + 1 :])
        if word == "-c" and " " in (script := "".join(words[place + 1 : place + 2])):
            try:
                return _arguments(shlex.split(script))
            except ValueError:
                return None
    return None
