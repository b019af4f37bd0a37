"""Random interference by others with routes, rules, addresses and links.

Everything is done twice: where fallback defaults, pins and policies are kept, and in a twin
namespace where nobody keeps anything. What is not ours must be the same in both at the end, to the
byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core.fallback_order import Rank
from bgphealth.core.health import PathKey
from bgphealth.core.settings import Family, Pin, SourcePolicy, SourceSettings
from bgphealth.fallback import watch as watch_module
from tests.network.test_fallback_defaults import BASE, BOTH, with_defaults
from tests.support.hosts import host
from tests.support.netns import isolated
from tests.support.waiting import until
from tests.support.watching import Seen

pytestmark = pytest.mark.network

SEQUENCES = int(os.environ.get("BGPHEALTH_SEQUENCES", "50"))
STEPS = 8
PATHS = [PathKey(f"tor{n}", family) for n in (1, 2) for family in BOTH]
GATEWAYS = {"-4": ("10.0.1.0", "10.0.2.0"), "-6": ("2001:db8:1::", "2001:db8:2::")}
# Keys of ours, keys beside them, and those of everybody else.
METRICS = (BASE + 1, BASE + 2, BASE + (2 << 16) + 1, BASE + (1 << 16) + 2, BASE + 77, 100, 4096)
MADE_BY_US_OR_THE_KERNEL = re.compile(r"proto (179|2)\b|lookup 1790[12]\b")
_MISTAKE = re.compile(r"is unknown|Error: (argument|either|any valid|inet)|garbage|Usage")
OWN_KEYS = METRICS[:4]
PREFIXES = {"-4": "203.0.113.0/24", "-6": "2001:db8:f00::/64"}
PINNED = {"-4": "10.255.10.9", "-6": "2001:db8:10::9"}
LED = {"-4": "10.255.10.7", "-6": "2001:db8:10::7"}
SOURCES = SourceSettings(
    tuple(Pin(ip_network(PREFIXES[o]), ip_address(PINNED[o])) for o in PREFIXES),
    tuple(SourcePolicy(ip_address(LED[o]), "tor1", is_strict=o == "-6") for o in PREFIXES),
)


class Twins:
    """The namespace of the test, and one beside it in which the same is done."""

    def __init__(self, other: int) -> None:
        self._other = ["nsenter", "--target", str(other), "--net"]

    def do(self, *lines: str) -> None:
        """Run lines of ip(8) in both; what fails, fails in both."""
        # Not a batch: it has one family, and what one line selects by goes on in the next.
        script = "".join(f"ip {line}\n" for line in lines)
        for command in ([], self._other):
            done = subprocess.run(
                [*command, "sh", "-s"], input=script, text=True, check=False, capture_output=True
            )
            # What there is not, or is already, is the kernel's answer; this is a mistake here.
            assert not _MISTAKE.search(done.stderr), f"{script}{done.stderr}"

    def foreign(self) -> tuple[str, str]:
        """Return routes and rules that are neither ours nor the kernel's own."""
        here, there = (
            sorted(
                line.strip()
                for what in ("route show table all", "rule show")
                for family in ("-4", "-6")
                for line in self._ip(command, f"-o -N {family} {what}").splitlines()
                if not MADE_BY_US_OR_THE_KERNEL.search(line)
            )
            for command in ([], self._other)
        )
        return "\n".join(here), "\n".join(there)

    def _ip(self, command: list[str], arguments: str) -> str:
        asked = [*command, "ip", *arguments.split()]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def twins() -> Iterator[Twins]:
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 3600"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            both = Twins(process.pid)
            both.do("link set lo up")
            for n in (1, 2):
                # The same link-local addresses in both.
                both.do(
                    f"link add eth{n} address 02:00:00:00:00:0{n} type veth peer name far{n} "
                    f"address 02:00:00:00:01:0{n}"
                )
            mend(both)
            yield both
        finally:
            process.terminate()


def mend(both: Twins) -> None:
    lines = [f"addr replace {own[o]} dev lo nodad" for own in (PINNED, LED) for o in GATEWAYS]
    for n in (1, 2):
        lines += [
            f"link set eth{n} up",
            f"link set far{n} up",
            f"addr replace 10.0.{n}.1/31 dev eth{n}",
            f"addr replace 2001:db8:{n}::1/127 dev eth{n} nodad",
        ]
    # What has the keys of ours is in the way for as long as it is there.
    lines += [
        f"{family} route flush table main metric {metric}"
        for family in GATEWAYS
        for metric in OWN_KEYS
    ]
    both.do(*lines)


