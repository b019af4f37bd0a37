"""What of ExaBGP is not as bgphealth needs it: whether it runs, and with what."""

from __future__ import annotations

import asyncio
import grp
import shlex
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bgphealth.core.errors import HostError
from bgphealth.core.settings import Mode, Settings
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.exabgp import configuration, running, sessions
from bgphealth.exabgp.render import render_conf
from bgphealth.exabgp.running import Running
from bgphealth.exabgp.sessions import Connection

NOT_RUNNING = Kind(
    "exabgp_not_running",
    Severity.ERROR,
    "ExaBGP does not run",
    "nothing is announced: not the defaults, and no service",
)
HELPER_DEAD = Kind(
    "exabgp_without_bgphealth",
    Severity.ERROR,
    "ExaBGP runs, and no bgphealth below it",
    "what was announced last stays announced, whatever becomes of paths and services",
)
VERSION = Kind(
    "exabgp_version",
    Severity.WARNING,
    "ExaBGP is neither 4.2 nor 5.0",
    "how ExaBGP answers is hardly documented, and is pinned by tests for 4.2 and 5.0 alone",
)
NOT_READ = Kind(
    "exabgp_not_read",
    Severity.NOTE,
    "the environment or a file of ExaBGP may not be read",
    "it is not known whether it runs as it was rendered",
)
ACK = Kind(
    "exabgp_ack",
    Severity.ERROR,
    "ExaBGP does not answer commands (`exabgp.api.ack`)",
    "bgphealth counts an announcement as accepted only when ExaBGP has said so: none ever is",
)
TERMINATE = Kind(
    "exabgp_terminate",
    Severity.WARNING,
    "ExaBGP goes on without bgphealth (`exabgp.api.terminate`)",
    "when bgphealth cannot be started, ExaBGP stays alive and idle, and nobody starts either again",
)
RESPAWN = Kind(
    "exabgp_respawn",
    Severity.WARNING,
    "ExaBGP does not start bgphealth again (`exabgp.api.respawn`)",
    "when bgphealth dies, its routes stay announced for ever, whatever becomes of the paths",
)
CONF = Kind(
    "exabgp_conf",
    Severity.ERROR,
    "ExaBGP's configuration differs from the rendered one",
    "its sessions, or how it starts bgphealth, are not what the file says",
)
GRACEFUL_RESTART = Kind(
    "exabgp_graceful_restart",
    Severity.WARNING,
    "ExaBGP asks for graceful restart",
    "what it announced stays in use after its death, and goes at the End-of-RIB that a new ExaBGP "
    "sends before it has announced anything",
)
CONF_NEWER = Kind(
    "exabgp_conf_newer",
    Severity.NOTE,
    "exabgp.conf was written after ExaBGP was started",
    "ExaBGP reads it when it starts: what it runs with is not what stands there now",
)
NO_FRRVTY = Kind(
    "exabgp_no_frrvty",
    Severity.WARNING,
    "bgphealth may not ask FRR",
    "nothing looks whether bgpd has what was announced, and `bgp` and `bfd` probes are `unknown`",
)
NOT_RESTARTED = Kind(
    "exabgp_not_restarted",
    Severity.WARNING,
    "systemd does not start ExaBGP again whenever it ends",
    "ExaBGP ends with status 0 when bgphealth cannot be started or written to: only "
    "`Restart=always` brings it back",
)
SESSION_DOWN = Kind(
    "exabgp_session_down",
    Severity.ERROR,
    "ExaBGP has no connection with a ToR (mode direct)",
    "this ToR hears of no service",
)

KINDS = (
    NOT_RUNNING,
    HELPER_DEAD,
    VERSION,
    NOT_READ,
    ACK,
    TERMINATE,
    RESPAWN,
    CONF,
    GRACEFUL_RESTART,
    CONF_NEWER,
    NO_FRRVTY,
    NOT_RESTARTED,
    SESSION_DOWN,
)

SUPPORTED = ("4.2", "5.0")

_LATE_S = 5.0
_AT_ONCE_S = 2.0
"""A file that was written shortly before the start was read: starts are known by the second."""

