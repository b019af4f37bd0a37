"""The doctor in a node of a lab, asked as often as needed; and a host broken for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.doctor import examine
from lab import dual_tor
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import FILE

Found = list[dict[str, Any]]


class Doctor:
    """Runs ``bgphealth doctor --json`` in a node, in one process for all: starting takes long.

    Args:
        lab: the lab.
        node: which node.
        before: the words of a command that starts another one, as another user for instance.
        areas: what to look at alone, by the names of the areas: FRR takes most of the time.
    """

    def __init__(
        self,
        lab: NamespaceDriver,
        node: str = dual_tor.SERVER,
        before: Sequence[str] = (),
        areas: Sequence[str] = (),
    ) -> None:
        agent = (sys.executable, "-m", "tests.support.doctor", *areas)
        self._process = lab.popen(node, [*before, *agent])

    def look(self) -> Found:
        """Return all findings; the exit status and what is said of them must fit."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        said = json.loads(answer["output"])
        found: Found = said["findings"]
        is_ok = all(finding["severity"] == "note" for finding in found)
        assert (said["ok"], answer["status"]) == (is_ok, 0 if is_ok else 1)
        return found

    def words(self) -> set[str]:
        """Return the words of all findings."""
        return {finding["word"] for finding in self.look()}

    def stop(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def is_about_bgp(finding: Mapping[str, Any]) -> bool:
    """Return whether a finding is about FRR or ExaBGP: what is broken elsewhere is seen there too.

    And the other way round.
    """
    return str(finding["word"]).startswith(("frr_", "exabgp_"))


@contextmanager
def doctor(lab: NamespaceDriver, *before: str, areas: Sequence[str] = ()) -> Iterator[Doctor]:
    """Have a doctor in the server."""
    it = Doctor(lab, before=before, areas=areas)
    try:
        yield it
    finally:
        it.stop()


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to break the server of dual-tor: what is found of it, what mends it, what undoes it.

    Args:
        words: what must be found, and nothing else.
        how: a shell script that breaks it.
        undo: one that brings everything back, whatever was done meanwhile.
        file: how the file is edited, by sed(1).
        is_mended: whether the finding's own command mends it; else `undo` does.
        also: what may be found besides, of the breakage or of having mended it half.
        is_stopped: the program is stopped meanwhile, as it would mend it at once.
        disturbs: BGP takes a while to be as before, and would mend what is broken next.
    """

    words: frozenset[str]
    how: str = ":"
    undo: str = ":"
    file: str = ""
    is_mended: bool = True
    also: frozenset[str] = frozenset()
    is_stopped: bool = False
    disturbs: bool = False

    def __str__(self) -> str:
        return "-".join(sorted(self.words))


def main() -> None:
    """Look once for every line on stdin, at these areas or at all."""
    everything, only = examine.areas, sys.argv[1:]

    def areas(file: Path, control_socket: Path) -> tuple[examine.Area, ...]:
        return tuple(a for a in everything(file, control_socket) if not only or a.name in only)

    examine.areas = areas
    for _ in sys.stdin:
        result = CliRunner().invoke(app, ["-c", FILE, "doctor", "--json"])
        answer = {"status": result.exit_code, "output": result.output}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
