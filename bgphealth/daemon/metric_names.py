"""Every metric: its name, type, labels and meaning. docs/metrics.md is made of it.

The names are an interface, as are the labels: rules and dashboards are made of them. Labels have
the words of the log: `uplink`, `family`, `service`, `route`, `reason`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

PREFIX = "bgphealth_"


class Type(StrEnum):
    """What can be done with the values (Prometheus's own words)."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric. `meaning` is its HELP line, too."""

    name: str
    type: Type
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.type is not Type.HISTOGRAM:
            return (self.name,)
        return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_count", "_sum"))


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, Type.GAUGE, labels, meaning)


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Type.COUNTER, labels, meaning)


def _histogram(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, Type.HISTOGRAM, labels, meaning)


PATH_STATE = _gauge(
    "path_state", "1 for the verdict on the path, 0 for the others", "uplink", "family", "state"
)
PATH_TRANSITIONS = _counter(
    "path_transitions",
    "changes of the verdict on the path, or of its reason, by what it became",
    *("uplink", "family", "state", "reason"),
)
LINK_UP = _gauge("link_up", "1 while the uplink's interface has a link", "uplink")
PATH_LOSS = _gauge(
    "path_loss_ratio",
    "loss that the verdict rests on, 0 to 1; absent while not known",
    *("uplink", "family"),
)
PATH_LATENCY = _gauge(
    "path_latency_seconds",
    "mean round trip that the verdict rests on; absent while not known",
    *("uplink", "family"),
)
PROBE_UP = _gauge(
    "probe_up",
    "1 while the probe is believed to be up, 0 while down; absent before",
    *("uplink", "family", "role", "probe"),
)
PROBE_ANSWERS = _counter(
    "probe_answers",
    "answers of the probe; unknown is one that could not be asked",
    *("uplink", "family", "role", "probe", "verdict"),
)
PROBE_DURATION = _histogram(
    "probe_duration_seconds",
    "round trips of probes that were answered, for kinds that have one",
    *("uplink", "family", "role"),
)
SERVICE_STATE = _gauge(
    "service_state", "1 for the verdict on the service, 0 for the others", "service", "state"
)
SERVICE_TRANSITIONS = _counter(
    "service_transitions",
    "changes of the verdict on the service, or of its reason; absent before the first",
    *("service", "state", "reason"),
)
CHECK_UP = _gauge(
    "check_up",
    "1 while the check is believed to be up, 0 while down; absent before",
    *("service", "check"),
)
CHECK_ANSWERS = _counter(
    "check_answers", "answers of the check, as of probes", "service", "check", "verdict"
)
MISSING_ADDRESSES = _gauge(
    "missing_addresses", "addresses of services that the host should have and has not"
)
ROUTE_WANTED = _gauge(
    "route_wanted",
    "1 while the route shall be announced to somebody, 0 while not; absent while undecided",
    "route",
)
ROUTE_ACKNOWLEDGED = _gauge(
    "route_acknowledged", "1 while ExaBGP has it as wanted, announced or withdrawn", "route"
)
ROUTE_VERIFIED = _gauge(
    "route_verified",
    "mode frr: 1 while bgpd has the route as announced; absent while not known",
    "route",
)
ROUTES = _gauge("routes", "routes that are as they are for this reason", "reason")
DECISIONS_TAKEN = _counter("decisions", "decisions on routes, by their reason", "reason")
DEFAULT_IN_USE = _gauge(
    "default_in_use", "mode local: 1 for the uplink that is in use", "uplink", "family"
)
DEFAULT_TIER = _gauge(
    "default_tier", "mode frr: 1 for the tier that serves, 0 for the others", "family", "tier"
)
BGPD_KNOWN = _gauge("bgpd_known", "mode frr: 1 while it is known what bgpd has, 0 while not")
DRIFTING = _gauge(
    "drifting_routes", "mode frr: routes that are not as they were announced", "where", "state"
)
DRIFTED = _counter("drifts", "mode frr: drifts that were found")
LOOKUPS = _counter("lookups", "mode frr: looks into bgpd's table")
REASSERTIONS = _counter("reassertions", "mode frr: drifts that were answered by asserting again")
EXABGP_SESSION = _gauge(
    "exabgp_session_up", "1 while ExaBGP's session with the neighbor is up", "neighbor"
)
EXABGP_SENT = _counter("exabgp_commands_sent", "commands that ExaBGP was sent")
EXABGP_ANSWERED = _counter(
    "exabgp_commands_answered",
    "what became of them: acknowledged, refused, or lost (no reply ever came)",
    "answer",
)
EXABGP_PENDING = _gauge("exabgp_commands_pending", "commands that wait for their reply")
EXABGP_UNANSWERED = _gauge(
    "exabgp_unanswered_seconds", "how long ExaBGP has answered nothing while something waits"
)
EXABGP_ROUTES_PENDING = _gauge(
    "exabgp_routes_pending", "decided routes that ExaBGP has not acknowledged yet as they are"
)
EXABGP_REFUSED = _gauge(
    "exabgp_refused_routes", "routes that ExaBGP refused or lost, which are tried again later"
)
FALLBACK_PRESENT = _gauge(
    "fallback_default_present",
    "1 while the fallback default of the path is in the kernel as it should be",
    *("uplink", "family"),
)
FALLBACK_BEATEN = _gauge(
    "fallback_default_beaten",
    "1 while somebody else's default is used before the one of this path",
    *("uplink", "family"),
)
KERNEL_FAILED = _gauge(
    "kernel_failed", "1 while tables or rules of the uplink cannot be written", "uplink"
)
SOURCES_UNMET = _gauge("sources_unmet", "pins and policies that are not as the file wants them")
DRAIN_START = _gauge(
    "drain_start_timestamp_seconds", "since when it is drained (Unix time)", "what", "name"
)
DRAIN_END = _gauge(
    "drain_end_timestamp_seconds",
    "when the drain ends by itself (Unix time); absent for never",
    *("what", "name"),
)
RELOAD_OK = _gauge(
    "config_last_reload_successful", "1 while the file as it was read last counts, 0 if refused"
)
RELOAD_OK_AT = _gauge(
    "config_last_reload_success_timestamp_seconds",
    "when a file was taken last, the start included (Unix time)",
)
LOOP_LAG = _histogram(
    "loop_lag_seconds", "how late the program came to what it does four times a second"
)
BUILD_INFO = _gauge(
    "build_info",
    "1; versions, empty while not known",
    *("version", "python", "exabgp", "frr"),
)
EXPOSED_AT = _gauge("exposition_timestamp_seconds", "when this was written (Unix time)")
PROCESS = (
    _gauge("process_virtual_memory_bytes", "virtual memory of the process"),
    _gauge("process_resident_memory_bytes", "resident memory of the process"),
    _gauge("process_start_time_seconds", "when the process was started (Unix time)"),
    _counter("process_cpu_seconds", "processor time of the process, user and system"),
    _gauge("process_open_fds", "open file descriptors of the process"),
    _gauge("process_max_fds", "how many file descriptors it may open"),
)
"""Made by prometheus-client, but for their HELP lines."""