_SHOWN = 4
_RESTART = "systemctl restart exabgp"


@dataclass(frozen=True, slots=True)
class Text:
    """A file: what it says, or in words why it is not known, and when it was written."""

    said: str | None
    why_not: str = ""
    written_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What there was to see.

    `env` and `conf` are ExaBGP's two files. `frrvty` is the number of FRR's group, None where there
    is none. `restart` is what systemd does when ExaBGP ends, None where there is no systemd or it
    does not say; "" for an ExaBGP that is none of its services. `connections` are those to ToRs.
    """

    exabgp: Running | None
    env: Text
    conf: Text
    frrvty: int | None
    restart: str | None
    connections: frozenset[Connection]


async def findings(settings: Settings, file: Path) -> list[Finding]:
    """Return what is not as `file`, of which these are the settings, needs it.

    In modes with ExaBGP only.

    Raises:
        HostError: the kernel does not tell.
    """
    try:
        found = running.find()
        connected = sessions.connections()
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}") from error
    seen = Seen(
        exabgp=found,
        env=_text(found.env_file if found else None),
        conf=_text(found.conf if found else None),
        frrvty=_frrvty(),
        restart=await _restart(found) if found is not None and _is_booted() else None,
        connections=connected,
    )
    return list(examine(settings, file, seen))


def _text(file: Path | None) -> Text:
    if file is None:
        return Text(None)
    try:
        said = file.read_text(encoding="utf-8", errors="replace")
        return Text(said, written_at=file.stat().st_mtime)
    except FileNotFoundError:
        return Text(None)
    except OSError as error:
        return Text(None, f"{file}: {error.strerror}")


def _frrvty() -> int | None:
    try:
        return grp.getgrnam("frrvty").gr_gid
    except KeyError:
        return None


def _is_booted() -> bool:
    """Return whether systemd is the service manager; sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


