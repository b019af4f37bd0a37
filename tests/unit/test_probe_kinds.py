"""The kinds that look at a state instead of sending something: bgp, bfd and link."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import Address, LinkQuestion, ProbeKind, ProbeSettings
from bgphealth.frr.state import Session
from bgphealth.probes.link import LinkProber
from bgphealth.probes.outcome import Outcome, Prober
from bgphealth.probes.session import SessionProber, Sessions, SharedReading

TOR1 = ip_address("10.0.1.0")
LINK_LOCAL = ip_address("fe80::1")
OK, UNKNOWN, FAILED = Outcome(Verdict.OK), Verdict.UNKNOWN, Verdict.FAILED


def session(
    address: Address | None = TOR1,
    interface: str | None = None,
    **differing: Any,  # noqa: ANN401 - as dataclasses.replace
) -> Session:
    """Return a session that is up, but for what differs."""
    up = Session(address, interface, "up", is_up=True, is_shut=False, for_s=None, reason="")
    return replace(up, **differing)


class Frr:
    """Says what the test wants, when the test wants it, and counts."""

    def __init__(self, says: Sessions = (), *, waits: bool = False) -> None:
        self.says = says
        self.readings = 0
        self.go = asyncio.Event()
        if not waits:
            self.go.set()

    async def read(self) -> Sessions:
        self.readings += 1
        await self.go.wait()
        return self.says


async def ask(prober: Prober, probe: ProbeSettings, timeout_s: float = 5.0) -> Outcome:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    prober.ask(probe, timeout_s, answer.set_result)
    async with asyncio.timeout(10):
        return await answer


async def verdict(
    *sessions: Session,
    kind: ProbeKind = ProbeKind.BGP,
    target: Address = TOR1,
    interface: str = "eth1",
) -> Outcome:
    prober = SessionProber(kind, SharedReading(Frr(sessions).read), interface)
    return await ask(prober, ProbeSettings(kind, target))


async def test_up() -> None:
    assert await verdict(session()) == OK
    assert await verdict(session(interface="eth1"), kind=ProbeKind.BFD) == OK


@pytest.mark.parametrize(
    ("kind", "found", "detail"),
    [
        (
            ProbeKind.BGP,
            session(is_up=False, state="Active", for_s=3.2, reason="Waiting for NHT"),
            "BGP session is Active, for 3 s; last reset: Waiting for NHT",
        ),
        (
            ProbeKind.BGP,
            session(is_up=False, state="Idle", for_s=125, is_shut=True),
            "BGP session is Idle, shut down in the configuration of this host, for 2 min 5 s",
        ),
        (
            ProbeKind.BFD,
            session(is_up=False, state="down", for_s=7320, reason="path down"),
            "BFD session is down, for 2 h 2 min; diagnostic: path down",
        ),
        (ProbeKind.BFD, session(is_up=False, state="init"), "BFD session is init"),
    ],
)
async def test_not_up_is_failed_with_what_is_known(
    kind: ProbeKind, found: Session, detail: str
) -> None:
    assert await verdict(found, kind=kind) == Outcome(FAILED, detail)


async def test_a_bfd_session_that_we_shut_down_says_nothing_of_the_path() -> None:
    shut = session(is_up=False, state="shutdown", is_shut=True)
    assert (await verdict(shut, kind=ProbeKind.BFD)).verdict is UNKNOWN


async def test_a_session_that_frr_does_not_have_is_unknown() -> None:
    other = session(ip_address("10.0.2.0"))
    assert await verdict(other) == Outcome(UNKNOWN, "bgpd has no neighbor 10.0.1.0")
    assert await verdict(kind=ProbeKind.BFD) == Outcome(UNKNOWN, "bfdd has no peer 10.0.1.0")


async def test_frr_that_cannot_be_read_is_unknown() -> None:
    frr = Frr("bgpd is not running")
    prober = SessionProber(ProbeKind.BGP, SharedReading(frr.read), "eth1")
    outcome = await ask(prober, ProbeSettings(ProbeKind.BGP, TOR1))
    assert outcome == Outcome(UNKNOWN, "bgpd is not running")


async def test_the_session_of_the_own_link() -> None:
    """Link-local addresses are the same everywhere: only the interface tells the peers apart."""
    elsewhere = session(LINK_LOCAL, "eth2", is_up=False, state="Active")
    here = session(LINK_LOCAL, "eth1")
    assert await verdict(elsewhere, here, target=LINK_LOCAL) == OK
    assert (await verdict(elsewhere, target=LINK_LOCAL)).verdict is UNKNOWN
    # With and without the interface: the one with it is meant.
    assert await verdict(session(is_up=False), session(interface="eth1")) == OK


async def test_an_unnumbered_session_answers_for_its_interface() -> None:
    """Its address is link-local, or not known before it is up; the file names another, or none."""
    for address in (LINK_LOCAL, None):
        assert await verdict(session(address, "eth1")) == OK
        assert (await verdict(session(address, "eth2"))).verdict is UNKNOWN
    # A neighbor with another global address on the link is somebody else.
    assert (await verdict(session(ip_address("10.0.9.0"), "eth1"))).verdict is UNKNOWN
    # The address itself comes first.
    assert await verdict(session(None, "eth1", is_up=False), session()) == OK


# ---- one reading for all -------------------------------------------------------------------------


async def test_probes_at_the_same_time_share_one_reading() -> None:
    frr = Frr((session(),), waits=True)
    reading = SharedReading(frr.read, fresh_s=0)
    probers = [SessionProber(ProbeKind.BGP, reading, f"eth{n}") for n in range(20)]
    asked = [asyncio.create_task(ask(p, ProbeSettings(ProbeKind.BGP, TOR1))) for p in probers]
    await asyncio.sleep(0.05)
    frr.go.set()
    assert await asyncio.gather(*asked) == [OK] * 20
    assert frr.readings == 1
    # With nothing fresh, the next one reads again.
    await ask(probers[0], ProbeSettings(ProbeKind.BGP, TOR1))
    assert frr.readings == 2


async def test_a_fresh_reading_is_used_again_and_a_stale_one_is_not() -> None:
    frr = Frr((session(),))
    reading = SharedReading(frr.read, fresh_s=0.2)
    begun = asyncio.get_running_loop().time()
    await reading.sessions()
    frr.says = ()
    again = await reading.sessions()
    if asyncio.get_running_loop().time() - begun < 0.2:  # Unless this machine stood still.
        assert (len(again), frr.readings) == (1, 1)
    await asyncio.sleep(0.25)
    assert (len(await reading.sessions()), frr.readings) == (0, 2)


async def test_the_age_of_a_reading_counts_from_its_beginning() -> None:
    """What a slow daemon says may be as old as the question."""
    frr = Frr((session(),), waits=True)
    reading = SharedReading(frr.read, fresh_s=0.2)
    slow = asyncio.create_task(reading.sessions())
    await asyncio.sleep(0.25)
    frr.go.set()
    await slow
    await reading.sessions()
    assert frr.readings == 2


async def test_a_slow_frr_is_unknown_in_time_and_its_answer_serves_the_patient() -> None:
    frr = Frr((session(),), waits=True)
    reading = SharedReading(frr.read)
    hasty, patient = (SessionProber(ProbeKind.BGP, reading, "eth1") for _ in range(2))
    waiting = asyncio.create_task(ask(patient, ProbeSettings(ProbeKind.BGP, TOR1)))
    outcome = await ask(hasty, ProbeSettings(ProbeKind.BGP, TOR1), timeout_s=0.05)
    assert outcome == Outcome(UNKNOWN, "bgpd was not read within 50 ms")
    frr.go.set()
    assert await waiting == OK
    assert frr.readings == 1


@pytest.mark.parametrize("has_begun", [True, False])
async def test_close_answers_nothing_any_more(has_begun: bool) -> None:  # noqa: FBT001
    frr = Frr((session(),), waits=True)
    prober = SessionProber(ProbeKind.BGP, SharedReading(frr.read), "eth1")
    answers: list[Outcome] = []
    prober.ask(ProbeSettings(ProbeKind.BGP, TOR1), 5.0, answers.append)
    if has_begun:
        async with asyncio.timeout(10):
            while not frr.readings:
                await asyncio.sleep(0)
    prober.close()
    frr.go.set()
    await asyncio.sleep(0.05)
    assert answers == []


async def test_close_leaves_the_reading_to_the_others_until_the_last_one() -> None:
    frr = Frr((session(),), waits=True)
    reading = SharedReading(frr.read)
    first, second, third = (SessionProber(ProbeKind.BGP, reading, "eth1") for _ in range(3))
    of, answers = ProbeSettings(ProbeKind.BGP, TOR1), list[Outcome]()
    first.ask(of, 5.0, answers.append)
    waiting = asyncio.create_task(ask(second, of))
    async with asyncio.timeout(10):
        while not frr.readings:
            await asyncio.sleep(0)
    first.close()
    third.close()  # It was never asked.
    frr.go.set()
    assert await waiting == OK
    assert answers == []
    assert frr.readings == 1
    second.close()
    assert await ask(second, of) == OK
    assert frr.readings == 2


async def test_close_ends_the_reading_and_the_next_one_is_new() -> None:
    frr = Frr((session(),), waits=True)
    reading = SharedReading(frr.read)
    waiting = asyncio.create_task(reading.sessions())
    async with asyncio.timeout(10):
        while not frr.readings:
            await asyncio.sleep(0)
    reading.close()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.cancelled()
    frr.go.set()
    assert len(await reading.sessions()) == 1


# ---- link ----------------------------------------------------------------------------------------


def link(what: str, *, up: bool | None, source: Address | str = TOR1) -> Outcome:
    answers: list[Outcome] = []
    prober = LinkProber("eth1", lambda: up, lambda: source)
    prober.ask(ProbeSettings(ProbeKind.LINK, question=LinkQuestion(what)), 1.0, answers.append)
    (answer,) = answers  # At once, and once.
    return answer


def test_carrier() -> None:
    assert link("carrier", up=True, source="no address") == OK
    assert link("carrier", up=False) == Outcome(FAILED, "eth1 has no carrier")
    assert link("carrier", up=None) == Outcome(UNKNOWN, "eth1 has not been looked at yet")


def test_address() -> None:
    assert link("address", up=True) == OK
    assert link("address", up=False) == OK  # The carrier is another question.
    why = "eth1 has no ipv4 address in the subnet of 10.0.1.0"
    assert link("address", up=True, source=why) == Outcome(FAILED, why)
    unseen = Outcome(UNKNOWN, "eth1 has not been looked at yet")
    assert link("address", up=None, source="not looked up yet") == unseen
