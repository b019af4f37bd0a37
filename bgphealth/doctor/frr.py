"""What of FRR is not as mode ``frr`` needs it: daemons, sessions, the running configuration."""

from __future__ import annotations

import asyncio
import os
import pwd
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import Family, ProbeKind, Settings, UplinkSettings
from bgphealth.doctor import frr_lines
from bgphealth.doctor.finding import Finding, Kind, Severity
from bgphealth.doctor.frr_lines import Loading
from bgphealth.frr import beside as by
from bgphealth.frr import configuration, setup
from bgphealth.frr.existing import Existing, existing
from bgphealth.frr.render import HEADER, PART, render
from bgphealth.frr.setup import Daemon, Neighbor
from bgphealth.frr.state import Session, Sessions, Vtysh

MISSING = Kind(
    "frr_missing",
    Severity.ERROR,
    "FRR is not installed",
    "in mode frr it is FRR that speaks to the ToRs and installs the defaults",
)
NOT_ASKED = Kind(
    "frr_not_asked",
    Severity.NOTE,
    "FRR may not be asked",
    "nothing is known about its sessions and its configuration",
)
DAEMON = Kind(
    "frr_daemon",
    Severity.ERROR,
    "one of FRR's daemons does not run, or does not answer",
    "zebra installs the defaults, bgpd speaks to the ToRs and to ExaBGP, staticd has the next hop "
    "of the services, bfdd sees a dead ToR within a second",
)
OLD = Kind(
    "frr_old",
    Severity.WARNING,
    "FRR is older than 8.4",
    "bgphealth was tried with nothing older: neither its configuration nor what it reads",
)
NEW = Kind(
    "frr_new",
    Severity.NOTE,
    "FRR is newer than 10",
    "bgphealth was tried with nothing newer: what it reads may have changed",
)
RESOLVE_VIA_DEFAULT = Kind(
    "frr_resolve_via_default",
    Severity.WARNING,
    "zebra resolves next hops with a default",
    "reached through the other uplink's default, a next hop that is dead looks alive",
)
CONF_OLD = Kind(
    "frr_conf_old",
    Severity.WARNING,
    "frr.conf lacks what the rendered one has",
    "FRR reads it at its next start, and what was entered by vtysh is forgotten then",
)
CONF_NOT_READ = Kind(
    "frr_conf_not_read",
    Severity.NOTE,
    "frr.conf may not be read",
    "it is not known what FRR will have after its next start",
)
INJECTOR_DOWN = Kind(
    "frr_injector_down",
    Severity.ERROR,
    "bgpd has no session with ExaBGP",
    "nothing that bgphealth announces reaches FRR: the ToRs' own defaults serve, unverified, and "
    "of the services only those with `on_injector_loss: keep` are announced",
)
ADD_PATH = Kind(
    "frr_add_path",
    Severity.ERROR,
    "ADD-PATH (RFC 7911) is not negotiated with ExaBGP",
    "the defaults of the uplinks are told apart by their path identifiers: without them bgpd has "
    "one default, and one uplink carries everything",
)
SESSION_DOWN = Kind(
    "frr_session_down",
    Severity.ERROR,
    "bgpd has no session with a ToR",
    "this ToR hears of no service, and gives no default of its own to fall back to",
)
FAMILY = Kind(
    "frr_family",
    Severity.ERROR,
    "a session is up, but not for a family that it is for",
    "no prefix of that family is sent or taken on it, whatever is announced (RFC 4760)",
)
TOR_GRACEFUL_RESTART = Kind(
    "frr_tor_graceful_restart",
    Severity.NOTE,
    "a ToR asks for graceful restart",
    "its own default stays in use for so long after its session ends; the probes leave a dead ToR "
    "all the same, but not while ExaBGP is gone",
)
BFD_DOWN = Kind(
    "frr_bfd_down",
    Severity.WARNING,
    "BFD does not watch a session that it is to watch",
    "bgpd waits for the hold time, 9 s, to see this ToR dead; the probes are faster, but not while "
    "ExaBGP is gone",
)

