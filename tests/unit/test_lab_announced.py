"""What the lab reads from the server's UPDATEs, and what it calls stale."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from lab import dual_tor, results, stale, topology
from lab.announced import AnnouncedWatch, Held, Told, decode
from lab.experiment import Record
from lab.faults import FAULTS
from lab.namespaces import NamespaceDriver
from lab.routes import Session
from lab.watch import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

FAULT_AT, HEALED_AT = 1000.0, 1006.0
STEERED = ["loopback ipv4", "loopback ipv6", "service ipv4", "service ipv6"]
DEFAULTS = [
    f"default {family} via {tor}" for family in dual_tor.FAMILIES for tor in ("tor1", "tor2")
]
SERVER = dual_tor.SERVER


def nlri(prefix: str, path_id: int | None = None) -> bytes:
    network = ip_network(prefix)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    identifier = b"" if path_id is None else struct.pack(">I", path_id)
    return identifier + bytes([network.prefixlen]) + octets


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", 0x90, kind, len(value)) + value


def update(withdrawn: bytes = b"", attributes: bytes = b"", announced: bytes = b"") -> bytes:
    body = struct.pack(">H", len(withdrawn)) + withdrawn
    return body + struct.pack(">H", len(attributes)) + attributes + announced


def test_an_update_says_which_prefixes_come_and_go() -> None:
    origin = b"\x40\x01\x01\x00"
    body = update(
        nlri("192.0.2.53/32"),
        origin,
        nlri("10.255.10.1/32") + nlri("10.0.0.0/9") + nlri("0.0.0.0/0"),
    )
    assert list(decode(body, with_path_id=False)) == [
        ("192.0.2.53/32", None, True),
        ("10.255.10.1/32", None, False),
        ("10.0.0.0/9", None, False),
        ("0.0.0.0/0", None, False),
    ]


def test_prefixes_of_the_other_family_and_their_path_identifiers_are_in_attributes() -> None:
    reach = b"\x00\x02\x01\x10" + bytes(16) + b"\x00" + nlri("2001:db8::53/128", 7)
    unreach = b"\x00\x02\x01" + nlri("::/0", 2)
    body = update(attributes=attribute(14, reach) + attribute(15, unreach))
    assert list(decode(body, with_path_id=True)) == [
        ("2001:db8::53/128", 7, False),
        ("::/0", 2, True),
    ]


def test_ipv4_with_an_ipv6_next_hop_is_in_attributes_as_well() -> None:
    reach = b"\x00\x01\x01\x10" + bytes(16) + b"\x00" + nlri("192.0.2.53/32")
    body = update(attributes=attribute(14, reach))
    assert list(decode(body, with_path_id=False)) == [("192.0.2.53/32", None, False)]
    assert list(decode(update(), with_path_id=False)) == []


def session(node: str, neighbor: str, since: int) -> Session:
    return Session(node, neighbor, "ipv4", "Established", "00:01:00", 0, since)


def whole() -> Held:
    return {"tor1": [*STEERED], "tor2": [*STEERED], SERVER: [*DEFAULTS]}


@pytest.fixture
def dark() -> Record:
    """Return tor2 dark for six seconds, as it should go."""
    found = Record(
        replace(FAULTS["uplink-blackhole"], sessions_stay=False), "dual-tor", "namespaces"
    )
    found.fault_at, found.healed_at, found.recovered_at = FAULT_AT, HEALED_AT, HEALED_AT + 3
    found.ended_at = HEALED_AT + 5
    found.verdicts = [
        Verdict(FAULT_AT + 0.4, "tor2", family, "up", "down", "beyond")
        for family in dual_tor.FAMILIES
    ]
    found.told = [
        *(Told(FAULT_AT + 0.5, "tor2", route, withdrawn=True) for route in STEERED),
        *(Told(FAULT_AT + 8.0, "tor2", route) for route in STEERED),
        Told(FAULT_AT + 0.45, SERVER, DEFAULTS[1], withdrawn=True),
    ]
    found.held_before, found.held_after = whole(), whole()
    found.held_during = {"tor1": STEERED, "tor2": [], SERVER: [DEFAULTS[0], DEFAULTS[2]]}
    return found


@pytest.fixture
def killed() -> Record:
    """Return ExaBGP killed, as it should go: its session ends, the ToRs are told."""
    found = Record(FAULTS["exabgp-kill"], "dual-tor", "namespaces")
    found.fault_at, found.recovered_at, found.ended_at = FAULT_AT, FAULT_AT + 7, FAULT_AT + 9
    found.sessions_with_server = [
        session(SERVER, "127.0.0.2", 100),
        session("tor1", "10.0.1.1", 90),
    ]
    found.sessions_after = [session(SERVER, "127.0.0.2", 160), session("tor1", "10.0.1.1", 91)]
    found.told = [
        Told(FAULT_AT + 0.1, tor, f"service {family}", withdrawn=True)
        for tor in ("tor1", "tor2")
        for family in dual_tor.FAMILIES
    ]
    found.held_before, found.held_after = whole(), whole()
    return found


def failed(record: Record) -> dict[str, str]:
    return {what: saw for what, held, saw in stale.checks(record) if not held}


def test_what_goes_as_it_should_is_not_stale(dark: Record, killed: Record) -> None:
    for record in (dark, killed):
        assert failed(record) == {}
        assert stale.stale(record) == []
    assert stale.sessions_ended(dark) == []
    assert stale.sessions_ended(killed) == [SERVER]


def test_what_a_dark_tor_still_has_is_stale(dark: Record) -> None:
    assert dark.held_during is not None
    dark.held_during["tor2"] = ["service ipv6"]
    dark.held_during[SERVER] = DEFAULTS

    assert stale.stale(dark) == [
        "during: tor2 still has service ipv6",
        "during: server1 still has default ipv4 via tor2",
        "during: server1 still has default ipv6 via tor2",
    ]
    assert list(failed(dark)) == ["no announcement is stale"]


def test_a_verdict_is_enough_where_the_fault_promises_nothing(dark: Record) -> None:
    assert dark.held_during is not None
    dark.fault = replace(dark.fault, expected=replace(dark.fault.expected, service=None))
    dark.held_during["tor2"] = ["service ipv4"]

    assert stale.stale(dark) == ["during: tor2 still has service ipv4"]
    # All of them down: the last is kept.
    dark.verdicts += [replace(v, uplink="tor1") for v in dark.verdicts]
    assert stale.stale(dark) == []


def test_a_degraded_uplink_may_be_announced(dark: Record) -> None:
    dark.fault = replace(dark.fault, verdict="degraded")
    dark.verdicts = [replace(v, after="degraded") for v in dark.verdicts]
    dark.held_during = whole()

    assert stale.stale(dark) == []


def test_what_was_not_there_before_is_stale_afterwards(dark: Record) -> None:
    dark.held_before = {**whole(), "tor1": ["loopback ipv4"]}

    assert stale.stale(dark)[0] == "after: tor1 has loopback ipv6, which it had not before"


def test_what_is_not_announced_again_is_found(dark: Record) -> None:
    dark.held_after["tor2"] = STEERED[:3]

    assert failed(dark) == {"all is announced again": "tor2: service ipv6"}


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_bgpd_that_does_not_answer_is_found(dark: Record, when: str) -> None:
    getattr(dark, f"held_{when}")["tor1"] = None

    assert failed(dark)["every bgpd says what it holds"] == f"{when}: tor1 did not"


def test_a_bgpd_that_the_fault_has_killed_need_not_answer(dark: Record) -> None:
    assert dark.held_during is not None
    dark.fault = FAULTS["tor-crash"]
    dark.held_during["tor2"] = None

    assert failed(dark) == {}


class Bgpds(NamespaceDriver):
    """Nodes whose vtysh says what is given."""

    def __init__(self, said: dict[str, str]) -> None:
        super().__init__(topology.load(topology.find(dual_tor.NAME)))
        self._said = said

    def run(
        self, node: str, arguments: Sequence[str], **_: object
    ) -> subprocess.CompletedProcess[str]:
        said = self._said[node] if arguments[0] == "vtysh" else "[]"
        return subprocess.CompletedProcess(arguments, 1, said, "")

    def popen(self, *_: object, **__: object) -> subprocess.Popen[str]:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(["sh", "-c", "echo {}; read end"], **pipes)


def test_who_does_not_answer_does_not_hold_nothing() -> None:
    # What vtysh prints of a default that is not there, of an empty table, and without a bgpd.
    said = {SERVER: "{}\n", "tor1": '{"routes": {}}', "tor2": "bgpd is not running\n"}
    watched = AnnouncedWatch(Bgpds(said))
    watched.start()
    try:
        assert watched.held() == {SERVER: [], "tor1": [], "tor2": None}
    finally:
        watched.stop()


def test_a_withdrawal_after_more_than_the_hold_time_is_late(dark: Record) -> None:
    dark.healed_at = FAULT_AT + 20
    dark.told = [replace(told, at=told.at + 9.5) for told in dark.told]

    assert "tor2 lost service ipv4 9.6 s after the verdict" in stale.stale(dark)


def test_what_comes_back_before_the_healing_is_found(dark: Record) -> None:
    assert stale.again(dark) == []
    dark.told += [
        Told(FAULT_AT + at, "tor2", "service ipv4", withdrawn=withdrawn)
        for at, withdrawn in ((1.5, False), (2.5, True))
    ]

    assert failed(dark) == {
        "what is withdrawn stays so until the healing": "tor2 has service ipv4 again after 1.5 s"
    }


def test_what_was_kept_because_all_was_down_is_late_only_afterwards(dark: Record) -> None:
    dark.healed_at = FAULT_AT + 40
    down = dark.verdicts
    all_down = [replace(verdict, uplink="tor1", at=verdict.at - 0.05) for verdict in down]
    dark.verdicts = [*down, *all_down]
    dark.verdicts += [replace(verdict, after="up", at=FAULT_AT + 20) for verdict in all_down]
    dark.told = [replace(told, at=told.at + 20) for told in dark.told]
    assert not [found for found in stale.stale(dark) if "after the verdict" in found]

    dark.told = [replace(told, at=told.at + 9.5) for told in dark.told]
    assert [found for found in stale.stale(dark) if "after the verdict" in found]


def test_a_service_that_outlives_its_announcer_is_stale(killed: Record) -> None:
    killed.told = [told for told in killed.told if told.router != "tor2"]

    assert stale.stale(killed) == [
        f"tor2 kept service {family} while its announcer was gone" for family in dual_tor.FAMILIES
    ]
    # Gone with the session, of which the wire says nothing.
    killed.sessions_with_server.append(session("tor2", "10.0.2.1", 90))
    assert stale.stale(killed) == []


@pytest.mark.parametrize(
    ("router", "route", "strange"),
    [
        ("tor1", "198.18.0.0/24", True),
        ("tor1", "default ipv4", True),
        ("tor1", "probe ipv4", False),
        (SERVER, "default ipv4 via tor1", False),
        (SERVER, "198.18.0.0/24", True),
    ],
)
def test_what_is_not_the_servers_to_announce_is_found(
    dark: Record, router: str, route: str, *, strange: bool
) -> None:
    dark.told.append(Told(FAULT_AT + 1, router, route))

    wanted = {"nothing else is announced": f"{router}: {route}"} if strange else {}
    assert failed(dark) == wanted


def test_where_nothing_may_change_nothing_may_be_told(dark: Record) -> None:
    dark.fault = replace(FAULTS["helper-stop"], sessions_stay=False)
    dark.verdicts, dark.held_during = [], whole()
    dark.told = [Told(FAULT_AT - 1, "tor1", "service ipv4")]
    assert failed(dark) == {}

    dark.told.append(Told(FAULT_AT + 1, "tor1", "service ipv4"))
    assert failed(dark) == {"nothing is announced or withdrawn": "service ipv4 to tor1"}


def test_steps_are_bursts_of_one_kind(dark: Record) -> None:
    found = stale.summary(dark)

    assert found is not None
    assert [(s["to"], s["what"], s["from_s"]) for s in found["told"]] == [
        (SERVER, "withdrawn", 0.45),
        ("tor2", "withdrawn", 0.5),
        ("tor2", "announced", 8.0),
    ]
    assert found["told"][1]["routes"] == STEERED
    dark.held_before = None
    assert stale.summary(dark) is None
    assert "no announcement is stale" not in dict.fromkeys(c[0] for c in stale.checks(dark))


def test_results_have_fields_for_it(dark: Record) -> None:
    dark.flows = {"in": [], "out": []}
    dark.foreign_before = dark.foreign_after = ["default dev eth0"]
    found = results.result(dark)
    assert (found["stale"], found["foreign_untouched"]) == ([], True)
    dark.foreign_after = []
    assert results.result(dark)["foreign_untouched"] is False
