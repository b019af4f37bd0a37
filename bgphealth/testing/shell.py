"""Commands in a node, by `docker exec`; its clock, its routes, its FRR."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from bgphealth.testing.errors import ClabError, NodeError
from bgphealth.testing.programs import Programs

_TIMEOUT_S = 60.0
_LAST_LINES = 15
_NO_SUCH_PROGRAM = (126, 127)
"""What docker exec, and the shell, end with."""

_KERNEL, _BOOT, _ZEBRA, _BGPHEALTH = 2, 3, 11, 179
_NOT_FOREIGN = frozenset({1, _KERNEL, _ZEBRA, _BGPHEALTH, *range(186, 198)})
"""rtnetlink's protocols: ICMP redirects, the kernel, FRR's (rt_netlink.h of zebra), bgphealth's."""


class Shell:
    """A node as something that runs commands. `name` is the one of the topology."""

    def __init__(self, name: str, container: str, programs: Programs) -> None:
        self.name, self.container = name, container
        self._programs = programs

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def exec(
        self,
        *words: str,
        check: bool = True,
        timeout_s: float = _TIMEOUT_S,
        given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the node; `given` is its standard input.

        Raises:
            NodeError: it ended with another status than 0 (unless `check` is False), or did not.
            ClabError: docker cannot be run.
        """
        stdin = () if given is None else ("--interactive",)
        command = ("docker", "exec", *stdin, self.container, *words)
        try:
            done = self._programs.run(*command, timeout_s=timeout_s, given=given)
        except subprocess.TimeoutExpired:
            raise NodeError(f"{self._said(words)}: no end within {timeout_s:g} s") from None
        if check and done.returncode:
            printed = (done.stderr.rstrip() or done.stdout.rstrip()).splitlines()
            output = "".join(f"\n  {line}" for line in printed[-_LAST_LINES:])
            message = f"{self._said(words)}: status {done.returncode}{output}"
            raise NodeError(message, done.returncode)
        return done

    def run(self, line: str, *, timeout_s: float = _TIMEOUT_S) -> str:
        """Run a line of shell in the node and return what it printed.

        Raises:
            NodeError: it ended with another status than 0, or not in time.
        """
        return self.exec("sh", "-c", line, timeout_s=timeout_s).stdout

    def vtysh(self, line: str) -> Any:  # noqa: ANN401 - JSON
        """Ask FRR; what `show … json` prints is returned as data, all else as text."""
        printed = self.exec("vtysh", "-c", line).stdout
        return json.loads(printed) if line.endswith(" json") else printed

    def has(self, program: str) -> bool:
        """Return whether the node has a program."""
        line = f"command -v {shlex.quote(program)}"
        return self.exec("sh", "-c", line, check=False).returncode == 0

    def clock(self) -> float:
        """Return the node's time of day, in Unix seconds: that of its events."""
        return float(self.run("date +%s.%N"))

    def routes(self, prefix: str) -> list[dict[str, Any]]:
        """Return the routes to exactly that prefix in the main table, as `ip -json` prints them.

        `default` is IPv4's, `default6` IPv6's.
        """
        is_ipv6 = ":" in prefix or prefix == "default6"
        exact = "default" if prefix.startswith("default") else prefix
        line = ("ip", "-6" if is_ipv6 else "-4", "-json", "route", "show", "exact", exact)
        return [dict(it) for it in _json(self.exec(*line).stdout)]

    def foreign(self) -> frozenset[str]:
        """Return the routes and rules that are not bgphealth's, FRR's or the kernel's, as text.

        Of all tables. What changes by itself (the time that a route still lives) is left out.
        """
        found = set()
        for family in ("-4", "-6"):
            ip = ("ip", family, "-N", "-json", "-details")
            routes = self.exec(*ip, "route", "show", "table", "all")
            rules = self.exec(*ip, "rule", "show")
            found |= {_text(family, it) for it in _json(routes.stdout) if _is_foreign(it)}
            found |= {_text(family, it) for it in _json(rules.stdout) if _is_foreign(it)}
        return frozenset(found)

    def _said(self, words: Iterable[str]) -> str:
        return f"{self.name}: {shlex.join(words)}"

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask bgphealth in the node, whatever its status. Raises ClabError: it has none."""
        done = self.exec("bgphealth", *words, check=False)
        if done.returncode in _NO_SUCH_PROGRAM:
            raise ClabError(f"{self.name} has no bgphealth in its PATH: {done.stderr.strip()}")
        return done


def _json(text: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads(text or "[]")
    return [it for it in found if it]


def _is_foreign(it: Mapping[str, Any]) -> bool:
    return int(it.get("protocol", _BOOT)) not in _NOT_FOREIGN


def _text(family: str, it: Mapping[str, Any]) -> str:
    # Flags tell of the link's state, which a fault may change.
    kept = {key: it[key] for key in sorted(it) if key not in ("expires", "flags", "nhid")}
    return f"ip {family} {json.dumps(kept)}"
