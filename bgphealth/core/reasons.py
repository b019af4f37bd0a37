"""The stable reason words: the same in the log, in status and as a metric label.

They are an interface: a word is never reused for something else.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a path, a service or an announcement is as it is."""

    # A path.
    INIT = "init"
    PROBES_OK = "probes_ok"
    GATEWAY_FAILED = "gateway_failed"
    BEYOND_FAILED = "beyond_failed"
    LINK_DOWN = "link_down"
    SHARED_FATE = "shared_fate"
    LOSS = "loss"
    LATENCY = "latency"
    # A path, a service or an announcement.
    DAMPED = "damped"
    # A service.
    NO_CHECKS = "no_checks"
    CHECKS_OK = "checks_ok"
    CHECK_FAILED = "check_failed"
    # An announcement.
    PATH_UP = "path_up"
    PATH_DEGRADED = "path_degraded"
    PATH_DOWN = "path_down"
    DAMPED_LAST = "damped_last"
    SERVICE_UP = "service_up"
    SERVICE_DOWN = "service_down"
    SERVICE_DOWN_DEGRADED = "service_down_degraded"
    GUARDED_ALTERNATIVE = "guarded_alternative"
    GUARDED_LAST_RESORT = "guarded_last_resort"
    REQUIRED_SERVICE_DOWN = "required_service_down"
    TOO_FEW_UPLINKS = "too_few_uplinks"
    ALL_DOWN_KEEP_LAST = "all_down_keep_last"
    ALL_DOWN_KEEP_BEST = "all_down_keep_best"
    ALL_DOWN_SHARED_FATE = "all_down_shared_fate"
    ALL_DOWN_WITHDRAW = "all_down_withdraw"
    ALL_DOWN_NOTHING_TO_KEEP = "all_down_nothing_to_keep"
    NOT_IN_FILE = "not_in_file"
    DRAINING = "draining"
    DRAINED = "drained"
    DRAIN_SUSPENDED = "drain_suspended"
    # A drain that is over; or NOT_IN_FILE.
    UNDRAINED = "undrained"
    DRAIN_EXPIRED = "drain_expired"
