"""A program of the operator's: exit status 0 is ok.

Each run is the leader of a session and process group of its own. The whole group is killed when
the run is over, whoever in it ignores SIGTERM or holds the output open, while the leader is still
a zombie, so that its number cannot belong to somebody else. Nothing is ever waited for: a pidfd
says when the leader has ended.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

from bgphealth.core.events import Verdict
from bgphealth.core.settings import (
    ExecQuestion,
    ProbeSettings,
    ServiceSettings,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.core.text import printable
from bgphealth.probes.attempt import Deadline, timed_out
from bgphealth.probes.binding import Source
from bgphealth.probes.outcome import Answer, Outcome, unknown

LARGEST_OUTPUT = 64 * 1024
_PACE_S = 0.002
"""Once there is more output than anybody reads, it is drained in steps: a flood costs little."""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C",
}
_SHORT_OF = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors of starting a program that are about this host, not about the program."""


def path_environment(uplink: UplinkSettings, path: UplinkPath, table: int | None) -> dict[str, str]:
    """Return what a path's checks are told; the source is added at each run."""
    facts = {
        "BGPHEALTH_UPLINK": uplink.name,
        "BGPHEALTH_FAMILY": path.family.value,
        "BGPHEALTH_INTERFACE": uplink.interface,
    }
    if path.next_hop is not None:
        facts["BGPHEALTH_NEXT_HOP"] = str(path.next_hop)
    if path.neighbor is not None:
        facts["BGPHEALTH_NEIGHBOR"] = str(path.neighbor)
    if table is not None:
        facts["BGPHEALTH_TABLE"] = str(table)
    return facts


def service_environment(service: ServiceSettings) -> dict[str, str]:
    """Return what a service's checks are told."""
    return {"BGPHEALTH_SERVICE": service.name}


class ExecProber:
    """Runs programs for one path or one service. Needs a running event loop.

    Args:
        environment: what the program is told, besides PATH and LANG.
        source: the path's source address, None for a service.
        cannot_run: the verdict when the program is not there or may not be run: `UNKNOWN` for a
            path (we did not ask), `FAILED` for a service, which is not announced unchecked.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        source: Source | None = None,
        cannot_run: Verdict = Verdict.UNKNOWN,
    ) -> None:
        self._environment = {**_ENVIRONMENT, **environment}
        self._source = source
        self._cannot_run = cannot_run
        self._runs: set[_Run] = set()

    def ask(self, probe: ProbeSettings, timeout_s: float, answer: Answer) -> None:
        """Run it once. See `Prober.ask`."""
        if not isinstance(probe.question, ExecQuestion):
            raise TypeError(f"{probe} is not an exec probe")
        environment = dict(self._environment)
        if probe.target is not None:
            environment["BGPHEALTH_TARGET"] = str(probe.target)
        if self._source is not None:
            source = self._source()
            if isinstance(source, str):
                answer(unknown(source))
                return
            environment["BGPHEALTH_SOURCE"] = str(source)
        command = probe.question.command
        try:
            run = _Run(command, environment, timeout_s, self._runs.discard)
        except OSError as error:
            verdict = Verdict.UNKNOWN if error.errno in _SHORT_OF else self._cannot_run
            answer(Outcome(verdict, f"cannot run {command[0]}: {error.strerror}"))
            return
        self._runs.add(run)
        run.answer = answer

    def close(self) -> None:
        """Kill what is running."""
        for run in list(self._runs):
            run.abandon()


class _Run:
    """One program that runs.

    Args:
        command: the program and its arguments.
        environment: all of its environment.
        timeout_s: after this it is killed.
        ended: called when nothing of it is left.
    """

    answer: Answer | None = None

    def __init__(
        self,
        command: tuple[str, ...],
        environment: dict[str, str],
        timeout_s: float,
        ended: Callable[[_Run], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._ended = ended
        self._output = bytearray()
        self._drained = 0
        self._pace: asyncio.TimerHandle | None = None
        # Descriptors of ours are not inherited: Python opens them close-on-exec, and those that
        # ExaBGP gave us (its command channel) are closed by close_fds.
        self._pipe, theirs = os.pipe()
        try:
            os.set_blocking(self._pipe, False)
            self._process = subprocess.Popen(  # noqa: S603 - the operator's command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=environment,
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self._kill()
            self._process.wait()
            os.close(self._pipe)
            raise
        self._loop.add_reader(self._pidfd, self._exited)
        self._loop.add_reader(self._pipe, self._readable)
        self._is_reading = True
        self._deadline = Deadline(timeout_s, self._expired)

    def abandon(self) -> None:
        """Kill it, without an answer."""
        self.answer = None
        self._deadline.cancel()
        self._stop_reading()
        self._kill()

    def _exited(self) -> None:
        self._deadline.cancel()
        if self._is_reading:
            self._read()
        self._stop_reading()
        self._kill()  # What it has left behind.
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()  # It has ended already.
        self._ended(self)
        self._say(self._outcome(status))

    def _expired(self, stalled_s: float) -> None:
        self._stop_reading()
        self._kill()
        outcome = timed_out(self._timeout_s, stalled_s)
        if outcome.verdict is Verdict.FAILED:
            detail = f"killed after {self._timeout_s * 1000:.0f} ms{self._last_line()}"
            outcome = outcome._replace(detail=detail)
        self._say(outcome)

    def _say(self, outcome: Outcome) -> None:
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(outcome)

    def _outcome(self, status: int) -> Outcome:
        if status == 0:
            return Outcome(Verdict.OK)
        if status > 0:
            return Outcome(Verdict.FAILED, f"exit status {status}{self._last_line()}")
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return Outcome(Verdict.FAILED, f"killed by {name}{self._last_line()}")

    def _last_line(self) -> str:
        lines = self._output.decode(errors="replace").split("\n")
        line = next((line for text in reversed(lines) if (line := text.strip())), "")
        return f": {printable(line)}" if line else ""

    def _readable(self) -> None:
        self._read()
        if self._is_reading and self._drained > LARGEST_OUTPUT:
            self._loop.remove_reader(self._pipe)
            self._pace = self._loop.call_later(_PACE_S, self._read_on)

    def _read_on(self) -> None:
        self._pace = None
        self._loop.add_reader(self._pipe, self._readable)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, LARGEST_OUTPUT)
        except BlockingIOError:
            return
        if not data:
            self._stop_reading()
        self._drained += len(data)
        # The end of it: that is where programs say why they fail.
        self._output = (self._output + data)[-LARGEST_OUTPUT:]

    def _stop_reading(self) -> None:
        if self._pace is not None:
            self._pace.cancel()
            self._pace = None
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
