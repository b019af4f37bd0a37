"""docs/existing-frr.md, command by command, on a host whose FRR has a configuration of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgphealth.config import load
from lab import convergence, state, topology
from lab.namespaces import NamespaceDriver
from tests.network.facts.laboratory import FAMILIES, IPV4, Family, Lab
from tests.support.laboratory import FILE
from tests.support.survey import essence, guessed, own

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "existing-frr.md"
THEIRS = HERE / "beside" / "frr.conf"
LAB_FILE = HERE.parents[1] / "lab" / "dual-tor" / "server1" / "bgphealth.yaml"
FRAGMENT = "/etc/bgphealth/rendered/frr-fragment.conf"

SYSTEMCTL = """\
#!/bin/sh
# systemctl, as far as the page needs it.
case "$*" in
"daemon-reload") test -s /etc/systemd/system/exabgp.service ;;
"enable --now exabgp") setsid /etc/lab/run-exabgp >>/var/log/exabgp.log 2>&1 </dev/null & ;;
*) exit 1 ;;
esac
"""
START = (
    "sh -c 'echo 127.0.0.1 server1 >>/etc/hosts'",
    f"cp {THEIRS} /etc/frr/frr.conf",
    "sh -c 'setsid /etc/lab/run-service >/var/log/service.log 2>&1 </dev/null &'",
    "/etc/lab/start-frr",
)
COLLECTOR, CONTAINERS, COLLECTED = "198.51.100.1", "10.20.0.0/24", "198.51.100.2/32"
COLLECTS = (
    "no bgp ebgp-requires-policy",
    "neighbor 10.255.10.1 remote-as 65101",
    "neighbor 10.255.10.1 ebgp-multihop 4",
    f"neighbor 10.255.10.1 update-source {COLLECTOR}",
    "neighbor 10.255.10.1 timers connect 3",
    "address-family ipv4 unicast",
    "neighbor 10.255.10.1 activate",
    "network 198.51.100.2/32",
)
BEYOND = 'beyond: {of: [{icmp: 198.51.100.1}, {icmp: "2001:db8:100::1"}]}'

GIVES_WAY = {
    "ip protocol bgp route-map SOURCE",
    "  network 10.255.10.1/32",
    "  network 2001:db8:10::1/128",
    "  neighbor 10.0.2.0 route-map TO-TOR out",
    "  neighbor 2001:db8:2:: route-map TO-TOR out",
}
"""The lines of theirs that the page says give way, and no others."""


class Host(Lab):
    """The server, before and after the page."""

    before: list[str]
    told_before: dict[str, Any]
    drops_before: int

    def running(self) -> list[str]:
        return self.server("vtysh", "-c", "show running-config").splitlines()

    def shell(self, command: str) -> tuple[int, str]:
        script = f'PATH="/run/services:$PATH"; {command}'
        done = self.driver.run("server1", ["sh", "-c", script], check=False, timeout_s=60)
        return done.returncode, done.stdout + done.stderr

    def told(self, family: Family, neighbor: str) -> dict[str, Any]:
        asked = f"show bgp {family} unicast neighbors {neighbor} advertised-routes"
        routes: dict[str, Any] = self.show("server1", asked).get("advertisedRoutes", {})
        return routes

    def far(self) -> dict[str, Any]:
        said: dict[str, Any] = self.show("server1", f"show bgp neighbors {COLLECTOR}")[COLLECTOR]
        return said

    def has_all_of_its_own(self) -> bool:
        neighbors = self.show("server1", "show bgp neighbors")
        up = [n for n, said in neighbors.items() if said.get("bgpState") == "Established"]
        is_told = CONTAINERS in self.told(IPV4, COLLECTOR)
        return len(up) == 5 and is_told and self.is_collected()

    def is_collected(self) -> bool:
        """Return whether what the collector announces is used, as their route-maps say."""
        path = self.path_from("server1", COLLECTOR, IPV4, COLLECTED)
        in_kernel = self.kernel("server1", IPV4, COLLECTED)
        return (
            path is not None
            and (path["valid"], path["locPrf"]) == (True, 80)
            and [route["prefsrc"] for route in in_kernel] == [IPV4.loopback]
        )

    def is_steered(self) -> bool:
        return all(
            self.is_injected_by_both(f) and self.core_uses(f, f.service) == ("tor1", "tor2")
            for f in FAMILIES
        )


def commands() -> list[str]:
    """Return what the page tells to do, in its order."""
    steps = PAGE.read_text(encoding="utf-8").split("## Step by step")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", steps, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("# ")]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Do what the page says, from nothing of bgphealth to a doctor that finds nothing."""
    read = topology.load(topology.find("dual-tor"))
    server, core = read.nodes["server1"], read.nodes["core"]
    start = [line for line in server.exec if line != "/etc/lab/start-server"]
    binds = [bind for bind in server.binds if not bind.endswith(f"{FILE}:ro")]
    words = " ".join(
        f"-c '{line}'" for line in ("configure terminal", "router bgp 65000", *COLLECTS)
    )
    read.nodes = {
        **read.nodes,
        "server1": server.model_copy(update={"exec": (*start, *START), "binds": tuple(binds)}),
        "core": core.model_copy(update={"exec": (*core.exec, f"vtysh {words}")}),
    }
    driver = NamespaceDriver(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path_factory.mktemp("lab")))
        try:
            driver.up()
            there = Host(driver)
            there.eventually("the host is up as it was", there.has_all_of_its_own)
            walk(there)
            yield there
        finally:
            driver.down()


