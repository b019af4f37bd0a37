"""A lab leaves nothing behind, however its command ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import state, topology
from lab.errors import LabError, NotPermittedError, TopologyError
from lab.namespaces import ROOT, NamespaceDriver, netns_of
from lab.processes import ProcessName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 15.0

SMALL = """\
name: small
topology:
  nodes:
    a:
      binds: ["greeting:/etc/lab/greeting:ro"]
      sysctls: {{net.ipv4.ip_forward: 1}}
      exec:
        - ip addr add 10.9.0.0/31 dev eth1
        - {last_of_a}
    b:
      exec: ["ip addr add 10.9.0.1/31 dev eth1"]
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""


def wait_for(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {WAIT_S:.0f} s: {what}")
        time.sleep(0.05)


def host_traces() -> dict[str, object]:
    """Return what a lab must not change on the host."""
    run = Path("/run/netns")
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
    routes = subprocess.run(
        ["ip", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    )
    return {
        "links": links.stdout,
        "routes": routes.stdout,
        "mounts": Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
        "named namespaces": sorted(run.iterdir()) if run.is_dir() else [],
        "bound files": sorted(str(p) for p in Path("/etc/lab").glob("*")),
        "own namespaces": netns_of("self"),
    }


def processes_in(namespaces: set[str]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if netns_of(entry.name) in namespaces:
                    found.append((entry / "cmdline").read_text(encoding="utf-8"))
            except OSError:
                continue
    return found


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every test to the rule, with a state directory of its own."""
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "state"))
    before = host_traces()
    yield
    assert not (tmp_path / "state").exists()
    assert host_traces() == before


def write(directory: Path, last_of_a: str = "ip link set lo up") -> Path:
    (directory / "greeting").write_text("hello\n", encoding="utf-8")
    path = directory / "small.clab.yml"
    path.write_text(SMALL.format(last_of_a=last_of_a), encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[NamespaceDriver]:
    driver = NamespaceDriver(topology.load(write(tmp_path)))
    driver.up()
    yield driver
    driver.down()


def lab_command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def half_way_up(tmp_path: Path) -> tuple[subprocess.Popen[str], dict[str, ProcessName]]:
    """Start `lab up` of a lab that never finishes, and wait until its last line runs."""
    path = write(tmp_path, last_of_a="sleep 600")
    command = lab_command("up", str(path))

    def at_last_line() -> bool:
        known = state.read("small")
        if known is None or len(known.nodes) < 2:
            return False
        return any("sleep" in p for p in processes_in({netns_of(known.nodes["a"].pid)}))

    wait_for("the last line of node a", at_last_line)
    known = state.read("small")
    assert known is not None
    return command, known.nodes


def assert_gone(nodes: dict[str, ProcessName], namespaces: set[str]) -> None:
    assert not any(process.is_alive() for process in nodes.values())
    wait_for("everything in the nodes has ended", lambda: not processes_in(namespaces))


def test_up_exec_down(small: NamespaceDriver) -> None:
    known = state.read("small")
    assert known is not None
    namespaces = {netns_of(process.pid) for process in known.nodes.values()}
    assert len(namespaces | {netns_of("self")}) == 3

    assert small.nodes() == {"a": True, "b": True}
    assert small.run("a", ["hostname"]).stdout == "a\n"
    assert small.run("a", ["cat", "/etc/lab/greeting"]).stdout == "hello\n"
    assert small.run("a", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    links = json.loads(small.run("b", ["ip", "-json", "link"]).stdout)
    assert sorted(link["ifname"] for link in links) == ["eth1", "lo"]
    reached = small.run("a", ["ip", "-json", "route", "get", "10.9.0.1"]).stdout
    assert json.loads(reached)[0]["dev"] == "eth1"

    assert small.down()

    assert_gone(known.nodes, namespaces)
    assert small.nodes() == {"a": False, "b": False}
    assert not small.down()


def test_exec_passes_status_and_streams(small: NamespaceDriver) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lab",
            "exec",
            "--topology",
            str(small.topology.path),
            "b",
            "--",
            "sh",
            "-c",
            "cat; exit 7",
        ],
        cwd=ROOT,
        input="through\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("through\n", 7)


def test_a_node_has_its_own_files(small: NamespaceDriver, tmp_path: Path) -> None:
    small.run("a", ["touch", "/etc/lab-test", "/run/lab-test", "/var/log/lab-test"])

    for directory in ("/etc", "/run", "/var/log"):
        assert not Path(directory, "lab-test").exists()
        assert small.run("b", ["ls", f"{directory}/lab-test"], check=False).returncode == 2
    assert small.run("a", ["sh", "-c", "echo x > /etc/lab/greeting"], check=False).returncode
    assert (tmp_path / "greeting").read_text(encoding="utf-8") == "hello\n"
    # The repository is there, under its own name.
    assert small.run("a", ["ls", str(ROOT / "lab" / "anchor.py")]).returncode == 0


def test_a_dead_node_takes_its_processes_with_it(small: NamespaceDriver) -> None:
    known = state.read("small")
    assert known is not None
    namespace = netns_of(known.nodes["a"].pid)
    with small.popen("a", ["sh", "-c", "setsid sleep 600 & echo started; wait"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"

        assert known.nodes["a"].kill()

        wait_for("its processes", lambda: not processes_in({namespace}))
    assert small.nodes() == {"a": False, "b": True}


def test_up_of_a_lab_that_is_up_says_so_and_spares_it(small: NamespaceDriver) -> None:
    with pytest.raises(LabError, match="small is up already"):
        NamespaceDriver(small.topology).up()

    assert small.nodes() == {"a": True, "b": True}


def test_two_labs_do_not_disturb_each_other(
    small: NamespaceDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "other"))
        other = NamespaceDriver(small.topology)
        other.up()
        other.run("a", ["ip", "addr", "del", "10.9.0.0/31", "dev", "eth1"])
        assert other.down()
        assert not (tmp_path / "other").exists()

    assert small.nodes() == {"a": True, "b": True}
    assert "10.9.0.0/31" in small.run("a", ["ip", "addr"]).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_half_way_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command, nodes = half_way_up(tmp_path)
    namespaces = {netns_of(process.pid) for process in nodes.values()}

    command.send_signal(number)
    _, errors = command.communicate(timeout=WAIT_S)

    assert command.returncode == 128 + number
    assert f"interrupted by {number.name}" in errors
    assert_gone(nodes, namespaces)


def test_killed_half_way_is_cleaned_up_by_down(tmp_path: Path) -> None:
    command, nodes = half_way_up(tmp_path)
    namespaces = {netns_of(process.pid) for process in nodes.values()}
    with subprocess.Popen(["sleep", "600"]) as unrelated:
        command.kill()
        command.communicate(timeout=WAIT_S)
        assert all(process.is_alive() for process in nodes.values())

        down = lab_command("down", str(tmp_path / "small.clab.yml"))
        down.communicate(timeout=WAIT_S)

        assert down.returncode == 0
        assert_gone(nodes, namespaces)
        assert unrelated.poll() is None
        unrelated.kill()


def test_an_anchor_whose_driver_died_ends_itself() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lab.anchor"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        anchor = ProcessName.of(json.loads(launcher.stdout.readline())["pid"])
        assert anchor.is_alive()

        launcher.stdin.close()

        wait_for("the anchor's end", lambda: not anchor.is_alive())


def test_a_failing_line_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    driver = NamespaceDriver(topology.load(write(tmp_path, last_of_a="ls /nowhere")))

    with pytest.raises(LabError, match=r"a: exec 'ls /nowhere' failed \(2\):\n.*No such file"):
        driver.up()


def test_a_stale_state_file_kills_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as unrelated:
        start = ProcessName.of(unrelated.pid).start
        state.LabState(
            "small", "", "namespaces", {"a": ProcessName(unrelated.pid, start - 1)}
        ).save()
        driver = NamespaceDriver(topology.load(write(tmp_path)))

        assert not driver.down()

        assert unrelated.poll() is None
        unrelated.kill()


def test_refuses_the_hosts_own_network_namespace(tmp_path: Path) -> None:
    host = state.LabState("small", "", "namespaces", {"a": ProcessName.of(os.getpid())})
    host.save()
    driver = NamespaceDriver(topology.load(write(tmp_path)))

    with pytest.raises(NotPermittedError, match="host's own network namespace"):
        driver.run("a", ["true"])

    host.forget()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/etc/lab/greeting", "/usr/lib/greeting", "bind target /usr/lib/greeting would be"),
        ("net.ipv4.ip_forward", "kernel.panic", "sysctl kernel.panic would be the host's own"),
    ],
)
def test_refuses_what_would_reach_the_host(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    with pytest.raises(TopologyError, match=message):
        NamespaceDriver(topology.load(path)).up()
