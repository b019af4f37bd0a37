"""What a file of remembered routes may hold; that it is used is in the network tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgphealth.core.reconcile import Withdraw
from bgphealth.daemon.remembered import decode
from bgphealth.exabgp.commands import encode

GOOD = {"prefix": "2001:db8::1/128", "path_id": 2, "neighbor": "2001:db8:1::"}


def written(**changes: object) -> bytes:
    return json.dumps({"version": 1, "routes": [{**GOOD, **changes}]}).encode()


def test_what_is_remembered_can_be_withdrawn() -> None:
    (key,) = decode(written())
    line = "neighbor 2001:db8:1:: withdraw route 2001:db8::1/128 path-information 0.0.0.2"
    assert encode(Withdraw(key)) == line


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": "fe80::1%eth1/128"},
        {"prefix": "fe80::1%1\nshutdown/128"},
        {"neighbor": "fe80::1%eth1"},
        {"prefix": "192.0.2.1/33"},
        {"prefix": "192.0.2.1/24"},
        {"path_id": -1},
        {"path_id": 1 << 32},
        {"path_id": True},
        {"neighbor": ""},
    ],
)
def test_what_no_command_could_be_made_of_is_no_route(wrong: dict[str, Any]) -> None:
    """Else every start would end there, and ExaBGP after the sixth."""
    with pytest.raises(ValueError, match=r"route|address|network|host bits"):
        decode(written(**wrong))
