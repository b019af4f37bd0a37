"""FRR's own daemons in a network namespace, for as long as a test needs them.

They share no path with an FRR of the machine: sockets, configuration and logs are in a directory
of the test's choice, which vtysh finds with ``--vty_socket``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.exabgp import eventually

_DAEMONS = Path("/usr/lib/frr")


class Frr:
    """The daemons of one router. `enter` is the command prefix that leads into its namespace."""

    def __init__(self, directory: Path, configuration: str, enter: Sequence[str] = ()) -> None:
        self.directory = directory
        self._enter = enter
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log: IO[bytes] = (directory / "log").open("wb")
        (directory / "frr.conf").write_text(configuration)
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, "frr", "frr")

    def start(self, *daemons: str) -> None:
        """Start daemons, zebra first, or start them again."""
        here = self.directory
        own = ["--bfdctl", f"{here}/bfdd.sock"]
        for daemon in daemons:
            if daemon != "zebra":
                # A daemon that finds no zebra tries again after ten seconds.
                assert eventually((here / "zserv.api").is_socket), self.log()
            command = [
                *(*self._enter, f"{_DAEMONS}/{daemon}"),
                *(
                    "--vty_socket",
                    f"{here}",
                    "-z",
                    f"{here}/zserv.api",
                    "-i",
                    f"{here}/{daemon}.pid",
                ),
                *("-f", f"{here}/frr.conf", "-P", "0", "-u", "frr", "-g", "frr", "--log", "stdout"),
                *(own if daemon == "bfdd" else ()),
            ]
            self._processes[daemon] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
            )

    def stop(self, daemon: str) -> None:
        """End one daemon as a service manager would."""
        process = self._processes.pop(daemon)
        process.terminate()
        process.wait(10)

    def kill(self, daemon: str) -> None:
        """End one daemon without letting it say goodbye to its peers."""
        process = self._processes.pop(daemon)
        process.kill()
        process.wait()

    def signal(self, daemon: str, number: signal.Signals) -> None:
        """Send a signal to one daemon."""
        self._processes[daemon].send_signal(number)

    def configure(self, *lines: str) -> None:
        """Give configuration commands."""
        commands = [f"--command={line}" for line in ("configure terminal", *lines)]
        subprocess.run(["vtysh", "--vty_socket", self.directory, *commands], check=True)

    def load(self, configuration: str) -> None:
        """Give all daemons a whole configuration, as FRR's own scripts do at a start."""
        for daemon in self._processes:
            assert eventually((self.directory / f"{daemon}.vty").is_socket), self.log()
        file = self.directory / "loaded.conf"
        file.write_text(configuration)
        subprocess.run(["vtysh", "--vty_socket", self.directory, "-f", file], check=True)

    def log(self) -> str:
        """Return the end of what all daemons logged."""
        return (self.directory / "log").read_text(errors="replace")[-8000:]

    def end(self) -> None:
        """End all daemons."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._log.close()


@contextmanager
def frr(directory: Path, configuration: str, enter: Sequence[str] = ()) -> Iterator[Frr]:
    """Run zebra, bgpd and bfdd, and end them on leaving."""
    directory.mkdir()
    router = Frr(directory, configuration, enter)
    try:
        router.start("zebra", "bfdd", "bgpd")
        yield router
    finally:
        router.end()
