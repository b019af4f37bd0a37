"""Each finding about FRR and ExaBGP, in a lab that was broken in exactly that way; none without.

What is found in mode direct is in test_direct.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bgphealth.config import load
from bgphealth.doctor import frr as doctor_frr
from bgphealth.frr import setup
from bgphealth.frr.state import Vtysh
from lab import convergence
from tests.network.facts.laboratory import CONVERGENCE_S, FILE, INJECTOR, Lab, running
from tests.support.doctor import Doctor, Found, doctor, is_about_bgp
from tests.support.frr import Frr
from tests.support.laboratory import configure, edited

GOLDEN = Path(__file__).parents[1] / "golden"
# What the others have in FRR, these or the lab have as well.
WITH_FRR = ("guarded", "services", "three-uplinks", "unnumbered")

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
CONF, ENV = "/etc/exabgp/exabgp.conf", "/etc/exabgp/exabgp.env"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
AS_NOBODY = ("setpriv", "--reuid", "nobody", "--regid", "nogroup")
BFDD = "/usr/lib/frr/bfdd -d -A 127.0.0.1"
IPV4_OF_BGP = (BGP, "address-family ipv4 unicast")
INJECTED = f"neighbor {INJECTOR}"


class Patient:
    """The lab, and the doctor in its server, of whose findings those about BGP count here."""

    def __init__(self, lab: Lab, doctor: Doctor) -> None:
        self.lab = lab
        self._doctor = doctor
        self._found: Found = []

    def wait(self, *words: str) -> dict[str, dict[str, Any]]:
        """Wait until exactly this is found; return the first finding of each word."""
        found: Found = []

        def missing() -> list[str]:
            found[:] = [finding for finding in self._doctor.look() if is_about_bgp(finding)]
            is_so = {finding["word"] for finding in found} == set(words)
            return [] if is_so else [f"there is {json.dumps(found, indent=1)}"]

        convergence.wait_until(f"exactly {sorted(words) or 'nothing'}", missing, CONVERGENCE_S)
        self._found = found
        return {finding["word"]: finding for finding in reversed(found)}

    def mend(self, word: str) -> None:
        """Do what the findings that were found last say, to the letter."""
        for finding in self._found:
            if finding["word"] == word:
                script = f'PATH="/run/services:$PATH"; {finding["mend"]}'
                self.lab.server("sh", "-c", script)


@contextmanager
def asked(lab: Lab, *before: str) -> Iterator[Patient]:
    """Ask another doctor, started by the command that `before` is."""
    with doctor(lab.driver, *before) as there:
        yield Patient(lab, there)


def install(lab: Lab, path: str, text: str) -> None:
    script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1" && chmod 755 "$1"'
    lab.server("sh", "-c", script, "sh", path, text)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    with running(tmp_path_factory, START) as lab:
        install(lab, "/run/services/systemctl", SERVICES)
        install(lab, "/run/other/vtysh", OTHER_VTYSH)
        convergence.wait_converged(lab.driver)
        with asked(lab) as patient:
            yield patient


@pytest.fixture
def patient(up: Patient) -> Patient:
    """Begin each test with nothing to be found."""
    up.wait()
    return up


# ---- nothing is wrong: on each kind of host ------------------------------------------------------


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
    "frr_no_route_map": (*IPV4_OF_BGP, "network 198.51.100.99/32 route-map bgphealth-gone"),
    "frr_session_down": (BGP, "neighbor 10.0.1.0 shutdown"),
    "frr_injector_down": (BGP, f"{INJECTED} shutdown"),
    "frr_add_path": (*IPV4_OF_BGP, f"{INJECTED} disable-addpath-rx"),
    "frr_update_source": (BGP, f"no {INJECTED} update-source lo"),
    "frr_not_rendered": (f"no {BGP}",),
}
"""What breaks, by the word that says so."""

FOLLOWS = {"frr_update_source": ("frr_injector_down",)}


@pytest.mark.parametrize("word", ENTERED)
def test_what_is_entered_by_vtysh(patient: Patient, word: str) -> None:
    patient.lab.configure(*ENTERED[word])
    patient.wait(word, *FOLLOWS.get(word, ()))
    patient.mend(word)
    patient.wait()


# ---- what else is wrong with FRR -----------------------------------------------------------------


def test_the_file_that_frr_reads_at_its_next_start(patient: Patient) -> None:
    patient.lab.server("sed", "-i", "/multipath-relax/d", "/etc/frr/frr.conf")
    patient.wait("frr_conf_old")
    patient.mend("frr_conf_old")
    patient.wait()


def test_frr_is_not_installed(patient: Patient) -> None:
    with asked(patient.lab, "env", "PATH=/nowhere") as other:
        assert "apt install frr" in other.wait("frr_missing")["frr_missing"]["mend"]


@pytest.mark.parametrize(
    ("version", "words"), [("7.5.1", ["frr_old"]), ("11.0", ["frr_new", "frr_daemon"])]
)
def test_another_version_of_frr(patient: Patient, version: str, words: list[str]) -> None:
    """What no machine here has: vtysh prints another number; and FRR 11 has a mgmtd."""
    before = ("env", f"OTHER_VERSION={version}", f"PATH=/run/other:{SYSTEM_PATH}")
    with asked(patient.lab, *before) as other:
        found = other.wait(*words)[words[0]]["found"]
        assert version.startswith(found.removeprefix("version "))


def test_somebody_who_may_ask_nobody(patient: Patient) -> None:
    with asked(patient.lab, *AS_NOBODY, "--clear-groups") as other:
        found = other.wait("frr_not_asked", "exabgp_not_read")["frr_not_asked"]
        assert found["mend"] == "usermod -aG frrvty nobody"
    # What the group is for; frr.conf is for another one.
    patient.lab.server("chmod", "640", "/etc/frr/frr.conf")
    with asked(patient.lab, *AS_NOBODY, "--groups", "frrvty") as other:
        other.wait("frr_conf_not_read", "exabgp_not_read")


def test_a_tor_that_asks_for_graceful_restart(patient: Patient) -> None:
    again = ("end", "clear bgp 10.0.1.1")
    configure(patient.lab.driver, "tor1", "router bgp 65001", "bgp graceful-restart", *again)
    try:
        word = "frr_tor_graceful_restart"
        assert patient.wait(word)[word]["severity"] == "note"
        patient.mend(word)
        patient.wait()
    finally:
        configure(patient.lab.driver, "tor1", "router bgp 65001", "no bgp graceful-restart", *again)
        patient.lab.configure(BGP, "no neighbor 10.0.1.0 graceful-restart-disable")


def test_bfd(patient: Patient) -> None:
    """From the file's new line to a session that is up, by one finding after the other."""
    lab = patient.lab
    with edited(lab.driver, "s/neighbor_asn: 65001/&, bfd: true/"):
        found = patient.wait("frr_daemon", "frr_conf_old")
        assert found["frr_daemon"]["mend"].startswith("bfdd=yes in /etc/frr/daemons")
        try:
            lab.server("sh", "-c", BFDD)
            patient.mend("frr_conf_old")
            patient.wait("frr_configuration", "frr_bfd_down")
            patient.mend("frr_configuration")
            assert patient.wait("frr_bfd_down")["frr_bfd_down"]["found"].startswith("down")
            lab.run("tor1", "sh", "-c", BFDD)
            for neighbor in ("10.0.1.1", "2001:db8:1::1"):
                configure(lab.driver, "tor1", "router bgp 65001", f"neighbor {neighbor} bfd")
            patient.wait()
        finally:
            for neighbor in ("10.0.1.0", "2001:db8:1::"):
                lab.configure(BGP, f"no neighbor {neighbor} bfd")
            lab.server("sh", "-c", "kill $(cat /run/frr/bfdd.pid)")
    lab.server("bgphealth", "-c", FILE, "render", "frr", "-o", "/etc/frr")


