"""The sandbox of the rendered units holds, and everything works in it: with a real systemd."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgphealth.exabgp import unit
from tests.support import systemd
from tests.support.exabgp import eventually
from tests.support.frr import Frr, frr
from tests.support.neighbors import neighbors
from tests.support.netns import ip, isolated
from tests.support.systemd import ANYBODY, OPT, UNITS, Machine

FILE = Path("/etc/bgphealth/bgphealth.yaml")
SYSUSERS = "/opt/source/bgphealth/share/sysusers.d/bgphealth.conf"
NO_PROGRAMS = unit.ANYTHING._replace(programs=False)
HOST = unit.Host(
    FILE,
    Path(OPT, "bin/exabgp"),
    Path("/etc/exabgp/exabgp.conf"),
    Path("/run/bgphealth/bgphealth.pid"),
)

YAML = f"""\
version: 1
mode: frr
host: {{asn: 65101, router_id: 10.255.10.1, source: {{ipv4: 10.255.10.1}}}}
uplinks:
  tor1: {{interface: eth1, neighbor: 10.0.1.0, neighbor_asn: 65001}}
  tor2: {{interface: eth2, neighbor: 10.0.2.0, neighbor_asn: 65002}}
paths:
  beyond: {{need: 1, of: [{{icmp: 198.51.100.1}}, {{icmp: 198.51.100.2}}]}}
services:
  web: {{prefixes: [192.0.2.53/32], checks: [{{http: "http://192.0.2.53/"}}]}}
  hostile: {{prefixes: [192.0.2.80/32], checks: [{{exec: [{ANYBODY}/check]}}]}}
"""
CHECK = """\
#!/bin/sh
# Says what of all that it should not be able to do it can.
exec 2>/dev/null
ip route add unreachable 203.0.113.0/24 && echo writes routes && exit 1
[ "$(grep Cap[EPA] /proc/self/status | tr -d 0[:space:])" = CapPrm:CapEff:CapAmb: ] || {
    echo has capabilities; exit 1; }