def walk(host: Host) -> None:
    host.shell(f"mkdir -p /run/services && cat >/run/services/systemctl <<'E'\n{SYSTEMCTL}E")
    host.shell("chmod 755 /run/services/systemctl")
    host.before, host.told_before = host.running(), host.told(IPV4, COLLECTOR)
    host.drops_before = host.far()["connectionsDropped"]
    for command in commands():
        if command.startswith("bgphealth doctor"):
            # What was started a moment ago has to come up.
            said: list[str] = []

            def missing(command: str = command, said: list[str] = said) -> list[str]:
                status, output = host.shell(command)
                said[:] = [] if (status, output) == (0, "nothing found\n") else [output]
                return said

            convergence.wait_until(command, missing, 60)
            continue
        status, output = host.shell(command)
        assert status == 0, f"{command}: {output}"
        if command.startswith("bgphealth init"):
            status, output = host.shell(f"sed -i 's|^paths:|&\\n  {BEYOND}|' {FILE}")
            assert status == 0, output
        if "--diff" in command:
            assert (
                "! look at: 'route-map TO-TOR permit 10': no service gets its 'set comm" in output
            )
            gone = {line for line in output.splitlines() if line.startswith("-")}
            assert {line[2:].strip() for line in gone} == {line.strip() for line in GIVES_WAY}


def test_all_of_theirs_is_still_there(host: Host) -> None:
    """Byte for byte, but for the lines that the head of the part names."""
    after = host.running()
    assert set(host.before) - set(after) == GIVES_WAY
    stay = [line for line in host.before if line not in GIVES_WAY and line.strip("! ")]
    assert not Counter(stay) - Counter(after)
    head = host.server("cat", FRAGMENT).split("! Needs")[0]
    for line in GIVES_WAY:
        assert f"takes the place of '{line.strip()}'" in head
    assert "no service gets its 'set community 65000:100 additive' any more" in head


def test_what_was_kept_can_be_entered_again(host: Host) -> None:
    assert host.shell("vtysh -C -f /etc/frr/before.conf") == (0, "")
    with_header = "vtysh -c 'show running-config' >/run/with.conf && vtysh -C -f /run/with.conf"
    assert "Building configuration" in host.shell(with_header)[1]


def test_their_neighbor_has_not_noticed(host: Host) -> None:
    """Its session lasts, by way of the default, and it is told what it was told."""
    far = host.far()
    assert (far["bgpState"], far["connectionsDropped"]) == ("Established", host.drops_before)
    told = host.told(IPV4, COLLECTOR)
    assert set(told) == set(host.told_before) == {CONTAINERS}
    assert told[CONTAINERS]["metric"] == host.told_before[CONTAINERS]["metric"] == 77


def test_what_their_neighbor_announces_is_used_as_before(host: Host) -> None:
    """Its next hop is known by the default alone; their source is set by their route-map."""
    host.eventually("it is used", host.is_collected)


def test_both_directions_are_steered(host: Host) -> None:
    host.eventually("defaults and service are steered", host.is_steered)
    for family in FAMILIES:
        for tor in family.tors:
            told = host.told(family, tor)
            assert family.default not in told
            assert {family.prefix, f"{family.loopback}/{family.length}"} <= set(told)


