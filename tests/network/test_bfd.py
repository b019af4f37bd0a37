"""BFD as it is rendered, in a real bgpd and bfdd: sessions come up, and a silent ToR ends them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgphealth.config import load
from bgphealth.core.events import Verdict
from bgphealth.core.settings import ProbeKind, ProbeSettings
from bgphealth.frr.render import render
from bgphealth.frr.state import Session, Sessions, Vtysh
from bgphealth.probes.outcome import Outcome
from bgphealth.probes.session import SessionProber, SharedReading
from tests.support.frr import Frr, frr
from tests.support.neighbors import Neighbor, neighbors
from tests.support.netns import ip, isolated

pytestmark = pytest.mark.network

FILE = """\
version: 1
mode: frr
host: {asn: 65101, router_id: 10.255.10.1, source: {ipv4: 10.255.10.1, ipv6: "2001:db8:10::1"}}
uplinks:
  tor1:
    interface: eth1
    neighbor: {ipv4: 10.0.1.0, ipv6: "2001:db8:1::"}
    neighbor_asn: 65001
    bfd: quick
  tor2: {interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65001, ttl_security: true, bfd: true}
  tor3:
    interface: eth3
    neighbor: unnumbered
    neighbor_asn: external
    next_hop: 10.255.0.3
    probe_source: 10.255.11.3
    bfd: quick
bfd:
  quick: {detect_multiplier: 5, receive_interval: 100ms, transmit_interval: 120ms}
"""
TOR = """\
interface eth3
 no ipv6 nd suppress-ra
 ipv6 nd ra-interval 10
exit
router bgp 65001
 bgp router-id 10.255.0.1
 no bgp ebgp-requires-policy
 neighbor 10.0.1.1 remote-as external
 neighbor 10.0.1.1 bfd
 neighbor 2001:db8:1::1 remote-as external
 neighbor 2001:db8:1::1 bfd
 neighbor 10.0.2.1 remote-as external
 neighbor 10.0.2.1 ttl-security hops 1
 neighbor 10.0.2.1 bfd
 neighbor eth3 interface v6only remote-as external
 neighbor eth3 bfd
 address-family ipv6 unicast
  neighbor 2001:db8:1::1 activate
"""
SILENCE = """\
table inet silence {
  chain in { type filter hook input priority 0; policy drop; }
  chain out { type filter hook output priority 0; policy drop; }
}
"""
QUICK, USUAL = (5, 100, 120), (3, 300, 300)
AS_RENDERED = {
    "10.0.1.0": (*QUICK, False),
    "2001:db8:1::": (*QUICK, False),
    # FRR's answer to TTL security: RFC 5883 instead of RFC 5881.
    "10.0.2.0": (*USUAL, True),
    "eth3": (*QUICK, False),
}
"""Multiplier, what is received and sent every so many ms, multihop; by address or interface."""


def wire(tor: Neighbor) -> None:
    """Give the one router that plays all three ToRs the rest of its links."""
    pid = tor.enter[2]
    for name in ("eth2", "eth3"):
        ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", pid)
        ip("link", "set", name, "up")
        tor.ip("link", "set", name, "up")
    ip("addr", "add", "10.0.2.1/31", "dev", "eth2")
    tor.ip("addr", "add", "10.0.2.0/31", "dev", "eth2")
    ip("addr", "add", "2001:db8:1::1/127", "dev", "eth1", "nodad")
    tor.ip("addr", "add", "2001:db8:1::/127", "dev", "eth0", "nodad")
    for address in ("10.255.11.3/32", "2001:db8:10::1/128"):
        ip("addr", "add", address, "dev", "lo")


def bfd_peers(host: Frr) -> dict[str, tuple[int, int, int, bool]]:
    command = ["vtysh", "--vty_socket", str(host.directory), "-c", "show bfd peers json"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return {
        said["interface"] if ip_address(said["peer"]).is_link_local else said["peer"]: (
            said["detect-multiplier"],
            said["receive-interval"],
            said["transmit-interval"],
            said["multihop"],
        )
        for said in json.loads(output)
    }


async def until(host: Frr, true: Callable[[Session], bool]) -> tuple[Session, ...]:
    """Wait until that is true of each session, BFD's and BGP's; return them."""
    vtysh = Vtysh(host.directory)
    said: list[Sessions] = []

    def sessions() -> list[Session]:
        known = [each for each in said if not isinstance(each, str)]
        # The injector has no place here.
        return [s for each in known for s in each if str(s.address) != "127.0.0.2"]

    try:
        async with asyncio.timeout(30):
            while len(sessions()) != 2 * len(AS_RENDERED) or not all(map(true, sessions())):
                await asyncio.sleep(0.1)
                said = [await vtysh.bfd_peers(), await vtysh.bgp_neighbors()]
    except TimeoutError:
        raise AssertionError(f"{said}\n{host.log()}") from None
    return tuple(sessions())


async def ask(host: Frr, interface: str, target: str | None) -> Outcome:
    """Return what ``{bfd: neighbor}`` says."""
    prober = SessionProber(ProbeKind.BFD, SharedReading(Vtysh(host.directory).bfd_peers), interface)
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    address = None if target is None else ip_address(target)
    prober.ask(ProbeSettings(ProbeKind.BFD, address), 2.0, answer.set_result)
    async with asyncio.timeout(10):
        return await answer


@isolated
async def test_a_silent_tor_is_left_by_bfd() -> None:
    with tempfile.TemporaryDirectory() as text, neighbors(1) as (tor,):
        directory = Path(text)
        os.chmod(directory, 0o755)  # noqa: PTH101, S103 - FRR's daemons are not root
        file = directory / "bgphealth.yaml"
        file.write_text(FILE)
        wire(tor)
        with frr(directory / "tor", "", tor.enter) as theirs, frr(directory / "host", "") as ours:
            ours.start("staticd")
            theirs.load(TOR)
            ours.load(render(load(file), file))
            await until(ours, lambda session: session.is_up)
            assert bfd_peers(ours) == AS_RENDERED
            for interface, target in (
                ("eth1", "2001:db8:1::"),
                ("eth2", "10.0.2.0"),
                ("eth3", None),
            ):
                assert await ask(ours, interface, target) == Outcome(Verdict.OK)

            # BGP alone would say "Hold Timer Expired", and that after nine seconds.
            tor.run("nft", SILENCE)
            down = await until(ours, lambda session: not session.is_up)
            reasons = {session.reason for session in down}
            assert reasons == {
                "control detection time expired",
                "BGP Notification send, Cease/BFD Down",
            }
            failed = await ask(ours, "eth3", None)
            assert failed.verdict is Verdict.FAILED
            assert failed.detail.startswith("BFD session is down, for ")

            tor.run("nft", "delete table inet silence")
            await until(ours, lambda session: session.is_up)
