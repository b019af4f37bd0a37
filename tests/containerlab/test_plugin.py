"""The pytest plugin as its users have it: our own topology in containerlab, bgphealth in it.

A module-scoped lab for all of it; each test leaves it whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from bgphealth.testing import Lab, Node, NotSeenError
from lab import docker, images
from lab.convergence import wait_until

pytestmark = pytest.mark.clab("../../lab/dual-tor.clab.yml", name="plugin-dual-tor")

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
SERVICE = "192.0.2.53/32"
FOREIGN = "198.18.7.0/24"
WHOLE_S = 240.0
"""On a machine that is far too busy bgphealth looks at bgpd in vain, and again a minute later."""
SOON_S = 60.0
"""For what takes a second: nobody waits for it longer than it takes, and machines are busy."""


@pytest.fixture(scope="session")
def clab_command() -> Sequence[str]:
    """Build the images of this tree; return what leads to Docker, the user's or the lab's own."""
    images.build(print)
    return docker.beside()


@pytest.fixture(scope="session")
def clab_environment(
    clab_command: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """Return what Docker needs, once it is known which one it is; nothing is written here."""
    assert clab_command is not None
    directory = str(tmp_path_factory.mktemp("clab"))
    return {**docker.environment(), "CLAB_LABDIR_BASE": directory}


@pytest.fixture
def server(clab: Lab) -> Iterator[Node]:
    """Return the server, whole; it must be so again after the test."""
    clab["server1"].wait_whole(within=WHOLE_S)
    yield clab["server1"]
    clab["server1"].wait_whole(within=WHOLE_S)


def test_a_whole_server(clab: Lab, server: Node) -> None:
    assert clab.servers == (server,)
    server.assert_path("tor1", "up")
    for family, source in (("ipv4", "10.255.10.1"), ("ipv6", None)):
        server.assert_default_via(
            "tor1", "tor2", tier="injected", family=family, source=source, within=WHOLE_S
        )
    server.assert_announced("echo", via={"tor1", "tor2"}, how="usual", within=WHOLE_S)
    server.assert_nothing_stale(within=WHOLE_S)
    server.assert_doctor_ok(within=WHOLE_S)
    clab["core"].assert_route(SERVICE, devices={"eth1", "eth2"}, within=WHOLE_S)
    assert "tor2 ipv4 is up" in server.explain("tor2")


def test_what_is_not_so_is_said(server: Node) -> None:
    with pytest.raises(NotSeenError, match=r"via tor1: not within 3 s, but\n  ipv4: tier injected"):
        server.assert_default_via("tor1", within=3)
    with pytest.raises(NotSeenError, match=r"to tor1 \(usual\), tor2 \(usual\); ExaBGP: ack"):
        server.assert_announced("echo", via={"tor1"}, within=3)


def test_a_dead_uplink_is_left(clab: Lab, server: Node) -> None:
    add = f"ip route add {FOREIGN} via 10.0.2.0 proto static"
    with (
        server.fault(add, f"ip route del {FOREIGN}"),
        server.assert_foreign_untouched(),
        clab["tor2"].blackhole() as fault,
    ):
        server.wait_path("tor2", "down", within=SOON_S)
        server.assert_default_via("tor1", within=WHOLE_S)
        server.assert_announced("echo", via={"tor1"}, within=WHOLE_S)
        clab["core"].assert_route(SERVICE, devices={"eth1"}, within=WHOLE_S)
        server.assert_doctor_ok(within=WHOLE_S)
        assert 0 < server.time_to("tor2", "down", since=fault) < SOON_S
    assert fault.healed is not None
    server.wait_path("tor2", "up", within=SOON_S)
    assert 0 < server.time_to("tor2", "up", since=fault.healed) < SOON_S


def test_what_somebody_takes_away_is_noticed(server: Node) -> None:
    add = f"ip route add {FOREIGN} via 10.0.2.0 proto static"
    with server.fault(add, f"ip route del {FOREIGN} 2>/dev/null || :"):
        before = server.foreign()
        server.run(f"ip route del {FOREIGN}")
        (gone,) = before - server.foreign()
    assert FOREIGN in gone


def test_a_dead_service_is_withdrawn(clab: Lab, server: Node) -> None:
    start = "setsid /etc/lab/run-service >>/var/log/service.log 2>&1 </dev/null &"
    with server.fault("kill -9 $(cat /run/service.pid)", start, "the service is dead"):
        server.wait_service("echo", "down", within=SOON_S)
        server.assert_withdrawn("echo", within=WHOLE_S)
        clab["core"].assert_no_route(SERVICE, within=WHOLE_S)


def test_a_link_comes_back_with_its_addresses(server: Node) -> None:
    # As an interface that keeps no addresses: what the kernel takes away with the link.
    server.run("sysctl -qw net.ipv6.conf.eth2.keep_addr_on_down=0 2>/dev/null || :")
    before = server.run("ip -brief addr show dev eth2 scope global")
    with server.link_down("eth2"):
        server.wait_path("tor2", "down", within=SOON_S)
        server.assert_default_via("tor1", within=WHOLE_S)
    server.wait_whole(within=WHOLE_S)
    assert server.run("ip -brief addr show dev eth2 scope global") == before


def test_what_is_killed_comes_back_and_leaves_nothing(server: Node) -> None:
    fault = server.kill("bgphealth")
    server.wait_whole(within=WHOLE_S)
    server.assert_nothing_stale(within=WHOLE_S)
    assert server.events(since=fault)[0].time > fault.began


def test_a_process_is_stopped_and_goes_on(clab: Lab) -> None:
    def missing(*, is_stopped: bool) -> list[str]:
        state = clab["tor1"].run("ps -o stat= -C bgpd")
        return [] if state.startswith("T") == is_stopped else [f"another state than {state}"]

    with clab["tor1"].stopped("bgpd"):
        wait_until("bgpd is stopped", lambda: missing(is_stopped=True))
    wait_until("bgpd goes on", lambda: missing(is_stopped=False))


def test_filters_are_those_of_the_fault_and_go_with_it(clab: Lab) -> None:
    tor2 = clab["tor2"]
    with tor2.loss(30, "eth2"), tor2.blackhole("eth3"):
        rules = tor2.run("nft list ruleset")
        assert 'oifname "eth2" numgen random mod 100 < 30 drop' in rules
        assert 'oifname "eth3" drop' in rules
    assert tor2.run("nft list ruleset") == ""


@pytest.mark.usefixtures("server")
def test_the_first_lines_of_the_page(clab: Lab) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Callable[[Lab], None]] = {}
    exec(found[1], names)  # noqa: S102 - ours
    names["test_a_dead_uplink_is_left"](clab)