KINDS = (
    MISSING,
    NOT_ASKED,
    DAEMON,
    OLD,
    NEW,
    *frr_lines.KINDS,
    RESOLVE_VIA_DEFAULT,
    CONF_OLD,
    CONF_NOT_READ,
    INJECTOR_DOWN,
    ADD_PATH,
    SESSION_DOWN,
    FAMILY,
    TOR_GRACEFUL_RESTART,
    BFD_DOWN,
)

OLDEST, NEWEST = (8, 4), (10, 99)

CONF = Path("/etc/frr/frr.conf")

_LATE_S = 10.0
"""How long a daemon may take to answer: more than the program waits, a busy one is no dead one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What FRR said, or in words why it did not.

    `conf` is what frr.conf says, None where there is no such file. `user` is who asked.
    """

    daemons: Mapping[str, Daemon | str]
    neighbors: Mapping[str, Neighbor] | str
    bfd_peers: Sessions
    conf: str | PermissionError | None
    user: str


class _Tor(NamedTuple):
    """The session with one ToR; `neighbor` is what bgpd calls it."""

    uplink: UplinkSettings
    neighbor: str
    families: tuple[Family, ...]


async def findings(settings: Settings, file: Path) -> list[Finding]:
    """Ask FRR, and return what is not as `file`, of which these are the settings, needs it.

    In mode ``frr`` only.
    """
    vtysh = Vtysh(timeout_s=_LATE_S)
    daemons, neighbors, peers = await asyncio.gather(
        setup.daemons(vtysh, _needed(settings)),
        setup.neighbors(vtysh),
        _bfd_peers(vtysh, settings),
    )
    seen = Seen(daemons, neighbors, peers, _conf(), _user())
    return examine(settings, file, seen)


async def _bfd_peers(vtysh: Vtysh, settings: Settings) -> Sessions:
    return await vtysh.bfd_peers() if _has_bfd(settings) else ()


def _conf() -> str | PermissionError | None:
    try:
        return CONF.read_text(encoding="utf-8", errors="replace")
    except PermissionError as error:
        return error
    except OSError:
        return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def examine(settings: Settings, file: Path, seen: Seen) -> list[Finding]:
    """Return what is not as it should be; `seen` is all that it is judged by."""
    unknown = [why for why in seen.daemons.values() if isinstance(why, str)]
    if any("is not installed" in why for why in unknown):
        return [MISSING.found("FRR", unknown[0], "apt install frr")]
    if any("no permission" in why for why in unknown):
        return [NOT_ASKED.found("FRR", unknown[0], f"usermod -aG frrvty {shlex.quote(seen.user)}")]
    found = [*_daemons(seen), *_configuration(settings, file, seen)]
    if not isinstance(seen.neighbors, str):
        found += _injector(settings, seen.neighbors)
        for tor in _tors(settings):
            found += _tor(settings, tor, seen.neighbors)
    found += _bfd(settings, seen)
    return found


def _needed(settings: Settings) -> tuple[str, ...]:
    daemons = ("zebra", "bgpd", "staticd")
    return (*daemons, "bfdd") if _has_bfd(settings) else daemons


def _has_bfd(settings: Settings) -> bool:
    probes = (
        probe
        for uplink in settings.uplinks
        for path in uplink.paths
        for probe in (*path.gateway, *path.beyond)
    )
    asked = any(probe.kind is ProbeKind.BFD for probe in probes)
    return asked or any(uplink.bfd is not None for uplink in settings.uplinks)


