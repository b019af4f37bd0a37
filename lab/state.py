"""What the lab made and must end: one file per topology that is up, under ``/run``.

The file is written before each process that it names is told to go on, so that a lab command may
die at any moment: either the file names the process, or the process ends by itself. Of a lab of
containers it names none: Docker knows them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.processes import ProcessName

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT_VARIABLE = "BGPHEALTH_LAB_STATE"
_DEFAULT = "/run/bgphealth-lab"
_VERSION = 1


def directory() -> Path:
    """Return the directory that holds the state of all labs."""
    return Path(os.environ.get(ENVIRONMENT_VARIABLE, _DEFAULT))


def boot_id() -> str:
    """Return the name of this boot: start times mean nothing in another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(slots=True)
class LabState:
    """The processes that hold one lab's nodes."""

    topology: str
    file: str
    driver: str
    nodes: dict[str, ProcessName] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Return where this state is kept."""
        return directory() / self.topology / "state.json"

    def save(self) -> None:
        """Write the state atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        temporary = self.path.with_suffix(".new")
        text = json.dumps({"version": _VERSION, "boot": boot_id(), **asdict(self)}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.rename(self.path)

    def forget(self) -> None:
        """Remove the file: everything it named is gone."""
        self.path.unlink(missing_ok=True)
        (self.path.parent / "lock").unlink(missing_ok=True)
        for empty in (self.path.parent, directory()):
            with contextlib.suppress(OSError):
                empty.rmdir()


def read(topology: str) -> LabState | None:
    """Return the state of a lab, or None when there is none of this boot.

    Raises:
        LabError: The file is there and makes no sense: nobody may guess what to kill.
    """
    path = directory() / topology / "state.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        nodes = {name: ProcessName(**process) for name, process in data["nodes"].items()}
        state = LabState(data["topology"], data["file"], data["driver"], nodes)
        boot, version = data["boot"], data["version"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{path} is not a state file of the lab: {error!r}") from None
    if version != _VERSION:
        raise LabError(f"{path} was written by another version of the lab ({version})")
    if boot != boot_id():
        state.nodes.clear()
    return state


def check_driver(topology: str, driver: str) -> None:
    """Leave a lab to the driver that made it.

    Raises:
        LabError: It was another.
    """
    found = read(topology)
    if found is not None and found.driver != driver:
        raise LabError(
            f"{topology} was made by the driver {found.driver} "
            f"(lab down --driver {found.driver} ends it)"
        )


@contextlib.contextmanager
def lock(topology: str) -> Iterator[None]:
    """Hold off other commands that would make or end the same lab.

    Raises:
        LabError: Another command is at work on it.
    """
    path = directory() / topology / "lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another lab command is at work on {topology}") from None
        yield
