"""`bgphealth render`: the configuration of what stands around bgphealth."""

from __future__ import annotations

import asyncio
import grp
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bgphealth.cli.render_frr import differences as frr_differences
from bgphealth.cli.render_frr import running as frr_running
from bgphealth.config import load, passwords
from bgphealth.core.errors import HostError, PermissionDeniedError
from bgphealth.core.settings import Mode
from bgphealth.daemon.places import runtime_file
from bgphealth.exabgp import render as exabgp_render
from bgphealth.exabgp import unit
from bgphealth.fallback import nftables as nftables_render
from bgphealth.fallback import view
from bgphealth.frr import render as frr_render
from bgphealth.frr.existing import Existing, existing

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from bgphealth.cli.app import Invocation
    from bgphealth.core.settings import Settings
    from bgphealth.frr.setup import Daemon

_CONF = Path("/etc/exabgp/exabgp.conf")
_NEW_FILE_MODE = 0o644  # FRR and ExaBGP run as other users.
_NEW_DIRECTORY_MODE = 0o755
_LAST_GROUP = 65533  # The one before nogroup.
_SECRET_FILE_MODE = 0o640  # It holds a password: give the file to the group of who reads it.

_output = click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write into this directory instead of stdout.",
)

_fragment = click.option(
    "--fragment",
    is_flag=True,
    help="Of frr.conf only what is to be added to the configuration that FRR runs with.",
)
_program = click.option(
    "--program",
    help="bgphealth's absolute path, and arguments if it needs any. [default: this program]",
)
_user = click.option(
    "--user",
    help="The user and group that ExaBGP runs as, or bgphealth alone. [default: exabgp; bgphealth]",
)


_raw_icmp = click.option(
    "--raw-icmp/--no-raw-icmp",
    default=None,
    help="Whether net.ipv4.ping_group_range leaves that user out. [default: as on this machine]",
)


def _exabgp_here() -> Path:
    """Return the ExaBGP that was installed with this program, else the one in the PATH."""
    beside = Path(sys.executable).with_name("exabgp")
    return beside if beside.exists() else Path(shutil.which("exabgp") or beside)


_exabgp_program = click.option(
    "--exabgp",
    "exabgp_program",
    type=click.Path(path_type=Path),
    default=_exabgp_here,
    help="ExaBGP's absolute path. [default: the one beside this program]",
)


@click.group()
def render() -> None:
    """Write the configuration of everything around bgphealth."""


@render.command()
@_output
@_fragment
@click.option("--diff", is_flag=True, help="Show what would change in FRR, and nothing else.")
@click.pass_context
def frr(context: click.Context, directory: Path | None, *, fragment: bool, diff: bool) -> None:
    """Render frr.conf for the host's own FRR, or the part that is bgphealth's.

    FRR itself is never changed by this command. --fragment and --diff ask FRR what it runs with;
    --diff exits with status 1 where something would change.
    """
    invocation: Invocation = context.obj
    file = _absolute(invocation.file)
    settings = load(invocation.file)
    if diff and directory is not None:
        raise click.UsageError("--diff writes no file: leave out -o")
    beside = running = None
    if settings.mode is Mode.FRR and (fragment or diff):
        running = asyncio.run(frr_running(settings))
        beside = _existing(running) if fragment else None
    if diff and running is not None:
        found = list(frr_differences(settings, file, running, beside))
        click.echo("\n".join(found) if found else "nothing would change")
        context.exit(1 if found else 0)
    secrets = _passwords(settings, directory) if settings.mode is Mode.FRR else {}
    name = frr_render.PART if fragment else "frr.conf"
    text = frr_render.render(settings, file, secrets, beside)
    deliver({name: text}, directory, secret={name} if secrets else set())


@render.command()
@_output
@_program
@click.pass_obj
def exabgp(invocation: Invocation, directory: Path | None, program: str | None) -> None:
    """Render exabgp.conf, and with -o exabgp.env as well."""
    settings = load(invocation.file)
    secrets = _exabgp_passwords(settings, directory)
    files = _exabgp_files(settings, _absolute(invocation.file), program, secrets)
    if directory is None:
        del files["exabgp.env"]
    deliver(files, directory, secret={"exabgp.conf"} if secrets else set())


