"""The driver for machines without Docker: each node is a set of Linux namespaces.

A node is one anchor process (`lab.anchor`) and whatever runs in its namespaces. Nothing has a
name on the host: no ``/run/netns`` entry, no interface in the host's own network namespace.
Commands enter through ``nsenter -t PID``; links are made directly between two nodes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lab import anchor, state
from lab.driver import Driver
from lab.errors import (
    LabError,
    NotPermittedError,
    TimedOutError,
    TopologyError,
    UnavailableError,
)
from lab.processes import ProcessName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.topology import Endpoint, Topology

ROOT = Path(__file__).resolve().parent.parent
"""The repository: it stays visible in every node, under its own name."""

_PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "/usr/lib/frr/frrinit.sh": "frr",
    "vtysh": "frr",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXEC_TIMEOUT_S = 60.0


def check_machine() -> None:
    """Say what this machine lacks for the lab.

    Raises:
        NotPermittedError: Not root.
        UnavailableError: A program is missing.
    """
    if os.geteuid() != 0:
        raise NotPermittedError("the lab makes network namespaces and needs root (try sudo)")
    absent = {p: package for p, package in _PROGRAMS.items() if not _which(p)}
    if absent:
        raise UnavailableError(
            f"not installed: {', '.join(absent)}; "
            f"run lab/setup.sh, or install: {' '.join(sorted(set(absent.values())))}"
        )


def _which(program: str) -> str | None:
    return shutil.which(program, path=_SYSTEM_PATH)


def netns_of(pid: int | str) -> str:
    """Return the name of a process's network namespace, such as ``net:[4026531840]``."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except PermissionError:
        if os.geteuid() != 0:
            raise NotPermittedError("the lab's nodes belong to root (try sudo)") from None
        raise


