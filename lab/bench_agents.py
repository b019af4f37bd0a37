"""The processes that a benchmark of the probes runs in its nodes, seen from outside."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self

from lab import watch
from lab.errors import LabError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from lab.driver import Driver

_END_S = 10.0


class Agent:
    """A process in a node that answers each line with one line of JSON and ends with its stdin.

    Args:
        driver: who runs the node.
        node: where.
        arguments: the module of `lab.agents` and its arguments.
        stderr: where its stderr goes, closed here once the agent has it; None for our own.

    Raises:
        LabError: it did not start.
    """

    def __init__(
        self, driver: Driver, node: str, arguments: Sequence[str], stderr: IO[str] | None = None
    ) -> None:
        self._name = f"{node}: {arguments[0]}"
        command = ["python3", "-m", f"lab.agents.{arguments[0]}", *arguments[1:]]
        try:
            self._process = driver.popen(node, command, stderr)
        finally:
            if stderr is not None:
                stderr.close()
        self.hello = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, command: str) -> Any:  # noqa: ANN401 - whatever the agent says
        """Return the answer to one command.

        Raises:
            LabError: The agent has ended.
        """
        stdin = _pipe(self._process.stdin)
        try:
            stdin.write(command + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # It has ended, and has no answer either.
        return self._answer()

    def _answer(self) -> Any:  # noqa: ANN401 - whatever the agent says
        line = _pipe(self._process.stdout).readline()
        if not line:
            self.close()
            raise LabError(f"{self._name} has ended:\n{self.log}".rstrip(":\n"))
        return json.loads(line)

    @property
    def log(self) -> str:
        """What it has said on stderr lately, where that is kept."""
        return ""

    def close(self) -> None:
        """End it."""
        process: subprocess.Popen[str] = self._process
        with process:
            with suppress(BrokenPipeError):
                _pipe(process.stdin).close()
            try:
                process.wait(_END_S)
            finally:
                # Ended or not: what is in a node must not outlive the measurement.
                process.kill()


class Program(Agent):
    """bgphealth over one file, and the verdicts that it has logged so far."""

    def __init__(self, driver: Driver, node: str, file: Path) -> None:
        self.verdicts: list[watch.Verdict] = []
        self._other: list[str] = []
        # Not read by Agent: its own thread, so that a full pipe can never stop the program.
        read, write = _pipes()
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()
        super().__init__(driver, node, ["program", str(file)], write)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                found = watch.verdicts([line])
                self.verdicts += found
                if not found:
                    self._other.append(line.rstrip())

    def close(self) -> None:
        """End it and read its log to the end."""
        super().close()
        self._reader.join(_END_S)

    @property
    def log(self) -> str:
        """What it has logged beside its verdicts."""
        return "\n".join(self._other[-20:])


def _pipes() -> tuple[IO[str], IO[str]]:
    read, write = os.pipe()
    return os.fdopen(read, encoding="utf-8"), os.fdopen(write, "w", encoding="utf-8")


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101 - for the type checker
    return stream