@render.command()
@_output
@_program
@_user
@_exabgp_program
@_raw_icmp
@click.pass_obj
def systemd(  # noqa: PLR0913 - one per option
    invocation: Invocation,
    directory: Path | None,
    program: str | None,
    user: str | None,
    exabgp_program: Path,
    *,
    raw_icmp: bool | None,
) -> None:
    """Render the unit: exabgp.service, or in mode local bgphealth.service.

    The first runs ExaBGP with /etc/exabgp/exabgp.conf, which says how bgphealth is started; the
    second runs bgphealth itself. Either may do what the file needs, and no more.
    """
    settings, file = load(invocation.file), _absolute(invocation.file)
    if settings.mode is Mode.LOCAL:
        deliver(_unit_alone(settings, file, program, user, raw_icmp=raw_icmp), directory)
    else:
        deliver(_unit(settings, file, exabgp_program, user, raw_icmp=raw_icmp), directory)


@render.command()
@_output
@click.option(
    "--user",
    default="exabgp",
    show_default=True,
    help="The user that bgphealth runs as: what it sends is left alone.",
)
@click.pass_obj
def nftables(invocation: Invocation, directory: Path | None, user: str) -> None:
    """Render bgphealth.nft: source NAT, for hosts whose default has no preferred source.

    Not among what `all` renders: a default with a source needs none of it.
    """
    text = nftables_render.render(load(invocation.file), _absolute(invocation.file), user)
    deliver({"bgphealth.nft": text}, directory)


@render.command("all")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory to write into.",
)
@_fragment
@_program
@_user
@_exabgp_program
@_raw_icmp
@click.pass_obj
def render_all(  # noqa: PLR0913 - an option each
    invocation: Invocation,
    directory: Path,
    program: str | None,
    user: str | None,
    exabgp_program: Path,
    *,
    raw_icmp: bool | None,
    fragment: bool,
) -> None:
    """Render everything into one directory, to look at and to compare."""
    file, settings = _absolute(invocation.file), load(invocation.file)
    if settings.mode is Mode.LOCAL:
        deliver(_unit_alone(settings, file, program, user, raw_icmp=raw_icmp), directory)
        return
    files = _unit(settings, file, exabgp_program, user, raw_icmp=raw_icmp)
    secrets = _exabgp_passwords(settings, directory)
    files |= _exabgp_files(settings, file, program, secrets)
    secret = {"exabgp.conf"} if secrets else set()
    if settings.mode is Mode.FRR:
        secrets = _passwords(settings, directory)
        name = frr_render.PART if fragment else "frr.conf"
        beside = _existing(asyncio.run(frr_running(settings))) if fragment else None
        files[name] = frr_render.render(settings, file, secrets, beside)
        secret = {name} if secrets else set()
    deliver(files, directory, secret)


def _existing(running: Mapping[str, Daemon]) -> Existing:
    return existing(daemon.configuration for daemon in running.values())


def _exabgp_files(
    settings: Settings, file: Path, program: str | None, secrets: Mapping[str, str]
) -> dict[str, str]:
    return {
        "exabgp.conf": exabgp_render.render_conf(settings, file, _words(program), secrets),
        "exabgp.env": exabgp_render.render_env(file),
    }


def _words(program: str | None) -> list[str]:
    return program.split() if program is not None else this_program()


def _passwords(settings: Settings, directory: Path | None) -> Mapping[str, str]:
    """Read the passwords of the sessions, if they go where only their reader sees them."""
    found = passwords.read(settings)
    if found and directory is None:
        raise click.UsageError(
            f"this would show the password of {', '.join(found)}; with -o DIRECTORY it goes into a "
            "file that others cannot read"
        )
    for file in passwords.public(settings):
        click.echo(f"{file}: everybody on this host can read it: chmod o= {file}", err=True)
    return found


def _exabgp_passwords(settings: Settings, directory: Path | None) -> Mapping[str, str]:
    """Read what exabgp.conf needs: with FRR, the sessions that have passwords are FRR's."""
    return _passwords(settings, directory) if settings.mode is Mode.DIRECT else {}


