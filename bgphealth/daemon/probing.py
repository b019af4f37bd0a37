"""Turn the file's probes and checks into a schedule, and their answers into events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from bgphealth.core.events import Event, PathProbed, ServiceChecked, Verdict
from bgphealth.core.health import PathKey
from bgphealth.core.settings import (
    Address,
    Family,
    ProbeKind,
    ProbeSettings,
    Role,
    ServiceSettings,
    Settings,
    Timing,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.probes.binding import Binding, Source
from bgphealth.probes.icmp import IcmpProber
from bgphealth.probes.outcome import Outcome, Prober
from bgphealth.probes.schedule import Every
from bgphealth.probes.tcp import TcpProber


class Probing:
    """All probes and checks of one file. Needs a running event loop.

    Args:
        settings: the file.
        source: the source address of a path now, or in words why there is none.
        post: called with each event, must not block.
    """

    def __init__(
        self,
        settings: Settings,
        source: Callable[[PathKey], Address | str],
        post: Callable[[Event], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._post = post
        self._probers: list[Prober] = []
        self._schedule: list[Every] = []
        for uplink in settings.uplinks:
            for path in uplink.paths:
                key = PathKey(uplink.name, path.family)
                self._add_path(uplink, path, settings.path_timing, partial(source, key))
        for number, service in enumerate(settings.services):
            # Many services must not all be checked in the same instant.
            phase_s = service.timing.interval_s * number / len(settings.services)
            for check in service.checks:
                self._add_check(service, check, phase_s)

    def close(self) -> None:
        """Stop asking and free the sockets."""
        for every in self._schedule:
            every.stop()
        for prober in self._probers:
            prober.close()

    def _add_path(
        self, uplink: UplinkSettings, path: UplinkPath, timing: Timing, source: Source
    ) -> None:
        binding = Binding(uplink.interface, source)
        probers: dict[ProbeKind, Prober] = {
            ProbeKind.ICMP: IcmpProber(path.family, binding),
            ProbeKind.TCP: TcpProber(binding),
        }
        self._probers.extend(probers.values())
        for role, probes in ((Role.GATEWAY, path.gateway), (Role.BEYOND, path.beyond)):
            for probe in probes:
                answer = partial(self._path_answered, uplink.name, path, role, probe)
                ask = partial(probers[probe.kind].ask, probe, timing.timeout_s, answer)
                self._schedule.append(Every(timing.interval_s, 0.0, ask))

    def _add_check(self, service: ServiceSettings, check: ProbeSettings, phase_s: float) -> None:
        source = _check_source(service, check)
        prober = TcpProber(Binding(None, lambda: source), unbound=Verdict.FAILED)
        self._probers.append(prober)
        answer = partial(self._service_answered, service.name, check)
        ask = partial(prober.ask, check, service.timing.timeout_s, answer)
        self._schedule.append(Every(service.timing.interval_s, phase_s, ask))

    def _path_answered(
        self, uplink: str, path: UplinkPath, role: Role, probe: ProbeSettings, outcome: Outcome
    ) -> None:
        at = self._loop.time()
        verdict, detail = outcome.verdict, outcome.detail
        self._post(PathProbed(at, uplink, path.family, role, probe, verdict, detail))

    def _service_answered(self, service: str, check: ProbeSettings, outcome: Outcome) -> None:
        at = self._loop.time()
        self._post(ServiceChecked(at, service, check, outcome.verdict, outcome.detail))


def _check_source(service: ServiceSettings, check: ProbeSettings) -> Address:
    """Return the address to check a service from.

    A check of the service's own address comes from that address: if it is not on this host, the
    connection would leave the host and another server of the same anycast address would answer.
    """
    if any(check.target in prefix for prefix in service.prefixes):
        return check.target
    any_address = "0.0.0.0" if Family.of(check.target) is Family.IPV4 else "::"  # noqa: S104
    return ip_address(any_address)
