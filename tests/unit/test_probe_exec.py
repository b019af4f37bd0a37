"""Programs as checks: what they are told, what they may hold, and that none of them outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgphealth.core.events import Verdict
from bgphealth.core.settings import (
    ExecQuestion,
    Family,
    InjectorLoss,
    ProbeKind,
    ProbeSettings,
    ServiceSettings,
    Timing,
    UplinkPath,
    UplinkSettings,
)
from bgphealth.probes.exec import ExecProber, path_environment, service_environment
from bgphealth.probes.outcome import Outcome


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let go of a killed program that had not ended yet when the test's loop did."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def program(*command: str) -> ProbeSettings:
    return ProbeSettings(ProbeKind.EXEC, question=ExecQuestion(command))


def shell(script: str, *arguments: str) -> ProbeSettings:
    return program("/bin/sh", "-c", script, *arguments)


async def ask(prober: ExecProber, probe: ProbeSettings, timeout_s: float = 5.0) -> Outcome:
    answers: list[Outcome] = []
    prober.ask(probe, timeout_s, answers.append)
    async with asyncio.timeout(10):
        while not answers:
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.02)
    (answer,) = answers  # Exactly once.
    return answer


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def prober(environment: Mapping[str, str] | None = None) -> ExecProber:
    return ExecProber(environment or {})


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie, which init has yet to collect, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def line_in(file: Path) -> str:
    text = file.read_text() if file.exists() else ""
    return text if text.endswith("\n") else ""


async def gone(pid: int) -> None:
    async with asyncio.timeout(5):
        while is_alive(pid):
            await asyncio.sleep(0.005)


async def written(file: Path) -> str:
    async with asyncio.timeout(5):
        while not (line := line_in(file)):
            await asyncio.sleep(0.005)
    return line


async def test_exit_status_is_the_verdict() -> None:
    assert await ask(prober(), program("/bin/true")) == Outcome(Verdict.OK)
    assert await ask(prober(), program("/bin/false")) == Outcome(Verdict.FAILED, "exit status 1")
    outcome = await ask(prober(), shell("echo one; echo two >&2; echo; exit 2"))
    assert outcome == Outcome(Verdict.FAILED, "exit status 2: two")
    outcome = await ask(prober(), shell("echo oops; kill -SEGV $$"))
    assert outcome == Outcome(Verdict.FAILED, "killed by SIGSEGV: oops")


async def test_output_cannot_write_on_the_terminal() -> None:
    script = r"printf '\033[2Jred\033[0m\r\342\200\256 x\377%0999d\n' 1; exit 1"
    outcome = await ask(prober(), shell(script))
    assert outcome.detail.isprintable()
    assert len(outcome.detail) < 250


async def test_there_is_no_shell() -> None:
    with scratch() as directory:
        outcome = await ask(
            prober(), program("/bin/echo", "$(touch x)", f"; touch {directory}/x", "`id`", "|")
        )
        assert outcome.verdict is Verdict.OK
        assert list(directory.iterdir()) == []


async def test_what_cannot_be_run_says_nothing_about_a_path_but_takes_a_service_down() -> None:
    with scratch() as directory:
        (directory / "not-executable").write_text("#!/bin/sh\n")
        (directory / "no-interpreter").write_text("#!/nowhere\n")
        (directory / "no-format").write_text("exit 0\n")
        for name in ("no-interpreter", "no-format"):
            (directory / name).chmod(0o755)
        for name, why in (
            ("absent", "No such file or directory"),
            ("not-executable", "Permission denied"),
            ("no-interpreter", "No such file or directory"),
            ("no-format", "Exec format error"),
        ):
            file = str(directory / name)
            path = await ask(prober(), program(file))
            assert path == Outcome(Verdict.UNKNOWN, f"cannot run {file}: {why}")
            service = await ask(ExecProber({}, cannot_run=Verdict.FAILED), program(file))
            assert service == Outcome(Verdict.FAILED, f"cannot run {file}: {why}")


async def test_no_descriptors_left_is_unknown_for_services_too() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    before = open_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 10, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        answers: list[Outcome] = []
        checks = ExecProber({}, cannot_run=Verdict.FAILED)
        for free in range(6):
            # Whichever descriptor is the one too many, nothing is left open.
            checks.ask(program("/bin/true"), 5.0, answers.append)
            if answers[free:] == []:
                break
            os.close(taken.pop())
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert answers, "there were descriptors enough"
    assert {answer.verdict for answer in answers} == {Verdict.UNKNOWN}, answers
    assert "Too many open files" in answers[0].detail
    async with asyncio.timeout(5):
        while open_descriptors() > before:
            await asyncio.sleep(0.01)


async def test_a_path_without_a_source_is_not_asked() -> None:
    with scratch() as directory:
        probe = shell(f"touch {directory}/asked")
        lacking = ExecProber({}, source=lambda: "eth1 has no ipv4 address")
        assert await ask(lacking, probe) == Outcome(Verdict.UNKNOWN, "eth1 has no ipv4 address")
        assert list(directory.iterdir()) == []


async def environment_of(checks: ExecProber) -> dict[str, str]:
    with scratch() as directory:
        outcome = await ask(checks, shell(f"env > {directory}/env; pwd >> {directory}/env"))
        assert outcome.verdict is Verdict.OK, outcome
        lines = (directory / "env").read_text().splitlines()
    assert lines.pop() == "/"
    return dict(line.split("=", 1) for line in lines)


async def test_what_a_check_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of ours")
    monkeypatch.setenv("exabgp_tcp_bind", "x")
    path = UplinkPath(
        family=Family.IPV6,
        neighbor=ip_address("2001:db8:1::"),
        next_hop=ip_address("2001:db8:ff::1"),
        probe_source=None,
        gateway=(),
        beyond=(),
        beyond_need=0,
    )
    uplink = UplinkSettings("tor1", 1, "eth1", 65001, (path,), None, ttl_security=False)
    told = await environment_of(
        ExecProber(path_environment(uplink, path, 17901), lambda: ip_address("2001:db8:1::1"))
    )
    for shells_own in ("PWD", "SHLVL", "_", "OLDPWD"):
        told.pop(shells_own, None)
    assert told == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C",
        "BGPHEALTH_UPLINK": "tor1",
        "BGPHEALTH_FAMILY": "ipv6",
        "BGPHEALTH_INTERFACE": "eth1",
        "BGPHEALTH_SOURCE": "2001:db8:1::1",
        "BGPHEALTH_NEXT_HOP": "2001:db8:ff::1",
        "BGPHEALTH_NEIGHBOR": "2001:db8:1::",
        "BGPHEALTH_TABLE": "17901",
    }
    service = ServiceSettings("dns", (), (), 0, Timing(1, 1, 3, 3), None, InjectorLoss.WITHDRAW)
    told = await environment_of(ExecProber(service_environment(service)))
    assert {name for name in told if name.startswith("BGPHEALTH")} == {"BGPHEALTH_SERVICE"}


async def test_nothing_of_ours_is_inherited() -> None:
    """Least of all ExaBGP's command channel, which ExaBGP made inheritable."""
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003 - it takes no keyword
    probe = shell(f"[ -e /proc/self/fd/{write} ] && exit 7; readlink /proc/self/fd/0; exit 1")
    assert isinstance(probe.question, ExecQuestion)
    try:
        leaky = subprocess.run(  # noqa: ASYNC221
            probe.question.command, check=False, close_fds=False
        )
        assert leaky.returncode == 7
        outcome = await ask(prober(), probe)
        assert outcome == Outcome(Verdict.FAILED, "exit status 1: /dev/null")
    finally:
        os.close(read)
        os.close(write)


