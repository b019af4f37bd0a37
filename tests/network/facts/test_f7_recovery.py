"""F7 with the daemon: once the BGP default of an uplink is withdrawn, its probes must still be
answered through it, or the uplink never recovers.

The daemon keeps its rules and tables in place; ``fallback.enabled: false`` takes them away.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.network.facts.laboratory import FILE, IPV4, NAME_COMMAND, Lab, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

WITHOUT_TABLES = "/etc/bgphealth/without-tables.yaml"

BLACKHOLE = "add chain inet facts forward { type filter hook forward priority 0; policy drop; }"

NEVER_S = 8.0
"""More than twice what ten good probes, 200 ms apart, would take."""


@contextmanager
def useless_tor2(lab: Lab) -> Iterator[None]:
    """Let tor2 forward nothing while its sessions go on."""
    lab.run("tor2", "nft", f"add table inet facts; {BLACKHOLE}")
    try:
        yield
    finally:
        lab.run("tor2", "nft", "delete table inet facts")


def uplinks(lab: Lab) -> tuple[str, ...]:
    default = lab.default(IPV4)
    return default.interfaces if default and default.protocol == "bgp" else ()


def withdrawn_from_tor2(lab: Lab) -> bool:
    return uplinks(lab) == ("eth1",) and len(lab.injected(IPV4)) == 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory, (NAME_COMMAND, "/etc/lab/start-server")) as lab:
        yield lab


def test_f7_an_uplink_recovers_with_the_rules_and_tables_of_bgphealth(server: Lab) -> None:
    server.eventually("both defaults are injected", server.is_injected_by_both, IPV4)
    with useless_tor2(server):
        server.eventually("tor2's default is withdrawn", lambda: withdrawn_from_tor2(server))
    server.eventually("tor2's default is back", server.is_injected_by_both, IPV4)


def test_f7_an_uplink_never_recovers_without_them(server: Lab) -> None:
    server.server(
        "sh", "-c", f"(cat {FILE}; echo 'fallback: {{enabled: false}}') >{WITHOUT_TABLES}"
    )
    server.server("bgphealth", "-c", WITHOUT_TABLES, "render", "exabgp", "-o", "/etc/exabgp")
    server.restart_exabgp()
    # Not before: of two defaults that do not come at once, the first would keep the other away.
    server.eventually("both defaults are injected", server.is_injected_by_both, IPV4)
    assert "179" in server.server("ip", "-N", "rule")
    for option in ("-4", "-6"):
        server.server("ip", option, "rule", "flush", "protocol", "179")
    with useless_tor2(server):
        server.eventually("tor2's default is withdrawn", lambda: withdrawn_from_tor2(server))
    server.throughout(NEVER_S, "tor2 stays out", lambda: withdrawn_from_tor2(server))
