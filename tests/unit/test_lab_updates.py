from __future__ import annotations

import io
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab import bench_prefixes, bench_table
from lab.agents import bare, packets, updates
from lab.agents.updates import Segment, Stream, Watched, inward, prefixes, segment

KEEPALIVE = b"\xff" * 16 + struct.pack(">HB", 19, 4)
OPEN = b"\xff" * 16 + struct.pack(">HB", 29, 1) + bytes(10)
ATTRIBUTES = bytes.fromhex("400101004002004003040a000001")


def update(announced: bytes = b"", withdrawn: bytes = b"") -> bytes:
    attributes = ATTRIBUTES if announced else b""
    body = struct.pack(">H", len(withdrawn)) + withdrawn
    body += struct.pack(">H", len(attributes)) + attributes + announced
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body


def tcp(data: bytes, source_port: int = 40000, port: int = 179, sequence: int = 7) -> bytes:
    return struct.pack(">HHIIBBHHH", source_port, port, sequence, 0, 5 << 4, 0, 0, 0, 0) + data


def ipv4(data: bytes, protocol: int = 6) -> bytes:
    addresses = ip_address("127.0.0.2").packed + ip_address("127.0.0.1").packed
    length = 20 + len(data)
    return struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, 0) + addresses + data


def ipv6(data: bytes) -> bytes:
    addresses = ip_address("2001:db8::1").packed + ip_address("2001:db8::").packed
    return struct.pack(">IHBB", 6 << 28, len(data), 6, 64) + addresses + data


def test_a_segment_of_a_session_is_found_and_nothing_else() -> None:
    padded = ipv4(tcp(KEEPALIVE)) + bytes(6)  # as short frames are
    found = segment(padded)
    assert found is not None
    assert (found.source, found.target) == ("127.0.0.2", "127.0.0.1")
    assert (found.sequence, found.data) == (7, KEEPALIVE)
    answer = segment(ipv6(tcp(KEEPALIVE, source_port=179, port=40000)))
    assert answer is not None
    assert (answer.source, answer.data) == ("2001:db8::1", KEEPALIVE)
    assert segment(ipv4(tcp(b"GET /", port=80))) is None
    assert segment(ipv4(bytes(20), protocol=17)) is None


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(0, 2**32 - 1), st.data())
def test_messages_come_whole_however_they_were_cut(
    cuts: list[int], begin: int, data: st.DataObject
) -> None:
    sent = [KEEPALIVE, update(b"\x20\x0a\x00\x00\x01"), update(withdrawn=b"\x00"), KEEPALIVE] * 3
    bytes_sent = b"".join(sent)
    found: list[tuple[int, bytes]] = []
    stream, at = Stream(), 0
    for length in [*cuts, len(bytes_sent)]:
        part = bytes_sent[at : at + length]
        for _ in range(data.draw(st.integers(1, 2))):  # sent again, as TCP does
            where = (begin + at) % 2**32
            found += stream.take(Segment("127.0.0.2", "", (b"", 1, 2), where, part))
        at += len(part)
    assert [struct.pack(">HB", 19 + len(body), kind) + body for kind, body in found] == [
        message[16:] for message in sent
    ]


def test_after_a_gap_it_goes_on_with_the_next_message() -> None:
    stream = Stream()
    assert list(stream.take(Segment("", "", (b"", 1, 2), 0, KEEPALIVE + KEEPALIVE[:5]))) == [
        (4, b"")
    ]
    after = KEEPALIVE[7:] + KEEPALIVE
    assert list(stream.take(Segment("", "", (b"", 1, 2), 26, after))) == [(4, b"")]


ESTABLISHED = """\
0      0          127.0.0.1:179         127.0.0.2:40000
0      0      [fe80::1]%eth1:40002 [fe80::2]%eth1:179
0      0      [::ffff:10.0.0.1]:22 [::ffff:10.0.0.2]:50000
"""


def test_what_is_established_is_known_by_what_comes_in() -> None:
    four = ip_address("127.0.0.2").packed + ip_address("127.0.0.1").packed
    six = ip_address("fe80::2").packed + ip_address("fe80::1").packed
    mapped = ip_address("10.0.0.2").packed + ip_address("10.0.0.1").packed
    assert inward(ESTABLISHED) == {
        four: {(four, 40000, 179)},
        six: {(six, 179, 40002)},
        mapped: {(mapped, 50000, 22)},
    }