STUBBORN = """
trap '' TERM INT HUP PIPE
(trap '' TERM INT HUP PIPE; exec sleep 300) &
echo $! > "$1"
echo $$ > "$2"
while :; do sleep 300; done
"""


async def test_after_the_timeout_everything_is_dead_and_the_next_one_is_on_time() -> None:
    with scratch() as directory:
        checks = prober()
        child, parent = directory / "child", directory / "parent"
        stubborn = shell(STUBBORN, "sh", str(child), str(parent))
        began_at = time.monotonic()
        asked = asyncio.ensure_future(ask(checks, stubborn, 0.4))
        pids = [int(await written(child)), int(await written(parent))]
        assert all(is_alive(pid) for pid in pids)
        assert await asked == Outcome(Verdict.FAILED, "killed after 400 ms")
        assert 0.4 <= time.monotonic() - began_at < 1.0
        for pid in pids:
            await gone(pid)
        began_at = time.monotonic()
        assert (await ask(checks, program("/bin/true"), 0.4)).verdict is Verdict.OK
        assert time.monotonic() - began_at < 0.4


async def test_a_child_that_is_left_behind_goes_with_its_parent() -> None:
    """It holds the output open, which nobody waits for."""
    with scratch() as directory:
        child = directory / "child"
        began_at = time.monotonic()
        outcome = await ask(
            prober(), shell('(trap "" TERM; exec sleep 300) & echo $! > "$1"', "sh", str(child)), 9
        )
        assert outcome == Outcome(Verdict.OK)
        assert time.monotonic() - began_at < 5
        await gone(int(child.read_text()))


