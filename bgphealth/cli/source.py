"""`bgphealth source`: from which address and which way the kernel sends, and why."""

from __future__ import annotations

import asyncio
import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bgphealth import config
from bgphealth.core.lookup import Question, Taken
from bgphealth.core.lookup_words import Explained, asks_bgp, explain
from bgphealth.core.settings import Address
from bgphealth.core.truth import BgpRoute
from bgphealth.fallback.lookup import NoSuchInterfaceError, look_up
from bgphealth.frr.routes import injected
from bgphealth.frr.state import Vtysh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bgphealth.cli.app import Invocation
    from bgphealth.core.lookup import Looked
    from bgphealth.core.settings import Settings
    from bgphealth.core.truth import Leg

SCHEMA_VERSION = 1
"""Version of the JSON output: a new field does not change it, a changed or removed one does."""

_BROADCAST = IPv4Address("255.255.255.255")
_WARNED = 1
_WIDTH = len("warning  ")


def _address(_: click.Context, __: click.Parameter, value: str | None) -> Address | None:
    """Read the address of a host; a link-local one may name its interface (``fe80::1%eth1``)."""
    if value is None:
        return None
    try:
        address = ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is {_what(value)}") from None
    if isinstance(address, IPv6Address) and (inside := address.ipv4_mapped) is not None:
        raise click.BadParameter(f"a packet to {value} is an IPv4 packet: ask for {inside}")
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise click.BadParameter(f"{value} is not the address of one host")
    return address


def _mark(_: click.Context, __: click.Parameter, value: str) -> int:
    """Read a firewall mark, decimal or hexadecimal."""
    try:
        mark = int(value, 0)
    except ValueError:
        mark = -1
    if not 0 <= mark < 1 << 32:
        raise click.BadParameter(f"{value!r} is no mark: a number below 2^32, like 7 or 0x7")
    return mark


@click.command()
@click.argument("destination", metavar="DEST", callback=_address)
@click.option(
    "--from", "bound", metavar="ADDRESS", callback=_address, help="Bound to this address."
)
@click.option("--oif", "interface", metavar="INTERFACE", help="Bound to this interface.")
@click.option(
    "--mark", metavar="N", callback=_mark, default="0", help="With this firewall mark (SO_MARK)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def source(  # noqa: PLR0913 - what a socket can be bound to
    context: click.Context,
    *,
    destination: Address,
    bound: Address | None,
    interface: str | None,
    mark: int,
    as_json: bool,
) -> None:
    """Say from which address and which way a connection to DEST leaves, and why.

    The kernel is asked, as for a socket that connects to the address DEST: the rule, the table and
    the route that it takes, the source, and why no other address of the host. Nothing is sent and
    nothing is changed. Without a configuration file uplinks and services have no names.

    Exit status: 0 there is a way and nothing is wrong with it, 1 there is none, or a warning.
    """
    invocation: Invocation = context.obj
    question = _question(destination, bound, interface, mark)
    settings = _settings(context, invocation)
    try:
        looked, bgp = asyncio.run(_ask(question, settings))
    except NoSuchInterfaceError as error:
        raise click.BadParameter(str(error), param_hint="'--oif'") from error
    explained = explain(looked, settings, bgp)
    if as_json:
        file = None if settings is None else str(invocation.file)
        click.echo(json.dumps(_json(file, looked, explained), indent=2))
    else:
        click.echo("\n".join(_lines(explained)))
    context.exit(_WARNED if explained.warnings else 0)


def _what(text: str) -> str:
    """Return in words what is given for an address."""
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        return "no address; names are not looked up, ask for one of the addresses of the name"
    return f"a prefix: ask for an address in it, like {text.partition('/')[0]} of {prefix}"


def _question(
    destination: Address, bound: Address | None, interface: str | None, mark: int
) -> Question:
    if bound is not None and bound.version != destination.version:
        raise click.BadParameter(
            f"{bound} and {destination} are of two families", param_hint="'--from'"
        )
    zone = destination.scope_id if isinstance(destination, IPv6Address) else None
    if zone is not None and interface not in (None, zone):
        raise click.BadParameter(f"{destination} is on {zone}", param_hint="'--oif'")
    plain = _without_zone(destination)
    if plain.version == 6 and plain.is_link_local and (zone or interface) is None:  # noqa: PLR2004
        raise click.BadParameter(
            f"{plain} is there on every link: say which one, {plain}%INTERFACE",
            param_hint="'DEST'",
        )
    return Question(plain, None if bound is None else _without_zone(bound), interface or zone, mark)


def _without_zone(address: Address) -> Address:
    return ip_address(str(address).partition("%")[0])


def _settings(context: click.Context, invocation: Invocation) -> Settings | None:
    """Return the file; None where there is none and nobody has named one."""
    above = context.parent
    is_named = (
        above is not None and above.get_parameter_source("file") is not ParameterSource.DEFAULT
    )
    if not is_named and not invocation.file.exists():
        return None
    return config.load(invocation.file)


async def _ask(question: Question, settings: Settings | None) -> tuple[Looked, BgpRoute | str]:
    looked = await look_up(question)
    if settings is None or not asks_bgp(looked, settings):
        return looked, BgpRoute()
    default = question.family.default_prefix
    found = await injected(Vtysh(), settings.host.injector, [default])
    return looked, found if isinstance(found, str) else found.routes[default]


# ---- for people ----------------------------------------------------------------------------------


def _lines(explained: Explained) -> Iterator[str]:
    yield explained.answer
    for rule in explained.rules:
        yield _row("rule", rule if len(explained.rules) == 1 else f"{rule} (one of these)")
    if explained.table is not None:
        yield _row("table", explained.table)
    for number, line in enumerate(explained.route):
        yield _row("route" if number == 0 else "", line if number == 0 else f"    {line}")
    if explained.tier_in_words is not None:
        yield _row("tier", explained.tier_in_words)
    if explained.why is not None:
        yield _row("source", explained.why)
    for number, other in enumerate(explained.others):
        what = "" if other.what is None else f" ({other.what})"
        said = f"{other.address} on {other.interface}{what}: {other.why_not}"
        yield _row("not" if number == 0 else "", said)
    for note in explained.notes:
        yield _row("note", note)
    for warning in explained.warnings:
        yield _row("warning", warning.text)


def _row(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}}{text}"


# ---- for programs --------------------------------------------------------------------------------


def _json(file: str | None, looked: Looked, explained: Explained) -> dict[str, object]:
    question, reply = looked.question, looked.reply
    matched = reply.matched if isinstance(reply, Taken) else None
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "destination": str(question.destination),
        "from": _text(question.source),
        "oif": question.interface,
        "mark": question.mark,
        "answer": explained.answer,
        "errno": None if isinstance(reply, Taken) else reply.errno,
        "source": _text(looked.source),
        "choices": [{"source": _text(c.source), **_leg(c.leg)} for c in looked.choices],
        "rules": list(explained.rules),
        "table": explained.table,
        "route": list(explained.route),
        "kind": None if matched is None else matched.kind.value,
        "protocol": None if matched is None else matched.protocol,
        "tier": None if explained.tier is None else explained.tier.value,
        "why": explained.why,
        "others": [
            {
                "address": str(other.address),
                "interface": other.interface,
                "what": other.what,
                "why_not": other.why_not,
            }
            for other in explained.others
        ],
        "notes": list(explained.notes),
        "warnings": [{"word": w.word, "text": w.text} for w in explained.warnings],
    }


def _leg(leg: Leg) -> dict[str, object]:
    return {"gateway": _text(leg.gateway), "interface": leg.interface}


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