def _daemons(seen: Seen) -> Iterator[Finding]:
    for name, daemon in seen.daemons.items():
        if isinstance(daemon, str):
            # zebra and staticd always run.
            is_chosen = name in ("bgpd", "bfdd")
            chosen = f"{name}=yes in /etc/frr/daemons, then " if is_chosen else ""
            yield DAEMON.found(name, daemon, f"{chosen}systemctl restart frr")
    for version in {d.version for d in seen.daemons.values() if isinstance(d, Daemon)}:
        said = f"version {'.'.join(map(str, version))}"
        if version < OLDEST:
            yield OLD.found("FRR", said, "install FRR 8.4 or newer")
        elif version > NEWEST:
            yield NEW.found("FRR", said)


# ---- the configuration ---------------------------------------------------------------------------


def _configuration(settings: Settings, file: Path, seen: Seen) -> Iterator[Finding]:
    # A line of a password is wanted where there is one; what it is, nobody needs to know here.
    passwords = {u.name: "***" for u in settings.uplinks if u.password_file is not None}
    running = [daemon for daemon in seen.daemons.values() if isinstance(daemon, Daemon)]
    there = existing(daemon.configuration for daemon in running)
    is_part = there.is_part or _has_its_own(there, seen)
    zebra = seen.daemons.get("zebra")
    if isinstance(zebra, Daemon) and not (is_part and by.multihop(settings, there)):
        yield from _resolve_via_default(settings, zebra)
    try:
        conf = render(settings, file, passwords, there if is_part else None)
    except ConfigurationError as error:
        yield frr_lines.NOT_RENDERED.found("frr.conf", str(error))
        return
    rendered = configuration.lines(conf)
    command = f"bgphealth -c {shlex.quote(str(file))} render frr "
    loading = Loading(f"{command}-o {CONF.parent}", "vtysh -b")
    if is_part:
        part = Path("/run", PART)
        loading = Loading(f"{command}--fragment -o {part.parent}", f"vtysh -f {part}")
    if len(running) == len(seen.daemons):
        # Each daemon has its own part of it, some lines several of them.
        printed = dict.fromkeys(
            line for daemon in running for line in configuration.lines(daemon.configuration)
        )
        yield from frr_lines.findings(rendered, tuple(printed), loading)
    yield from _conf_file(rendered, seen, "vtysh -c 'write memory'" if is_part else loading.render)


def _has_its_own(there: Existing, seen: Seen) -> bool:
    """Return whether FRR has a configuration, and nothing of ours in it or meant to be."""
    is_meant = isinstance(seen.conf, str) and HEADER in seen.conf
    return there.asn is not None and not there.has_ours and not is_meant


def _resolve_via_default(settings: Settings, zebra: Daemon) -> Iterator[Finding]:
    for family in settings.families:
        ip = "ip" if family is Family.IPV4 else "ipv6"
        if configuration.resolves_via_default(zebra.configuration, ip, zebra.version):
            line = f"{ip} nht resolve-via-default"
            yield RESOLVE_VIA_DEFAULT.found("zebra", f"'{line}' is on", _configured(f"no {line}"))


def _conf_file(
    rendered: tuple[configuration.Line, ...], seen: Seen, command: str
) -> Iterator[Finding]:
    """Compare what FRR reads at its next start; where there is no frr.conf, it reads others."""
    if isinstance(seen.conf, PermissionError):
        yield CONF_NOT_READ.found(CONF, f"no permission for {seen.user}", "run this as root")
    elif seen.conf is not None:
        absent = configuration.missing(rendered, configuration.lines(seen.conf))
        if absent:
            count = f"{len(absent)} lines are" if len(absent) > 1 else "1 line is"
            found = f"{count} missing in it, the first is '{absent[0].text}'"
            yield CONF_OLD.found(CONF, found, command)


# ---- the sessions --------------------------------------------------------------------------------


def _tors(settings: Settings) -> Iterator[_Tor]:
    for uplink in settings.uplinks:
        if uplink.is_unnumbered:
            yield _Tor(uplink, uplink.interface, tuple(path.family for path in uplink.paths))
        else:
            yield from (_Tor(uplink, str(p.neighbor), (p.family,)) for p in uplink.paths)


