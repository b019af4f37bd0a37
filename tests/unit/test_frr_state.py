"""What FRR 8.4.4 prints, and everything that vtysh can do instead of printing it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgphealth.frr.state import Session, Vtysh, parse_bfd_peers, parse_bgp_neighbors

SAMPLES = Path(__file__).parents[1] / "golden" / "frr-8.4"
V4, V6 = ip_address("10.0.1.0"), ip_address("2001:db8:1::")


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def session(
    address: str | None, interface: str | None, state: str, for_s: float | None, reason: str
) -> Session:
    is_up = state in ("Established", "up")
    return Session(
        address=None if address is None else ip_address(address),
        interface=interface,
        state=state,
        is_up=is_up,
        is_shut=state == "shutdown",
        for_s=for_s,
        reason=reason,
    )


def test_bgp_neighbors() -> None:
    idle = session("10.0.8.0", None, "Idle", 7.0, "No AFI/SAFI activated for peer")
    shut = Session(idle.address, None, "Idle", False, True, 7.0, idle.reason)  # noqa: FBT003
    no_open = "Waiting for peer OPEN"
    assert set(parse_bgp_neighbors(sample("bgp-neighbors-up"))) == {
        session("10.0.1.0", None, "Established", 6.0, no_open),
        session("2001:db8:1::", None, "Established", 0.0, "BGP Notification send, Cease/BFD Down"),
        session("fe80::742a:a3ff:feae:170", "eth2", "Established", 5.0, no_open),
        session(None, "eth9", "Idle", 7.0, "Waiting for Peer IPv6 LLA"),
        session("10.0.9.0", None, "Active", 7.0, "Waiting for NHT"),
        shut,
    }


def test_a_bgp_session_that_the_neighbor_shut_down() -> None:
    (found,) = (s for s in parse_bgp_neighbors(sample("bgp-neighbors-shut")) if s.address == V4)
    reason = "BGP Notification received, Cease/Administrative Shutdown"
    assert found == session("10.0.1.0", None, "Idle", 2.0, reason)


def test_bfd_peers() -> None:
    assert parse_bfd_peers(sample("bfd-peers-up")) == (
        session("10.0.1.0", "eth1", "up", 5.0, ""),
        session("2001:db8:1::", "eth1", "init", None, ""),
        session("fe80::742a:a3ff:feae:170", "eth2", "up", 4.0, ""),
    )
    expired = "control detection time expired"
    assert parse_bfd_peers(sample("bfd-peers-down")) == (
        session("10.0.1.0", "eth1", "down", 3.0, expired),
        session("2001:db8:1::", "eth1", "down", 8.0, expired),
        session("fe80::742a:a3ff:feae:170", "eth2", "down", 2.0, expired),
    )
    assert parse_bfd_peers(sample("bfd-peers-shutdown")) == (
        session("10.0.1.0", "eth1", "shutdown", None, ""),
    )


def test_other_vrfs_and_unknown_fields_are_passed_over() -> None:
    peers = json.loads(sample("bfd-peers-up"))
    peers[0]["vrf"] = "blue"
    peers[1]["new-in-99"] = {"nested": [1]}
    assert V4 not in {s.address for s in parse_bfd_peers(json.dumps(peers).encode())}
    assert V6 in {s.address for s in parse_bfd_peers(json.dumps(peers).encode())}
    neighbors = {"vrfId": 0, "10.0.1.0": {"bgpState": "Active", "newIn99": []}}
    (found,) = parse_bgp_neighbors(json.dumps(neighbors).encode())
    assert found == session("10.0.1.0", None, "Active", None, "")


def test_nothing_configured_is_no_error() -> None:
    assert parse_bgp_neighbors(b"{}\n") == ()
    assert parse_bfd_peers(b"[]\n") == ()


# ---- a vtysh of the test's choice ----------------------------------------------------------------


def vtysh(directory: Path, script: str, timeout_s: float = 10.0) -> Vtysh:
    program = directory / "vtysh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Vtysh(directory, timeout_s, str(program))


async def test_one_daemon_is_asked_and_only_that(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    reader = vtysh(tmp_path, f'printf "%s|" "$@" >> {asked}; echo "[]"')
    await reader.bfd_peers()
    assert asked.read_text() == f"--vty_socket|{tmp_path}|-d|bfdd|-c|show bfd peers json|"


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("% BGP instance not found", "bgpd: this is not JSON: '% BGP instance not found'"),
        ("", "bgpd: this is not JSON: ''"),
        ("[]", "bgpd: the neighbors are not an object"),
        ('{"10.0.1.0": {"bgpState": 6}}', "bgpd: neighbor 10.0.1.0 has no bgpState"),
    ],
)
async def test_what_is_no_answer(printed: str, why: str, tmp_path: Path) -> None:
    assert await vtysh(tmp_path, f"cat <<'E'\n{printed}\nE").bgp_neighbors() == why


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("{}", "bfdd: the peers are not a list"),
        ("[1]", "bfdd: a peer is not an object"),
        ('[{"status": "up"}]', "bfdd: a peer has no peer"),
        ('[{"peer": "10.0.1.0"}]', "bfdd: peer 10.0.1.0 has no status"),
    ],
)
async def test_what_is_no_answer_of_bfdd(printed: str, why: str, tmp_path: Path) -> None:
    assert await vtysh(tmp_path, f"cat <<'E'\n{printed}\nE").bfd_peers() == why


async def test_no_vtysh(tmp_path: Path) -> None:
    program = tmp_path / "vtysh"
    assert await Vtysh(program=str(program)).bgp_neighbors() == f"{program} is not installed"
    program.write_text("")
    why = f"cannot run {program}: Permission denied"
    assert await Vtysh(program=str(program)).bgp_neighbors() == why


async def test_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    reader = vtysh(tmp_path, "echo 'Exiting: failed to connect to any daemons.' >&2; exit 1")
    path = tmp_path / "bgpd.vty"
    why = f"bgpd is not running (nobody listens on {path})"
    assert await reader.bgp_neighbors() == why
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert await reader.bgp_neighbors() == why  # What a daemon that ended leaves behind.
        listener.listen()
        refused = "Exiting: failed to connect to any daemons."
        assert await reader.bgp_neighbors() == f"bgpd does not answer {tmp_path}/vtysh: {refused}"


async def test_a_vtysh_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    reader = vtysh(tmp_path, f"sleep 60 & echo $! > {pid}; wait", timeout_s=0.5)
    began = time.monotonic()
    assert await reader.bgp_neighbors() == (f"bgpd did not answer {tmp_path}/vtysh within 0.5 s")
    assert time.monotonic() - began < 10
    await until_ended(int(pid.read_text()))


async def test_a_reading_that_is_given_up_ends_vtysh(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(vtysh(tmp_path, f"echo $$ > {pid}; exec sleep 60").bgp_neighbors())
    async with asyncio.timeout(10):
        while not pid.exists() or not pid.read_text():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_ended(int(pid.read_text()))


async def test_endless_output_is_not_read_for_ever(tmp_path: Path) -> None:
    reader = vtysh(tmp_path, "exec yes")
    async with asyncio.timeout(20):
        assert await reader.bgp_neighbors() == "bgpd: more than 4 MiB of output"


async def test_a_program_that_writes_until_its_time_is_up_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote and nobody read must not keep us waiting for the end of its pipe."""
    monkeypatch.setattr("bgphealth.frr.state._OUTPUT_LIMIT", 1 << 40)
    reader = vtysh(tmp_path, "exec yes", timeout_s=0.02)
    async with asyncio.timeout(20):
        for _ in range(5):
            assert "within 0.02 s" in str(await reader.bgp_neighbors())


async def until_ended(pid: int) -> None:
    async with asyncio.timeout(10):
        while runs(pid):
            await asyncio.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