SECTIONS: dict[str, tuple[Metric, ...]] = {
    "Paths and their probes": (
        PATH_STATE,
        PATH_TRANSITIONS,
        LINK_UP,
        PATH_LOSS,
        PATH_LATENCY,
        PROBE_UP,
        PROBE_ANSWERS,
        PROBE_DURATION,
    ),
    "Services and their checks": (
        SERVICE_STATE,
        SERVICE_TRANSITIONS,
        CHECK_UP,
        CHECK_ANSWERS,
        MISSING_ADDRESSES,
    ),
    "Routes and defaults": (
        ROUTE_WANTED,
        ROUTE_ACKNOWLEDGED,
        ROUTE_VERIFIED,
        ROUTES,
        DECISIONS_TAKEN,
        DEFAULT_IN_USE,
        DEFAULT_TIER,
        BGPD_KNOWN,
        DRIFTING,
        DRIFTED,
        LOOKUPS,
        REASSERTIONS,
    ),
    "ExaBGP": (
        EXABGP_SESSION,
        EXABGP_SENT,
        EXABGP_ANSWERED,
        EXABGP_PENDING,
        EXABGP_UNANSWERED,
        EXABGP_ROUTES_PENDING,
        EXABGP_REFUSED,
    ),
    "The kernel": (
        FALLBACK_PRESENT,
        FALLBACK_BEATEN,
        KERNEL_FAILED,
        SOURCES_UNMET,
    ),
    "Operators and the file": (DRAIN_START, DRAIN_END, RELOAD_OK, RELOAD_OK_AT),
    "The program": (LOOP_LAG, BUILD_INFO, EXPOSED_AT, *PROCESS),
}
"""All of them, in the order in which they are shown."""

METRICS = tuple(metric for section in SECTIONS.values() for metric in section)
