"""Ask every probe and every check of a file once, or a few times, as the program would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bgphealth.core.errors import ConfigurationError
from bgphealth.core.events import Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Address, Family, Mode, ProbeSettings, Role, Settings
from bgphealth.core.truth import Leg
from bgphealth.daemon.questions import KernelView, path_questions, service_questions
from bgphealth.fallback.gateways import Gateways, GatewaySearch, gateway_of
from bgphealth.fallback.missing import Missing, add, missing
from bgphealth.fallback.netlink import Interface, Netlink
from bgphealth.fallback.tables import plan, require_interfaces
from bgphealth.probes.outcome import Answer, Outcome

_STRICT = 1  # RFC 3704 strict reverse path, in the kernel's ip-sysctl.


@dataclass(frozen=True, slots=True)
class PathFacts:
    """What the kernel says of one path before anything is asked.

    `neighbor` is None on an unnumbered link, and where none is known. `source` is the probe source,
    or in words why there is none. `missing` is what its table and rule lack, None when nothing.
    `strict_reverse_path`: the kernel drops what comes in here while its route back leads elsewhere.
    """

    path: PathKey
    interface: str
    neighbor: Address | None
    source: Address | str
    missing: Missing | None
    strict_reverse_path: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One probe with its answers: of a path in a role, or of a service."""

    subject: PathFacts | str
    role: Role | None
    probe: ProbeSettings
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return next(v for v in (Verdict.FAILED, Verdict.UNKNOWN, Verdict.OK) if v in verdicts)

    @property
    def detail(self) -> str:
        """Why it is not ok, from the last answer with that verdict."""
        of_it = [o.detail for o in self.outcomes if o.verdict is self.verdict]
        return of_it[-1]

    @property
    def rtts_s(self) -> tuple[float, ...]:
        """The round-trip times of the answers that have one, in seconds."""
        return tuple(o.rtt_s for o in self.outcomes if o.rtt_s is not None)


@dataclass(frozen=True, slots=True)
class Once:
    """What was found. `added` says in words what was added to the kernel before."""

    paths: tuple[PathFacts, ...]
    asked: tuple[Asked, ...]
    added: tuple[str, ...]


async def ask_all(settings: Settings, *, count: int = 1, make_tables: bool = False) -> Once:
    """Look at the kernel, then ask everything at the same time, `count` times.

    Args:
        settings: the file.
        count: how often, one path interval apart.
        make_tables: first add what the uplinks' tables and rules lack; nothing is ever deleted.

    Raises:
        ConfigurationError: an interface does not exist, or tables are wanted and turned off.
        HostError: a table holds something else.
        PermissionDeniedError: tables are wanted and CAP_NET_ADMIN is missing.
    """
    if make_tables and not settings.fallback.enabled:
        raise ConfigurationError("fallback.enabled is false: the file forbids tables and rules")
    added: list[str] = []
    async with Netlink() as netlink:
        interfaces = await netlink.interfaces()
        require_interfaces(settings, interfaces)
        gateways = await GatewaySearch(settings, ask=False).look(interfaces, netlink)
        wanted = plan(settings, interfaces, gateways)
        lacks = await missing(settings, wanted, netlink)
        if make_tables and lacks:
            added = await add(lacks, netlink)
            lacks = await missing(settings, wanted, netlink)
    facts = _facts(settings, {**wanted.absent, **wanted.sources}, gateways, lacks)
    asked = await _ask(settings, facts, gateways, interfaces, count)
    return Once(tuple(facts.values()), asked, tuple(added))


def _facts(
    settings: Settings,
    sources: Mapping[PathKey, Address | str],
    gateways: Gateways,
    lacks: Mapping[PathKey, Missing],
) -> dict[PathKey, PathFacts]:
    found: dict[PathKey, PathFacts] = {}
    for uplink in settings.uplinks:
        for path in uplink.paths:
            key = PathKey(uplink.name, path.family)
            strict = path.family is Family.IPV4 and _is_strict(uplink.interface)
            leg, neighbor = gateways[key], path.neighbor
            if settings.mode is Mode.LOCAL and isinstance(leg, Leg):
                neighbor = leg.gateway
            found[key] = PathFacts(
                key, uplink.interface, neighbor, sources[key], lacks.get(key), strict
            )
    return found


def _is_strict(interface: str, sysctls: Path = Path("/proc/sys/net/ipv4/conf")) -> bool:
    """Return whether the kernel checks strictly: the larger of the two settings counts."""
    try:
        values = [int((sysctls / name / "rp_filter").read_text()) for name in ("all", interface)]
    except (OSError, ValueError):
        return False
    return max(values) == _STRICT


@dataclass(slots=True)
class _Asking:
    """One question on its way: how to ask it, and the answers so far."""

    subject: PathFacts | str
    role: Role | None
    probe: ProbeSettings
    ask: Callable[[Answer], None]
    close: Callable[[], None]
    outcomes: list[Outcome] = field(default_factory=list)

    async def once(self) -> None:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.ask(answer.set_result)
        self.outcomes.append(await answer)


async def _ask(
    settings: Settings,
    facts: Mapping[PathKey, PathFacts],
    gateways: Gateways,
    interfaces: Mapping[str, Interface],
    count: int,
) -> tuple[Asked, ...]:
    questions = _questions(settings, facts, gateways, interfaces)
    loop = asyncio.get_running_loop()
    try:
        for number in range(count):
            again_at = loop.time() + settings.path_timing.interval_s
            await asyncio.gather(*(question.once() for question in questions))
            if number + 1 < count:
                await asyncio.sleep(again_at - loop.time())
    finally:
        for question in questions:
            question.close()
    return tuple(Asked(q.subject, q.role, q.probe, tuple(q.outcomes)) for q in questions)


def _questions(
    settings: Settings,
    facts: Mapping[PathKey, PathFacts],
    gateways: Gateways,
    interfaces: Mapping[str, Interface],
) -> list[_Asking]:
    links = {u.name: interfaces[u.interface].up for u in settings.uplinks}

    def source(path: PathKey) -> Address | str:
        return facts[path].source

    def gateway(path: PathKey) -> Address | str:
        return gateway_of(gateways[path])

    kernel = KernelView(source, source, gateway, links.get)
    timeout_s = settings.path_timing.timeout_s
    paths = [
        _Asking(
            facts[question.path],
            question.probe.role,
            question.probe.probe,
            partial(question.prober.ask, question.probe.probe, timeout_s),
            question.prober.close,
        )
        for question in path_questions(settings, kernel)
    ]
    services = [
        _Asking(
            question.service.name,
            None,
            question.check,
            partial(question.prober.ask, question.check, question.service.timing.timeout_s),
            question.prober.close,
        )
        for question in service_questions(settings)
    ]
    return [*paths, *services]