def _unit_alone(
    settings: Settings, file: Path, program: str | None, user: str | None, *, raw_icmp: bool | None
) -> dict[str, str]:
    host = unit.Alone(file, _words(program))
    host = host if user is None else host._replace(user=user)
    return {
        "bgphealth.service": unit.render_alone(_needs(settings, host.user, raw_icmp=raw_icmp), host)
    }


def _unit(
    settings: Settings, file: Path, exabgp: Path, user: str | None, *, raw_icmp: bool | None
) -> dict[str, str]:
    # As the unit will see it: its RuntimeDirectory is the default one.
    pid_file = runtime_file(file, "pid", {})
    host = unit.Host(file, _absolute(exabgp), _CONF, pid_file)
    host = host if user is None else host._replace(user=user)
    needs = _needs(settings, host.user, raw_icmp=raw_icmp)
    return {"exabgp.service": unit.render(needs, host, frr=settings.mode is Mode.FRR)}


def _needs(settings: Settings, user: str, *, raw_icmp: bool | None) -> unit.Needs:
    raw_icmp = not _may_ping(user) if raw_icmp is None else raw_icmp
    return unit.needs(settings, raw_icmp=raw_icmp)


def _may_ping(group: str) -> bool:
    """Tell whether this machine lets a group send ICMP echo requests without a privilege."""
    lowest, highest = map(int, (view.sysctl("ipv4/ping_group_range") or "1 0").split())
    try:
        numbers = [grp.getgrnam(group).gr_gid]
    except KeyError:
        numbers = [1, _LAST_GROUP]  # It will be some group.
    return all(lowest <= number <= highest for number in numbers)


def _absolute(file: Path) -> Path:
    """Return the path for another program to use: absolute, but with its links left alone."""
    return Path(os.path.abspath(file))  # noqa: PTH100 -- Path.resolve follows links.


def this_program() -> list[str]:
    """Return how to start this bgphealth again, from any directory."""
    started = shutil.which(sys.argv[0])
    if started is not None and not started.endswith(".py"):
        return [os.path.abspath(started)]  # noqa: PTH100 -- The link is what is in PATH.
    return [sys.executable, "-m", "bgphealth"]


def deliver(
    files: Mapping[str, str], directory: Path | None, secret: Set[str] = frozenset()
) -> None:
    """Print the files, or write them; what is `secret` is kept from other users."""
    if directory is None:
        for text in files.values():
            click.echo(text, nl=False)
        return
    for name, text in files.items():
        target = directory / name
        try:
            _make(directory)
            _write(target, text, secret=name in secret)
        except PermissionError as error:
            raise PermissionDeniedError(f"{target}: permission denied") from error
        except OSError as error:
            raise HostError(f"{target}: cannot be written: {error.strerror}") from error
        click.echo(f"wrote {target}", err=True)


def _make(directory: Path) -> None:
    """Make a directory that others may look into, as they may read what comes into it."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in missing:
        each.chmod(_NEW_DIRECTORY_MODE)


def refuse_to_replace(target: Path, *, force: bool) -> None:
    """Refuse to write over a file that is there, but by `force`.

    Raises:
        click.UsageError: it is there.
    """
    with suppress(PermissionError):  # `deliver` says it.
        if target.exists() and not force:
            raise click.UsageError(f"{target} exists; --force overwrites it")


def _write(target: Path, text: str, *, secret: bool) -> None:
    """Put a file into place as a whole, or not at all; an old one's owner and mode stay.

    But for the right of other users to a file with a secret in it.
    """
    target = target.resolve()  # Behind a link, the file itself is replaced.
    old = target.stat() if target.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            mode = _NEW_FILE_MODE if old is None else old.st_mode & 0o7777
            if secret:
                mode = _SECRET_FILE_MODE if old is None else mode & ~0o007
            os.fchmod(stream.fileno(), mode)
            if old is not None:
                with suppress(PermissionError):  # Only root can give a file to somebody else.
                    os.fchown(stream.fileno(), old.st_uid, old.st_gid)
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
