"""A node of a lab: what bgphealth in it says, what is waited for, what is asserted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from bgphealth.testing.answers import Doctor, Event, Status, event, path_in_words
from bgphealth.testing.errors import ClabError, NodeError, NotSeenError
from bgphealth.testing.faults import Breakable, Fault
from bgphealth.testing.waiting import until

WHOLE_S = 120.0
"""A whole start: FRR, ExaBGP, sessions, `rise` answers; on a machine that is busy."""
VERDICT_S = 30.0
ROUTES_S = 30.0
"""From a verdict to what bgpd, the ToR and the kernel have."""

_WELL, _NOT_WELL = 0, 1
_SEEN_TIMEOUT_S = 20.0
_SEEN_OF_BGPHEALTH = (
    "bgphealth status",
    "bgphealth doctor",
    "bgphealth events --last 30",
    "ip route show default; ip -6 route show default",
)


class Node(Breakable):
    """A node of a lab, by its name in the topology.

    All that has `within` asks again and again, for so many seconds at most: a test says what it
    wants to see, and never sleeps for it. `family` is `ipv4` or `ipv6`; None is all that there are.
    """

    @cached_property
    def has_bgphealth(self) -> bool:
        """Return whether bgphealth is to run here: it is installed, and has a file."""
        has_file = 'test -e "${BGPHEALTH_CONFIG:-/etc/bgphealth/bgphealth.yaml}"'
        done = self.exec("sh", "-c", f"command -v bgphealth && {has_file}", check=False)
        return done.returncode == 0

    def status(self) -> Status:
        """Ask a running bgphealth how it stands. Raises NodeError: it does not answer."""
        return Status(self._answer("status", "--json"))

    def doctor(self, *, ignore: Iterable[str] = ()) -> Doctor:
        """Let `bgphealth doctor` look at the node, but for the kinds of finding to ignore."""
        ignored = [word for kind in ignore for word in ("--ignore", kind)]
        found = self._answer("doctor", "--json", *ignored)
        return Doctor(found["ok"], tuple(found["findings"]))

    def events(
        self, thing: str | None = None, *, since: Fault | float | None = None
    ) -> list[Event]:
        """Return what bgphealth has logged lately, about a thing or all; the last one last.

        `since` is a fault, or the node's clock in Unix seconds. bgphealth gives 1,000 at most.
        """
        about = () if thing is None else (thing,)
        done = self._ask("events", "--json", "--last", "1000", *about)
        if done.returncode:
            raise NodeError(f"{self.name}: bgphealth events: {done.stderr}", done.returncode)
        began = since.began if isinstance(since, Fault) else since or 0.0
        found = [event(json.loads(line)) for line in done.stdout.splitlines()]
        return [it for it in found if it.time >= began]

    def explain(self, thing: str) -> str:
        """Return why something is as it is: an uplink, a service, a prefix, `default`."""
        done = self._ask("explain", thing)
        if done.returncode:
            raise NodeError(f"{self.name}: bgphealth explain: {done.stderr}", done.returncode)
        return done.stdout

    def wait_whole(self, within: float = WHOLE_S) -> None:
        """Wait until all is well, announced and used: verdicts, services, defaults, ExaBGP."""
        __tracebackhide__ = True

        def look() -> str | None:
            status = self.status()
            return None if status.whole else status.in_words()

        until(look, f"{self.name} is whole", within)

    def wait_path(
        self, uplink: str, verdict: str, *, family: str | None = None, within: float = VERDICT_S
    ) -> None:
        """Wait until the paths of an uplink have a verdict: `up`, `degraded`, `damped`, `down`."""
        __tracebackhide__ = True

        def look() -> str | None:
            paths = self.status().paths(uplink, family)
            if all(path["verdict"] == verdict for path in paths):
                return None
            return "\n".join(map(path_in_words, paths))

        until(look, f"{self.name}: {_of(uplink, family)} is {verdict}", within)

    def assert_path(self, uplink: str, verdict: str, *, family: str | None = None) -> None:
        """Assert that the paths of an uplink have a verdict now."""
        __tracebackhide__ = True
        self.wait_path(uplink, verdict, family=family, within=0)

    def wait_service(self, service: str, verdict: str, *, within: float = VERDICT_S) -> None:
        """Wait until a service has a verdict: `up`, `damped`, `down`."""
        __tracebackhide__ = True

        def look() -> str | None:
            found = self.status().service(service)
            if found["verdict"] == verdict:
                return None
            return f"{service}: {found['verdict']}, {found['reason']}: {found['evidence']}"

        until(look, f"{self.name}: service {service} is {verdict}", within)

    def assert_default_via(
        self,
        *uplinks: str,
        family: str | None = None,
        tier: str | None = None,
        source: str | None = None,
        within: float = ROUTES_S,
    ) -> None:
        """Assert that the kernel's best default leads through these uplinks, and no other.

        The kernel itself is asked. `tier` is who vouches for it (docs/tiers.md): `injected`, the
        ToR's own, `fallback`. `source` is the address that the host sends from by it.
        """
        __tracebackhide__ = True

        def look() -> str | None:
            status = self.status()
            families = [family] if family else status.families
            wrong = [it for it in families if not self._leads(it, status, set(uplinks), source)]
            tiers = {it["family"]: it["tier"] for it in status.data["defaults"]}
            wrong += [it for it in families if tier not in (None, tiers[it]) and it not in wrong]
            said = [f"{it}: tier {tiers[it]}, {self._defaults(it, status)}" for it in wrong]
            return "\n".join(said) or None

        words = "".join(f", {it}" for it in (tier and f"tier {tier}", source) if it)
        until(look, f"{self.name}: default via {' and '.join(uplinks)}{words}", within)

    def assert_announced(
        self, service: str, *, via: Iterable[str], how: str | None = None, within: float = ROUTES_S
    ) -> None:
        """Assert that a service is announced to the ToRs of these uplinks, and to no other.

        bgpd has it, too. `how` is `usual`, `degraded`, `prepended`, `graceful_shutdown` or
        `last_resort`. What a ToR got, ask that: `assert_route`.
        """
        __tracebackhide__ = True
        wanted = set(via)

        def look() -> str | None:
            routes = self.status().routes(service)
            said = [_route(it) for it in routes if not _is_announced(it, wanted, how)]
            return "\n".join(said) or (None if routes else "it has no routes")

        words = f"announced via {' and '.join(sorted(wanted))}" if wanted else "withdrawn"
        until(look, f"{self.name}: service {service} is {words}", within)

    def assert_withdrawn(self, service: str, *, within: float = ROUTES_S) -> None:
        """Assert that a service is announced to nobody, and that bgpd has nothing of it."""
        __tracebackhide__ = True
        self.assert_announced(service, via=(), within=within)

    def assert_nothing_stale(self, *, within: float = ROUTES_S) -> None:
        """Assert that bgpd and the kernel have what was decided: nothing more, less, or else."""
        __tracebackhide__ = True

        def look() -> str | None:
            data = self.status().data
            said = [
                f"{it['route']}: {it['state']} in {it['where']}: expected {it['expected']}, "
                f"found {it['found']}"
                for it in data["drifts"]
            ]
            said += [_route(it) for it in data["routes"] if it["exabgp"] in ("waiting", "refused")]
            return "\n".join(said) or None

        until(look, f"{self.name}: nothing stale", within)

    def assert_route(
        self, prefix: str, *, devices: Iterable[str] | None = None, within: float = ROUTES_S
    ) -> None:
        """Assert that the kernel has a route to exactly this prefix, through these devices."""
        __tracebackhide__ = True
        wanted = None if devices is None else set(devices)

        def look() -> str | None:
            routes = self.routes(prefix)
            is_there = bool(routes) and wanted in (None, _devices(routes))
            return None if is_there else f"{json.dumps(routes)}" if routes else "no route"

        through = "" if wanted is None else f" through {' and '.join(sorted(wanted))}"
        until(look, f"{self.name}: route to {prefix}{through}", within)

    def assert_no_route(self, prefix: str, *, within: float = ROUTES_S) -> None:
        """Assert that the kernel has no route to exactly this prefix: it was withdrawn."""
        __tracebackhide__ = True

        def look() -> str | None:
            routes = self.routes(prefix)
            return json.dumps(routes) if routes else None

        until(look, f"{self.name}: no route to {prefix}", within)

    def assert_doctor_ok(self, *, ignore: Iterable[str] = (), within: float = ROUTES_S) -> None:
        """Assert that the doctor finds nothing, or notes only, once things have settled."""
        __tracebackhide__ = True
        ignored = tuple(ignore)

        def look() -> str | None:
            found = self.doctor(ignore=ignored)
            return None if found.ok else found.in_words()

        until(look, f"{self.name}: nothing for the doctor", within)

    @contextmanager
    def assert_foreign_untouched(self) -> Iterator[None]:
        """Assert that every foreign route and rule is still there at the end of the block.

        Foreign is what is not bgphealth's, FRR's or the kernel's own.
        """
        __tracebackhide__ = True
        before = self.foreign()
        yield

        def look() -> str | None:
            return "\n".join(sorted(before - self.foreign())) or None

        until(look, f"{self.name}: foreign routes and rules are there; gone", ROUTES_S)

    def time_to(
        self, uplink: str, verdict: str, *, since: Fault | float, family: str | None = None
    ) -> float:
        """Return the seconds from a fault (or a time) to the verdict on an uplink, by the log.

        With several families it is the last one's. Raises NotSeenError: a path never got it.
        """
        __tracebackhide__ = True
        began = since.began if isinstance(since, Fault) else since
        changes = [it for it in self.events(uplink, since=began) if it.name == "path_changed"]
        first: dict[str, float] = {}
        for change in changes:
            if change.is_about(uplink, family) and change.data["to"] == verdict:
                first.setdefault(change.data["family"], change.time - began)
        paths = self.status().paths(uplink, family)
        missing = [path for path in paths if path["family"] not in first]
        if missing:
            said = "\n".join(f"  {path_in_words(path)}" for path in missing)
            raise NotSeenError(f"{self.name}: never {verdict} since then:\n{said}")
        return max(first.values())

    def seen(self) -> Iterator[tuple[str, str]]:
        """Yield how the node is, as title and text, for a report. Raises nothing of a node."""
        try:
            lines = [*_SEEN_OF_BGPHEALTH] if self.has_bgphealth else []
            lines += ["vtysh -c 'show bgp summary'"] if self.has("vtysh") else []
        except ClabError as error:
            yield "not reached", str(error)
            return
        for line in lines:
            yield line, self._shown(line)

    def _shown(self, line: str) -> str:
        try:
            done = self.exec("sh", "-c", line, check=False, timeout_s=_SEEN_TIMEOUT_S)
        except ClabError as error:
            return str(error)
        return f"{done.stdout}{done.stderr}".rstrip() or "(nothing)"

    def _answer(self, *words: str) -> Mapping[str, Any]:
        done = self._ask(*words)
        if done.returncode not in (_WELL, _NOT_WELL) or not done.stdout.startswith("{"):
            said = (done.stderr or done.stdout).strip()
            raise NodeError(f"{self.name}: bgphealth {words[0]}: {said}", done.returncode)
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found

    def _best(self, family: str) -> list[dict[str, Any]]:
        routes = self.routes("default" if family == "ipv4" else "default6")
        best = min((it.get("metric", 0) for it in routes), default=0)
        return [it for it in routes if it.get("metric", 0) == best]

    def _leads(self, family: str, status: Status, uplinks: set[str], source: str | None) -> bool:
        best = self._best(family)
        is_source = source is None or {it.get("prefsrc") for it in best} == {source}
        through = {status.uplinks.get(it, it) for it in _devices(best)}
        return through == uplinks and is_source

    def _defaults(self, family: str, status: Status) -> str:
        best = self._best(family)
        through = sorted(status.uplinks.get(it, it) for it in _devices(best))
        sources = {str(it.get("prefsrc", "-")) for it in best}
        return f"via {' and '.join(through)} src {', '.join(sources)}" if best else "no default"


def _of(uplink: str, family: str | None) -> str:
    return f"{uplink} {family}" if family else uplink


def _devices(routes: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the interfaces of all legs that are alive."""
    legs = [leg for route in routes for leg in route.get("nexthops", [route])]
    return {leg["dev"] for leg in legs if "dev" in leg and "dead" not in leg.get("flags", ())}


def _is_announced(route: Mapping[str, Any], wanted: set[str], how: str | None) -> bool:
    if not wanted:
        return not route["towards"] and route["exabgp"] != "waiting" and route["bgpd"] != "stale"
    ways = set(route["towards"].values())
    is_there = route["exabgp"] == "acknowledged" and route["bgpd"] in (None, "seen", "unused")
    return set(route["towards"]) == wanted and how in (None, *ways) and len(ways) == 1 and is_there


def _route(route: Mapping[str, Any]) -> str:
    towards = ", ".join(f"{name} ({how})" for name, how in route["towards"].items()) or "nobody"
    return (
        f"{route['route']}: {route['decision']}, {route['reason']}, to {towards}; "
        f"ExaBGP: {route['exabgp']}, bgpd: {route['bgpd']}"
    )
