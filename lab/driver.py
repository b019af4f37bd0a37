"""What a driver can do: the lab's other parts know nodes by name and nothing of namespaces."""

from __future__ import annotations

import subprocess
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.topology import Topology


class Driver(Protocol):
    """Runs the nodes of one topology; `lab.drivers` has them by name."""

    name: str
    topology: Topology

    def up(self) -> None:
        """Make the nodes and links and run the `exec` lines.

        Raises:
            LabError: It is up already, or could not be made; then nothing of it is left.
        """

    def down(self) -> bool:
        """End everything that `up` made, also by a command that died; return whether it was up."""

    def nodes(self) -> dict[str, bool]:
        """Return, for each node of the topology, whether it runs."""

    def command(self, node: str, arguments: Sequence[str], *, terminal: bool = False) -> list[str]:
        """Return the command that runs another inside a node, and exits with its status.

        Args:
            node: where.
            arguments: what.
            terminal: whether a terminal is at its stdin and its stdout.

        Raises:
            LabError: The node does not run.
        """

    def environment(self, node: str) -> dict[str, str]:
        """Return the environment for `command`."""

    def run(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        check: bool = True,
        timeout_s: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node to its end and return its output.

        Raises:
            TimedOutError: It still ran after `timeout_s`.
            LabError: `check` and it failed; the message has its output.
        """

    def popen(
        self, node: str, arguments: Sequence[str], stderr: IO[str] | int | None = None
    ) -> subprocess.Popen[str]:
        """Start a command inside a node, with pipes to its stdin and stdout."""
        return subprocess.Popen(
            self.command(node, arguments),
            env=self.environment(node),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # it ends with its stdin, not by a Ctrl-C of its own
        )
