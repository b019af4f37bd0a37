"""Unnumbered links for a host under test: each ends at a router in a network namespace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.exabgp import eventually
from tests.support.netns import ip, sysctl


class Router:
    """The other end of the unnumbered uplink n, with a link-local address and nothing else."""

    def __init__(self, number: int, *, answers: bool = True) -> None:
        self.interface = f"eth{number}"
        self.address = f"fe80::{number}"
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 120"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._daemon: subprocess.Popen[str] | None = None
        ip("link", "add", self.interface, "type", "veth", "peer", "name", "eth0", "netns",
           str(self._process.pid))  # fmt: skip
        sysctl(f"net.ipv6.conf.{self.interface}.accept_dad", "0")
        self.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        self.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
        self.run("ip", "link", "set", "eth0", "addrgenmode", "none", "up")
        self.run("ip", "addr", "add", f"{self.address}/64", "dev", "eth0", "nodad")
        ip("link", "set", self.interface, "up")
        # The kernel says later that a link is operational, and has its address only then.
        assert eventually(lambda: "state UP" in ip("link", "show", self.interface))
        assert eventually(lambda: "fe80" in ip("-6", "addr", "show", "dev", self.interface))
        assert eventually(lambda: "tentative" not in ip("addr", "show", "dev", self.interface))
        if answers:
            self.speak()

    def run(self, *command: str) -> None:
        """Run a command in the router's namespace."""
        subprocess.run(self.command(*command), check=True)

    def command(self, *command: str) -> list[str]:
        """Return what runs a command there."""
        return [*self._enter, *command]

    @contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command in the router's namespace for as long as it is needed."""
        with subprocess.Popen(
            [*self._enter, *command], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._process.pid), "--net"]

    def speak(self) -> None:
        """Answer solicitations from now on."""
        self._daemon = subprocess.Popen(
            [*self._enter, sys.executable, "-m", "tests.support.router", "eth0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline() == "ready\n"

    def fall_silent(self) -> None:
        """Answer nothing any more, not even who has the address; the link stays up."""
        self._end_daemon()
        self.run("ip", "addr", "flush", "dev", "eth0")

    def have(self, address: str) -> None:
        """Get one more link-local address, and advertise from it."""
        self.run("ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
        self.advertise(address)

    def lose(self, address: str) -> None:
        """Give up an address."""
        self.run("ip", "addr", "del", f"{address}/64", "dev", "eth0")

    def advertise(self, address: str, lifetime_s: int = 0, prefix: str = "") -> None:
        """Send a router advertisement from that address; with a lifetime, as a default router."""
        assert self._daemon is not None
        assert self._daemon.stdin is not None
        self._daemon.stdin.write(f"{address},{lifetime_s},{prefix}\n")
        self._daemon.stdin.flush()

    def _end_daemon(self) -> None:
        if self._daemon is None:
            return
        self._daemon.kill()
        self._daemon.wait()
        for stream in (self._daemon.stdin, self._daemon.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self._daemon = None

    def end(self) -> None:
        """End the namespace."""
        self._end_daemon()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def routers(count: int = 2, *, answer: bool = True) -> Iterator[list[Router]]:
    """Give the current namespace so many unnumbered uplinks and its probe addresses."""
    made: list[Router] = []
    try:
        for number in range(1, count + 1):
            made.append(Router(number, answers=answer))
            ip("addr", "add", f"10.255.11.{number}/32", "dev", "lo")
            ip("addr", "add", f"2001:db8:11:{number}::1/128", "dev", "lo", "nodad")
        yield made
    finally:
        for router in made:
            router.end()