def test_a_daemon_that_is_dead(patient: Patient) -> None:
    """Without watchfrr, which would start it again within seconds."""
    for name in ("watchfrr", "staticd"):
        patient.lab.server("sh", "-c", f"kill -9 $(cat /run/frr/{name}.pid)")
    assert patient.wait("frr_daemon")["frr_daemon"]["subject"] == "staticd"
    patient.mend("frr_daemon")
    patient.wait()


# ---- ExaBGP --------------------------------------------------------------------------------------


def test_a_file_that_exabgp_has_not_read(patient: Patient) -> None:
    patient.lab.server("touch", "-d", "+1 minute", CONF)
    patient.wait("exabgp_conf_newer")
    patient.mend("exabgp_conf_newer")
    # It is still from the future.
    patient.lab.server("touch", "-d", "-1 minute", CONF)
    patient.wait()


def test_exabgp_with_other_files(patient: Patient) -> None:
    """All in one restart: two families and ADD-PATH, what its environment says, its helper."""
    lab = patient.lab
    lab.server("sed", "-i", "/ipv6 unicast/d; s/add-path send;/graceful-restart 60;/", CONF)
    lab.server("sed", "-i", "s/^\\(ack\\|respawn\\|terminate\\) = true/\\1 = false/", ENV)
    lab.restart_exabgp()
    settings = ("exabgp_ack", "exabgp_respawn", "exabgp_terminate")
    words = (*settings, "exabgp_conf", "exabgp_graceful_restart", "frr_family", "frr_add_path")
    patient.wait(*words)
    lab.server("sh", "-c", "kill -9 $(cat /proc/$(cat /run/exabgp.pid)/task/*/children)")
    found = patient.wait(*words, "exabgp_without_bgphealth")
    mends = {found[word]["mend"] for word in (*settings, "exabgp_conf", "exabgp_graceful_restart")}
    assert mends == {
        f"bgphealth -c {FILE} render exabgp -o /etc/exabgp && systemctl restart exabgp"
    }
    patient.mend("exabgp_conf")
    patient.wait()


