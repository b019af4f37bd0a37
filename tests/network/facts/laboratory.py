"""The lab ``dual-tor`` with an injector that a test commands itself, and questions to its nodes.

Everything else is as on a server with bgphealth: frr.conf and exabgp.conf are the rendered ones.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import state, topology
from lab.namespaces import NamespaceDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent

CONVERGENCE_S = 30.0
"""Long enough for BGP sessions that begin anew on a busy machine; never waited for in full."""

POLL_S = 0.1
FILE = "/etc/bgphealth/bgphealth.yaml"
FRR_LOG = "/var/log/frr/frr.log"
EXABGP_LOG = "/var/log/exabgp.log"
INJECTOR = "127.0.0.2"

TOR_BEHIND = {"eth1": "tor1", "eth2": "tor2"}
"""The same on the server and on the core."""

TORS = ("tor1", "tor2")


@dataclass(frozen=True)
class Default:
    """The default that a kernel would use: BGP's or not, the interfaces, the source."""

    protocol: str
    interfaces: tuple[str, ...]
    source: str | None


@dataclass(frozen=True)
class Family:
    """One address family of ``dual-tor``, as the tests need it."""

    name: str
    option: str
    keyword: str
    default: str
    service: str
    length: int
    loopback: str
    tors: tuple[str, str]
    links: tuple[str, str]
    target: str
    discard: str

    def __str__(self) -> str:
        return self.name

    @property
    def prefix(self) -> str:
        return f"{self.service}/{self.length}"

    @property
    def injected_default(self) -> Default:
        """Return the default as it is in the server's kernel while both uplinks are well."""
        return Default("bgp", ("eth1", "eth2"), self.loopback)

    def default_path(self, number: int) -> str:
        """Return the injected default of one uplink, as a command for ExaBGP."""
        return (
            f"announce route {self.default} next-hop {self.tors[number - 1]} "
            f"path-information 0.0.0.{number} local-preference 100"
        )

    def withdrawn_path(self, number: int) -> str:
        return f"withdraw route {self.default} path-information 0.0.0.{number}"

    def service_to(self, *communities: str, next_hop: str | None = None) -> str:
        """Return the announcement of the service with these communities."""
        return (
            f"announce route {self.prefix} next-hop {next_hop or self.discard} "
            f"local-preference 100 community [{' '.join(communities)}]"
        )


IPV4 = Family(
    name="ipv4",
    option="-4",
    keyword="ip",
    default="0.0.0.0/0",
    service="192.0.2.53",
    length=32,
    loopback="10.255.10.1",
    tors=("10.0.1.0", "10.0.2.0"),
    links=("10.0.1.1", "10.0.2.1"),
    target="198.51.100.1",
    discard="192.0.0.8",
)
IPV6 = Family(
    name="ipv6",
    option="-6",
    keyword="ipv6",
    default="::/0",
    service="2001:db8::53",
    length=128,
    loopback="2001:db8:10::1",
    tors=("2001:db8:1::", "2001:db8:2::"),
    links=("2001:db8:1::1", "2001:db8:2::1"),
    target="2001:db8:100::1",
    discard="100::1",
)
FAMILIES = (IPV4, IPV6)

BOTH = ("65101:1", "65101:2")
"""The communities of both uplinks."""

BASELINE = tuple(
    line
    for family in FAMILIES
    for line in (family.default_path(1), family.default_path(2), family.service_to(*BOTH))
)

each_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


