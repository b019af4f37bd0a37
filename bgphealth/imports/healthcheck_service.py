"""One ``exabgp healthcheck`` as services of ours, and what is to be said of its options."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from bgphealth.config import fields
from bgphealth.config.problems import InvalidFileError, Problem
from bgphealth.config.writing import Flow, Noted
from bgphealth.imports import draft, healthcheck_options
from bgphealth.imports.draft import FILL_IN, Draft, Speaker, slug, unique

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from bgphealth.imports.draft import Address, Prefix
    from bgphealth.imports.healthcheck_options import Options

_MOST_ADDRESSES = 1000
_LARGEST_MED = 4294967295
_LARGEST_PREPEND = 10

_NO_KEY = {
    "silent": "the log goes to stderr, one JSON object per line",
    "syslog_facility": "the log goes to stderr, and from there to the journal",
    "no_syslog": "the log goes to stderr, and from there to the journal",
    "debug": "each change is logged, with the answer that caused it",
    "no_ack": "replies are always read, and never waited for",
    "sudo": "the rendered unit gives the one capability that is needed",
    "pid": "one process does it all; systemd knows it",
    "user": "checks run as ExaBGP's user",
    "group": "checks run with ExaBGP's group",
    "debounce": "nothing is sent again while nothing changes",
    "label_exact_match": "nothing is looked up by a label",
    "next_hop": "the next hop is this host's own address on each link",
    "local_preference": "ExaBGP does not send it to another AS, and the sessions here are eBGP",
    "path_id": "one path per prefix and session needs none",
    "extended_community": "has no equivalent; have the routers add it, by a community",
    "down_metric": "a service that is down is prepended instead, where it is announced",
    "down_as_path": "a service that is down is prepended five times, where it is announced",
    "disabled_metric": "`bgphealth drain service` prepends, then GRACEFUL_SHUTDOWN, then withdraws",
    "disabled_community": "`bgphealth drain service` adds GRACEFUL_SHUTDOWN (65535:0)",
    "disabled_as_path": "`bgphealth drain service` prepends five times",
    "execute": "no command is run on a change: follow the log (event service_changed)",
    "up_execute": "no command is run on a change: follow the log (service_changed, to: up)",
    "down_execute": "no command is run on a change: follow the log (service_changed, to: down)",
    "disabled_execute": "no command is run on a change: run it after `bgphealth drain service`",
}
"""Options that are not, or not only, a key of ours, and why."""


class Check(NamedTuple):
    """One ``exabgp healthcheck``."""

    file: str
    line: int
    name: str
    options: Options
    neighbors: frozenset[Address] | None
    """To whom it announces; None: to all."""


def services(check: Check, speaker: Speaker, taken: Collection[str]) -> list[Draft]:
    """Return the services of one check: one, or one per prefix where each has a MED of its own."""
    options = check.options
    named = options.name or options.label or check.name
    name = unique(slug(named), taken)
    prefixes = _prefixes(check)
    metrics = [options.up_metric + place * options.increase for place in range(len(prefixes))]
    first = prefixes[:1] if len(set(metrics)) > 1 else prefixes
    keys = {
        "prefixes": _prefixes_key(options, first),
        **_judged(options),
        **_announced(options, first, metrics[0] if metrics else options.up_metric, speaker),
    }
    about = [f"{check.file}:{check.line}", *_remarks(options, speaker)]
    if slug(named) != named:
        about.append(f"It was called {named!r}.")
    drafts = [Draft(name, tuple(about), keys, tuple(first), check.neighbors)]
    for prefix, metric in zip(prefixes[len(first) :], metrics[len(first) :], strict=True):
        beside = unique(f"{name[:26]}-{len(drafts) + 1}", {*taken, *(d.name for d in drafts)})
        keys = {
            "prefixes": [str(prefix)],
            "requires": Noted([name], beside="the same checks; a service of its own for its MED"),
            **_bare(_announced(options, [prefix], metric, speaker)),
        }
        drafts.append(Draft(beside, (), keys, (prefix,), check.neighbors))
    return drafts


def _bare(keys: Mapping[str, object]) -> dict[str, object]:
    """Return keys without their comments, which the first service has already."""
    plain = {key: each.value if isinstance(each, Noted) else each for key, each in keys.items()}
    return {key: _bare(each) if isinstance(each, dict) else each for key, each in plain.items()}


def _prefixes(check: Check) -> list[Prefix]:
    """Return what is announced, in the order that metrics count in."""
    options = check.options
    networks = list(options.ip)
    if options.deaggregate_networks:
        if sum(network.num_addresses for network in networks) > _MOST_ADDRESSES:
            message = f"more than {_MOST_ADDRESSES} addresses; announce the networks as they are"
            problem = Problem(check.file, check.line, "--deaggregate-networks", message)
            raise InvalidFileError([problem])
        networks = [ip_network(address) for network in networks for address in network]
    networks = list(dict.fromkeys(networks))
    start = options.start_ip % len(networks) if networks else 0
    return networks[start:] + networks[:start]


def _prefixes_key(options: Options, prefixes: Sequence[Prefix]) -> object:
    if prefixes:
        said = [
            f"--{name.replace('_', '-')}"
            for name in ("ip", "start_ip", "deaggregate_networks")
            if name in options.given
        ]
        return Noted([str(prefix) for prefix in prefixes], beside=", ".join(said))
    which = "but 127.0.0.1 and ::1"
    if options.label:
        exactly = "is" if options.label_exact_match else "begins with"
        which = f"whose label {exactly} lo:{options.label} (--label)"
    return Noted(
        [FILL_IN],
        above=(
            f"Without --ip: all addresses of lo {which}, see `ip address show lo`. Each had a MED "
            f"{options.increase} above that of the one before (--increase): a service for each."
        ),
    )


def _judged(options: Options) -> dict[str, object]:
    """Return the checks and how they become a verdict."""
    checks: list[object] = []
    above = []
    if options.command is not None:
        checks.append(Flow({"exec": ["/bin/sh", "-c", options.command]}))
        above += ["--command: by a shell, as before.", *draft.better(options.command)]
    if options.disable is not None:
        checks.append(Flow({"exec": ["/usr/bin/test", "!", "-e", options.disable]}))
        above.append(
            "--disable: while the file is there, the service is down; after `fall` checks, not at "
            "once. Better: `bgphealth drain service`, which moves traffic before it withdraws."
        )
    if not checks:
        return {}
    every, why = _interval(options)
    return {
        "checks": Noted(checks, above=above),
        "interval": Noted(every.value, above=why, beside=every.beside),
        "timeout": _timeout(options, every),
        "fall": draft.count(options.fall, "--fall"),
        "rise": draft.count(options.rise, "--rise"),
    }


def _timeout(options: Options, every: Noted) -> Noted:
    if options.timeout <= 0:
        return draft.too_long(f"--timeout {options.timeout}: was none")
    seconds = Decimal(str(every.value).removesuffix("s"))
    return draft.timeout(Decimal(options.timeout), seconds, "--timeout")


def _interval(options: Options) -> tuple[Noted, list[str]]:
    """Return the one interval that there is here, and what it makes of the two that there were."""
    slow, fast = options.interval, options.fast_interval
    never_fast = (options.rise <= 1 and options.fall <= 1) or fast == 0
    if slow == 0:
        ends = ["--interval 0 ended with the first verdict; here it is checked for ever."]
        return draft.interval(fast or Decimal(1), "--fast-interval"), ends
    if never_fast or slow == fast:
        return draft.interval(slow, "--interval"), []
    every = draft.interval(fast, "--fast-interval")
    fall = max(options.fall, 1)
    before, now = slow + (fall - 1) * fast, fast * fall
    why = (
        f"One interval at all times: the {draft.duration(fast)} of --fast-interval, which was for "
        f"changes; --interval was {draft.duration(slow)}. So a failure counts as before, and is "
        f"known after {draft.duration(now)} instead of {draft.duration(before)} at most, beside "
        "what a check takes. If it is expensive, take a longer interval and a smaller `fall`."
    )
    return every, [why]


def _announced(
    options: Options, prefixes: Sequence[Prefix], metric: int, speaker: Speaker
) -> dict[str, object]:
    """Return how a service is announced, and what becomes of its addresses."""
    keys: dict[str, object] = {}
    if options.command is not None or options.disable is not None:
        keys["on_down"] = (
            Noted("withdraw", beside="--withdraw-on-down")
            if options.withdraw_on_down
            else Noted(
                "degrade",
                above=(
                    f"It stayed announced with --down-metric {options.down_metric}. A MED is "
                    "compared only between paths from the same AS; degrade prepends, and adds "
                    "GRACEFUL_SHUTDOWN."
                ),
            )
        )
    keys["address"] = _address(options, prefixes)
    announce = {
        **_communities(options),
        **_med(metric, options),
        **_prepend(options, speaker),
    }
    if announce:
        keys["announce"] = announce
    return keys


def _address(options: Options, prefixes: Sequence[Prefix]) -> Noted:
    if options.no_ip_setup:
        return Noted("expect", beside="--no-ip-setup; announced only while it is on this host")
    if options.ip_ifname:
        return Noted(
            "expect",
            above=(
                f"--ip-ifname {', '.join(options.ip_ifname)}: put it there yourself; only lo is "
                "given addresses (`address: add`)."
            ),
        )
    if not prefixes:
        return Noted("expect", beside="announced only while it is on this host")
    if not any(prefix.prefixlen == prefix.max_prefixlen for prefix in prefixes):
        return Noted(
            "expect",
            above=(
                "All addresses of the network were put on lo, one by one. A local route does it: "
                f"ip route add local {prefixes[0]} dev lo"
            ),
        )
    dynamic = "; stays while it is down (--dynamic-ip-setup)" if options.dynamic_ip_setup else ""
    return Noted("add", beside=f"on lo, before it is announced; with no label{dynamic}")


def _communities(options: Options) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, option, given, parse in (
        ("communities", "--community", options.community, fields.community),
        ("large_communities", "--large-community", options.large_community, fields.large_community),
    ):
        right, wrong = [], []
        for word in re.findall(r"[^\s\[\],]+", given or ""):
            try:
                parse(word)
            except fields.WrongValueError as error:
                wrong.append(f"{option}: {error}")
            else:
                right.append(word)
        if right or wrong:
            found[key] = Noted(right, beside="" if wrong else option, above=wrong)
    return found


def _med(metric: int, options: Options) -> dict[str, object]:
    if not 0 <= metric <= _LARGEST_MED:
        return {}
    said = [
        f"--{name.replace('_', '-')}" for name in ("up_metric", "increase") if name in options.given
    ]
    return {"med": Noted(metric, beside=", ".join(said) or "--up-metric, by default")}


def _prepend(options: Options, speaker: Speaker) -> dict[str, object]:
    given = _as_path(options)
    numbers = _numbers(given or "")
    times = min(len(numbers) - 1, _LARGEST_PREPEND)
    if times < 1 or not _is_prepending(numbers, speaker):
        return {}
    return {"prepend": Noted(times, beside=f"as the AS path {given}: so many more")}


def _as_path(options: Options) -> str | None:
    return options.as_path if options.up_as_path is None else options.up_as_path


def _is_prepending(numbers: Sequence[str], speaker: Speaker) -> bool:
    """Tell whether an AS path is our AS, some times over: ExaBGP sends it as it is given."""
    return len(set(numbers)) == 1 and (speaker.asn is None or numbers[0] == str(speaker.asn))


def _remarks(options: Options, speaker: Speaker) -> Iterator[str]:
    """Yield what is to be said of options that no key, or not every key, stands for."""
    written = healthcheck_options.option_strings()
    for name, why in _NO_KEY.items():
        if name not in options.given:
            continue
        value = getattr(options, name)
        values = value if isinstance(value, tuple) else (value,)
        said = "" if value is True else f" {', '.join(map(str, values))}"
        yield f"{written[name][0]}{said}: {why}."
    if options.command is None and options.disable is None:
        yield "Without --command: announced all the time."
    if options.label is not None and options.ip:
        yield f"--label {options.label}: addresses are added without a label."
    yield from _remark_on_path(options, speaker)
    if not 0 <= options.up_metric <= _LARGEST_MED:
        yield f"--up-metric {options.up_metric} is no MED."
    if "withdraw_on_down" in options.given and options.command is None and not options.disable:
        yield "--withdraw-on-down: nothing is checked."


def _remark_on_path(options: Options, speaker: Speaker) -> Iterator[str]:
    given = _as_path(options)
    if given is None:
        return
    option = "--as-path" if options.up_as_path is None else "--up-as-path"
    if not _is_prepending(_numbers(given), speaker):
        yield f"{option} {given}: has no equivalent; only our own AS can be prepended."
    elif speaker.asn is None:
        yield f"{option} {given}: is prepending if that is our own AS; else it has no equivalent."
    if options.up_as_path is not None and options.as_path is not None:
        yield f"--as-path {options.as_path}: was for a service that is down or disabled."


def _numbers(path: str) -> list[str]:
    return re.findall(r"[^\s\[\],()]+", path)
