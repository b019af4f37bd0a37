"""A machine for units: a real systemd as process 1 of namespaces of its own, on a copy of the root.

It shares the network namespace of the test, nothing else: processes, mounts, IPC, control groups
and everything that is written are its own (an overlay in memory) and gone with it. No journal, no
D-Bus; systemctl speaks with systemd itself. bgphealth and ExaBGP are in /opt/bgphealth/bin, as
packages have them: what is in the home or the temporary directories units cannot see.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.exabgp import ROOT, eventually

PROGRAM = "/lib/systemd/systemd"
OPT = "/opt/bgphealth"
UNITS = "/run/units"
ANYBODY = "/opt/anybody"
"""A directory outside of everything of the units' that everybody may write to."""

_TARGETS = (
    "basic",
    "default",
    "emergency",
    "exit",
    "final",
    "multi-user",
    "network",
    "network-online",
    "rescue",
    "shutdown",
    "sysinit",
    "umount",
)
_FURNISH = f"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root"
mount -t overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" overlay "$BASE/root"
cd "$BASE/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mkdir -p opt/source opt/python opt/site {OPT[1:]}/lib
mount --bind -o ro "$SOURCE" opt/source
mount --bind -o ro "$PYTHON" opt/python
mount --bind -o ro "$SITE" opt/site
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/frr
mount --bind "$FRR" run/frr
cp -a "$FILES/." .
chmod 755 . opt {OPT[1:]}
mkdir -m 1777 {ANYBODY[1:]}
mkdir old
# Not chroot: nobody in one may have namespaces, whatever a unit says.
pivot_root . old
umount -l old
rmdir old
echo ready
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    SYSTEMD_UNIT_PATH={UNITS} {PROGRAM} --system --unit=default.target
"""


class Machine:
    """A machine that is up."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command as root, and return what it prints."""
        enter = ["nsenter", "-t", str(self._pid), "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        done = subprocess.run(
            [*enter, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, as root."""
        file = Path(f"/proc/{self._pid}/root", path[1:])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def read(self, path: str) -> str:
        """Return what is in a file, nothing if it is not there."""
        try:
            return Path(f"/proc/{self._pid}/root", path[1:]).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Have systemd do something."""
        return self.run("systemctl", *words, check=check)

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Return what systemd says of a unit."""
        lines = self.systemctl("show", unit, f"--property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)


@contextmanager
def machine(frr: Path | None = None) -> Iterator[Machine]:
    """Boot a machine in the current network namespace; FRR's sockets are those of a directory."""
    groups = _control_groups()
    with tempfile.TemporaryDirectory() as text, (Path(text) / "log").open("w+b") as log:
        directory = Path(text)
        files, base, nothing = (directory / name for name in ("files", "base", "nothing"))
        for path in (files, base, nothing):
            path.mkdir()
        _furnish(files)
        group = groups / f"bgphealth-test-{os.getpid()}"
        group.mkdir()
        process = subprocess.Popen(
            [
                *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)),
                *("unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"),
                *("--cgroup", "sh", "-c", _FURNISH),
            ],
            env={**_places(), "BASE": str(base), "FILES": str(files), "FRR": str(frr or nothing)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            log.seek(0)
            assert said == "ready\n", log.read()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            booted = Machine(int(children.read_text()))
            state = ("is-system-running",)
            assert eventually(lambda: booted.systemctl(*state, check=False) == "running\n")
            yield booted
        finally:
            process.kill()
            process.communicate()
            _remove(group)


def require() -> None:
    """Skip, or fail in CI, where there is no systemd to boot."""
    if not Path(PROGRAM).exists():
        if "CI" in os.environ:
            pytest.fail(f"{PROGRAM} is not installed")
        pytest.skip(f"{PROGRAM} is not installed")


def _places() -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "SOURCE": str(ROOT),
        "PYTHON": sys.base_prefix,
        "SITE": sysconfig.get_path("purelib"),
    }


def _furnish(files: Path) -> None:
    """Make what the machine has besides a copy of the root."""
    units = files / UNITS[1:]
    units.mkdir(parents=True)
    for name in _TARGETS:
        text = f"[Unit]\nDescription={name}\nDefaultDependencies=no\n"
        (units / f"{name}.target").write_text(text)
    # A Python that was built elsewhere looks for its library there, where units do not see it.
    every = units / "service.d"
    every.mkdir()
    (every / "python.conf").write_text("[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    programs = files / OPT[1:] / "bin"
    programs.mkdir(parents=True)
    (files / OPT[1:] / "lib" / python).mkdir(parents=True)
    (files / OPT[1:] / "lib" / python / "site-packages").symlink_to("/opt/site")
    (files / OPT[1:] / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (programs / "python").symlink_to(f"/opt/python/bin/{python}")
    _program(programs / "bgphealth", "bgphealth.__main__")
    _program(programs / "exabgp", "exabgp.application.main")


def _program(file: Path, module: str) -> None:
    lines = [f"#!{OPT}/bin/python", "import sys", 'sys.path.insert(0, "/opt/source")']
    lines += [f"from {module} import main", "sys.exit(main())"]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o755)


def _control_groups() -> Path:
    """Return where version 2 of the control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    pytest.fail("no cgroup2 is mounted")


def _remove(group: Path) -> None:
    """Remove the control groups, from the leaves; the last processes in them may take a moment."""

    def is_gone() -> bool:
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        return not group.exists()

    assert eventually(is_gone)


