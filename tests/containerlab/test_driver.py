"""The driver for containerlab: what it makes, what it refuses, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import docker, state, topology
from lab.containerlab import ContainerlabDriver, lab_name
from lab.convergence import wait_until
from lab.errors import LabError, TimedOutError
from lab.namespaces import ROOT, NamespaceDriver

SMALL = """\
name: small
mgmt: {skip-when-unused: true}
topology:
  defaults:
    kind: linux
    image: bgphealth-lab:latest
    network-mode: none
    privileged: false
    cap-add: [NET_ADMIN, NET_RAW, SYS_ADMIN]
  nodes:
    a:
      binds: ["greeting:/etc/lab/greeting:ro"]
      sysctls: {net.ipv4.ip_forward: 1}
      env: {COLOUR: green}
      exec: [ip addr add 10.9.0.0/31 dev eth1, "LAST"]
    b:
      exec: [ip addr add 10.9.0.1/31 dev eth1]
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "state"))


def write(directory: Path, last: str = "hostname") -> Path:
    (directory / "greeting").write_text("hello\n", encoding="utf-8")
    path = directory / "small.clab.yml"
    path.write_text(SMALL.replace("LAST", last), encoding="utf-8")
    return path


def driver(path: Path) -> ContainerlabDriver:
    return ContainerlabDriver(topology.load(path))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ContainerlabDriver]:
    found = driver(write(tmp_path))
    found.up()
    yield found
    found.down()


def docker_names() -> str:
    names = ["ps", "--all", "--filter", f"label=containerlab={lab_name('small')}", "--quiet"]
    return docker.run("docker", *names).stdout


def assert_nothing_left(tmp_path: Path) -> None:
    assert docker_names() == ""
    assert not (tmp_path / "state").exists()
    assert not list(tmp_path.glob("clab-*"))


def test_up_run_down(small: ContainerlabDriver, tmp_path: Path) -> None:
    assert small.nodes() == {"a": True, "b": True}
    assert small.run("a", ["hostname"]).stdout == "a\n"
    assert small.run("a", ["cat", "/etc/lab/greeting"]).stdout == "hello\n"
    assert small.run("a", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert small.run("a", ["sh", "-c", "echo $COLOUR"]).stdout == "green\n"
    reached = small.run("a", ["ip", "-json", "route", "get", "10.9.0.1"]).stdout
    assert json.loads(reached)[0]["dev"] == "eth1"
    with pytest.raises(LabError, match=r"a: 'ls /nowhere' failed \(2\): .*No such file"):
        small.run("a", ["ls", "/nowhere"])
    with pytest.raises(LabError, match="is up already"):
        driver(tmp_path / "small.clab.yml").up()
    with pytest.raises(LabError, match="lab down --driver containerlab ends it"):
        NamespaceDriver(small.topology).up()

    assert small.down()
    assert_nothing_left(tmp_path)
    assert not small.down()


def test_an_agent_ends_with_its_stdin(small: ContainerlabDriver) -> None:
    with small.popen("a", ["sh", "-c", "cat; echo end >/run/ended"]) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write("said\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == "said\n"
        agent.kill()  # the client alone
    wait_until("end", lambda: [] if "ended" in small.run("a", ["ls", "/run"]).stdout else ["it"])


def test_what_takes_too_long_is_ended_inside(small: ContainerlabDriver) -> None:
    with pytest.raises(TimedOutError, match=r"a: 'sleep 1234' still ran after 0\.5 s"):
        small.run("a", ["sleep", "1234"], timeout_s=0.5)
    assert small.run("a", ["pgrep", "-xf", "sleep 1234"], check=False).stdout == ""


def test_a_node_that_is_down(small: ContainerlabDriver) -> None:
    docker.run("docker", "kill", f"clab-{lab_name('small')}-b")
    assert small.nodes() == {"a": True, "b": False}
    with pytest.raises(LabError, match="is not running"):
        small.run("b", ["true"], check=False)
    with pytest.raises(LabError, match="small is not up"):
        small.popen("b", ["true"])


def test_a_failing_line_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"ls /nowhere(.|\n)*No such file"):
        driver(write(tmp_path, "ls /nowhere")).up()
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_half_way(tmp_path: Path, number: signal.Signals) -> None:
    path = write(tmp_path, "sleep 1000")
    command = [sys.executable, "-m", "lab", "up", "--driver", "containerlab", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ) as up:
        wait_until("nodes", lambda: [] if len(docker_names().split()) == len("ab") else ["some"])
        up.send_signal(number)
        up.communicate(timeout=300)
    if number == signal.SIGKILL:
        driver(path).down()
    assert_nothing_left(tmp_path)