def _injector(settings: Settings, neighbors: Mapping[str, Neighbor]) -> Iterator[Finding]:
    """Look at ExaBGP's session. One that bgpd does not know is missing in its configuration."""
    name = str(settings.host.injector)
    neighbor = neighbors.get(name)
    if neighbor is None:
        return
    subject = f"{name} (ExaBGP)"
    session = neighbor.session
    if not session.is_up:
        mend = _unshut(settings, name) if session.is_shut else "systemctl restart exabgp"
        yield INJECTOR_DOWN.found(subject, _state(session), mend)
        return
    yield from _families(subject, settings.families, neighbor)
    for family in settings.families:
        if family not in neighbor.families:
            continue
        if family not in neighbor.takes_many_paths:
            mend = _configured(
                f"router bgp {settings.host.asn}",
                f"address-family {family} unicast",
                f"no neighbor {name} disable-addpath-rx",
            )
            yield ADD_PATH.found(subject, f"bgpd does not offer it for {family}", mend)
        elif family not in neighbor.many_paths:
            mend = "in exabgp.conf: capability { add-path send; }, then systemctl restart exabgp"
            yield ADD_PATH.found(subject, f"ExaBGP does not offer it for {family}", mend)


def _tor(settings: Settings, tor: _Tor, neighbors: Mapping[str, Neighbor]) -> Iterator[Finding]:
    neighbor = neighbors.get(tor.neighbor)
    if neighbor is None:
        return  # It is missing in the configuration.
    subject = f"{tor.neighbor} ({tor.uplink.name})"
    session = neighbor.session
    if not session.is_up:
        mend = _unshut(settings, tor.neighbor) if session.is_shut else None
        yield SESSION_DOWN.found(subject, _state(session), mend)
        return
    yield from _families(subject, tor.families, neighbor)
    if neighbor.keeps_for_s is not None:
        found = f"bgpd keeps its routes for {neighbor.keeps_for_s:g} s after the end of its session"
        mend = _configured(
            f"router bgp {settings.host.asn}",
            f"neighbor {tor.neighbor} graceful-restart-disable",
            "end",
            f"clear bgp {tor.neighbor}",
        )
        yield TOR_GRACEFUL_RESTART.found(subject, found, mend)


def _families(subject: str, wanted: tuple[Family, ...], neighbor: Neighbor) -> Iterator[Finding]:
    for family in wanted:
        if family not in neighbor.families:
            found = f"{family} unicast is not negotiated"
            yield FAMILY.found(subject, found, f"activate {family} unicast at the other side")


def _state(session: Session) -> str:
    since = "" if session.for_s is None else f" since {session.for_s:.0f} s"
    shut = ", shut down on this host" if session.is_shut else ""
    reason = f"; last: {session.reason}" if session.reason else ""
    return f"{session.state}{since}{shut}{reason}"


def _bfd(settings: Settings, seen: Seen) -> Iterator[Finding]:
    if isinstance(seen.bfd_peers, str):
        return  # bfdd is down.
    for tor in _tors(settings):
        if tor.uplink.bfd is None:
            continue
        session = next((peer for peer in seen.bfd_peers if _is_with(peer, tor)), None)
        if session is None or not session.is_up:
            found = "there is no BFD session" if session is None else _state(session)
            mend = "let the ToR speak BFD on this session; in FRR: bfdd=yes, neighbor … bfd"
            yield BFD_DOWN.found(f"{tor.neighbor} ({tor.uplink.name})", found, mend)


def _is_with(peer: Session, tor: _Tor) -> bool:
    if tor.uplink.is_unnumbered:
        return peer.interface == tor.neighbor
    return str(peer.address) == tor.neighbor


def _unshut(settings: Settings, neighbor: str) -> str:
    return _configured(f"router bgp {settings.host.asn}", f"no neighbor {neighbor} shutdown")


def _configured(*lines: str) -> str:
    return "vtysh " + " ".join(f"-c {shlex.quote(line)}" for line in ("configure terminal", *lines))