def test_another_version_of_exabgp(patient: Patient) -> None:
    """What is installed says another number."""
    file = next(
        file
        for each in metadata.distributions(name="exabgp")
        for file in [Path(str(each.locate_file(f"exabgp-{each.version}.dist-info/METADATA")))]
    )
    script = 'sed "s/^Version: .*/Version: 3.4.19/" "$1" >/run/other/METADATA'
    patient.lab.server(
        "sh", "-c", f'{script} && mount --bind /run/other/METADATA "$1"', "sh", f"{file}"
    )
    try:
        assert patient.wait("exabgp_version")["exabgp_version"]["found"] == "version 3.4.19"
    finally:
        patient.lab.server("umount", f"{file}")
    patient.wait()


def test_systemd_would_not_start_it_again(patient: Patient) -> None:
    """systemd is there as far as sd_booted(3) looks, and ExaBGP is none that it would restart."""
    patient.lab.server("mkdir", "-p", "/run/systemd/system")
    try:
        patient.wait("exabgp_not_restarted")
    finally:
        patient.lab.server("rmdir", "/run/systemd/system")
    patient.wait()


def test_exabgp_does_not_run(patient: Patient) -> None:
    # The loop that starts it again is its parent.
    script = "pid=$(cat /run/exabgp.pid); kill -9 $(ps -o ppid= -p $pid) $pid"
    patient.lab.server("sh", "-c", script)
    patient.wait("exabgp_not_running", "frr_injector_down")
    patient.mend("exabgp_not_running")
    patient.wait()


def test_bgphealth_may_not_ask_frr(patient: Patient) -> None:
    """It runs as nobody, as when ExaBGP is started as root and told nothing else (E6)."""
    lab = patient.lab
    render = ("bgphealth", "-c", FILE, "render", "exabgp", "-o", "/etc/exabgp")
    nobody = f"/usr/bin/{' '.join(AS_NOBODY)} --clear-groups {sys.executable} -m bgphealth"
    lab.server(*render, "--program", nobody)
    lab.restart_exabgp()
    patient.wait("exabgp_no_frrvty")
    lab.server(*render)
    lab.restart_exabgp()
    patient.wait()
