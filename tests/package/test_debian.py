"""The Debian package on a clean root filesystem: it is installed, works, and leaves nothing behind.

The filesystem is made by debootstrap from where apt gets this machine's packages, in a tmpfs of a
mount and PID namespace of its own: nothing of it outlives the test, and no daemon runs in it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bgphealth
from tests.package.conftest import ROOT, needs

NOT_OURS = ("/etc/", "/var/backups/", "/var/cache/", "/var/lib/dpkg/", "/var/log/", "/tmp/")  # noqa: S108
"""What installing anything changes, and the users that stay, as Debian's policy has it."""


class System(NamedTuple):
    """A root filesystem in namespaces of their own, which end with the process `holder`."""

    holder: int
    root: Path

    def outside(self, *command: str, timeout_s: float = 300) -> str:
        """Run one of this machine's programs, which sees the filesystem below `root`."""
        done = subprocess.run(
            ["nsenter", f"--target={self.holder}", "--mount", "--pid", *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def run(self, *command: str) -> str:
        """Run a program of the filesystem."""
        return self.outside("chroot", str(self.root), *command)

    def files(self) -> set[str]:
        found = self.run("find", "/", "-xdev", "-not", "-path", "/proc/*").splitlines()
        return {file for file in found if not file.startswith(NOT_OURS)}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    needs("dh", "dpkg-buildpackage", "lowdown", "mandoc")
    built = subprocess.run(
        [ROOT / ".packaging" / "deb", tmp_path_factory.mktemp("package")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    return Path(built.stdout.strip())


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Make a minimal Debian, with what the package depends on."""
    needs("debootstrap", "unshare", "nsenter")
    if os.geteuid() != 0:
        if "CI" in os.environ:
            pytest.fail("packages must be tested in CI, as root")
        pytest.skip("a root filesystem needs root")
    root = tmp_path_factory.mktemp("root")
    script = f"mount -t tmpfs -o mode=755 none {root} && echo ready && exec cat"
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as unshare:
        try:
            assert unshare.stdout is not None
            assert unshare.stdout.readline() == "ready\n"
            children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
            made = System(int(children.read_text()), root)
            suite, mirror = source()
            made.outside(
                "debootstrap",
                "--variant=minbase",
                "--include=python3,systemd-standalone-sysusers",
                suite,
                str(root),
                mirror,
                timeout_s=900,
            )
            yield made
        finally:
            unshare.kill()


def source() -> tuple[str, str]:
    """Return this distribution's name, and where apt gets its packages."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    suite = release["VERSION_CODENAME"]
    lists = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    mirrors = [line.split()[2] for line in lists if line.startswith(f"{suite} main ")]
    assert mirrors, f"apt has no list of {suite} main: apt-get update"
    return suite, mirrors[0]


def test_from_installing_to_purging(system: System, package: Path) -> None:
    before = system.files()
    inside = f"/root/{package.name}"
    system.outside("cp", str(package), f"{system.root}{inside}")

    system.run("dpkg", "--install", inside)

    assert system.run("bgphealth", "--version") == f"bgphealth {bgphealth.__version__}\n"
    assert "5." in system.run("/usr/lib/bgphealth/bin/exabgp", "version")
    examples = system.run("find", "-L", "/usr/share/doc/bgphealth/examples", "-name", "*.yaml")
    assert "frr.yaml" in examples
    for example in examples.split():
        check = f"bgphealth -c {example} check"
        assert "valid" in system.run("su", "-s", "/bin/sh", "exabgp", "-c", check)
    system.run("getent", "group", "frrvty")
    # Nothing was enabled, and nothing runs.
    assert not system.run("find", "/etc/systemd", "-lname", "*bgp*")
    assert not system.outside("sh", "-c", f"ls -d {system.root}/run/bgphealth || :")

    for page in ("man1/bgphealth.1.gz", "man5/bgphealth.yaml.5.gz"):
        system.outside(
            "mandoc", "-T", "lint", "-W", "warning", f"{system.root}/usr/share/man/{page}"
        )
    assert "drain" in completed(system, "bgphealth", "dr")
    assert "systemd" in completed(system, "bgphealth", "render", "sys")

    system.run("cp", "/usr/share/doc/bgphealth/examples/frr.yaml", "/etc/bgphealth/bgphealth.yaml")
    assert completed(system, "bgphealth", "drain", "uplink", "''") == ["tor1", "tor2"]
    system.run("bgphealth", "render", "all", "-o", "/root/rendered")
    assert "run /usr/bin/bgphealth" in system.run("cat", "/root/rendered/exabgp.conf")
    for unit in ("exabgp", "bgphealth"):
        text = system.run("cat", f"/lib/systemd/system/{unit}.service")
        (program,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
        system.run("test", "-x", program)
    system.run("mkdir", "/var/lib/bgphealth")
    system.run("touch", "/var/lib/bgphealth/bgphealth.drains.json")

    system.run("dpkg", "--install", inside)  # Over itself: an upgrade.
    system.run("dpkg", "--verify", "bgphealth")
    system.run("dpkg", "--remove", "bgphealth")
    # What is drained must be known to who installs it again.
    system.run("test", "-e", "/var/lib/bgphealth/bgphealth.drains.json")
    system.run("dpkg", "--purge", "bgphealth")

    system.run("test", "-e", "/etc/bgphealth/bgphealth.yaml")  # The operator's own.
    system.run("rm", "-r", inside, "/root/rendered")
    assert system.files() == before


def test_another_exabgp_is_left_alone(system: System, package: Path) -> None:
    """With a Conflicts, apt would remove it first, and what it announces would be withdrawn."""
    inside, other = f"/root/{package.name}", "/root/exabgp"
    control = "Package: exabgp\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a"
    system.outside("cp", str(package), f"{system.root}{inside}")
    system.run("sh", "-c", f"mkdir -p {other}/DEBIAN; echo '{control}' >{other}/DEBIAN/control")
    system.run("dpkg-deb", "--build", other)
    system.run("dpkg", "--install", f"{other}.deb")

    install = f"apt-get install --yes --no-install-recommends {inside} 2>&1 || :"
    assert "the package exabgp is installed. Nothing was changed." in system.run(
        "sh", "-c", install
    )

    assert "install ok installed" in system.run("dpkg", "--status", "exabgp")
    system.run("dpkg", "--purge", "exabgp")
    system.run("dpkg", "--install", inside)
    system.run("dpkg", "--purge", "bgphealth")


def completed(system: System, *words: str) -> list[str]:
    """Return what bash completes the last word to."""
    script = (
        "source /usr/share/bash-completion/completions/bgphealth; "
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        "complete -p bgphealth >/dev/null && _bgphealth_completion bgphealth; "
        "echo ${COMPREPLY[@]}"
    )
    return system.run("bash", "-c", script).split()
