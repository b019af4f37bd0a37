"""lab/setup.sh, with stand-ins for the package manager: it must leave FRR stopped on the host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "lab" / "setup.sh"


class Machine:
    """A machine without FRR, whose package manager is a script."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self.log.touch()
        self.policy = directory / "policy-rc.d"
        self._programs = directory / "bin"
        self._programs.mkdir()
        self._frr = directory / "frrinit.sh"
        self.units = directory / "units"
        self.units.mkdir()
        self.go = directory / "go"
        for name in ("rm", "chmod", "sh", "cat"):
            found = shutil.which(name)
            assert found is not None
            (self._programs / name).symlink_to(found)
        self.add("ip", "")
        self.add("nft", "")
        self.add("ping", "")
        self.add("python3", "")
        self.add("id", "echo 0")

    def add(self, name: str, script: str) -> None:
        program = self._programs / name
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    def add_package_manager(self, install: str = "") -> None:
        self.add(
            "apt-get", f'echo "apt-get $*" >>{self.log}\ncase "$*" in *-s*) exit ;; esac\n{install}'
        )
        self.add("systemctl", f'echo "systemctl $*" >>{self.log}')

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        text = SETUP.read_text(encoding="utf-8")
        for real, ours in (
            ("/usr/lib/frr/frrinit.sh", self._frr),
            ("/usr/sbin/policy-rc.d", self.policy),
            ("/usr/sbin/$1", self._programs / "$1"),
            ("/sbin/$1", self._programs / "$1"),
            ("/usr/local/go/bin/go", self.go),
            ("/etc/systemd/system", self.units),
            ("/usr/lib/systemd/system", self.units),
            ("/usr/local/lib/systemd/system", self.units),
            ("/lib/systemd/system;", f"{self.units};"),
        ):
            text = text.replace(real, str(ours))
        script = self._frr.with_name("setup.sh")
        script.write_text(text, encoding="utf-8")
        return subprocess.run(
            ["/bin/sh", str(script), *arguments],
            env={"PATH": str(self._programs)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_frr_is_installed_and_neither_started_nor_enabled(machine: Machine) -> None:
    ask = f"{machine.policy} $unit start; echo $unit $? >>{machine.log}"
    machine.add_package_manager(install=f"for unit in frr frr.service ssh; do {ask}; done")

    done = machine.setup()

    log = machine.log.read_text(encoding="utf-8").splitlines()
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "apt-get install -y -q --no-install-recommends --no-remove frr" in log
    assert {"frr 101", "frr.service 101", "ssh 0"} <= set(log)
    assert "systemctl disable -q frr.service" in log
    assert not machine.policy.exists()


def test_somebody_elses_policy_is_left_alone(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    machine.add_package_manager()

    assert machine.setup().returncode == 0

    assert machine.policy.read_text(encoding="utf-8") == "#!/bin/sh\nexit 101\n"


def test_old_package_lists_are_updated(machine: Machine) -> None:
    seen = machine.log.with_name("updated")
    machine.add_package_manager(
        install=f'case "$1" in update) echo >{seen} ;; *) [ -e {seen} ] || exit 100 ;; esac'
    )

    done = machine.setup()

    assert done.returncode == 0, done.stderr
    assert "apt-get update -q" in machine.log.read_text(encoding="utf-8")


def test_a_failed_installation_fails_and_leaves_no_policy(machine: Machine) -> None:
    machine.add_package_manager(install="exit 100")

    assert machine.setup().returncode == 100

    assert not machine.policy.exists()


def test_without_apt_the_packages_are_named(machine: Machine) -> None:
    machine.add("python3", "exit 1")

    done = machine.setup()

    assert done.returncode == 69
    assert "package manager: frr python3-venv" in done.stderr


def test_without_root_and_sudo_the_packages_are_named(machine: Machine) -> None:
    machine.add_package_manager()
    machine.add("id", "echo 1000")

    done = machine.setup()

    assert done.returncode == 77
    assert "needs root to install: frr" in done.stderr


def test_quiet_when_nothing_is_missing(machine: Machine, tmp_path: Path) -> None:
    machine.add_package_manager()
    (tmp_path / "frrinit.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "frrinit.sh").chmod(0o755)

    done = machine.setup()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.log.read_text(encoding="utf-8") == ""


def test_what_packages_are_made_with_is_installed_when_asked_for(machine: Machine) -> None:
    machine.add_package_manager()

    assert machine.setup("package").returncode == 0

    wanted = "debootstrap debhelper dpkg-dev lowdown mandoc"
    log = machine.log.read_text(encoding="utf-8")
    assert f"apt-get install -y -q --no-install-recommends --no-remove {wanted}\n" in log
    assert "frr" not in log


def test_docker_is_installed_and_neither_started_nor_enabled(machine: Machine) -> None:
    units = "docker docker.socket docker.service containerd.service ssh"
    ask = f"{machine.policy} $unit start; echo $unit $? >>{machine.log}"
    machine.add_package_manager(install=f"for unit in {units}; do {ask}; done")
    machine.add("apt-cache", "exit 100")

    done = machine.setup("containerlab")

    log = machine.log.read_text(encoding="utf-8").splitlines()
    assert done.returncode == 0, done.stderr
    assert (
        "apt-get install -y -q --no-install-recommends --no-remove docker.io debootstrap golang-go"
        in log
    )
    assert {"docker 101", "docker.socket 101", "containerd.service 101", "ssh 0"} <= set(log)
    assert "systemctl disable -q docker.socket" in log
    assert not machine.policy.exists()


@pytest.mark.parametrize(("program", "daemon"), [("dockerd", "exit 1"), ("true", "exit 0")])
def test_a_docker_that_works_is_left_alone(machine: Machine, program: str, daemon: str) -> None:
    machine.add_package_manager()
    machine.add("docker", daemon)
    for name in (program, "debootstrap"):
        machine.add(name, "exit 1")
    machine.log.with_name("containerlab.sh").write_text('[ "$1" = check ]\n', encoding="utf-8")

    done = machine.setup("containerlab")

    assert (done.returncode, done.stderr) == (0, "")
    assert machine.log.read_text(encoding="utf-8") == ""


def test_what_was_there_before_is_neither_stopped_nor_disabled(machine: Machine) -> None:
    (machine.units / "containerd.service").touch()
    machine.add_package_manager()
    machine.add("apt-cache", "exit 100")

    assert machine.setup("containerlab").returncode == 0

    log = machine.log.read_text(encoding="utf-8")
    assert "disable -q docker.service" in log
    assert "containerd" not in log


def test_a_go_of_the_users_own_is_enough(machine: Machine) -> None:
    machine.go.write_text("#!/bin/sh\n", encoding="utf-8")
    machine.go.chmod(0o755)
    machine.add_package_manager()
    machine.add("apt-cache", "exit 100")

    assert machine.setup("containerlab").returncode == 0
    assert "golang-go" not in machine.log.read_text(encoding="utf-8")


def test_peers_are_installed_when_asked_for_and_neither_started_nor_enabled(
    machine: Machine,
) -> None:
    ask = f"{machine.policy} $unit start; echo $unit $? >>{machine.log}"
    machine.add_package_manager(install=f"for unit in bird keepalived.service ssh; do {ask}; done")

    assert machine.setup("peers").returncode == 0

    log = machine.log.read_text(encoding="utf-8").splitlines()
    assert "apt-get install -y -q --no-install-recommends --no-remove bird2 keepalived" in log
    assert {"bird 101", "keepalived.service 101", "ssh 0"} <= set(log)
    assert {
        "systemctl disable -q bird.service",
        "systemctl disable -q keepalived.service",
    } <= set(log)
    assert "frr" not in " ".join(log)
