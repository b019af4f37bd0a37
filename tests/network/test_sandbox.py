"""The sandbox of the rendered units holds, and everything works in it: with a real systemd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bgphealth.exabgp import unit
from tests.support import systemd
from tests.support.netns import isolated
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