async def _restart(found: Running) -> str | None:
    if found.unit is None:
        return ""
    asked = ("systemctl", "show", "--property=Restart", "--value", found.unit)
    with suppress(OSError, TimeoutError):
        process = await asyncio.create_subprocess_exec(
            *asked, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        try:
            async with asyncio.timeout(_LATE_S):
                stdout, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return stdout.decode("utf-8", "replace").strip() or None
    return None


def examine(settings: Settings, file: Path, seen: Seen) -> Iterator[Finding]:
    """Return what is not as it should be; `seen` is all that it is judged by."""
    exabgp = seen.exabgp
    if exabgp is None:
        yield NOT_RUNNING.found("ExaBGP", "there is no such process", "systemctl start exabgp")
        return
    subject = f"ExaBGP (process {exabgp.pid})"
    if exabgp.helper is None:
        found = "none of its children is 'bgphealth -c … run'"
        yield HELPER_DEAD.found(subject, found, _RESTART)
    if exabgp.version is not None and not exabgp.version.startswith(
        tuple(f"{version}." for version in SUPPORTED)
    ):
        mend = "install ExaBGP 5.0: pip install 'exabgp>=5.0,<5.1'"
        yield VERSION.found(subject, f"version {exabgp.version}", mend)
    directory = exabgp.conf.parent if exabgp.conf else Path("/etc/exabgp")
    files = f"bgphealth -c {shlex.quote(str(file))} render exabgp -o {shlex.quote(str(directory))}"
    rendered = f"{files} && {_RESTART}"
    yield from _environment(exabgp, seen, subject, rendered)
    yield from _conf(settings, file, exabgp, seen, rendered)
    yield from _may_ask_frr(settings, exabgp, seen)
    yield from _restarted(exabgp, seen, subject)
    if settings.mode is Mode.DIRECT:
        yield from _sessions(settings, seen)


def _environment(exabgp: Running, seen: Seen, subject: str, rendered: str) -> Iterator[Finding]:
    if exabgp.environment is None or seen.env.why_not:
        found = seen.env.why_not or "its environment is not for this user"
        yield NOT_READ.found(subject, found, "run this as root")
        return
    for name, kind in (("ack", ACK), ("terminate", TERMINATE), ("respawn", RESPAWN)):
        setting = f"exabgp.api.{name}"
        if running.setting(f"api.{name}", exabgp.environment, seen.env.said):
            continue
        names = (setting, setting.replace(".", "_"))
        variable = next((each for each in names if each in exabgp.environment), None)
        if variable is not None:
            mend = f"in ExaBGP's environment: {variable}=true; then {_RESTART}"
        elif exabgp.conf and exabgp.env_file == exabgp.conf.with_name("exabgp.env"):
            mend = rendered
        else:
            mend = f"in {exabgp.env_file}, below [exabgp.api]: {name} = true; then {_RESTART}"
        yield kind.found(subject, f"{setting} is false", mend)


def _conf(
    settings: Settings, file: Path, exabgp: Running, seen: Seen, rendered: str
) -> Iterator[Finding]:
    if exabgp.conf is None or seen.conf.said is None:
        found = seen.conf.why_not or f"{exabgp.conf or 'its configuration'} is not there"
        yield NOT_READ.found("exabgp.conf", found, "run this as root")
        return
    # Of a password it matters only that there is one.
    passwords = {u.name: "x" for u in settings.uplinks if u.password_file is not None}
    wanted = configuration.statements(render_conf(settings, file, ["/bgphealth"], passwords))
    there = configuration.statements(seen.conf.said)
    absent = [each for each in wanted if each not in there]
    # Other neighbors, and other processes, are somebody else's.
    blocks = {each.within[:1] for each in wanted}
    more = [each for each in there if each not in wanted and each.within[:1] in blocks]
    restarting = [each for each in more if each.text.startswith("graceful-restart")]
    more = [each for each in more if each not in restarting]
    if restarting:
        yield GRACEFUL_RESTART.found(exabgp.conf, f"'{restarting[0].text}'", rendered)
    if absent or more:
        found = "; ".join(
            f"{what}: {_listed([each.text for each in some])}"
            for what, some in (("missing", absent), ("not rendered", more))
            if some
        )
        yield CONF.found(exabgp.conf, found, rendered)
    elif not restarting and seen.conf.written_at > exabgp.started_at + _AT_ONCE_S:
        late = seen.conf.written_at - exabgp.started_at
        yield CONF_NEWER.found(exabgp.conf, f"{late:.0f} s after the start", _RESTART)


def _listed(texts: list[str]) -> str:
    shown = ", ".join(f"'{text}'" for text in texts[:_SHOWN])
    more = len(texts) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _may_ask_frr(settings: Settings, exabgp: Running, seen: Seen) -> Iterator[Finding]:
    helper = exabgp.helper
    if settings.mode is not Mode.FRR or helper is None or seen.frrvty is None:
        return
    if helper.uid != 0 and seen.frrvty not in helper.groups:
        listed = ", ".join(map(str, sorted(helper.groups)))
        yield NO_FRRVTY.found(
            f"bgphealth (process {helper.pid})",
            f"its user is {helper.uid}, its groups are {listed}, frrvty is {seen.frrvty}",
            "as its own user, in the unit: SupplementaryGroups=frrvty (bgphealth render systemd)",
        )


def _restarted(exabgp: Running, seen: Seen, subject: str) -> Iterator[Finding]:
    if seen.restart == "":
        found = "systemd runs on this host, and ExaBGP is none of its services"
        mend = "bgphealth render systemd -o /etc/systemd/system && systemctl enable --now exabgp"
        yield NOT_RESTARTED.found(subject, found, mend)
    elif seen.restart not in (None, "always"):
        mend = f"systemctl edit {exabgp.unit}: [Service] Restart=always"
        yield NOT_RESTARTED.found(exabgp.unit, f"Restart={seen.restart}", mend)


def _sessions(settings: Settings, seen: Seen) -> Iterator[Finding]:
    for uplink in settings.uplinks:
        for path in uplink.paths:
            if (path.probe_source, path.neighbor) not in seen.connections:
                yield SESSION_DOWN.found(
                    f"{path.neighbor} ({uplink.name})",
                    f"no TCP connection from {path.probe_source} to port 179",
                    f"ss -tn dst {path.neighbor}: SYN-SENT that stays is another password at the "
                    "ToR, or nobody there",
                )
