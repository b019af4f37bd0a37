"""`bgphealth import`: a file of ours from those of another health checker."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bgphealth.cli.render import deliver, refuse_to_replace
from bgphealth.config import InvalidFileError, Problem, loads, raw
from bgphealth.core.settings import Mode
from bgphealth.imports import anycast_healthchecker as anycast
from bgphealth.imports import exabgp_healthcheck
from bgphealth.imports.draft import Input, Known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INCOMPLETE = 1
_STDOUT = "bgphealth.yaml"


class _Address(click.ParamType[IPv4Address | IPv6Address]):
    """An IP address."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Address | IPv6Address:
        """Return the address that a text is."""
        try:
            return ip_address(str(value))
        except ValueError:
            self.fail(f"{value!r} is no IP address", param, ctx)


class _Interface(click.ParamType[tuple[IPv4Address | IPv6Address, str]]):
    """A neighbor and the interface that leads to it."""

    name = "neighbor=interface"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[IPv4Address | IPv6Address, str]:
        """Return both."""
        neighbor, equals, interface = str(value).partition("=")
        if not equals or not interface:
            self.fail(f"{value!r} must be such as 10.0.1.0=eth1", param, ctx)
        return _Address().convert(neighbor, param, ctx), interface


_OPTIONS = (
    click.option(
        "-o",
        "--output",
        "target",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write there instead of to stdout; a file that exists is left alone.",
    ),
    click.option("--force", is_flag=True, help="Overwrite the file of -o."),
    click.option(
        "--mode",
        type=click.Choice(["frr", "direct"]),
        help="Who speaks to the routers: this host's own FRR, or ExaBGP itself.",
    ),
    click.option(
        "--source",
        "sources",
        type=_Address(),
        multiple=True,
        help="The host loopback (host.source); one of each family.",
    ),
    click.option(
        "--interface",
        "interfaces",
        type=_Interface(),
        multiple=True,
        metavar="NEIGHBOR=INTERFACE",
        help="The interface that leads to a neighbor; once for each.",
    ),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group("import")
def imports() -> None:
    """Make a file from those of another health checker.

    What has no equivalent, or a better one, is said in a comment; what their files do not say is
    a place to FILL IN. Nothing of theirs is changed.

    Exit status: 0 the file is complete, 1 there are places to fill in, 2 usage, 78 their file is
    wrong.
    """


@imports.command("exabgp-healthcheck")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@_with_options
@click.pass_context
def exabgp(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    files: tuple[Path, ...],
    target: Path | None,
    force: bool,
    mode: str | None,
    sources: tuple[IPv4Address | IPv6Address, ...],
    interfaces: tuple[tuple[IPv4Address | IPv6Address, str], ...],
) -> None:
    """Import `exabgp healthcheck`: FILES are exabgp.conf, files of options (--config), or both.

    A file that exabgp.conf names with --config is read where it is, or is one of FILES by its name.
    """
    inputs = [_input(file) for file in files]
    by_name = {file.name: found for file, found in zip(files, inputs, strict=True)}

    def find(name: str) -> Input | None:
        path = Path(name)
        if path.name in by_name:
            return by_name[path.name]
        return _input(path) if path.is_file() else None

    known = _known(mode, sources, interfaces)
    _deliver(context, exabgp_healthcheck.convert(inputs, known, find), target, force=force)


@imports.command("anycast-healthchecker")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@click.option(
    "--bird",
    "birds",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    multiple=True,
    help="bird.conf, for the neighbors; once for each file, those that it includes as well.",
)
@_with_options
@click.pass_context
def anycast_healthchecker(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    files: tuple[Path, ...],
    birds: tuple[Path, ...],
    target: Path | None,
    force: bool,
    mode: str | None,
    sources: tuple[IPv4Address | IPv6Address, ...],
    interfaces: tuple[tuple[IPv4Address | IPv6Address, str], ...],
) -> None:
    """Import anycast-healthchecker: FILES are its files and its directories of *.conf."""
    inputs = [_input(file) for given in files for file in _inside(given)]
    known = _known(mode, sources, interfaces)
    text = anycast.convert(inputs, [_input(file) for file in birds], known)
    _deliver(context, text, target, force=force)


def _known(
    mode: str | None,
    sources: Sequence[IPv4Address | IPv6Address],
    interfaces: Sequence[tuple[IPv4Address | IPv6Address, str]],
) -> Known:
    return Known(Mode(mode) if mode else None, tuple(sources), dict(interfaces))


def _inside(given: Path) -> list[Path]:
    """Return a file, or what anycast-healthchecker reads in a directory."""
    if not given.is_dir():
        return [given]
    found = sorted(given.glob("*.conf"))
    if not found:
        raise InvalidFileError([Problem(str(given), 1, "", "there is no *.conf in it")])
    return found


def _input(file: Path) -> Input:
    content = raw(file)
    try:
        return Input(str(file), content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"is not a text file in UTF-8 (byte 0x{content[error.start]:02x})"
        raise InvalidFileError([Problem(str(file), line, "", message)]) from None


def _deliver(context: click.Context, text: str, target: Path | None, *, force: bool) -> None:
    """Print or write the file, and say what `check` says of it."""
    if target is None:
        click.echo(text, nl=False)
    else:
        refuse_to_replace(target, force=force)
        deliver({target.name: text}, target.parent)
    try:
        loads(str(target or _STDOUT), text.encode())
    except InvalidFileError as error:
        click.echo(f"{error}\nto fill in or to mend: {len(error.problems)}", err=True)
        context.exit(_INCOMPLETE)