def test_what_theirs_sends_to_a_tor_goes_on(host: Host) -> None:
    for tor in IPV4.tors:
        assert CONTAINERS in host.told(IPV4, tor)
    path = host.paths("server1", IPV4, f"{IPV4.loopback}/32")
    own_path = [p for p in path if p["peer"]["peerId"] != "127.0.0.2"]
    assert [p["locPrf"] for p in own_path] == [50]


def test_a_dead_service_goes_although_bgpd_originates_it(host: Host) -> None:
    """`network 192.0.2.53/32` stays, and what it originates goes to no ToR."""
    assert "  network 192.0.2.53/32" in host.running()
    host.server("sh", "-c", "kill $(cat /run/service.pid)")
    host.eventually("the service is gone", lambda: host.core_uses(IPV4, IPV4.service) == ())
    assert host.core_uses(IPV4, IPV4.loopback) == ("tor1", "tor2")
    host.server("sh", "-c", "setsid /etc/lab/run-service >/dev/null 2>&1 </dev/null &")
    host.eventually("the service is back", host.is_steered)


def test_once_more_there_is_nothing_to_change(host: Host) -> None:
    assert host.shell("bgphealth render frr --fragment --diff") == (0, "nothing would change\n")
    status, output = host.shell("bgphealth render frr --diff")
    assert (status, "- route-map TO-TOR permit 30\n" in output) == (1, True)


def test_the_part_rendered_anew_is_entered_without_a_complaint(host: Host) -> None:
    """And theirs of a session comes back when ours is not rendered any more."""
    enter = "bgphealth render frr --fragment -o /run && vtysh -f /run/frr-fragment.conf"
    assert host.shell(enter)[0] == 0
    host.shell(f"cp {FILE} /run/before.yaml")
    assert host.shell(f"sed -i 's/^    prefixes:/    on_down: guarded\\n&/' {FILE}")[0] == 0
    try:
        status, output = host.shell(enter)
        assert status == 0, output
        assert host.running().count("  neighbor 10.0.2.0 route-map bgphealth-in-ipv4-tor2 in") == 1
    finally:
        host.shell(f"cp /run/before.yaml {FILE}")
    for _ in range(3):
        # One command mends a finding; what follows from it is the next one.
        for mend in re.findall(r"mend: (vtysh .*)", host.shell("bgphealth doctor")[1]):
            host.shell(mend)
    after = host.running()
    assert "  neighbor 10.0.2.0 route-map FROM-TOR in" in after
    assert not [line for line in after if "bgphealth-in-" in line]
    for tor in IPV4.tors:
        path = host.path_from("server1", tor, IPV4, IPV4.default)
        assert path is not None
        assert path["locPrf"] == 120  # By FROM-TOR, of the peer-group and of the neighbor.


def test_the_doctor_finds_what_is_broken_in_the_part(host: Host) -> None:
    """And what mends it by the doctor's word does."""
    host.configure("no route-map bgphealth-out-ipv4-tor1 permit 65535")
    status, output = host.shell("bgphealth doctor")
    assert (status, "call TO-TOR" in output) == (1, True)
    mend = re.search(r"mend: (vtysh .*)", output)
    assert mend is not None
    host.shell(mend[1])
    host.eventually("nothing is found", lambda: host.shell("bgphealth doctor")[0] == 0)


def test_the_file_is_essentially_the_labs(host: Host) -> None:
    """Whoever looks again, with bgphealth there, sees the same."""
    labs = essence(load(LAB_FILE))
    assert essence(own(host.driver)) == labs
    assert essence(guessed(host.driver)) == labs


def test_init_sees_a_host_in_trouble(host: Host) -> None:
    """A router id that is a service's, a ToR that is down, a user who may not ask FRR."""
    host.configure("router bgp 65101", "no bgp router-id")
    host.configure("router bgp 65101", *(f"neighbor {f.tors[0]} shutdown" for f in FAMILIES))
    chosen = host.show("server1", "show bgp neighbors")[IPV4.tors[0]]["localRouterId"]
    assert chosen == IPV4.service.partition("/")[0]
    host.eventually(
        "tor2 alone gives defaults",
        lambda: (
            [
                host.path_from("server1", tor, f, f.default) is not None
                for f in FAMILIES
                for tor in f.tors
            ]
            == [False, True] * len(FAMILIES)
        ),
    )
    there = guessed(host.driver)
    assert essence(there) == essence(load(LAB_FILE))
    status, output = host.shell("setpriv --reuid 65534 --regid 65534 --clear-groups bgphealth init")
    assert (status, output.count("no permission for")) == (77, 1)
    assert "mode" not in output
