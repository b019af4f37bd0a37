"""Events as plain data, there and back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import ip_address
from typing import get_args

import pytest

from bgphealth.core.events import (
    AddressesSeen,
    AddressWithdrawn,
    AlternativesSeen,
    AlternativesUnknown,
    Drained,
    Event,
    LinkChanged,
    PathProbed,
    PathProbeOverdue,
    ServiceChecked,
    Settled,
    Started,
    TimePassed,
    Undrained,
    Verdict,
)
from bgphealth.core.orders import What
from bgphealth.core.settings import (
    Family,
    HttpQuestion,
    ProbeKind,
    ProbeSettings,
    Role,
    ServiceSettings,
    Settings,
)
from bgphealth.core.trace import Codec, NotInFileError
from tests.support.hosts import CHECK, host

HOST = host(families=tuple(Family))
PROBE = HOST.uplinks[0].paths[0].beyond[0]
PREFIXES = HOST.services[1].prefixes
PLACE = ("tor1", Family.IPV4, Role.BEYOND, PROBE)

EVENTS: list[Event] = [
    Started(0.5),
    PathProbed(1.25, *PLACE, Verdict.OK, rtt_s=0.0123456789),
    PathProbed(1.5, *PLACE, Verdict.FAILED, 'say "no"\n\x1b[31m'),
    PathProbeOverdue(1.75, *PLACE),
    ServiceChecked(2.0, "dns", CHECK, Verdict.UNKNOWN, "cannot be asked"),
    LinkChanged(2.25, "tor2", up=False),
    Settled(2.5),
    AddressesSeen(2.75, frozenset(HOST.host.source), frozenset({ip_address("192.0.2.53")})),
    AddressWithdrawn(2.875, ip_address("2001:db8::53")),
    Drained(3.0, What.UPLINK, "tor2", 2.75, until=60.5, forced=True),
    Drained(3.25, What.HOST, "", 3.25),
    TimePassed(8.25),
    AlternativesSeen(8.5, PREFIXES, PREFIXES[:1], "10.255.10.2"),
    AlternativesUnknown(8.75, "bgpd is not running"),
    Undrained(9.0, What.UPLINK, "tor2"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_there_and_back(event: Event) -> None:
    codec = Codec(HOST)
    assert codec.decode(json.loads(json.dumps(codec.encode(event)))) == event


def test_every_kind_of_event_is_tried() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_in_the_words_of_the_file() -> None:
    codec = Codec(HOST)
    assert codec.encode(EVENTS[1]) == {
        "is": "path_probed",
        "at": 1.25,
        "uplink": "tor1",
        "family": "ipv4",
        "role": "beyond",
        "probe": "icmp 198.51.100.1",
        "verdict": "ok",
        "rtt_s": 0.0123456789,
    }
    assert codec.encode(EVENTS[5]) == {
        "is": "link_changed",
        "at": 2.25,
        "uplink": "tor2",
        "up": False,
    }


def two_that_read_alike() -> tuple[Settings, list[ProbeSettings]]:
    checks = [
        ProbeSettings(
            ProbeKind.HTTP,
            ip_address("192.0.2.53"),
            80,
            HttpQuestion(False, "/", None, (status,), None, False, 0.0),  # noqa: FBT003
        )
        for status in (200, 204)
    ]
    (dns,) = (s for s in HOST.services if s.name == "dns")
    service: ServiceSettings = replace(dns, checks=tuple(checks))
    return replace(HOST, services=(service,)), checks


def test_probes_that_read_alike_are_numbered() -> None:
    settings, checks = two_that_read_alike()
    codec = Codec(settings)
    events = [ServiceChecked(1.0, "dns", check, Verdict.OK) for check in checks]
    written = [codec.encode(event) for event in events]
    assert [each["check"] for each in written] == [
        "http://192.0.2.53:80/",
        "http://192.0.2.53:80/ #2",
    ]
    assert [codec.decode(each) for each in written] == events


def test_a_probe_that_the_file_does_not_have_cannot_be_written() -> None:
    other = ProbeSettings(ProbeKind.ICMP, ip_address("203.0.113.1"))
    with pytest.raises(NotInFileError):
        Codec(HOST).encode(PathProbed(1.0, "tor1", Family.IPV4, Role.BEYOND, other, Verdict.OK))


@pytest.mark.parametrize(
    "change",
    [{"uplink": "tor9"}, {"probe": "icmp 203.0.113.1"}, {"probe": "icmp 198.51.100.1 #2"}],
    ids=str,
)
def test_what_the_file_does_not_have(change: dict[str, object]) -> None:
    codec = Codec(HOST)
    with pytest.raises(NotInFileError):
        codec.decode({**codec.encode(EVENTS[1]), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is": "path_pinged"}, "is: must be one of started, settled, path_probed, "),
        ({"is": None}, "is: must be one of started, settled, path_probed, "),
        ({"at": "1.25"}, "at: must be a number, not '1.25'"),
        ({"at": True}, "at: must be a number, not True"),
        ({"at": float("nan")}, "at: must be a number, not nan"),
        ({"at": 10**400}, "at: must be a number, not 1000"),
        ({"verdict": "maybe"}, "verdict: must be ok or failed or unknown, not 'maybe'"),
        ({"role": 1}, "role: must be gateway or beyond, not 1"),
        ({"colour": "red"}, "colour: path_probed has no such field"),
        ({"uplink": ["tor1"]}, "uplink: must be text"),
    ],
    ids=str,
)
def test_what_is_no_event(change: dict[str, object], message: str) -> None:
    codec = Codec(HOST)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        codec.decode({**codec.encode(EVENTS[1]), **change})
    assert not isinstance(caught.value, NotInFileError)


def test_a_field_that_is_missing() -> None:
    with pytest.raises(ValueError, match="up: is missing"):
        Codec(HOST).decode({"is": "link_changed", "at": 1.0, "uplink": "tor1"})