(echo >/proc/$PPID/fd/3) && echo writes to ExaBGP && exit 1
touch /opt/anybody/written && echo writes elsewhere && exit 1
exit 0
"""

POSSIBLE = {"write its state", "write routes"}
NO_NEW_PRIVILEGES = (
    "NoNewPrivileges",
    # Each of these has it as a side effect, systemd.exec(5).
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
)
WITHOUT = {
    ("ProtectSystem",): {"write elsewhere"},
    ("ProtectHome",): {"read home directories"},
    ("PrivateTmp",): {"read others' temporary files"},
    ("RestrictAddressFamilies",): {"listen to all packets"},
    ("ProtectKernelTunables",): {"write sysctls"},
    ("RestrictNamespaces",): {"have a namespace"},
    ("SystemCallFilter",): {"trace", "be nicer"},
    ("SystemCallFilter=~",): {"be nicer"},
    ("MemoryDenyWriteExecute",): {"write code"},
    ("ProtectProc",): {"see others' processes"},
    ("LockPersonality",): {"have another personality"},
    ("RestrictSUIDSGID",): {"give away its identity"},
    ("PrivateDevices",): {"find devices"},
    ("UMask",): {"let others read what it writes"},
    ("LimitCORE",): {"leave a core"},
    ("ProtectControlGroups",): {"write control groups"},
    ("PrivateIPC",): {"see the IPC of others"},
}
"""What becomes possible without which lines of the unit."""


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    systemd.require()


def trying(rendered: str, ipc: str, without: tuple[str, ...] = ()) -> str:
    """Return a rendered unit that runs the attempts in the place of ExaBGP, without some lines."""
    replaced = ("Type", "NotifyAccess", "WatchdogSec", "Restart", "RestartSec", "ExecReload")
    kept = [
        line
        for line in rendered.splitlines()
        if line.partition("=")[0] not in (*replaced, "ExecStart")
        and not any(line.startswith(f"{w}" if "=" in w else f"{w}=") for w in without)
    ]
    start = [
        "Type=oneshot",
        f"ExecStart={OPT}/bin/python {ANYBODY}/attempts.py",
        f"Environment=IPC={ipc}",
        "StandardOutput=truncate:/run/said",
        "StandardError=truncate:/run/troubles",
    ]
    at = kept.index("[Service]") + 1
    return "\n".join([*kept[:at], *start, *kept[at:]])


def attempts(machine: Machine, text: str) -> set[str]:
    """Return what was possible."""
    machine.write(f"{UNITS}/attempts.service", text)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "attempts.service", check=False)
    said = machine.read("/run/said")
    properties = machine.properties("attempts.service", "Result", "ExecMainStatus")
    assert properties["Result"] == "success", (properties, machine.read("/run/troubles"))
    machine.run("sh", "-c", f"rm -f {ANYBODY}/written /var/lib/bgphealth/*")
    machine.run("ip", "route", "flush", "type", "unreachable")
    return {name for name, possible in json.loads(said).items() if possible}


@isolated
async def test_what_the_sandbox_denies_and_which_line_does() -> None:
    rendered = unit.render(NO_PROGRAMS, HOST)
    with systemd.machine() as machine:
        machine.run("systemd-sysusers", SYSUSERS)
        source = Path(__file__).parents[1] / "support" / "attempts.py"
        machine.write(f"{ANYBODY}/attempts.py", source.read_text(encoding="utf-8"))
        machine.run("sh", "-c", f"cp /bin/cat {ANYBODY}/su-cat; chmod 4755 {ANYBODY}/su-cat")
        for secret in ("/home/secret", "/tmp/secret"):  # noqa: S108 - the machine's own
            machine.write(secret, "secret")
        ipc = machine.run("readlink", "/proc/1/ns/ipc").strip()
        assert attempts(machine, trying(rendered, ipc)) == POSSIBLE
        found = {w: attempts(machine, trying(rendered, ipc, w)) - POSSIBLE for w in WITHOUT}
        privileged = attempts(machine, trying(rendered, ipc, NO_NEW_PRIVILEGES))
        bounds = (*NO_NEW_PRIVILEGES, "CapabilityBoundingSet")
        unbound = attempts(machine, trying(rendered, ipc, bounds))
    assert found == WITHOUT
    assert "become root" in privileged
    assert unbound - privileged == {"gain capabilities"}


@isolated
async def test_everything_works_in_it() -> None:
    """Probes by ICMP and HTTP, an `exec` probe, tables, fallback, FRR, from render to stop."""
    with (
        tempfile.TemporaryDirectory() as text,
        neighbors(2),
        web(),
        # In a directory of its own, which FRR's daemons and vtysh may enter.
        opened(Path(text)) as directory,
        frr(directory / "frr", "frr defaults datacenter\n") as router,
        systemd.machine(router.directory) as machine,
    ):
        router.start("staticd")
        works(machine, router)


@contextmanager
def web() -> Iterator[None]:
    command = [sys.executable, "-m", "http.server", "--bind", "192.0.2.53", "80", "-d", "/usr"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def opened(directory: Path) -> Iterator[Path]:
    directory.chmod(0o755)
    yield directory


def works(machine: Machine, router: Frr) -> None:
    machine.run("systemd-sysusers", SYSUSERS)
    machine.write(str(FILE), YAML)
    machine.write(f"{ANYBODY}/check", CHECK, 0o777)
    machine.run(f"{OPT}/bin/bgphealth", "render", "all", "--raw-icmp", "-o", "/etc/exabgp")
    router.load(machine.read("/etc/exabgp/frr.conf"))
    rendered = machine.read("/etc/exabgp/exabgp.service")
    assert "CAP_NET_RAW" in rendered
    machine.write(f"{UNITS}/exabgp.service", rendered)
    log = "[Service]\nStandardOutput=append:/run/log\nStandardError=append:/run/log\n"
    machine.write(f"{UNITS}/exabgp.service.d/log.conf", log)
    machine.systemctl("daemon-reload")
    # READY comes with the first verdict of everything.
    machine.systemctl("start", "exabgp", check=False)
    started = machine.properties("exabgp", "ActiveState", "Result")
    assert started["ActiveState"] == "active", (started, machine.read("/run/log"))

    def events(*names: str) -> list[dict[str, str]]:
        lines = machine.read("/run/log").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if event["event"] in names]

    def status() -> str:
        return machine.properties("exabgp", "StatusText")["StatusText"]

    whole = "2 of 2 uplinks up (ipv4), 3 of 3 services announced"
    assert eventually(lambda: status() == whole), (
        status(),
        [e["evidence"] for e in events("service_changed")],
    )
    assert eventually(lambda: "proto bgp src 10.255.10.1" in ip("route", "show", "default"))
    ours = [line for line in ip("route", "show", "default").splitlines() if "proto 179" in line]
    assert len(ours) == 2
    assert "lookup 17901" in ip("rule")
    # The kernel's and bgpd's tables are compared; the latter by vtysh, as a member of frrvty.
    assert eventually(lambda: [e["to"] for e in events("default_tier")][-1:] == ["injected"])
    machine.systemctl("reload", "exabgp")
    assert eventually(lambda: events("reloaded"))
    user = machine.run("sh", "-c", "ps -o user:20= -C exabgp,bgphealth").split()
    assert set(user) == {"exabgp"}, user
    assert "0700" in machine.run("stat", "-c", "%a", "/var/lib/bgphealth").rjust(5, "0")
    assert machine.run("sh", "-c", "stat -c %a /var/lib/bgphealth/*").split() == ["600"]
    troubles = ("probe_unknown", "bgpd_not_asked", "kernel_not_changed", "state_not_kept", "drift")
    assert events(*troubles, "control_not_listening") == []
    # What is said of a program that everybody may change, at the start and after the reload.
    assert eventually(lambda: len(events("writable_by_others")) == 1 + 1)
    said = {event["what"] for event in events("writable_by_others")}
    assert said == {f"{ANYBODY}/check can be written by everybody"}
    machine.systemctl("stop", "exabgp")
    assert machine.properties("exabgp", "Result")["Result"] == "success"

    # Without the group nobody may ask FRR.
    machine.write(f"{UNITS}/exabgp.service.d/group.conf", "[Service]\nSupplementaryGroups=\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "exabgp")
    assert eventually(lambda: events("bgpd_not_asked"))
    assert "frrvty" in events("bgpd_not_asked")[0]["why"]
    machine.systemctl("stop", "exabgp")
