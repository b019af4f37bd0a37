"""The labs of a test run: deployed when a module wants them, destroyed when none does any more."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bgphealth.testing.errors import ClabError
from bgphealth.testing.lab import Lab
from bgphealth.testing.programs import DEPLOY_TIMEOUT_S, Programs

_INSPECT_TIMEOUT_S = 60.0
_DESTROY_TIMEOUT_S = 180.0
_LAST_LINES = 25
_NAME = re.compile(r"^name:[ \t]*[\"']?([^\s\"'#]+)", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Wanted(NamedTuple):
    """What a mark says: a topology, the lab's name if not the file's, and how long it stays."""

    file: Path
    name: str
    scope: str
    renamed: bool


class Labs:
    """Deploys, reuses, keeps and destroys. `left` says what is up after the end, and why."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        keep: bool = False,
        reuse: bool = False,
    ) -> None:
        self._programs = Programs(tuple(command), environment)
        self._keep, self._reuse = keep, reuse
        self._up: dict[Wanted, Lab] = {}
        self._found: set[Wanted] = set()
        self.left: list[str] = []

    def wanted(
        self, beside: Path, topology: str, *, name: str | None = None, scope: str = "module"
    ) -> Wanted:
        """Return what a mark wants; its file is looked for beside the test. Raises ClabError."""
        # containerlab knows a lab by its file's path, as it is written: none is found with `..`.
        file = Path(os.path.abspath(beside / topology))  # noqa: PTH100 - with its links left alone
        if scope not in ("module", "session"):
            raise ClabError(f"mark clab: scope is 'module' or 'session', not {scope!r}")
        try:
            named = _NAME.search(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ClabError(f"mark clab: {file}: {error.strerror}") from None
        if name is None and named is None:
            raise ClabError(f"mark clab: {file}: the topology has no `name:`")
        of_file = named[1] if named else ""
        return Wanted(file, name or of_file, scope, name not in (None, of_file))

    def up(self, wanted: Wanted) -> Lab:
        """Return a lab, deployed if it is not up already. Raises ClabError."""
        if wanted not in self._up:
            self._up[wanted] = self._taken(wanted)
        return self._up[wanted]

    def release(self, wanted: Wanted) -> None:
        """A module does not need its lab any more. Raises ClabError."""
        if wanted.scope == "module":
            self._end(wanted)
        else:
            self._up[wanted].heal()

    def close(self) -> None:
        """All tests are over. Raises ClabError."""
        failed = []
        for wanted in list(self._up):
            try:
                self._end(wanted)
            except ClabError as error:  # The others end all the same.
                failed.append(str(error))
        if failed:
            raise ClabError("\n".join(failed))

    def _taken(self, wanted: Wanted) -> Lab:
        containers = self._containers(wanted.name)
        if not containers:
            return self._deployed(wanted)
        if not self._reuse:
            raise ClabError(
                f"lab {wanted.name} is up already. --clab-reuse uses it, and leaves it up; "
                f"this ends it: {self._destroy_line(wanted)}"
            )
        self._found.add(wanted)
        return self._of(wanted, containers)

    def _deployed(self, wanted: Wanted) -> Lab:
        words = ["containerlab", "deploy", "--topo", str(wanted.file), "--name", wanted.name]
        try:
            self._run(words, DEPLOY_TIMEOUT_S)
            return self._of(wanted, self._containers(wanted.name))
        except BaseException:
            # Ctrl-C among them; half a lab would be in the way of the next run.
            if not self._keep:
                with suppress(ClabError):  # There may be nothing to destroy.
                    self._destroyed(wanted)
            raise

    def _of(self, wanted: Wanted, containers: Mapping[str, Mapping[str, Any]]) -> Lab:
        dead = [name for name, it in containers.items() if it.get("State") != "running"]
        if dead or not containers:
            logs = "\n".join(
                self._programs.line("docker", "logs", _container(containers[it])) for it in dead
            )
            raise ClabError(f"lab {wanted.name}: not running: {', '.join(dead) or 'all'}\n{logs}")
        by_name = {name: _container(it) for name, it in containers.items()}
        return Lab(wanted.name, by_name, self._programs)

    def _containers(self, lab: str) -> dict[str, dict[str, Any]]:
        """Return the containers of a lab by the names of their nodes, as containerlab knows them.

        Asked for all labs: of one that is not there, it says an error like any other.
        """
        words = ["containerlab", "inspect", "--all", "--details", "--format", "json"]
        found = {}
        for it in _all(self._run(words, _INSPECT_TIMEOUT_S)):
            labels = it.get("Labels", {})
            if labels.get("containerlab") == lab and "clab-node-name" in labels:
                found[labels["clab-node-name"]] = it
        return found

    def _end(self, wanted: Wanted) -> None:
        lab = self._up.pop(wanted)
        if wanted in self._found:
            lab.heal()
            return
        if self._keep:
            self.left.append(f"lab {lab.name} is still up: {self._destroy_line(wanted)}")
            lab.heal()
            return
        self._destroyed(wanted)
        if left := self._containers(wanted.name):  # It may find nothing to destroy, and say so not.
            names = ", ".join(map(_container, left.values()))
            raise ClabError(f"{self._destroy_line(wanted)}\nended well, but left {names}")

    def _destroyed(self, wanted: Wanted) -> None:
        containers = self._containers(wanted.name) if wanted.renamed else {}
        self._run(self._destroy(wanted), _DESTROY_TIMEOUT_S)
        if written := _written(wanted.name, containers.values()):
            # Where this user may; what stays is in nobody's way.
            with suppress(ClabError, subprocess.TimeoutExpired):
                self._programs.run("rm", "-rf", *written, timeout_s=_INSPECT_TIMEOUT_S)

    def _destroy(self, wanted: Wanted) -> list[str]:
        if not wanted.renamed:
            return ["containerlab", "destroy", "--topo", str(wanted.file), "--cleanup"]
        # With the file containerlab reads its name there, and would end the lab of that name.
        containers = self._containers(wanted.name)
        return ["docker", "rm", "--force", "--volumes", *map(_container, containers.values())]

    def _destroy_line(self, wanted: Wanted) -> str:
        return self._programs.line(*self._destroy(wanted))

    def _run(self, words: list[str], timeout_s: float) -> str:
        """Return what containerlab printed. Raises ClabError with all that it said."""
        try:
            done = self._programs.run(*words, timeout_s=timeout_s)
        except subprocess.TimeoutExpired:
            line = self._programs.line(*words)
            raise ClabError(f"{line}\ndid not end within {timeout_s:.0f} s") from None
        if done.returncode:
            raise ClabError(self._why(words, done))
        return done.stdout

    def _why(self, words: list[str], done: subprocess.CompletedProcess[str]) -> str:
        said = _COLOR.sub("", done.stderr or done.stdout).rstrip().splitlines()
        last = "\n".join(f"  {line.rstrip()}" for line in said[-_LAST_LINES:] if line.strip())
        hint = ""
        if not self._programs.prefix and os.geteuid():
            hint = "\nThis user is not root: --clab-command 'sudo containerlab' may be needed."
        line = self._programs.line(*words)
        return f"{line}\nended with status {done.returncode}:\n{last}{hint}"


def _container(found: Mapping[str, Any]) -> str:
    (name, *_) = found["Names"]
    return str(name).removeprefix("/")


def _written(lab: str, containers: Collection[Mapping[str, Any]]) -> list[str]:
    """Return what containerlab wrote for a lab: its directory, for ssh, for `ip netns`.

    Nothing that a shell would read as something else: a prefix may be `ssh lab-host`.
    """
    directories = {Path(it["Labels"].get("clab-node-lab-dir", "/")).parent for it in containers}
    found = [str(it) for it in directories if it.is_absolute() and it.name.endswith(lab)]
    found += [f"/run/netns/{_container(it)}" for it in containers]
    found += [f"/etc/ssh/ssh_config.d/clab-{lab}.conf"] if containers else []
    return [it for it in found if shlex.quote(it) == it]


def _all(text: str) -> Iterator[dict[str, Any]]:
    """Yield the containers of `inspect`, grouped by lab; older ones list them."""
    try:
        groups = json.loads(text or "{}")
    except ValueError:
        raise ClabError(f"containerlab inspect printed no JSON: {text[:200]}") from None
    for group in groups.values() if isinstance(groups, dict) else [groups]:
        yield from group
