"""Who else announces what is down here: what FRR 8.4.4 prints of it, and how often it is asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from bgphealth.core import engine
from bgphealth.core.events import (
    AlternativesSeen,
    AlternativesUnknown,
    Event,
    LinkChanged,
    Verdict,
)
from bgphealth.core.settings import Family, Prefix
from bgphealth.daemon.alternatives import PORTION, AlternativesWatch, Healthy, trusted
from bgphealth.frr.alternatives import alternatives, parse_alternatives
from bgphealth.frr.state import UnreadableError, Vtysh
from bgphealth.simulation.clock import SimulatedLoop
from tests.support.guarded import guarded, played, running
from tests.support.hosts import RISE, round_of, unnumbered_host
from tests.support.vtysh_output import objects, printed, spoilt

SAMPLE = (Path(__file__).parents[1] / "golden" / "frr-8.4" / "bgp-alternatives.json").read_bytes()
FOUR, SIX, NOBODYS = (
    ip_network(prefix) for prefix in ("192.0.2.53/32", "2001:db8::53/128", "203.0.113.99/32")
)
NEIGHBORS = frozenset({"10.0.1.0", "10.0.2.0", "2001:db8:1::", "2001:db8:2::"})
US, OTHER = IPv4Address("10.255.10.1"), IPv4Address("10.255.20.1")
NOBODY: frozenset[IPv4Address] = frozenset()


def parse(
    output: bytes = SAMPLE, neighbors: frozenset[str] = NEIGHBORS, router_id: IPv4Address = US
) -> Healthy:
    return parse_alternatives(
        output, prefixes=(FOUR, SIX, NOBODYS), neighbors=neighbors, router_id=router_id
    )


def with_marks(*marks: object) -> bytes:
    """Return the sample with other large communities on the IPv4 paths of both ToRs."""
    said = deepcopy(objects(SAMPLE))
    for path in said[0]["paths"][:2]:
        path["largeCommunity"] = {"string": "", "list": list(marks)}
    return printed(said)


def test_another_host_that_is_well() -> None:
    other = frozenset({OTHER})
    assert parse() == {FOUR: other, SIX: other, NOBODYS: NOBODY}
    # FRR 10.3 prints an empty line before what is advertised to nobody: ours has been withdrawn.
    assert parse(b"\n" + SAMPLE.replace(b"}\n{", b"}\n\n{")) == parse()


def test_what_a_tor_tells_us_of_ourselves_is_no_alternative() -> None:
    assert parse(router_id=OTHER) == {FOUR: NOBODY, SIX: NOBODY, NOBODYS: NOBODY}


def test_only_these_neighbors_count() -> None:
    assert parse(neighbors=frozenset({"10.0.2.0"}))[SIX] == NOBODY
    assert parse(neighbors=frozenset({"10.0.2.0"}))[FOUR] == {OTHER}
    # The injector's own path is never among them.
    assert parse(neighbors=frozenset())[FOUR] == NOBODY


def test_a_neighbor_may_be_an_interface() -> None:
    said = objects(SAMPLE)
    said[0]["paths"][0]["peer"] |= {"peerId": "fe80::1", "interface": "eth1"}
    assert parse(printed(said), frozenset({"eth1"}))[FOUR] == {OTHER}


def test_a_path_that_is_not_valid_is_none() -> None:
    said = objects(SAMPLE)
    for path in said[0]["paths"]:
        path["valid"] = False
    assert parse(printed(said))[FOUR] == NOBODY


@pytest.mark.parametrize(
    ("mark", "hosts"),
    [
        ("65101:17902:184488961", NOBODY),
        ("65102:17901:184488961", {OTHER}),
        ("65101:17901:4294967296", NOBODY),
        ("65101:17901:-1", NOBODY),
        ("65101:17901:x", NOBODY),
        ("65101:17901:\u00b2", NOBODY),
        ("65101:17901", NOBODY),
        ("17901:1:184488961", NOBODY),
        (17901, NOBODY),
        (None, NOBODY),
    ],
)
def test_marks(mark: object, hosts: object) -> None:
    assert parse(with_marks("65000:1:1", mark))[FOUR] == hosts


@pytest.mark.parametrize("listed", [None, "65101:17901:184488961", {"list": 1}, []])
def test_no_list_of_communities_is_no_mark(listed: object) -> None:
    said = objects(SAMPLE)
    for path in said[0]["paths"]:
        path["largeCommunity"] = listed
    assert parse(printed(said))[FOUR] == NOBODY


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        (b"", "this is not JSON"),
        (b"% BGP instance not found", "this is not JSON"),
        (b"{}", "3 prefixes were asked for, 1 answered"),
        (b'{"prefix": "10.0.0.0/8"} {} {}', "192.0.2.53/32 was asked for, '10.0.0.0/8' answered"),
        (b'{"prefix": "192.0.2.53/32"} {} {}', "192.0.2.53/32 has no paths"),
    ],
)
def test_what_is_no_answer(instead: bytes, why: str) -> None:
    with pytest.raises(UnreadableError) as error:
        parse(instead)
    assert str(error.value).startswith(why)


def test_garbage_is_read_or_refused_in_words() -> None:
    """Whatever is wrong with the output, nothing but `UnreadableError` comes of it."""
    for output in spoilt(SAMPLE):
        with suppress(UnreadableError):
            parse(output)


async def test_why_it_is_not_known(tmp_path: Path) -> None:
    vtysh = Vtysh(program=str(tmp_path / "vtysh"))
    found = await alternatives(vtysh, (FOUR,), NEIGHBORS, US)
    assert found == f"{tmp_path}/vtysh is not installed"


def test_a_tor_counts_while_its_uplink_works() -> None:
    state = running(guarded())
    assert trusted(state) == {"10.0.1.0", "10.0.2.0"}
    assert trusted(played(state, LinkChanged(1.0, "tor2", up=False))) == {"10.0.1.0"}
    assert trusted(engine.initial(unnumbered_host())) == frozenset()
    settings = unnumbered_host(families=(Family.IPV6,))
    answers = [e for _ in range(RISE) for e in round_of(settings.uplinks[0], Verdict.OK)]
    assert trusted(played(engine.initial(settings), *answers)) == {"eth1"}


# ---- how often -----------------------------------------------------------------------------------


class Asked:
    """Answers a watch, and keeps when it asked for what, and what it said."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, int]] = []
        self.posted: list[Event] = []
        self.answer: str | None = None

    def post(self, event: Event) -> None:
        assert isinstance(event, AlternativesSeen | AlternativesUnknown)
        self.posted.append(replace(event, at=round(event.at, 3)))

    async def ask(self, prefixes: tuple[Prefix, ...]) -> Healthy | str:
        self.asked.append((round(asyncio.get_running_loop().time(), 3), len(prefixes)))
        return self.answer or {p: frozenset({OTHER}) if p == FOUR else NOBODY for p in prefixes}


