"""Each finding about FRR and ExaBGP, in a lab that was broken in exactly that way; none without."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgphealth.config import load
from bgphealth.doctor import frr as doctor_frr
from bgphealth.frr import setup
from bgphealth.frr.state import Vtysh
from lab import convergence
from lab.namespaces import NamespaceDriver
from tests.network.facts.laboratory import FILE, INJECTOR, Lab, running
from tests.support.frr import Frr

GOLDEN = Path(__file__).parents[1] / "golden"
WITH_FRR = sorted(file.parent.name for file in GOLDEN.glob("*/frr.conf"))

# As a lab of the facts ends: the server's last line is its own.
START = ("sh -c 'echo 127.0.0.1 server1 >>/etc/hosts'", "/etc/lab/start-server")

SERVICES = """\
#!/bin/sh
# systemctl, as far as findings name it.
case "$1 $2" in
"restart frr") /usr/lib/frr/frrinit.sh restart >/dev/null 2>&1 ;;
"restart exabgp") kill -9 "$(cat /run/exabgp.pid)" ;;
"start exabgp") setsid /etc/lab/run-exabgp >>/var/log/exabgp.log 2>&1 </dev/null & ;;
*) exit 1 ;;
esac
"""
OTHER_VTYSH = """\
#!/bin/sh
/usr/bin/vtysh "$@" | sed "s/FRRouting 8.4.4/FRRouting $OTHER_VERSION/"
"""
BGP = "router bgp 65101"
IPV4_OF_BGP = (BGP, "address-family ipv4 unicast")
INJECTED = f"neighbor {INJECTOR}"


class Doctor:
    """The doctor in a node. What it finds of others than FRR and ExaBGP has tests of its own."""

    def __init__(self, lab: Lab, before: Sequence[str] = ()) -> None:
        self.lab = lab
        agent = (sys.executable, "-m", "tests.network.doctor_agent")
        self._agent = lab.driver.popen("server1", [*before, *agent])

    def end(self) -> None:
        with self._agent:
            assert self._agent.stdin is not None
            self._agent.stdin.close()

    def findings(self) -> list[dict[str, Any]]:
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write("\n")
        self._agent.stdin.flush()
        line = self._agent.stdout.readline()
        assert line, "the agent has died"
        return [each for each in json.loads(line) if is_ours(each["word"])]

    def wait(self, *words: str) -> dict[str, dict[str, Any]]:
        """Wait until it finds exactly this; return one finding of each word."""
        found: list[dict[str, Any]] = []

        def is_so() -> bool:
            nonlocal found
            found = self.findings()
            return {each["word"] for each in found} == set(words)

        try:
            self.lab.eventually(f"the findings {words}", is_so)
        except pytest.fail.Exception as error:
            pytest.fail(f"there is {json.dumps(found, indent=1)}\n{error}")
        return {each["word"]: each for each in found}


def is_ours(word: str) -> bool:
    return word.startswith(("frr_", "exabgp_"))


@contextmanager
def asked(lab: Lab, *before: str) -> Iterator[Doctor]:
    doctor = Doctor(lab, before)
    try:
        yield doctor
    finally:
        doctor.end()


def install(lab: Lab, path: str, text: str) -> None:
    script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1" && chmod 755 "$1"'
    lab.server("sh", "-c", script, "sh", path, text)


def mend(lab: Lab, finding: dict[str, Any]) -> None:
    """Do what a finding says, to the letter."""
    lab.server("sh", "-c", f'PATH="/run/services:$PATH"; {finding["mend"]}')


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doctor]:
    with running(tmp_path_factory, START) as lab:
        install(lab, "/run/services/systemctl", SERVICES)
        install(lab, "/run/other/vtysh", OTHER_VTYSH)
        convergence.wait_converged(lab.driver)
        with asked(lab) as doctor:
            yield doctor


@pytest.fixture
def doctor(up: Doctor) -> Doctor:
    """Begin each test with nothing to be found."""
    up.wait()
    return up


# ---- nothing is wrong ----------------------------------------------------------------------------


def words_of(lab: NamespaceDriver) -> set[str]:
    done = lab.run("server1", ["bgphealth", "-c", FILE, "doctor", "--json"], check=False)
    return {each["word"] for each in json.loads(done.stdout)["findings"] if is_ours(each["word"])}


def test_a_healthy_host(up: Doctor) -> None:
    assert words_of(up.lab.driver) == set()


def test_a_healthy_host_on_unnumbered_links(unnumbered_lab: NamespaceDriver) -> None:
    assert words_of(unnumbered_lab) == set()


@pytest.mark.parametrize("host", WITH_FRR)
def test_frr_says_what_was_rendered_in_its_own_way(host: str, short_path: Path) -> None:
    """Every line of every kind of host is found again in what FRR prints."""
    file = GOLDEN / host / "bgphealth.yaml"
    router = Frr(short_path, "frr defaults datacenter\n", ("unshare", "--net"))
    try:
        router.start("zebra", "bgpd", "bfdd", "staticd")
        conf = (GOLDEN / host / "frr.conf").read_text()
        router.load(conf)
        vtysh = Vtysh(short_path, timeout_s=10.0)

        async def ask() -> doctor_frr.Seen:
            names = ("zebra", "bgpd", "bfdd", "staticd")
            daemons = {name: await setup.daemon(vtysh, name) for name in names}
            return doctor_frr.Seen(daemons, {}, "not asked", conf, "root")

        assert doctor_frr.examine(load(file), file, asyncio.run(ask())) == []
    finally:
        router.end()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory for sockets, whose paths must be short, that FRR's user may enter."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


# ---- FRR's configuration and sessions, broken and mended by vtysh --------------------------------

ENTERED: dict[str, tuple[str, ...]] = {
    "frr_nexthop_group": ("no zebra nexthop-group keep 1",),
    "frr_discard_next_hop": ("no ip route 192.0.0.8/32 blackhole",),
    "frr_resolve_via_default": ("ipv6 nht resolve-via-default",),
    "frr_maximum_paths": (*IPV4_OF_BGP, "maximum-paths ibgp 1"),
    "frr_graceful_restart": (BGP, f"no {INJECTED} graceful-restart-disable"),
    "frr_set_src": ("no ip protocol bgp route-map bgphealth-zebra-ipv4",),
    "frr_service_in_kernel": ("no route-map bgphealth-zebra-ipv6 deny 10",),
    "frr_prefix_list": ("no ip prefix-list bgphealth-service-ipv4 permit 192.0.2.53/32",),
    "frr_filter": (*IPV4_OF_BGP, "no neighbor 10.0.1.0 route-map bgphealth-out-ipv4-tor1 out"),
    "frr_configuration": ("route-map bgphealth-in-ipv4-tor1 permit 10", "set local-preference 60"),
    "frr_session_down": (BGP, "neighbor 10.0.1.0 shutdown"),
    "frr_injector_down": (BGP, f"{INJECTED} shutdown"),
    "frr_add_path": (*IPV4_OF_BGP, f"{INJECTED} disable-addpath-rx"),
    "frr_update_source": (BGP, f"no {INJECTED} update-source lo"),
    "frr_not_rendered": (f"no {BGP}",),
}
"""What breaks, by the word that says so."""

FOLLOWS = {"frr_update_source": ("frr_injector_down",)}


@pytest.mark.parametrize("word", ENTERED)
def test_what_is_entered_by_vtysh(doctor: Doctor, word: str) -> None:
    doctor.lab.configure(*ENTERED[word])
    found = doctor.wait(word, *FOLLOWS.get(word, ()))
    mend(doctor.lab, found[word])
    doctor.wait()
