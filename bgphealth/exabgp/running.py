"""The ExaBGP that runs on this host, and bgphealth below it, as proc(5) has them."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PROC = Path("/proc")

_DEFAULTS = {"api.ack": "true", "api.respawn": "true", "api.terminate": "false"}
"""Of ExaBGP 4.2 and 5.0."""

_TRUE = frozenset({"1", "yes", "on", "enable", "true"})
_OTHER_COMMANDS = frozenset({"cli", "decode", "env", "healthcheck", "validate", "version"})
_WITH_VALUE = frozenset({"--env", "-e", "--env-file", "--root", "--profile", "-p"})
_ENV_OPTIONS = ("--env-file", "--env", "-e")


@dataclass(frozen=True, slots=True)
class Helper:
    """bgphealth, started by ExaBGP: its user and all its groups."""

    pid: int
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Running:
    """One ExaBGP.

    `version` is None where its installation does not say. `conf` is its configuration file, None
    where its arguments name none, and `started_at` in seconds since the epoch. `environment` is
    None where we may not read it. `helper` is None where no bgphealth runs below it. `unit` is the
    service of systemd that it belongs to, if any.
    """

    pid: int
    version: str | None
    conf: Path | None
    started_at: float
    environment: Mapping[str, str] | None
    env_file: Path | None
    helper: Helper | None
    unit: str | None


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    arguments: tuple[str, ...]


def find(proc: Path = PROC) -> Running | None:
    """Return the ExaBGP that runs bgphealth, else any other one, else None.

    Those of other network namespaces, which a host sees of its containers, do not count.
    """
    processes = list(_processes(proc))
    found = [
        (process, split, _helper(proc, process.pid, processes))
        for process in processes
        if (split := _as_exabgp(process.arguments)) is not None and _is_here(proc, process.pid)
    ]
    # One that has a helper first; the others keep their order.
    for process, (program, arguments), helper in sorted(found, key=lambda each: each[2] is None):
        with suppress(FileNotFoundError, ProcessLookupError):  # It has ended meanwhile.
            return _running(proc, process.pid, program, arguments, helper)
    return None


def setting(name: str, environment: Mapping[str, str], env_file: str | None) -> bool:
    """Return what ExaBGP takes a setting for: ``api.ack``, ``api.respawn``, ``api.terminate``.

    Args:
        name: which one.
        environment: of ExaBGP; it counts before the file.
        env_file: the text of exabgp.env, None where there is none.
    """
    section, _, option = f"exabgp.{name}".rpartition(".")
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    with suppress(configparser.Error):
        parser.read_string(env_file or "")
    value = environment.get(f"exabgp.{name}", environment.get(f"exabgp.{name}".replace(".", "_")))
    if value is None:
        value = parser.get(section, option, fallback=_DEFAULTS[name])
    return value.strip().strip("'\"").lower() in _TRUE


def _processes(proc: Path) -> Iterator[_Process]:
    for directory in proc.iterdir():
        if not directory.name.isdecimal():
            continue
        with suppress(OSError):  # It has ended, or is not for us to see.
            words = (directory / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            arguments = tuple(os.fsdecode(word) for word in words)
            parent = int(_status(directory)["PPid"])
            yield _Process(int(directory.name), parent, arguments)


def _is_here(proc: Path, pid: int) -> bool:
    """Return whether a process is in our network namespace, as far as we may know."""
    try:
        ours, its = ((proc / name / "ns" / "net").readlink() for name in ("self", str(pid)))
    except OSError:
        return True
    return ours == its


def _status(directory: Path) -> dict[str, str]:
    text = (directory / "status").read_text(encoding="utf-8", errors="replace")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _as_exabgp(arguments: Sequence[str]) -> tuple[Path, tuple[str, ...]] | None:
    """Return the program and its arguments if this is an ExaBGP that speaks BGP."""
    words = list(arguments)
    if Path(words[0]).name.startswith("python"):
        del words[0]
        while words and words[0].startswith("-"):
            del words[0]
    if not words or Path(words[0]).name != "exabgp":
        return None
    program, rest = Path(words[0]), tuple(words[1:])
    return None if rest and rest[0] in _OTHER_COMMANDS else (program, rest)


def _helper(proc: Path, exabgp: int, processes: Sequence[_Process]) -> Helper | None:
    for process in processes:
        if process.parent == exabgp and _is_helper(process.arguments):
            with suppress(OSError):
                status = _status(proc / str(process.pid))
                # The second ones are the effective ones; proc(5).
                uid, group = (int(status[key].split()[1]) for key in ("Uid", "Gid"))
                groups = frozenset({group, *map(int, status["Groups"].split())})
                return Helper(process.pid, uid, groups)
    return None


def _is_helper(arguments: Sequence[str]) -> bool:
    """Return whether this is what exabgp.conf is rendered with: ``… -c FILE run``."""
    return any(
        option == "-c" and command == "run"
        for option, command in zip(arguments, arguments[2:], strict=False)
    )


def _running(
    proc: Path, pid: int, program: Path, arguments: Sequence[str], helper: Helper | None
) -> Running:
    here = proc / str(pid)
    environment: Mapping[str, str] | None
    try:
        words = os.fsdecode((here / "environ").read_bytes()).split("\0")
        environment = dict(word.split("=", 1) for word in words if "=" in word)
        directory = (here / "cwd").readlink()
    except PermissionError:
        environment, directory = None, Path("/")
    version = _version(program)
    conf = _conf(arguments)
    env_file = _env_file(program, arguments, environment or {}, version)
    return Running(
        pid=pid,
        version=version,
        conf=None if conf is None else directory / conf,
        started_at=_started_at(proc, pid),
        environment=environment,
        env_file=directory / env_file,
        helper=helper,
        unit=_unit(here),
    )


def _conf(arguments: Sequence[str]) -> Path | None:
    is_value = False
    for word in arguments:
        if not is_value and not word.startswith("-") and word != "server":
            return Path(word)
        is_value = word in _WITH_VALUE
    return None


def _env_file(
    program: Path, arguments: Sequence[str], environment: Mapping[str, str], version: str | None
) -> Path:
    """Return where this ExaBGP looks for its environment file: 4.2 and 5.0 do it differently."""
    is_4 = version is not None and version.startswith("4.")
    root = program.parent.parent if program.parent.name in ("bin", "sbin") else program.parent
    if is_4 and root == Path("/usr"):
        root = Path("/")
    etc = root / "etc" / "exabgp"
    given = None if is_4 else environment.get("EXABGP_ENVFILE")
    for word, after in zip(arguments, (*arguments[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        if name in _ENV_OPTIONS:
            given = value if equals else after
    if given is None:
        return etc / "exabgp.env"
    # A relative one is below its own etc/exabgp for 4.2.
    return etc / given if is_4 else Path(given)


def _version(program: Path) -> str | None:
    """Return what the installation says that a program belongs to."""
    root = program.parent.parent
    places = [
        str(place)
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages")
        for top in (root, root / "local")
        for place in top.glob(pattern)
    ]
    found = next(iter(metadata.distributions(name="exabgp", path=places)), None)
    return None if found is None else found.version


def _started_at(proc: Path, pid: int) -> float:
    # What follows the name, which can have spaces: the 20th is the start, in ticks after the boot.
    fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    ticks = int(fields[19])
    booted = next(
        int(line.split()[1])
        for line in (proc / "stat").read_text().splitlines()
        if line.startswith("btime ")
    )
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _unit(here: Path) -> str | None:
    with suppress(OSError):
        for line in (here / "cgroup").read_text(encoding="utf-8").splitlines():
            last = line.rpartition("/")[2]
            if last.endswith(".service"):
                return last
    return None