class NamespaceDriver(Driver):
    """Runs a topology in network, mount, PID and UTS namespaces."""

    name = "namespaces"

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._state: state.LabState | None = None

    # Life cycle

    def up(self) -> None:
        """See `Driver.up`."""
        check_machine()
        self._check_topology()
        with state.lock(self.topology.name):
            state.check_driver(self.topology.name, self.name)
            if any(self.nodes().values()):
                raise LabError(f"{self.topology.name} is up already (lab down ends it)")
            new = state.LabState(self.topology.name, str(self.topology.path), self.name)
            self._state = new
            try:
                new.save()
                for node in self.topology.nodes:
                    self._start_node(new, node)
                for link in self.topology.links:
                    self._make_link(*link.ends)
                self._run_exec_lines()
            except BaseException:
                self._end(new)
                raise

    def down(self) -> bool:
        """See `Driver.down`."""
        if os.geteuid() != 0:
            raise NotPermittedError("the lab's nodes belong to root (try sudo)")
        with state.lock(self.topology.name):
            state.check_driver(self.topology.name, self.name)
            found = state.read(self.topology.name)
            was_up = found is not None and any(p.is_alive() for p in found.nodes.values())
            self._end(found or state.LabState(self.topology.name, "", self.name))
            return was_up

    def _end(self, known: state.LabState) -> None:
        stubborn = [name for name, process in known.nodes.items() if not process.kill()]
        self._state = None
        if stubborn:
            raise LabError(f"could not end {', '.join(stubborn)}; {known.path} is kept")
        known.forget()

    def _check_topology(self) -> None:
        """Refuse what containerlab could run and namespaces cannot."""
        for name, node in self.topology.nodes.items():
            for bind in self.topology.binds(name):
                if not any(bind.target.is_relative_to(tree) for tree in anchor.PRIVATE_TREES):
                    raise TopologyError(
                        f"{self.topology.path}: {name}: bind target {bind.target} would be the "
                        f"host's own: it must be below {', '.join(anchor.PRIVATE_TREES)}"
                    )
            if foreign := [key for key in node.sysctls if not key.startswith("net.")]:
                raise TopologyError(
                    f"{self.topology.path}: {name}: sysctl {foreign[0]} would be the host's own: "
                    "only net.* belongs to a node"
                )

    def _start_node(self, known: state.LabState, name: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.anchor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C in the terminal is the lab command's, not the node's
        )
        with process:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            assert process.stdout is not None  # noqa: S101
            answer = _read_answer(name, process.stdout)
            if "error" in answer:
                raise LabError(f"{name}: {answer['error']}")
            known.nodes[name] = ProcessName.of(int(answer["pid"]))
            known.save()
            # Only now is it known by name and may go on.
            process.stdin.write(json.dumps(self._order(name)) + "\n")
            process.stdin.flush()
            answer = _read_answer(name, process.stdout)
            if "error" in answer:
                raise LabError(f"{name}: {answer['error']}")

    def _order(self, name: str) -> dict[str, Any]:
        kept = {ROOT, Path(sys.prefix), Path(sys.base_prefix), self.topology.path.parent}
        return {
            "outer_netns": netns_of("self"),
            "hostname": name,
            "sysctls": self.topology.nodes[name].sysctls,
            "binds": [
                (str(b.source), str(b.target), b.read_only) for b in self.topology.binds(name)
            ],
            "keep": sorted(
                str(path)
                for path in kept
                if any(path.is_relative_to(tree) for tree in anchor.PRIVATE_TREES)
            ),
        }

    def _make_link(self, first: Endpoint, second: Endpoint) -> None:
        add = f"ip link add {first.interface} type veth peer name {second.interface} netns".split()
        # Entered by network namespace alone: the peer's pid is one of the host's PID namespace.
        self._finish(
            f"link {first} {second}",
            [*self._nsenter(first.node, "-n"), *add, str(self._anchor(second.node).pid)],
        )
        for end in (first, second):
            self._finish(
                f"link {end}",
                [*self._nsenter(end.node, "-n"), "ip", "link", "set", end.interface, "up"],
            )

    def _finish(self, what: str, command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            raise LabError(f"{what}: {done.stderr.strip() or done.stdout.strip()}")

    def _run_exec_lines(self) -> None:
        """Run each node's lines in their order, the nodes side by side.

        Aligned at their ends, because the last line is the one that starts the daemons and takes
        a second or two: so the lab takes as long as its slowest node, without threads.
        """
        nodes = self.topology.nodes
        for row in reversed(list(zip_longest(*(n.commands[::-1] for n in nodes.values())))):
            started = [
                (node, line, self._popen_exec(node, line))
                for node, line in zip(nodes, row, strict=True)
                if line
            ]
            try:
                for node, line, process in started:
                    _finish_exec(node, line, process)
            except BaseException:
                for _, _, process in started:
                    _abandon(process)
                raise

    def _popen_exec(self, node: str, line: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(node, line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(node),
        )

    # Inside the nodes

    def nodes(self) -> dict[str, bool]:
        """See `Driver.nodes`."""
        known = self._known()
        processes: Mapping[str, ProcessName] = known.nodes if known else {}
        return {
            name: name in processes and processes[name].is_alive() for name in self.topology.nodes
        }

    def _known(self) -> state.LabState | None:
        if self._state is None:
            self._state = state.read(self.topology.name)
        return self._state

    def _anchor(self, node: str) -> ProcessName:
        if node not in self.topology.nodes:
            known = ", ".join(self.topology.nodes)
            raise LabError(f"{self.topology.name} has no node '{node}' (it has {known})")
        found = self._known()
        process = found.nodes.get(node) if found else None
        if process is None or not process.is_alive():
            raise LabError(f"{self.topology.name} is not up (lab up makes it)")
        return process

    def _nsenter(self, node: str, *what: str) -> list[str]:
        pid = self._anchor(node).pid
        # The one door into a node is also where a mistake would reach the host.
        if netns_of(pid) == netns_of("self"):
            raise NotPermittedError(f"{node} is in the host's own network namespace")
        return [_which("nsenter") or "nsenter", "-t", str(pid), *what]

    def command(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        terminal: bool = False,  # noqa: ARG002 - the caller's is the command's
    ) -> list[str]:
        """See `Driver.command`."""
        here = Path.cwd()
        # The node has its own /run, for instance: there the caller's directory may be missing.
        there = Path(f"/proc/{self._anchor(node).pid}/root", *here.parts[1:])
        directory = here if there.is_dir() else Path("/")
        # Its root as well: where the lab itself runs in a chroot, the mount namespace begins above.
        entry = ("-m", "-n", "-p", "-u", "-r", f"--wdns={directory}")
        return [*self._nsenter(node, *entry), *arguments]

    def environment(self, node: str) -> dict[str, str]:
        """See `Driver.environment`."""
        inherited = os.environ.get("PYTHONPATH")
        return {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
            "PYTHONPATH": f"{ROOT}:{inherited}" if inherited else str(ROOT),
            **self.topology.nodes[node].env,
        }

    def run(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """See `Driver.run`."""
        try:
            done = subprocess.run(
                self.command(node, arguments),
                env=self.environment(node),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            what = f"{node}: '{' '.join(arguments)}'"
            raise TimedOutError(f"{what} still ran after {timeout_s:g} s") from None
        if check and done.returncode:
            raise LabError(
                f"{node}: '{' '.join(arguments)}' failed ({done.returncode}): "
                f"{done.stderr.strip() or done.stdout.strip()}"
            )
        return done


def _finish_exec(node: str, line: Sequence[str], process: subprocess.Popen[str]) -> None:
    what = f"{node}: exec '{' '.join(line)}'"
    try:
        output, _ = process.communicate(timeout=_EXEC_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise TimedOutError(f"{what} still runs after {_EXEC_TIMEOUT_S:.0f} s") from None
    if process.returncode:
        raise LabError(f"{what} failed ({process.returncode}):\n{output}")


def _abandon(process: subprocess.Popen[str]) -> None:
    """Let go of a command in a node; what it started there ends with the node."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _read_answer(node: str, stream: IO[str]) -> dict[str, Any]:
    line = stream.readline()
    if not line:
        raise LabError(f"{node}: its anchor ended before it was ready")
    answer: dict[str, Any] = json.loads(line)
    return answer
