"""The driver for machines with Docker: containerlab deploys the file, each node is a container.

What the file says is containerlab's to do, by `containerlab deploy`; commands enter the nodes by
`docker exec`. Containers have the kernel's one CLOCK_MONOTONIC, so times from inside and outside
compare.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from lab import docker, state
from lab.driver import Driver
from lab.errors import LabError, NotPermittedError, TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lab.topology import Topology

_DEPLOY_TIMEOUT_S: Final = 300.0
_ASK_TIMEOUT_S: Final = 30.0

_FAILED_EXEC: Final = ("Failed to execute command", "failed to run exec commands")
"""How containerlab logs an `exec` line that failed; it goes on, and its status is 0."""

_NOT_THERE: Final = ("Error response from daemon: ", "Error: No such container", "Cannot connect")
"""How docker says that it could not even begin: nothing that runs inside begins so."""

_TIMED_OUT: Final = 124
"""timeout(1): the command had to be ended."""

_SSH_CONFIG: Final = "/etc/ssh/ssh_config.d/clab-{}.conf"
"""What containerlab writes outside of its directory for a lab."""

_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
"""A lab command that is killed leaves nobody behind who goes on deploying after `lab down`."""


def lab_name(topology: str) -> str:
    """Return containerlab's name of a lab: names of containers are the machine's.

    With a state directory of one's own a lab has a name of its own, so that two can run at once.
    """
    if state.ENVIRONMENT_VARIABLE not in os.environ:
        return topology
    own = str(state.directory().absolute()).encode()
    return f"{topology}-{sha256(own).hexdigest()[:6]}"


def parse_nodes(text: str, lab: str) -> dict[str, bool]:
    """Return, for each container of a lab, whether it runs.

    Args:
        text: what ``containerlab inspect --all --format json`` printed.
        lab: containerlab's name of the lab.

    Raises:
        LabError: It is something else.
    """
    try:
        containers = json.loads(text or "{}").get(lab, [])
        return {container["name"]: container["state"] == "running" for container in containers}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise LabError(f"containerlab inspect printed something else: {error!r}") from None


def failed_exec_lines(log: str) -> list[str]:
    """Return what containerlab logged of `exec` lines that failed, and what belongs to it."""
    found: list[str] = []
    goes_on = False
    for line in log.splitlines():
        # Each record begins with its time or level; the output of a command is indented below it.
        is_record = bool(line) and not line[0].isspace()
        goes_on = any(text in line for text in _FAILED_EXEC) if is_record else goes_on
        if goes_on:
            found.append(line)
    return found


class ContainerlabDriver(Driver):
    """Runs a topology by containerlab, in Docker's containers."""

    name = "containerlab"

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._lab = lab_name(topology.name)

    @cached_property
    def _beside(self) -> list[str]:
        """Return what a command beside Docker begins with; to find that out is a command, too."""
        return docker.beside()

    # Life cycle

    def up(self) -> None:
        """See `Driver.up`."""
        self._check_machine()
        with state.lock(self.topology.name):
            state.check_driver(self.topology.name, self.name)
            if self._containers():
                raise LabError(f"{self.topology.name} is up already (lab down ends it)")
            new = state.LabState(self.topology.name, str(self.topology.path), self.name)
            try:
                new.save()
                self._deploy(new.path.parent)
            except BaseException:
                self._end(new)
                raise

    def down(self) -> bool:
        """See `Driver.down`."""
        if os.geteuid() != 0:
            raise NotPermittedError("the lab's nodes belong to root (try sudo)")
        with state.lock(self.topology.name):
            state.check_driver(self.topology.name, self.name)
            known = state.read(self.topology.name)
            was_up = any(self._containers().values())
            self._end(known or state.LabState(self.topology.name, "", self.name))
            return was_up

    def _check_machine(self) -> None:
        """Say what this machine lacks.

        Raises:
            NotPermittedError: Not root.
            UnavailableError: containerlab, Docker or an image is missing.
        """
        if os.geteuid() != 0:
            raise NotPermittedError("containerlab makes links between containers: needs root")
        if shutil.which("containerlab", path=docker.path()) is None:
            raise UnavailableError("containerlab is not installed (make setup-containerlab)")
        for image in sorted({node.image for node in self.topology.nodes.values() if node.image}):
            done = self._call("docker", "image", "inspect", "--format", "{{.Id}}", image)
            if done.returncode:
                why = done.stderr.strip()
                raise UnavailableError(f"no image {image} (make clab builds it): {why}")

    def _deploy(self, directory: Path) -> None:
        """Let containerlab make the lab.

        Args:
            directory: where it may keep its own files.

        Raises:
            LabError: It failed, or an `exec` line did.
        """
        done = self._call(
            *(*_DIES_WITH_US, "containerlab", "deploy", "--topo", str(self.topology.path)),
            *("--name", self._lab, "--log-level", "error", "--format", "json"),
            timeout_s=_DEPLOY_TIMEOUT_S,
            CLAB_LABDIR_BASE=str(directory),
        )
        what = f"containerlab deploy {self.topology.path.name}"
        if done.returncode:
            raise LabError(f"{what} failed ({done.returncode}):\n{done.stderr.strip()}")
        if failed := failed_exec_lines(done.stderr):
            raise LabError(f"{what}: exec lines failed:\n" + "\n".join(failed))

    def _end(self, known: state.LabState) -> None:
        directory = known.path.parent
        if self._has_docker():
            self._end_nodes(known.path)
        else:
            shutil.rmtree(directory / f"clab-{self._lab}", ignore_errors=True)
        known.forget()

    def _end_nodes(self, kept: Path) -> None:
        directory = kept.parent
        if self._lab == self.topology.name and self._containers():
            # Whatever it makes of a lab that is half there: what is left is removed below.
            self._call(
                *("containerlab", "destroy", "--topo", str(self.topology.path), "--cleanup"),
                *("--log-level", "error"),
                timeout_s=_DEPLOY_TIMEOUT_S,
                CLAB_LABDIR_BASE=str(directory),
            )
        # containerlab would read the name in the file, and end the lab of that name.
        if left := list(self._containers()):
            self._call("docker", "rm", "--force", "--volumes", *left, timeout_s=_DEPLOY_TIMEOUT_S)
        if left := list(self._containers()):
            raise LabError(f"could not end {', '.join(left)}; {kept} is kept")
        self._call("rm", "-rf", str(directory / f"clab-{self._lab}"), _SSH_CONFIG.format(self._lab))
        # By which `ip netns` knows the nodes; Docker knows nothing of them.
        self._call("rm", "-f", *(f"/run/netns/{self._container(n)}" for n in self.topology.nodes))

    def _call(
        self, *command: str, timeout_s: float = _ASK_TIMEOUT_S, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside Docker to its end.

        Raises:
            UnavailableError: It is not installed.
            TimedOutError: It did not come.
        """
        try:
            return subprocess.run(
                [*self._beside, *command],
                env={**os.environ, **docker.environment(), **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
                start_new_session=True,  # a Ctrl-C is for the lab command, which then ends the lab
            )
        except FileNotFoundError:
            raise UnavailableError(f"{command[0]} is not installed (make clab does that)") from None
        except subprocess.TimeoutExpired:
            raise TimedOutError(f"'{' '.join(command)}' still ran after {timeout_s:g} s") from None

    # Inside the nodes

    def nodes(self) -> dict[str, bool]:
        """See `Driver.nodes`."""
        found = self._containers()
        return {name: found.get(self._container(name), False) for name in self.topology.nodes}

    def _has_docker(self) -> bool:
        """Return whether there can be nodes: to look, or to end them, must start no daemon."""
        return "_beside" in self.__dict__ or docker.answers()

    def _containers(self) -> dict[str, bool]:
        """Return, for each container of the lab, whether it runs."""
        if not self._has_docker():
            return {}
        done = self._call("containerlab", "inspect", "--all", "--format", "json")
        if done.returncode:
            raise LabError(f"containerlab inspect failed:\n{done.stderr.strip()}")
        return parse_nodes(done.stdout, self._lab)

    def _container(self, node: str) -> str:
        if node not in self.topology.nodes:
            known = ", ".join(self.topology.nodes)
            raise LabError(f"{self.topology.name} has no node '{node}' (it has {known})")
        return f"clab-{self._lab}-{node}"

    def _exec(self, node: str, arguments: Iterable[str], *options: str) -> tuple[str, ...]:
        # What the image and the file say of the environment is there already.
        environment = {"LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
        pairs = [word for item in environment.items() for word in ("--env", "=".join(item))]
        return ("docker", "exec", *options, *pairs, self._container(node), *arguments)

    def command(self, node: str, arguments: Sequence[str], *, terminal: bool = False) -> list[str]:
        """See `Driver.command`."""
        if not self._containers().get(self._container(node)):
            raise self._not_up()
        options = ["--interactive", *(["--tty"] if terminal else [])]
        return [*self._beside, *self._exec(node, arguments, *options)]

    def _not_up(self) -> LabError:
        return LabError(f"{self.topology.name} is not up (lab up makes it)")

    def environment(self, node: str) -> dict[str, str]:  # noqa: ARG002 - the client's, for any node
        """See `Driver.environment`."""
        return {**os.environ, **docker.environment()}

    def run(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """See `Driver.run`."""
        # Ending the client ends nothing inside: so the command has its time limit there.
        limited = ("timeout", f"{timeout_s:g}", *arguments)
        done = self._call(*self._exec(node, limited), timeout_s=timeout_s + _ASK_TIMEOUT_S)
        what = f"{node}: '{' '.join(arguments)}'"
        if done.returncode and done.stderr.startswith(_NOT_THERE):
            raise LabError(f"{what}: {done.stderr.strip()}")
        if done.returncode == _TIMED_OUT:
            raise TimedOutError(f"{what} still ran after {timeout_s:g} s")
        if check and done.returncode:
            output = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"{what} failed ({done.returncode}): {output}")
        return done
