"""The rendered unit starts either version of ExaBGP, and bgphealth below it gets what it needs."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bgphealth.exabgp import unit
from tests.support.exabgp import ROOT, Installed, eventually

pytestmark = pytest.mark.contract

HELPER = """
import json, os, pathlib, sys
print("announce route 203.0.113.2/32 next-hop 192.0.0.8", flush=True)
reply = sys.stdin.readline().strip()
found = pathlib.Path(os.environ["OUT"])
(found / "part").write_text(json.dumps({"reply": reply, **os.environ}))
(found / "part").rename(found / "seen")
sys.stdin.read()
"""

CONFIGURATION = """
process helper {{ run {python} {script}; encoder text; }}
neighbor 127.0.0.1 {{
    router-id 127.0.0.2; local-address 127.0.0.1; local-as 65101; peer-as 65101; connect 9;
    family {{ ipv4 unicast; }}
    api {{ processes [ helper ]; }}
}}
"""

BY_SYSTEMD = {
    "NOTIFY_SOCKET": "@bgphealth-test",
    "WATCHDOG_USEC": "30000000",
    "STATE_DIRECTORY": "/var/lib/bgphealth",
    "RUNTIME_DIRECTORY": "/run/bgphealth",
}


def test_the_unit_starts_it(installed: Installed, tmp_path: Path) -> None:
    script, conf = tmp_path / "helper.py", tmp_path / "exabgp.conf"
    script.write_text(HELPER)
    conf.write_text(CONFIGURATION.format(python=sys.executable, script=script))
    program = installed.directory / "bin" / "exabgp"
    file = ROOT / "tests" / "golden" / "dual-stack" / "bgphealth.yaml"
    host = unit.Host(file, program, conf, Path("/run/bgphealth/bgphealth.pid"), getpass.getuser())
    lines = [line.partition("=") for line in unit.render(unit.ANYTHING, host).splitlines()]
    environment = dict(v.split("=", 1) for key, _, v in lines if key == "Environment")
    (start,) = (value.split() for key, _, value in lines if key == "ExecStart")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            start,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**environment, **BY_SYSTEMD, "OUT": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
    try:
        assert eventually((tmp_path / "seen").exists), log.read_text(errors="replace")[-3000:]
        seen = json.loads((tmp_path / "seen").read_text())
        assert seen["reply"] == "done"
        assert BY_SYSTEMD.items() <= seen.items()
    finally:
        process.terminate()
        process.wait(10)
