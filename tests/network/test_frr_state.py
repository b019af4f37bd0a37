"""What FRR says of its sessions, from FRR itself: a pair of routers, BGP and BFD, up, down, up."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeKind, ProbeSettings
from bgphealth.frr.state import Vtysh
from bgphealth.probes.outcome import Outcome
from bgphealth.probes.session import SessionProber, SharedReading
from tests.support.frr import Frr, frr
from tests.support.neighbors import neighbors
from tests.support.netns import isolated

pytestmark = pytest.mark.network

NEIGHBOR = ip_address("10.0.1.0")
NOBODY = 65534


def configuration(asn: int, peer: str, peer_asn: int) -> str:
    return f"""frr defaults datacenter
hostname as{asn}
bfd
 profile quick
  transmit-interval 50
  receive-interval 50
router bgp {asn}
 bgp router-id 10.255.0.{asn % 256}
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor {peer} remote-as {peer_asn}
 neighbor {peer} timers connect 1
 neighbor {peer} bfd
 neighbor {peer} bfd profile quick
"""


class Pair:
    """The host's FRR, the ToR's FRR, and probes of the two sessions between them."""

    def __init__(self, host: Frr, tor: Frr) -> None:
        self.host = host
        self.tor = tor
        self.vtysh = Vtysh(host.directory)
        self._probers = {
            kind: SessionProber(kind, SharedReading(read, fresh_s=0), "eth1")
            for kind, read in (
                (ProbeKind.BGP, self.vtysh.bgp_neighbors),
                (ProbeKind.BFD, self.vtysh.bfd_peers),
            )
        }

    async def ask(self, kind: ProbeKind, target: str = "10.0.1.0") -> Outcome:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        probe = ProbeSettings(kind, ip_address(target))
        self._probers[kind].ask(probe, 2.0, answer.set_result)
        async with asyncio.timeout(10):
            return await answer

    async def until(self, kind: ProbeKind, true: Callable[[Outcome], object]) -> Outcome:
        outcome = None
        try:
            async with asyncio.timeout(20):
                while outcome is None or not true(outcome):
                    outcome = await self.ask(kind)
                return outcome
        except TimeoutError:
            raise AssertionError(f"{kind}: {outcome}\n{self.host.log()}") from None

    async def until_up(self) -> None:
        for kind in (ProbeKind.BFD, ProbeKind.BGP):
            await self.until(kind, lambda outcome: outcome.verdict is Verdict.OK)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory() as text, neighbors(1) as (tor,):
        directory = Path(text)
        os.chmod(directory, 0o755)  # noqa: PTH101, S103 - FRR's daemons are not root
        with (
            frr(directory / "tor", configuration(65001, "10.0.1.1", 65101), tor.enter) as theirs,
            frr(directory / "host", configuration(65101, "10.0.1.0", 65001)) as ours,
        ):
            yield Pair(ours, theirs)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be an ordinary user, and root again to clean up, which programs that are run are not."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@isolated
async def test_sessions_up_down_and_up_again() -> None:
    async with pair() as routers:
        await routers.until_up()
        assert await routers.ask(ProbeKind.BGP) == Outcome(Verdict.OK)

        # The ToR's operator says so: BGP goes down with the reason that the ToR gave; BFD stays.
        routers.tor.configure("router bgp 65001", "neighbor 10.0.1.1 shutdown")
        down = await routers.until(ProbeKind.BGP, lambda outcome: outcome.verdict is Verdict.FAILED)
        assert down.detail.startswith("BGP session is ")
        assert "Cease/Administrative Shutdown" in down.detail
        routers.tor.configure("router bgp 65001", "no neighbor 10.0.1.1 shutdown")
        await routers.until_up()

        # The ToR dies without a word.
        routers.tor.kill("bfdd")
        down = await routers.until(ProbeKind.BFD, lambda outcome: outcome.verdict is Verdict.FAILED)
        assert down.detail.startswith("BFD session is down, for ")
        assert down.detail.endswith("; diagnostic: control detection time expired")
        routers.tor.start("bfdd")
        await routers.until_up()


@isolated
async def test_what_frr_cannot_say_is_unknown() -> None:
    async with pair() as routers:
        await routers.until_up()
        here = routers.host.directory
        for kind, what in (
            (ProbeKind.BGP, "bgpd has no neighbor 10.0.9.0"),
            (ProbeKind.BFD, "bfdd has no peer 10.0.9.0"),
        ):
            assert await routers.ask(kind, "10.0.9.0") == Outcome(Verdict.UNKNOWN, what)

        # A session that we shut down ourselves says nothing of the path.
        routers.host.configure(
            "bfd", "peer 10.0.1.0 local-address 10.0.1.1 interface eth1", "shutdown"
        )
        shut = await routers.until(ProbeKind.BFD, lambda o: o.verdict is Verdict.UNKNOWN)
        assert shut.detail == "BFD session is shut down in the configuration of this host"

        # One daemon that hangs keeps us from itself alone, and not for long.
        routers.host.signal("bfdd", signal.SIGSTOP)
        hasty = Vtysh(here, timeout_s=0.5)
        assert await hasty.bfd_peers() == "bfdd did not answer vtysh within 0.5 s"
        assert not isinstance(await hasty.bgp_neighbors(), str)
        routers.host.signal("bfdd", signal.SIGCONT)

        routers.host.stop("bgpd")
        gone = await routers.ask(ProbeKind.BGP)
        why = f"bgpd is not running (nobody listens on {here}/bgpd.vty)"
        assert gone == Outcome(Verdict.UNKNOWN, why), gone

        with as_nobody():
            assert await routers.vtysh.bfd_peers() == (
                f"no permission for {here}/bfdd.vty: our user must be in FRR's group frrvty"
            )
