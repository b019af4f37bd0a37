"""Say what happened: one log line per transition, with the reason word and the evidence.

The event names and their fields are an interface: people alert on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from structlog.typing import FilteringBoundLogger

from bgphealth.core.addresses import AddressChanged, AddressesChanged
from bgphealth.core.drain import (
    DrainEffect,
    DrainEnded,
    DrainResumed,
    DrainStarted,
    DrainSuspended,
)
from bgphealth.core.events import (
    AlternativesSeen,
    AlternativesUnknown,
    Event,
    PathProbed,
    ServiceChecked,
    Verdict,
)
from bgphealth.core.health import Judgement, PathKey
from bgphealth.core.hysteresis import Level
from bgphealth.core.intents import Announcement
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import Address, Pin, Wish
from bgphealth.core.state import (
    AlternativesWanted,
    DecisionChanged,
    Effect,
    IntentsChanged,
    PaceChanged,
    PathChanged,
    ServiceChanged,
)
from bgphealth.exabgp.driver import (
    Acknowledged,
    Answering,
    DriverEvent,
    NeighborChanged,
    NotAnswering,
    Refused,
    RepliesLost,
    ShutdownNotice,
    Unexpected,
)
from bgphealth.exabgp.replies import NeighborState
from bgphealth.fallback.addresses import Look
from bgphealth.fallback.conntrack import Flushed
from bgphealth.fallback.foreign import News
from bgphealth.fallback.tables import Applied
from bgphealth.fallback.watch import Sources

_Key = TypeVar("_Key")


class Troubles(NamedTuple):
    """What could not be done or asked when it was tried last, and why, in words.

    By uplink, address or path; pins and policies, and in local mode defaults that are not used.
    `unasked` are probes (uplink, family, role, probe) and checks (service, check).
    """

    kernel: Mapping[str, str]
    addresses: Mapping[Address, str]
    sources: Mapping[PathKey, str]
    fallback: Mapping[PathKey, str]
    not_used: Mapping[PathKey, str]
    wishes: Mapping[Wish, str]
    unasked: Mapping[tuple[str, ...], str]


class _Unasked(NamedTuple):
    """Why a probe cannot be asked: as it is said, and without the figures in it."""

    detail: str
    reason: str


class Reporter:
    """Writes the log lines of effects, driver events and changes of the kernel."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._kernel_errors: Mapping[str, str] = {}
        self._address_errors: Mapping[Address, str] = {}
        self._absent: Mapping[PathKey, str] = {}
        self._unwritten: Mapping[PathKey, str] = {}
        self._unmet: Mapping[Wish, str] = {}
        self._beaten: Mapping[PathKey, str] = {}
        self._unasked: dict[tuple[str, ...], _Unasked] = {}
        self._lost_sessions: dict[str, str] = {}
        self._alternatives: AlternativesSeen | AlternativesUnknown | None = None

    @property
    def troubles(self) -> Troubles:
        """What is in the way now."""
        return Troubles(
            self._kernel_errors,
            self._address_errors,
            self._absent,
            self._unwritten,
            self._beaten,
            self._unmet,
            {key: unasked.detail for key, unasked in self._unasked.items()},
        )

    def effect(self, effect: Effect) -> None:
        """Log one effect of the engine."""
        match effect:
            case PathChanged(at, path, before, after):
                self._transition(
                    "path_changed", at, before, after, uplink=path.uplink, family=path.family
                )
            case ServiceChanged(at, service, before, after):
                self._transition("service_changed", at, before, after, service=service)
            case DecisionChanged():
                self._decision(effect)
            case PaceChanged(at, path, suspect):
                event = "path_suspect" if suspect else "path_not_suspect"
                self._log.debug(event, at=at, uplink=path.uplink, family=path.family)
            case DrainStarted() | DrainEnded() | DrainSuspended() | DrainResumed():
                self._drain(effect)
            case AddressChanged(at, address, there=False):
                self._log.warning("address_missing", at=at, address=str(address))
            case AddressChanged(at, address):
                self._log.info("address_there", at=at, address=str(address))
            case AlternativesWanted():
                self._alternatives = None  # What is seen of other prefixes is news.
            case IntentsChanged() | AddressesChanged():
                pass  # Whoever does it says what became of it.

    def _drain(self, effect: DrainEffect) -> None:
        match effect:
            case DrainStarted(at, target, order):
                lasts_s = None if order.until is None else round(order.until - at, 1)
                self._log.info(
                    "drain_started", at=at, of=str(target), for_s=lasts_s, forced=order.forced
                )
            case DrainEnded(at, target, reason):
                self._log.info("drain_ended", at=at, of=str(target), reason=str(reason))
            case DrainSuspended(at, path):
                self._log.warning("drain_suspended", at=at, uplink=path.uplink, family=path.family)
            case DrainResumed(at, path):
                self._log.info("drain_resumed", at=at, uplink=path.uplink, family=path.family)

    def answer(self, event: Event) -> None:
        """Log a probe that could not be asked, once per reason, and when it can be again.

        The same of bgpd, and who else is seen to announce what is down here.
        """
        if isinstance(event, AlternativesSeen | AlternativesUnknown):
            self._others(event)
        if not isinstance(event, PathProbed | ServiceChecked):
            return
        if event.verdict is not Verdict.UNKNOWN and not self._unasked:
            return
        match event:
            case PathProbed(uplink=uplink, family=family, role=role, probe=probe):
                subject = {"uplink": uplink, "family": str(family), "role": str(role)}
            case ServiceChecked(service=service, check=probe):
                subject = {"service": service}
        key = (*subject.values(), str(probe))
        if event.verdict is Verdict.UNKNOWN:
            # The figures in a reason change all the time; the reason is what is said once.
            reason = "".join(char for char in event.detail if not char.isdigit())
            before = self._unasked.get(key)
            self._unasked[key] = _Unasked(event.detail, reason)
            if before is None or before.reason != reason:
                self._log.warning("probe_unknown", **subject, probe=str(probe), why=event.detail)
        elif self._unasked.pop(key, None) is not None:
            self._log.info("probe_known", **subject, probe=str(probe))

    def _others(self, event: AlternativesSeen | AlternativesUnknown) -> None:
        before, self._alternatives = self._alternatives, event
        if before is not None and replace(before, at=event.at) == event:
            return
        if isinstance(event, AlternativesUnknown):
            self._log.warning("alternatives_unknown", why=event.detail)
            return
        self._log.info(
            "alternatives_seen",
            routes=[str(prefix) for prefix in event.healthy],
            none=[str(prefix) for prefix in event.asked if prefix not in event.healthy],
            hosts=event.detail,
        )

    def driver(self, event: DriverEvent) -> None:
        """Log what ExaBGP answered."""
        match event:
            case Acknowledged(command):
                self._log.debug("exabgp_acknowledged", command=command.line)
            case Refused(change, line, retry_s):
                self._log.error(
                    "exabgp_refused", command=line, route=str(change.key), retry_s=retry_s
                )
            case RepliesLost(commands):
                self._log.error(
                    "exabgp_replies_lost", commands=len(commands), first=commands[0].line
                )
            case NotAnswering(pending, for_s):
                self._log.error("exabgp_not_answering", pending=pending, for_s=round(for_s, 1))
            case Answering():
                self._log.info("exabgp_answering")
            case NeighborChanged(event=neighbor):
                self._neighbor(neighbor)
            case ShutdownNotice():
                self._log.info("exabgp_shutdown")
            case Unexpected(line):
                self._log.warning("exabgp_unexpected_line", line=line)

    def _neighbor(self, event: NeighborState) -> None:
        match event.state:
            case "up":
                self._lost_sessions.pop(event.neighbor, None)
                self._log.info("neighbor_up", neighbor=event.neighbor)
            case "down":
                lost = {"neighbor": event.neighbor, "reason": event.reason}
                # ExaBGP says it again after each attempt to connect.
                if self._lost_sessions.get(event.neighbor) == event.reason:
                    self._log.debug("neighbor_down", **lost)
                else:
                    self._log.warning("neighbor_down", **lost)
                self._lost_sessions[event.neighbor] = event.reason
            case _:
                self._log.debug("neighbor_connected", neighbor=event.neighbor)

    def kernel(self, applied: Applied) -> None:
        """Log what was changed in the kernel, and what prevented it (once, not every round)."""
        if applied.done:
            self._log.info("kernel_changed", done=list(applied.done))
        failed = {uplink: str(error) for uplink, error in applied.failed.items()}
        for uplink, error in _new(failed, self._kernel_errors):
            self._log.error("kernel_not_changed", uplink=uplink, error=error)
        self._kernel_errors = failed
        for path, why in _new(applied.unwritten, self._unwritten):
            self._log.warning("fallback_absent", uplink=path.uplink, family=path.family, why=why)
        self._unwritten = applied.unwritten
        for wish, why in _new(applied.unmet, self._unmet):
            what = "pin" if isinstance(wish, Pin) else "policy"
            self._log.warning("source_absent", what=f"{what} {wish}", why=why)
        self._unmet = applied.unmet
        for path, why in _new(applied.beaten, self._beaten):
            self._log.warning("default_not_used", uplink=path.uplink, family=path.family, why=why)
        self._beaten = applied.beaten
        for news in applied.others:
            self._foreign(news)

    def _foreign(self, news: News) -> None:
        of = {"family": str(news.family), "default": news.default, "used": news.used}
        if news.is_there:
            self._log.info("foreign_default", **of)
        else:
            self._log.warning("foreign_default_gone", **of)

    def flushed(self, flushed: Flushed) -> None:
        """Log which connections were deleted."""
        addresses = sorted(map(str, flushed.addresses))
        if isinstance(flushed.outcome, str):
            self._log.warning("connections_kept", addresses=addresses, why=flushed.outcome)
        else:
            self._log.info("connections_flushed", addresses=addresses, count=flushed.outcome)

    def addresses(self, look: Look) -> None:
        """Log which addresses were added and taken away, and what prevented it, once."""
        for address in look.added:
            self._log.info("address_added", address=str(address))
        for address in look.removed:
            self._log.info("address_removed", address=str(address))
        for address, error in look.failed.items():
            if self._address_errors.get(address) != error:
                self._log.error("address_not_changed", address=str(address), error=error)
        self._address_errors = look.failed

    def sources(self, sources: Sources) -> None:
        """Log which paths cannot be probed, and why, when that changes."""
        absent = {**sources.absent, **sources.unsafe}
        for path, why in absent.items():
            if self._absent.get(path) != why:
                self._log.warning(
                    "probe_source_absent", uplink=path.uplink, family=path.family, why=why
                )
        self._absent = absent

    def _transition(
        self, event: str, at: float, before: Judgement, after: Judgement, **subject: str
    ) -> None:
        # Only a change for the worse is a warning, not another reason for the same level.
        lost = after.level in (Level.DOWN, Level.DAMPED) and before.level is not after.level
        worse = after.level is Level.DEGRADED and before.level is Level.UP
        write = self._log.warning if lost or worse else self._log.info
        # `from` is a Python keyword.
        change = {"from": str(before.level), "to": str(after.level)}
        write(event, at=at, **subject, **change, reason=str(after.reason), evidence=after.evidence)

    def _decision(self, effect: DecisionChanged) -> None:
        announcement, reason = effect.after
        route = {"at": effect.at, "route": str(effect.key)}
        if announcement is not None and announcement.is_quiet:
            self._log.info("withdraw", **route, reason=str(reason), how="announced to no uplink")
            return
        if reason is Reason.GUARDED_LAST_RESORT:
            self._log.warning("last_resort", **route)
        if announcement is not None:
            self._log.info(
                "announce",
                **route,
                next_hop=str(announcement.next_hop or "self"),
                local_pref=announcement.local_pref,
                communities=[str(community) for community in announcement.communities],
                **_sometimes(announcement),
                reason=str(reason),
            )
        elif reason is Reason.INIT or effect.before is None or not effect.before.announcement:
            # What waits for a verdict, as after a reload, is left as it is.
            self._log.debug("not_announced", **route, reason=str(reason))
        else:
            self._log.info("withdraw", **route, reason=str(reason))


def _sometimes(announcement: Announcement) -> dict[str, object]:
    """Return the attributes that most routes have not."""
    found: dict[str, object] = {
        "large_communities": [str(large) for large in announcement.large_communities],
        "as_path": list(announcement.as_path),
    }
    found = {name: value for name, value in found.items() if value}
    return found if announcement.med is None else {**found, "med": announcement.med}


def _new(now: Mapping[_Key, str], before: Mapping[_Key, str]) -> list[tuple[_Key, str]]:
    """Return what was not so before."""
    return [(key, why) for key, why in now.items() if before.get(key) != why]