class Lab:
    """A lab that is up, and questions to it."""

    def __init__(self, driver: NamespaceDriver) -> None:
        self.driver = driver

    # Doing

    def run(self, node: str, *arguments: str, check: bool = True) -> str:
        return self.driver.run(node, arguments, check=check, timeout_s=60).stdout

    def server(self, *arguments: str, check: bool = True) -> str:
        return self.run("server1", *arguments, check=check)

    def say(self, *lines: str) -> None:
        """Have ExaBGP read these commands."""
        script = 'printf "%s\\n" "$@" >/run/injector'
        self.server("sh", "-c", script, "sh", *lines)

    def configure(self, *lines: str) -> None:
        """Enter these lines in the server's configuration mode, as vtysh does."""
        script = "configure terminal", *lines
        self.server("vtysh", *(word for line in script for word in ("-c", line)))

    @contextmanager
    def without(self, lines: Sequence[str], *, afterwards: Sequence[str]) -> Iterator[None]:
        """Change the server's FRR configuration for a while."""
        try:
            self.configure(*lines)
            yield
        finally:
            self.configure(*afterwards)

    @contextmanager
    def route(self, family: Family, *words: str) -> Iterator[None]:
        """Add a route to the server's kernel for a while."""
        self.server("ip", family.option, "route", "add", *words)
        try:
            yield
        finally:
            self.server("ip", family.option, "route", "del", *words)

    def restart_exabgp(self) -> None:
        """End ExaBGP; ``run-exabgp`` starts it again, and it knows no route any more."""
        self.server("sh", "-c", "kill -9 $(cat /run/exabgp.pid)")
        self.eventually("the old injector session is gone", lambda: not self.injector_is_up())
        self.eventually("the injector session is up again", self.injector_is_up)

    # Asking

    def show(self, node: str, command: str) -> Any:  # noqa: ANN401 - FRR's JSON
        return json.loads(self.run(node, "vtysh", "-c", f"{command} json") or "{}")

    def injector(self) -> dict[str, Any]:
        neighbor: dict[str, Any] = self.show("server1", f"show bgp neighbors {INJECTOR}")[INJECTOR]
        return neighbor

    def injector_is_up(self) -> bool:
        return bool(self.injector()["bgpState"] == "Established")

    def injector_drops(self) -> int:
        return int(self.injector()["connectionsDropped"])

    def paths(self, node: str, family: Family, prefix: str) -> list[dict[str, Any]]:
        """Return what a node's bgpd knows of a prefix."""
        found = self.show(node, f"show bgp {family.name} unicast {prefix}")
        paths: list[dict[str, Any]] = found.get("paths", [])
        return paths

    def path_from(self, node: str, peer: str, family: Family, prefix: str) -> dict[str, Any] | None:
        """Return what a node has of a prefix from one peer: a ToR may have it from the core too."""
        paths = self.paths(node, family, prefix)
        return next((path for path in paths if path["peer"]["peerId"] == peer), None)

    def injected(self, family: Family) -> list[dict[str, Any]]:
        """Return the paths of the server's default that came over the injector session."""
        paths = self.paths("server1", family, family.default)
        return [path for path in paths if path["peer"]["peerId"] == INJECTOR]

    def is_injected_by_both(self, family: Family) -> bool:
        """Return whether the kernel's default is the injected one.

        In the kernel alone the ToRs' own defaults would look the same.
        """
        paths = self.injected(family)
        return (
            len(paths) == 2
            and all(path.get("multipath") for path in paths)
            and self.default(family) == family.injected_default
        )

    def zebra(self, family: Family, prefix: str) -> list[dict[str, Any]]:
        """Return what the server's zebra knows of a prefix."""
        found = self.show("server1", f"show {family.keyword} route {prefix}")
        entries: list[dict[str, Any]] = found.get(prefix, [])
        return entries

    def kernel(self, node: str, family: Family, *what: str) -> list[dict[str, Any]]:
        command = ("ip", "-json", family.option, "route", "show", *what)
        routes: list[dict[str, Any]] = json.loads(self.run(node, *command) or "[]")
        return routes

    def default(self, family: Family) -> Default | None:
        """Return the default with the lowest metric in the server's main table."""
        routes = self.kernel("server1", family, "default")
        if not routes:
            return None
        metric = min(route.get("metric", 0) for route in routes)
        best = [route for route in routes if route.get("metric", 0) == metric]
        hops = [hop["dev"] for route in best for hop in route.get("nexthops", [route])]
        source = best[0].get("prefsrc")
        return Default(best[0].get("protocol", "boot"), tuple(sorted(hops)), source)

    def leaves_with(self, family: Family, destination: str) -> str:
        """Return what the server's kernel would do with a packet, or why it cannot."""
        command = ("ip", "-o", family.option, "route", "get", destination)
        done = self.driver.run("server1", command, check=False)
        return done.stdout + done.stderr

    def core_uses(self, family: Family, address: str) -> tuple[str, ...]:
        """Return the ToRs over which the core's kernel reaches an address."""
        routes = self.kernel("core", family, address)
        hops = [hop for route in routes for hop in route.get("nexthops", [route])]
        return tuple(sorted(TOR_BEHIND[hop["dev"]] for hop in hops))

    def log(self, path: str = FRR_LOG) -> str:
        return self.server("cat", path)

    # Waiting

    def eventually(self, what: str, holds: Callable[..., bool], *arguments: object) -> None:
        """Poll until it holds; fail with what the nodes show when it does not in time."""
        deadline = time.monotonic() + CONVERGENCE_S
        while not holds(*arguments):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {CONVERGENCE_S:.0f} s: {what}\n{self.evidence()}")
            time.sleep(POLL_S)

    def throughout(self, window_s: float, what: str, holds: Callable[[], bool]) -> None:
        """Watch for a while; fail with what the nodes show as soon as it does not hold."""
        end = time.monotonic() + window_s
        while True:
            if not holds():
                pytest.fail(f"not so: {what}\n{self.evidence()}")
            if time.monotonic() > end:
                return
            time.sleep(POLL_S)

    def settle(self) -> None:
        """Announce the baseline and wait until it is in effect everywhere."""
        self.eventually("the injector session is up", self.injector_is_up)
        self.say(*BASELINE)
        for family in FAMILIES:
            self.eventually(
                f"the {family} default is injected by both uplinks",
                self.is_injected_by_both,
                family,
            )
            self.eventually(
                f"the core reaches the {family} service over both ToRs",
                lambda f: self.core_uses(f, f.service) == TORS,
                family,
            )

    def evidence(self) -> str:
        """Return what the nodes show, each under the command that shows it."""
        vtysh = (
            "show bgp summary",
            "show bgp ipv4 unicast",
            "show bgp ipv6 unicast",
            "show ip route",
            "show ipv6 route",
        )
        asked = [
            ("server1", ("ip", "route")),
            ("server1", ("ip", "-6", "route")),
            ("server1", ("ip", "rule")),
            ("server1", ("ip", "-6", "rule")),
            *(("server1", ("vtysh", "-c", command)) for command in vtysh),
            ("server1", ("tail", "-n", "25", FRR_LOG)),
            ("server1", ("tail", "-n", "25", EXABGP_LOG)),
            ("core", ("ip", "route")),
            ("core", ("ip", "-6", "route")),
        ]
        parts = []
        for node, command in asked:
            done = self.driver.run(node, command, check=False)
            parts.append(f"--- {node}: {' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())
        return "\n".join(parts)


def _require_programs() -> None:
    """Skip, or fail in CI, where a program of the server is absent."""
    beside = Path(sys.executable).parent
    for program in ("exabgp", "bgphealth"):
        if shutil.which(program, path=f"{beside}:{os.environ.get('PATH', '')}") is None:
            why = f"{program} is not installed"
            if "CI" in os.environ:
                pytest.fail(f"network tests must run in CI: {why}")
            pytest.skip(why)


# ExaBGP asks for its own name before it does anything, and with a default route but no name server
# that takes it ten seconds.
NAME_COMMAND = "sh -c 'echo 127.0.0.1 server1 >>/etc/hosts'"

WITH_INJECTOR = (
    NAME_COMMAND,
    f"bgphealth -c {FILE} render frr -o /etc/frr",
    (
        f"bgphealth -c {FILE} render exabgp -o /etc/exabgp "
        f"--program '{sys.executable} {HERE / 'injector.py'}'"
    ),
    "mkfifo /run/injector",
    "/etc/lab/start-frr",
    # A log to read symptoms from, and changed route-maps in effect after one second, not five.
    (
        f"vtysh -c 'configure terminal' -c 'log file {FRR_LOG} informational' "
        "-c 'zebra route-map delay-timer 1' -c 'bgp route-map delay-timer 1'"
    ),
    "sh -c 'setsid /etc/lab/run-exabgp >>/var/log/exabgp.log 2>&1 </dev/null &'",
)


@contextmanager
def running(
    tmp_path_factory: pytest.TempPathFactory, server_commands: Sequence[str]
) -> Iterator[Lab]:
    """Run ``dual-tor`` with other commands in place of the server's last one."""
    _require_programs()
    read = topology.load(topology.find("dual-tor"))
    server = read.nodes["server1"]
    start = [line for line in server.exec if line != "/etc/lab/start-server"]
    changed = server.model_copy(update={"exec": (*start, *server_commands)})
    read.nodes = {**read.nodes, "server1": changed}
    driver = NamespaceDriver(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path_factory.mktemp("lab")))
        try:
            driver.up()
            yield Lab(driver)
        finally:
            driver.down()
