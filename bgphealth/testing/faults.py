"""Faults that heal: at the end of their block, and when the test fails or is interrupted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from bgphealth.testing.errors import ClabError
from bgphealth.testing.programs import Programs
from bgphealth.testing.shell import Shell


@dataclass(slots=True, eq=False)
class Fault:
    """A fault that was made. Times are the node's clock, in Unix seconds: those of its events.

    `began` is just before it was made, `healed` just before it was undone; None while it lasts.
    """

    node: str
    what: str
    began: float
    healed: float | None = None

    def __str__(self) -> str:
        return f"{self.node}: {self.what}"


class Faults:
    """All faults of a lab that last. `on_failure` is called before one of a failed test heals."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self.on_failure = on_failure
        self._healing: dict[Fault, Callable[[], None]] = {}
        self._numbers = count(1)

    @property
    def lasting(self) -> tuple[Fault, ...]:
        """Return the faults that are not healed."""
        return tuple(self._healing)

    def number(self) -> int:
        """Return a number that no other fault has."""
        return next(self._numbers)

    def begin(self, fault: Fault, heal: Callable[[], None]) -> None:
        """Note how to heal a fault, before it is made: who is interrupted then heals too much."""
        self._healing[fault] = heal

    def end(self, fault: Fault) -> None:
        """Heal a fault. Raises ClabError: it could not be, and lasts."""
        heal = self._healing.get(fault)
        if heal is not None:
            heal()
            del self._healing[fault]

    def heal(self) -> None:
        """Heal all, the last first. Raises ClabError after the last one: which were not."""
        failed = []
        for fault in reversed(self.lasting):
            try:
                self.end(fault)
            except ClabError as error:
                failed.append(f"{fault} is not healed: {error}")
                del self._healing[fault]
        if failed:
            raise ClabError("\n".join(failed))


class Breakable(Shell):
    """A node that can be broken."""

    def __init__(self, name: str, container: str, programs: Programs, faults: Faults) -> None:
        super().__init__(name, container, programs)
        self._faults = faults

    @contextmanager
    def fault(self, make: str, heal: str, what: str | None = None) -> Iterator[Fault]:
        """Run a line of shell, and another one at the end, whatever happens between.

        `heal` runs even if `make` failed or was interrupted half-way, so it must not mind that.
        """
        with self._broken(what or make, make, heal) as fault:
            yield fault

    @contextmanager
    def link_down(self, interface: str) -> Iterator[Fault]:
        """Set an interface down; set it up again, with the addresses that the kernel took away."""
        addresses = json.loads(self.exec("ip", "-json", "addr", "show", "dev", interface).stdout)
        name = shlex.quote(interface)
        again = [
            f"ip addr replace {it['local']}/{it['prefixlen']} dev {name}"
            for it in addresses[0]["addr_info"]
            if it["scope"] == "global" and not it.get("dynamic")
        ]
        heal = "; ".join([f"ip link set {name} up", *again])
        make = f"ip link set {name} down"
        with self._broken(f"{interface} down", make, heal) as fault:
            yield fault

    @contextmanager
    def blackhole(self, interface: str | None = None) -> Iterator[Fault]:
        """Drop what the node should forward (out of `interface`), and say nothing; by nft.

        What the node itself sends and gets goes on: its BGP sessions, its answers to pings.
        """
        what = f"blackhole{'' if interface is None else ' towards ' + interface}"
        with self._filtered(what, interface, "drop") as fault:
            yield fault

    @contextmanager
    def loss(self, percent: int, interface: str | None = None) -> Iterator[Fault]:
        """Drop so much of what the node should forward (out of `interface`); by nft."""
        verdict = f"numgen random mod 100 < {percent} drop"
        with self._filtered(f"{percent} % loss", interface, verdict) as fault:
            yield fault

    @contextmanager
    def stopped(self, process: str) -> Iterator[Fault]:
        """Stop the processes of that name (SIGSTOP), and let the same ones go on."""
        pids = " ".join(self._pids(process))
        heal = f"kill -CONT {pids} 2>/dev/null || :"  # Somebody may have started it anew.
        with self._broken(f"{process} stopped", f"kill -STOP {pids}", heal) as fault:
            yield fault

    def kill(self, process: str) -> Fault:
        """Kill the processes of that name (SIGKILL). Who starts them again is the node's affair."""
        fault = Fault(self.name, f"{process} killed", self.clock())
        self.run(f"kill -KILL {' '.join(self._pids(process))}")
        return fault

    def _pids(self, process: str) -> list[str]:
        pids = self.exec("pgrep", "-x", process, check=False).stdout.split()
        if not pids:
            raise ClabError(f"{self.name}: no process is called {process} (pgrep -x, of procps)")
        return pids

    @contextmanager
    def _filtered(self, what: str, interface: str | None, verdict: str) -> Iterator[Fault]:
        table = f"inet bgphealth_testing_{self._faults.number()}"
        out = "" if interface is None else f'oifname "{interface}" '
        chain = "type filter hook forward priority filter; policy accept;"
        rules = f"table {table} {{ chain forward {{ {chain} {out}{verdict}; }}; }}"
        make = f"nft {shlex.quote(rules)}"
        # Added first, so that there is one to delete: a fault half made heals as well.
        heal = f"nft {shlex.quote(f'add table {table}; delete table {table}')}"
        with self._broken(what, make, heal) as fault:
            yield fault

    @contextmanager
    def _broken(self, what: str, make: str, heal: str) -> Iterator[Fault]:
        fault = Fault(self.name, what, self.clock())

        def undo() -> None:
            fault.healed = self.clock()
            self.run(heal)

        self._faults.begin(fault, undo)
        try:
            self.run(make)
            yield fault
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # What pytest.fail raises is no Exception.
            self._faults.on_failure()
            raise
        finally:
            self._faults.end(fault)