@pytest.mark.parametrize(
    ("established", "arrived", "told"),
    [
        # The connection that was there; one that is gone, before and after it began.
        (ESTABLISHED, [(40000, b"\x01")], [1]),
        (ESTABLISHED, [(39999, b"\x01"), (40000, b"\x01\x02")], [2]),
        # It is gone in its turn.
        (ESTABLISHED, [(40001, None), (40001, b"\x01"), (40000, b"\x01")], [1]),
        # Another one is refused.
        (ESTABLISHED, [(40001, None), (40000, b"\x01")], [1]),
        # Not of this node: whatever passes.
        ("", [(39999, b"\x01")], [1]),
    ],
)
def test_what_is_sent_to_a_connection_that_is_gone_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
    established: str,
    arrived: list[tuple[int, bytes | None]],
    told: list[int],
) -> None:
    """An UPDATE withdraws as many prefixes as it has octets here; None: an OPEN."""
    sent = []
    for number, (port, octets) in enumerate(arrived):
        message = OPEN if octets is None else update(withdrawn=bytes(len(octets)))
        sent.append((0.0, ipv4(tcp(message, port, sequence=7 + number * len(OPEN)))))
    monkeypatch.setattr(updates, "_established", lambda: established)
    monkeypatch.setattr(packets, "listen", lambda *_: None)
    monkeypatch.setattr(packets, "drain", lambda *_: [sent.pop(0)] if sent else [])
    watched = Watched("eth1")

    found = [each["withdrew"] for _ in arrived for each in watched.messages()["updates"]]

    assert found == told


def test_prefixes_are_counted_with_and_without_path_identifiers() -> None:
    two = b"\x20\x0a\x00\x00\x01" + b"\x12\x0a\x00\x40"
    assert prefixes(update(two, withdrawn=b"\x00")[19:], with_path_id=False) == (2, 1)
    identified = b"\x00\x00\x00\x01\x00" + b"\x00\x00\x00\x02\x20\x0a\x00\x00\x01"
    assert prefixes(update(identified)[19:], with_path_id=True) == (2, 0)
    assert prefixes(update()[19:], with_path_id=True) == (0, 0)


def test_a_move_is_over_when_the_last_prefix_has_come() -> None:
    updates = [
        {"at": at, "announced": 40, "withdrew": count} for at, count in ((9, 0), (3, 60), (5, 40))
    ]
    assert bench_prefixes.reached(updates, "withdrew", 100, 2) == 3
    assert bench_prefixes.reached(updates, "withdrew", 100, 4) is None
    assert bench_prefixes.reached(updates, "announced", 41, 4) == 5


def test_the_floor_writes_the_batches_that_bgphealth_writes() -> None:
    written = bare.lines(250, ip_address("192.0.0.8"), 65101, (1,)).decode().splitlines()
    assert [line.count("/32") for line in written] == [100, 100, 50]
    assert written[0].startswith(
        "announce attributes next-hop 192.0.0.8 local-preference 100 community [65101:1]"
        " nlri 198.18.0.0/32 198.18.0.1/32"
    )


@pytest.mark.parametrize("count", [1, 10_000])
def test_the_benchmark_has_as_many_prefixes_as_it_says(count: int) -> None:
    assert len(set(bench_prefixes.prefixes(count))) == count


def test_the_table_shows_both_and_their_ratio() -> None:
    figure = {"median": 0.3, "all": [0.29, 0.3, 0.512]}
    result = {
        "bench": "prefixes",
        "prefixes": 1000,
        "bgphealth": {"bgpd_s": figure, "tor_s": figure},
        "floor": {"bgpd_s": figure, "tor_s": figure},
        "ratio": {"bgpd_s": 1.0, "tor_s": 1.04},
        "machine": {"cpus": 2, "load_before": 0.5},
    }
    output = io.StringIO()
    bench_table.show(result, Console(file=output, width=120))
    assert "1000 prefixes" in output.getvalue()
    assert "512 ms" in output.getvalue()
    assert "1.04" in output.getvalue()
