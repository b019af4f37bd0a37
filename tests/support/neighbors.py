"""Neighbors for a program under test: each is a network namespace at the end of a veth."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.netns import ip


class Neighbor:
    """The other end of uplink n: 10.0.n.0 on the link, and a target 198.51.100.n behind it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 120"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        ours, theirs = f"eth{number}", self.pid
        ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", theirs)
        ip("link", "set", ours, "up")
        ip("addr", "add", f"10.0.{number}.1/31", "dev", ours)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")
        self.ip("addr", "add", f"10.0.{number}.0/31", "dev", "eth0")
        self.ip("addr", "add", f"198.51.100.{number}/32", "dev", "lo")

    @property
    def pid(self) -> str:
        """What names the neighbor's namespace for ip(8)."""
        return str(self._process.pid)

    @property
    def enter(self) -> list[str]:
        """What to put before a command so that it runs in the neighbor's namespace."""
        return ["nsenter", "--target", self.pid, "--net"]

    def ip(self, *arguments: str) -> None:
        """Run ip(8) in the neighbor's namespace."""
        self.run("ip", *arguments)

    def run(self, *command: str) -> None:
        """Run a command in the neighbor's namespace."""
        subprocess.run([*self.enter, *command], check=True)

    def go_dark(self) -> None:
        """Lose what is behind the neighbor; the neighbor itself stays."""
        self.ip("addr", "del", f"198.51.100.{self.number}/32", "dev", "lo")

    def come_back(self) -> None:
        """Have it again."""
        self.ip("addr", "add", f"198.51.100.{self.number}/32", "dev", "lo")

    def end(self) -> None:
        """End the namespace."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def neighbors(count: int) -> Iterator[list[Neighbor]]:
    """Give the current namespace so many neighbors, and take them away again.

    It gets the addresses of the file (`configuration`) as well, and one more for a service.
    """
    made: list[Neighbor] = []
    try:
        for address in ("10.255.10.1", "192.0.2.53", "192.0.2.80"):
            ip("addr", "add", f"{address}/32", "dev", "lo")
        for number in range(1, count + 1):
            made.append(Neighbor(number))  # noqa: PERF401 - those made so far must be ended
        yield made
    finally:
        for neighbor in made:
            neighbor.end()


def configuration(directory: Path, uplinks: int = 2, **uplink: str) -> Path:
    """Write a file for a host with these neighbors; probes are quick."""
    lines = [
        "version: 1",
        "mode: frr",
        "host: {asn: 65101, router_id: 10.255.10.1, source: {ipv4: 10.255.10.1}}",
        "uplinks:",
    ]
    extra = "".join(f", {key}: {value}" for key, value in uplink.items())
    lines += [
        f"  tor{n}: {{interface: eth{n}, neighbor: 10.0.{n}.0, neighbor_asn: 6500{n}{extra}}}"
        for n in range(1, uplinks + 1)
    ]
    targets = ", ".join(f"{{icmp: 198.51.100.{n}}}" for n in range(1, uplinks + 1))
    lines += [
        "paths: {interval: 50ms, timeout: 100ms, fall: 3, rise: 3,",
        f"  beyond: {{need: 1, of: [{targets}]}}}}",
        "services: {dns: {prefixes: [192.0.2.53/32]}}",
    ]
    file = directory / "bgphealth.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file