async def test_checks_may_overlap() -> None:
    outcomes = await asyncio.gather(
        *(ask(prober(), shell(f"sleep 0.1; echo {n}; exit {n}")) for n in range(1, 21))
    )
    assert [o.detail for o in outcomes] == [f"exit status {n}: {n}" for n in range(1, 21)]


async def test_a_flood_is_drained_and_the_end_of_it_is_kept() -> None:
    outcome = await ask(
        prober(), shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 4"), 9
    )
    assert outcome == Outcome(Verdict.FAILED, "exit status 4: the end")


async def test_a_flood_does_not_stop_us() -> None:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    asked = [asyncio.ensure_future(ask(prober(), shell("exec yes"), 0.5)) for _ in range(4)]
    while not all(task.done() for task in asked):
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        late.append(loop.time() - due)
    assert {(await task).detail for task in asked} == {"killed after 500 ms: y"}
    late.sort()
    assert late[len(late) // 2] < 0.02


async def test_while_we_were_stalled_is_unknown() -> None:
    answers: list[Outcome] = []
    prober().ask(shell("sleep 300"), 0.1, answers.append)
    time.sleep(0.5)  # noqa: ASYNC251 - the loop stands still
    async with asyncio.timeout(5):
        while not answers:
            await asyncio.sleep(0.01)
    assert answers[0].verdict is Verdict.UNKNOWN
    assert "we were stalled" in answers[0].detail


async def test_what_ended_while_we_were_stalled_counts() -> None:
    answers: list[Outcome] = []
    prober().ask(shell("sleep 0.05; exit 0"), 0.1, answers.append)
    time.sleep(0.5)  # noqa: ASYNC251 - the loop stands still
    await asyncio.sleep(0.01)
    assert answers == [Outcome(Verdict.OK)]


async def test_close_kills_and_does_not_answer() -> None:
    with scratch() as directory:
        file = directory / "pid"
        checks = prober()
        answers: list[Outcome] = []
        checks.ask(shell('echo $$ > "$1"; exec sleep 300', "sh", str(file)), 9.0, answers.append)
        pid = int(await written(file))
        checks.close()
        await gone(pid)
        await asyncio.sleep(0.05)
        assert answers == []


async def test_nothing_is_left_open() -> None:
    checks = prober()
    before = open_descriptors()
    for script in ("exit 0", "exit 1", "sleep 300", "sleep 300 & exit 0", "yes"):
        await ask(checks, shell(script), 0.1)
    await ask(checks, program("/nowhere"))
    async with asyncio.timeout(5):
        while open_descriptors() > before:
            await asyncio.sleep(0.01)