def watched(*steps: tuple[float, tuple[Prefix, ...]], answer: str | None = None) -> Asked:
    """Run a watch that is told at some times what to look for, until the last of them."""
    asked = Asked()
    asked.answer = answer

    async def play() -> None:
        watch = AlternativesWatch(asked.ask, asked.post)
        task = asyncio.create_task(watch.run())
        for at, prefixes in steps:
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            watch.want(prefixes)
        task.cancel()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(play())
    return asked


def test_nobody_is_asked_while_nothing_is_down() -> None:
    assert watched((1.0, ()), (60.0, ())).asked == []


def test_once_a_second_while_something_is_down() -> None:
    asked = watched((10.0, (FOUR, SIX)), (12.5, (SIX,)), (14.5, ()), (60.0, ()))
    assert asked.asked == [(10.0, 2), (11.0, 2), (12.0, 2), (13.0, 1), (14.0, 1)]
    assert asked.posted[0] == AlternativesSeen(10.0, (FOUR, SIX), (FOUR,), str(OTHER))
    assert asked.posted[-1] == AlternativesSeen(14.0, (SIX,), (), "")


def test_a_look_that_fails_is_said_and_repeated() -> None:
    asked = watched((10.0, (FOUR,)), (11.5, ()), answer="bgpd is not running")
    assert asked.posted == [
        AlternativesUnknown(10.0, "bgpd is not running"),
        AlternativesUnknown(11.0, "bgpd is not running"),
    ]


def test_many_are_asked_for_in_portions() -> None:
    many = tuple(ip_network(f"198.18.{n // 256}.{n % 256}/32") for n in range(PORTION + 1))
    asked = watched((0.0, many), (0.5, ()))
    assert asked.asked == [(0.0, PORTION), (0.0, 1)]
    (seen,) = asked.posted
    assert isinstance(seen, AlternativesSeen)
    assert seen.asked == many
