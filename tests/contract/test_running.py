"""What is read from outside of a running ExaBGP is what it is, and has its settings for."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bgphealth.exabgp import running
from tests.support.exabgp import Installed, eventually

pytestmark = pytest.mark.contract

SETTINGS = ("api.ack", "api.respawn", "api.terminate")
CONF = """\
process bgphealth {{
    run {program} -c /etc/bgphealth/bgphealth.yaml run;
    encoder text;
}}
neighbor 127.0.0.1 {{
    local-address 127.0.0.2; router-id 127.0.0.2; local-as 65101; peer-as 65101;
    connect 9;
    api {{ processes [ bgphealth ]; }}
}}
"""


def env_option(installed: Installed) -> str:
    return "--env" if installed.is_4 else "--env-file"


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("", {}),
        ("terminate = true\nack = false\n", {}),
        ("terminate = 'yes'\nrespawn = off\n", {}),
        ("terminate = true\nrespawn = false\n", {"exabgp_api_respawn": "true"}),
        ("", {"exabgp.api.terminate": "true", "exabgp_api_terminate": "false"}),
    ],
)
def test_a_setting_is_what_exabgp_takes_it_for(
    installed: Installed, tmp_path: Path, text: str, environment: dict[str, str]
) -> None:
    file = tmp_path / "exabgp.env"
    file.write_text(f"[exabgp.api]\n{text}")
    program = str(installed.directory / "bin" / "exabgp")
    shown = ("--fe",) if installed.is_4 else ("env", "-e")
    done = subprocess.run(
        [program, env_option(installed), str(file), *shown],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    for name in SETTINGS:
        expected = said[f"exabgp.{name}"] == "true"
        assert running.setting(name, environment, file.read_text()) is expected, name


def test_a_running_exabgp_is_seen_from_outside(installed: Installed, tmp_path: Path) -> None:
    helper = tmp_path / "bgphealth"
    helper.write_text("import sys\nsys.stdin.read()\n")
    conf = tmp_path / "exabgp.conf"
    conf.write_text(CONF.format(program=f"{sys.executable} {helper}"))
    env_file = tmp_path / "exabgp.env"
    env_file.write_text(f"[exabgp.daemon]\nuser = {getpass.getuser()}\n[exabgp.tcp]\nbind = ''\n")
    program, *arguments = installed.command(conf)
    began = time.time()
    process = subprocess.Popen(
        [program, env_option(installed), str(env_file), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Of all processes of this machine only this one and its children.
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "stat").symlink_to("/proc/stat")

    def find() -> running.Running | None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (str(process.pid), *children):
            if not (proc / pid).is_symlink():
                (proc / pid).symlink_to(f"/proc/{pid}")
        return running.find(proc)

    def has_helper() -> bool:
        found = find()
        return found is not None and found.helper is not None

    try:
        assert eventually(has_helper)
        found = find()
        assert found is not None
        assert (found.pid, found.version) == (process.pid, installed.version)
        assert (found.conf, found.env_file) == (conf, env_file)
        assert found.environment is not None
        assert found.environment["PATH"] == os.environ["PATH"]
        # Known to the second, and the machine may be busy.
        assert abs(found.started_at - began) < 5
    finally:
        process.kill()
        process.wait()
