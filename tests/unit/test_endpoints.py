"""What a file of remembered MPTCP endpoints may hold; that it is used is in the network tests."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from bgphealth.daemon.endpoints import decode, encode
from bgphealth.fallback.mptcp import Endpoint

GOOD = {"id": 254, "address": "2001:db8:1::1", "interface": 3}


def test_what_was_written_is_read() -> None:
    endpoints = {
        Endpoint(255, ip_address("10.0.1.1"), 3),
        Endpoint(254, ip_address("2001:db8:1::1"), 3),
    }
    assert decode(encode(endpoints).encode()) == endpoints


@pytest.mark.parametrize(
    "wrong", [{"id": "254"}, {"id": None}, {"address": "10.0.1"}, {"address": 1}, {"interface": ""}]
)
def test_what_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"endpoint|address"):
        decode(json.dumps({"version": 1, "endpoints": [{**GOOD, **wrong}]}).encode())
