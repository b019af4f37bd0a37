"""The stable reason words: the same in the log, in status and as a metric label.

They are an interface: a word is never reused for something else. What each means, and what to do
about it, is said here and nowhere else; docs/reasons.md is made of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self


class About(StrEnum):
    """What has a reason."""

    PATH = "path"
    SERVICE = "service"
    ANNOUNCEMENT = "announcement"
    DEFAULT = "default"
    """Of an uplink, in local mode."""
    DRAIN = "drain"


class Meaning(NamedTuple):
    """What a word says of one kind of thing.

    `outcome` is what has this reason: the verdict on a path or a service, what is done with an
    announcement or, in local mode, with a default, the event of a drain. `do` is for whoever is
    called at night.
    """

    about: About
    outcome: str
    means: str
    do: str = "nothing"


def _path(verdict: str, means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.PATH, verdict, means, do)


def _service(verdict: str, means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.SERVICE, verdict, means, do)


def _announced(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.ANNOUNCEMENT, "announced", means, do)


def _withdrawn(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.ANNOUNCEMENT, "withdrawn", means, do)


def _left_alone(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.ANNOUNCEMENT, "left as it is", means, do)


def _in_use(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.DEFAULT, "in use", means, do)


def _spare(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.DEFAULT, "spare", means, do)


def _drain_ended(means: str, do: str = "nothing") -> Meaning:
    return Meaning(About.DRAIN, "ended", means, do)


class Reason(StrEnum):
    """Why a path, a service or an announcement is as it is, and why a drain is over."""

    meanings: tuple[Meaning, ...]

    def __new__(cls, word: str, *meanings: Meaning) -> Self:
        """Make a word that says what it means."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.meanings = meanings
        return reason

    # A path.
    INIT = (
        "init",
        _path(
            "init",
            "there is no verdict yet",
            "wait for `rise` × `interval`; if it stays, a probe cannot be asked: look for "
            "`probe_unknown` in the log, run `bgphealth probe` as the user of the unit",
        ),
        _service("init", "there is no verdict yet", "wait for `rise` × `interval` of its checks"),
        _left_alone(
            "what decides it has no verdict yet: neither announced nor withdrawn; an announcement "
            "of an earlier run stays",
            "look at the paths and services that are `init`",
        ),
        Meaning(
            About.DEFAULT,
            "left as it is",
            "its path, or a more preferred one that could be used, has no verdict yet",
            "as for the path",
        ),
    )
    PROBES_OK = "probes_ok", _path("up", "all gateway probes and enough beyond probes are up")
    GATEWAY_FAILED = (
        "gateway_failed",
        _path(
            "down",
            "a gateway probe is down: the ToR, or the session with it, is not there",
            "look at the ToR, the link, the address; `evidence` names the probe",
        ),
    )
    BEYOND_FAILED = (
        "beyond_failed",
        _path(
            "down",
            "fewer than `beyond.need` beyond probes can be up: the ToR answers, and what is behind "
            "it does not",
            "look at the ToR's own uplinks, then at rp_filter on this host. On all uplinks at "
            "once: look at the targets first",
        ),
    )
    LINK_DOWN = (
        "link_down",
        _path(
            "down",
            "the interface has no link, or is not there",
            "look at the cable, the port at both ends, the interface (`ip link`)",
        ),
    )
    SHARED_FATE = (
        "shared_fate",
        _path(
            "down",
            "all working paths of the family failed together",
            "look at the targets, at what is behind both ToRs, at this host; not at one ToR",
        ),
    )
    LOSS = (
        "loss",
        _path(
            "degraded",
            "the loss of the path reached `degraded.loss.enter`",
            "no hurry: clean uplinks carry the traffic. Look at errors of the link (`ip -s link`), "
            "optics, queues of the ToR",
        ),
    )
    LATENCY = (
        "latency",
        _path(
            "degraded",
            "the mean round trip reached `degraded.latency.enter`",
            "no hurry: faster uplinks carry the traffic. Look for a full queue or a detour",
        ),
    )
    # A path, a service or an announcement.
    DAMPED = (
        "damped",
        _path(
            "damped",
            "it works, and fell too often lately: a spare one until its penalty is down to `reuse`",
            "look why it falls: the earlier `path_changed` of this path. To use it at once: "
            "`damping: {suppress: off}`, reload, and the same back",
        ),
        _service(
            "damped",
            "it works, and fell too often lately: not announced until its penalty is down to "
            "`reuse`",
            "look why it falls: the earlier `service_changed` of this service",
        ),
        _withdrawn(
            "a default: its path is damped, and another one of the family is up or degraded; a "
            "service: it is damped itself",
            "as for the path, or the service",
        ),
        _spare("its path is damped, and another one of the family works", "as for the path"),
    )
    # A service.
    NO_CHECKS = (
        "no_checks",
        _service("up", "the file names no check; always so for the host loopback"),
    )
    CHECKS_OK = "checks_ok", _service("up", "as many checks as it needs are up")
    CHECK_FAILED = (
        "check_failed",
        _service(
            "down",
            "fewer checks than it needs can be up; `evidence` says which and why",
            "mend the service, or its address on lo. If it works: the check is wrong",
        ),
    )
    # An announcement.
    PATH_UP = (
        "path_up",
        _announced("a default: its path is up"),
        _in_use("its path is up, and no more preferred one is, or not for `stable_for` yet"),
    )
    PATH_DEGRADED = (
        "path_degraded",
        _announced(
            "a default: its path is degraded; local preference 90. In mode direct also a service "
            "with `on_degraded`, as a worse path",
            "as for the path",
        ),
        Meaning(
            About.DEFAULT,
            "in use or spare",
            "its path is degraded: in use only while none of the family is clean",
            "as for the path",
        ),
    )
    PATH_DOWN = (
        "path_down",
        _withdrawn(
            "a default: its path is down, and another one of the family is up or degraded",
            "as for the path",
        ),
        _spare("its path is down, and another one of the family is in use", "as for the path"),
    )
    LESS_PREFERRED = (
        "less_preferred",
        _spare("its path is up, and so is a more preferred one, which is in use"),
    )
    NOT_STABLE = (
        "not_stable",
        _spare(
            "its path is up, and preferred to the one in use, but has not been up for "
            "`policy.stable_for` without a break yet",
            "nothing: it is used again by itself. To use it at once: drain the one in use",
        ),
    )
    DAMPED_LAST = (
        "damped_last",
        _announced(
            "all paths of the family that work are damped: they are used all the same",
            "look why all of them fall; nothing is held in reserve",
        ),
        _in_use(
            "all paths of the family that work are damped: one of them is used all the same",
            "look why all of them fall; nothing is held in reserve",
        ),
    )
    SERVICE_UP = (
        "service_up",
        _announced("a service: it is up, and at least one path of its family is up or degraded"),
    )
    SERVICE_DOWN = (
        "service_down",
        _withdrawn("a service: it is down", "as for the service"),
    )
    SERVICE_DOWN_DEGRADED = (
        "service_down_degraded",
        _announced(
            "a service: it is down, or one that it requires, and `on_down` is `degrade`, or "
            "`guarded` and nothing is decided yet: a last resort",
            "as for the service",
        ),
    )
    GUARDED_ALTERNATIVE = (
        "guarded_alternative",
        _withdrawn(
            "a guarded service: it is down, and another host has had a healthy path to the prefix "
            "for `policy.guarded_settle`",
            "as for the service; no hurry, `alternatives_seen` says who has the address",
        ),
    )
    GUARDED_LAST_RESORT = (
        "guarded_last_resort",
        _announced(
            "a guarded service: it is down, and no other host is known to have a healthy path: a "
            "last resort",
            "at once: the address works badly or not at all, here and everywhere else, or the "
            "check is what is wrong",
        ),
    )
    ADDRESS_MISSING = (
        "address_missing",
        _withdrawn(
            "a service: the prefix is an address that this host should have and has not",
            "add it (`ip addr add … dev lo`) and look who took it away; `address: add` has it "
            "added, `address: ignore` has it not looked at",
        ),
    )
    REQUIRED_SERVICE_DOWN = (
        "required_service_down",
        _withdrawn(
            "a service that this one requires is down, damped or drained",
            "look at the services in `requires`",
        ),
    )
    TOO_FEW_UPLINKS = (
        "too_few_uplinks",
        _withdrawn(
            "fewer uplinks are up or degraded, and not drained, than the service's `min_uplinks`",
            "look at the paths. If the host must serve all the same: lower `min_uplinks`, reload",
        ),
    )
    ALL_DOWN_KEEP_LAST = (
        "all_down_keep_last",
        _announced(
            "no path of the family is up; the ones that were up last are kept",
            "the host is cut off, or the probes are wrong: look at the targets, then at the ToRs",
        ),
        _in_use(
            "no path of the family is up; the one that was in use last is kept",
            "the host is cut off, or the probes are wrong: look at the targets first",
        ),
    )
    ALL_DOWN_KEEP_BEST = (
        "all_down_keep_best",
        _announced(
            "no path of the family is up; of those that were up last, the ones of which the most "
            "works are kept",
            "the same: look at the targets, then at the ToRs",
        ),
    )
    ALL_DOWN_SHARED_FATE = (
        "all_down_shared_fate",
        _announced(
            "`keep_last`, and they went down together: all of them are kept",
            "look at the targets and at what is behind both ToRs: the probes may be wrong, and "
            "then nothing is broken",
        ),
        _in_use(
            "no path of the family is up, and they went down together: the one in use is kept",
            "look at the targets, and at what all uplinks share: the probes may be wrong, and then "
            "nothing is broken",
        ),
    )
    ALL_DOWN_WITHDRAW = (
        "all_down_withdraw",
        _withdrawn(
            "no path of the family is up, and `policy.all_down` is `withdraw`",
            "what the host sends gets no answers, as the file wants it: look at the targets, then "
            "at the ToRs",
        ),
    )
    ALL_DOWN_NOTHING_TO_KEEP = (
        "all_down_nothing_to_keep",
        _withdrawn(
            "no path of the family was up since the start: there is nothing to keep; bgpd alone "
            "announces what it has with `on_injector_loss: keep`",
            "after a change of the file: the targets of `paths.beyond` are wrong, run `bgphealth "
            "probe`; else look at the ToRs",
        ),
        Meaning(
            About.DEFAULT,
            "left as it is",
            "no path of the family was up since the start: the kernel's defaults stay as they are",
            "look at the targets, then at the gateways; run `bgphealth probe`",
        ),
    )
    NOT_IN_FILE = (
        "not_in_file",
        _withdrawn(
            "it left the file, in a reload or while bgphealth was away",
            "if that was not meant: put it back, reload",
        ),
        _spare("it left the file, in a reload", "if that was not meant: put it back, reload"),
        _drain_ended("what was drained left the file"),
    )
    DRAINING = (
        "draining",
        _announced(
            "it is drained, and still announced: prepended, then with GRACEFUL_SHUTDOWN; a default "
            "with local preference 80",
            "nothing; `bgphealth undrain` takes it back",
        ),
    )
    DRAINED = (
        "drained",
        _withdrawn(
            "it was drained, and has settled", "nothing; `bgphealth undrain` when the work is done"
        ),
        _spare("its uplink is drained", "nothing; `bgphealth undrain` when the work is done"),
    )
    DRAIN_SUSPENDED = (
        "drain_suspended",
        _announced(
            "its uplink is drained, but no other one that may carry it works",
            "stop the work on that uplink: it carries the traffic. Look at the other uplinks",
        ),
        _in_use(
            "its uplink is drained, but no other one works",
            "stop the work on that uplink: it carries the traffic. Look at the other uplinks",
        ),
    )
    # A drain that is over; or NOT_IN_FILE.
    UNDRAINED = "undrained", _drain_ended("the operator ended it")
    DRAIN_EXPIRED = "drain_expired", _drain_ended("its time (`--for`) is up")