def step(chosen: random.Random, both: Twins, seen: Seen) -> None:
    family = chosen.choice(("-4", "-6"))
    gateway, metric = chosen.choice(GATEWAYS[family]), chosen.choice(METRICS)
    protocol, n = chosen.choice(("static", "42")), chosen.choice((1, 2))
    default = f"route replace default via {gateway} metric {metric} proto {protocol}"
    place = chosen.choice((77, 78, *OWN_KEYS))
    route = f"{PREFIXES[family]} via {gateway} metric {place} proto {protocol}"
    address = {"-4": f"10.0.{n}.1/31", "-6": f"2001:db8:{n}::1/127"}[family]
    match chosen.choice("aaaabbbccddeeefghiii"):
        case "a":
            both.do(f"{family} {default}")
        case "b":
            both.do(f"{family} {default.replace('replace', 'del')}")
        case "c":
            both.do(f"{family} route replace {route}")
        case "d":
            both.do(f"{family} route del {route}")
        case "e":
            both.do(f"{family} route flush table main proto 179", f"rule del lookup 1790{n}")
        case "f":
            both.do(f"addr del {address} dev eth{n}")
        case "g":
            both.do(f"link set {chosen.choice(('eth', 'far'))}{n} down")
        case "h":
            seen.watch.order({path: chosen.choice(list(Rank)) for path in PATHS})
        case _:
            interfere_with_sources(chosen, both, family)


def interfere_with_sources(chosen: random.Random, both: Twins, family: str) -> None:
    match chosen.choice("abc"):
        case "a":
            both.do(f"addr del {chosen.choice((PINNED, LED))[family]} dev lo")
        case "b":
            led = f"rule del from {LED[family]}"
            both.do(f"{family} {led} lookup 17901", f"{family} {led} lookup main")
        case "c":
            # Like those of ours, and somebody else's.
            verb = chosen.choice(("add", "del"))
            both.do(f"{family} rule {verb} from {LED[family]} lookup 100 pref 18175 protocol 42")


@contextlib.asynccontextmanager
async def watched(seen: Seen) -> AsyncIterator[None]:
    watch_module.RECHECK_S = 60
    await seen.watch.start()
    task = asyncio.create_task(seen.watch.run())
    await asyncio.sleep(0.2)  # Until it listens; there is nothing to poll for.
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()


@isolated
async def test_what_others_do_stays_and_what_is_ours_comes_back() -> None:
    with twins() as both:
        seen = Seen(replace(with_defaults(host(families=BOTH)), sources=SOURCES))
        async with watched(seen):
            for seed in range(SEQUENCES):
                chosen = random.Random(seed)  # noqa: S311 - to be repeated
                for _ in range(STEPS):
                    step(chosen, both, seen)
                    await asyncio.sleep(chosen.choice((0, 0, 0.005, 0.03)))
                mend(both)
                ranks = {path: chosen.choice(list(Rank)) for path in PATHS}
                seen.watch.order(ranks)
                places = tuple(
                    {BASE + (ranks[PathKey(f"tor{n}", family)] << 16) + n for n in (1, 2)}
                    for family in Family
                )
                led = tuple(
                    {
                        "lookup main suppress_prefixlength 0 proto 179",
                        "lookup 17901 proto 179",
                        *(["unreachable proto 179"] if family is Family.IPV6 else []),
                    }
                    if family is Family.IPV6 or ranks[PathKey("tor1", family)] is Rank.CARRIES
                    else set[str]()
                    for family in Family
                )
                wanted = places, places, led
                try:
                    await until(partial(are_as, wanted))
                except TimeoutError:
                    said = seen.applied[-1]
                    raise AssertionError(f"seed {seed}: {ours()} for {wanted}: {said}") from None
                here, there = both.foreign()
                assert here == there, f"seed {seed}"


Ours = tuple[tuple[set[int], ...], tuple[set[int], ...], tuple[set[str], ...]]


def are_as(wanted: Ours) -> bool:
    return ours() == wanted


def ours() -> Ours:
    """Return the metrics of our defaults, those of our pins, and our policies' rules."""
    lines = {option: asked(option) for option in PREFIXES}
    places = (
        tuple(
            {
                int(line.split("metric ")[1].split()[0])
                for line in found
                if line.startswith(f"{prefix} ")
            }
            for found, prefix in zip(lines.values(), prefixes, strict=True)
        )
        for prefixes in (("default", "default"), PREFIXES.values())
    )
    rules = tuple(
        {
            rest.strip()
            for line in found
            if (rest := line.partition(f"from {LED[option]} ")[2]).endswith("proto 179")
        }
        for option, found in lines.items()
    )
    return next(places), next(places), rules


def asked(option: str) -> list[str]:
    """Return our routes in the main table, and all rules; one process is enough for both."""
    done = subprocess.run(
        ["ip", "-o", option, "-batch", "-"],
        input="route show proto 179\nrule show\n",
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()
