"""The facts E1 to E6 about ExaBGP as the parent of its helper, 4.2.25 and 5.0.15 alike unless said.

Each fact is shown with and without our remedy, so that the remedy cannot rot unnoticed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.exabgp import Installed, RunningExabgp, eventually, exabgp

pytestmark = pytest.mark.contract

# What the helpers share: write a command, read a reply, note a result for the test.
PRELUDE = """
import os, sys, time, pathlib
out = pathlib.Path(os.environ["OUT"])
def note(name, text=""):
    (out / (name + ".part")).write_text(text)
    (out / (name + ".part")).rename(out / name)
def ask(fd, command):
    os.write(fd, command.encode() + b"\\n")
    return sys.stdin.readline().strip()
def table(fd):
    os.write(fd, b"show adj-rib out\\nwithdraw route 203.0.113.99/32\\n")
    lines = []
    while not lines or lines[-1] != "done":
        lines.append(sys.stdin.readline().strip())
    return "\\n".join(lines)
"""

LINGER = "\ntime.sleep(60)\n"


def wait_for(directory: Path, name: str, running: RunningExabgp) -> str:
    assert eventually((directory / name).exists), running.logged()
    return (directory / name).read_text()


def has_logged(running: RunningExabgp, words: str) -> bool:
    return words in running.log.read_text(errors="replace")


STRAY = 'print("announce route 203.0.113.1/32 next-hop 192.0.0.8", flush=True)\n'
MEANT = 'reply = ask(fd, "announce route 203.0.113.2/32 next-hop 192.0.0.8")\n'


def test_e1_a_stray_print_is_a_command(installed: Installed, tmp_path: Path) -> None:
    helper = PRELUDE + "fd = 1\n" + STRAY + "sys.stdin.readline()\n" + MEANT
    with exabgp(installed, tmp_path, helper + 'note("table", table(fd))\n' + LINGER) as running:
        table = wait_for(tmp_path, "table", running)
    assert "203.0.113.1/32" in table
    assert "203.0.113.2/32" in table


def test_e1_remedy_behind_the_guard_a_stray_print_goes_to_the_log(
    installed: Installed, tmp_path: Path
) -> None:
    guard = "from bgphealth.__main__ import guard_stdout\nfd = guard_stdout()\n"
    helper = PRELUDE + guard + STRAY + MEANT + 'note("table", table(fd))\n' + LINGER
    with exabgp(installed, tmp_path, helper) as running:
        table = wait_for(tmp_path, "table", running)
        log = running.log.read_text()
    assert "203.0.113.1/32" not in table
    assert "203.0.113.2/32" in table
    assert "announce route 203.0.113.1/32" in log


def test_e1_remedy_children_do_not_inherit_the_command_channel(
    installed: Installed, tmp_path: Path
) -> None:
    helper = (
        PRELUDE
        + "from bgphealth.__main__ import guard_stdout\nfd = guard_stdout()\n"
        + "import subprocess\n"
        + "left = subprocess.run(['ls', '-l', '/proc/self/fd'], capture_output=True, text=True,"
        + " close_fds=False).stdout\n"
        + 'note("command", os.readlink(f"/proc/self/fd/{fd}"))\nnote("child", left)\n'
        + LINGER
    )
    with exabgp(installed, tmp_path, helper) as running:
        channel = wait_for(tmp_path, "command", running)
        child = wait_for(tmp_path, "child", running)
    assert channel.startswith("pipe:")
    assert channel not in child


# 64 KiB of pipe hold 10,922 times "error\n".
FLOOD = 'for _ in range(20_000):\n    os.write(fd, b"nonsense\\n")\n'


def test_e2_unread_replies_freeze_exabgp_even_for_sigterm(
    installed: Installed, tmp_path: Path
) -> None:
    with exabgp(installed, tmp_path, PRELUDE + 'fd = 1\nnote("up")\n' + FLOOD + LINGER) as running:
        wait_for(tmp_path, "up", running)
        wchan = Path(f"/proc/{running.process.pid}/wchan")
        stuck = eventually(lambda: "pipe_write" in wchan.read_text())
        assert stuck, wchan.read_text()
        running.process.terminate()
        assert running.status_within(3) is None
        running.process.kill()


def test_e3_done_comes_with_every_neighbor_down(installed: Installed, tmp_path: Path) -> None:
    helper = PRELUDE + "fd = 1\n" + MEANT + 'note("reply", reply)\n' + LINGER
    with exabgp(installed, tmp_path, helper) as running:
        assert wait_for(tmp_path, "reply", running) == "done"


DRIVER = """
import asyncio
from ipaddress import ip_address, ip_network
from bgphealth.__main__ import guard_stdout
fd = guard_stdout()
from bgphealth.core.intents import Announcement, RouteKey
from bgphealth.exabgp import pipe
from bgphealth.exabgp.driver import Acknowledged, Driver, Refused

ROUTES = {ROUTES}

async def main():
    keys = [RouteKey(ip_network((0xC6120000 + n, 32))) for n in range(ROUTES)]
    wanted = {{key: Announcement(key, ip_address("192.0.0.8"), 100) for key in keys}}
    refused = []
    def report(event):
        if isinstance(event, Refused):
            refused.append(event)
    writer = pipe.Writer()
    driver = Driver(writer.write, frozenset(keys), report)
    await pipe.connect(sys.stdin.buffer, os.fdopen(fd, "wb", 0), writer, driver.received, note)
    driver.want(wanted)
    task = asyncio.create_task(driver.run())
    while driver.adj_rib_out != wanted:
        await asyncio.sleep(0.05)
    driver.want({{}})
    while driver.adj_rib_out:
        await asyncio.sleep(0.05)
    note("result", f"{{len(refused)}}")
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_e2_remedy_the_driver_reads_every_reply(installed: Installed, tmp_path: Path) -> None:
    """More changes than replies fit the pipe (13,107 times "done\\n"), and ExaBGP still ends."""
    helper = PRELUDE + DRIVER.format(ROUTES=7_000)
    with exabgp(installed, tmp_path, helper) as running:
        assert eventually((tmp_path / "result").exists, 120), running.logged()
        assert (tmp_path / "result").read_text() == "0"
        running.process.terminate()
        assert running.status_within(10) is not None


def test_e4_a_community_by_name_shuts_exabgp_down(installed: Installed, tmp_path: Path) -> None:
    line = "announce route 192.0.2.1/32 next-hop 192.0.0.8 community [graceful-shutdown]"
    helper = PRELUDE + f'os.write(1, b"{line}\\n")\n' + LINGER
    with exabgp(installed, tmp_path, helper) as running:
        assert running.status_within(10) == 0, running.logged()


def test_e4_remedy_the_same_community_as_a_number_is_just_announced(
    installed: Installed, tmp_path: Path
) -> None:
    build = """
from ipaddress import ip_address, ip_network
from bgphealth.core.intents import Announcement, Community, RouteKey
from bgphealth.core.reconcile import Announce
from bgphealth.exabgp.commands import encode
route = Announcement(
    RouteKey(ip_network("192.0.2.1/32")), ip_address("192.0.0.8"), 100, (Community(65535, 0),)
)
note("reply", ask(1, encode(Announce(route))))
note("table", table(1))
"""
    with exabgp(installed, tmp_path, PRELUDE + build + LINGER) as running:
        assert wait_for(tmp_path, "reply", running) == "done"
        assert "192.0.2.1/32" in wait_for(tmp_path, "table", running)
        assert running.status_within(1) is None


COUNT = (
    PRELUDE
    + """
with (out / "starts").open("a") as starts:
    starts.write(".")
"""
)

# Announces at its first start, and at its second start says what is in ExaBGP's table.
MORTAL = """
first = not (out / "first").exists()
if first:
    ask(1, "announce route 203.0.113.2/32 next-hop 192.0.0.8")
    note("first", str(os.getpid()))
else:
    note("second", table(1))
"""


def test_e5_a_helper_that_is_killed_is_started_again_and_its_routes_stay(
    installed: Installed, tmp_path: Path
) -> None:
    with exabgp(installed, tmp_path, PRELUDE + MORTAL + LINGER) as running:
        os.kill(int(wait_for(tmp_path, "first", running)), signal.SIGKILL)
        assert "203.0.113.2/32" in wait_for(tmp_path, "second", running)
        assert running.status_within(1) is None


@contextmanager
def terminating_or_not(
    installed: Installed,
    directory: Path,
    helper: str,
    settings: Mapping[str, str] | None = None,
) -> Iterator[dict[bool, RunningExabgp]]:
    """Run it twice, with exabgp.api.terminate and without."""
    with ExitStack() as stack:
        running = {}
        for terminate in (True, False):
            own = directory / str(terminate)
            own.mkdir()
            link = own / "python"  # For the helper to remove.
            link.symlink_to(sys.executable)
            running[terminate] = stack.enter_context(
                exabgp(
                    installed,
                    own,
                    helper,
                    settings={**(settings or {}), "exabgp.api.terminate": str(terminate).lower()},
                    python=str(link),
                )
            )
        yield running


def test_e5_without_respawn_exabgp_goes_on_without_anybody(
    installed: Installed, tmp_path: Path
) -> None:
    """Whatever exabgp.api.terminate says; with respawn it starts the helper again either way.

    The routes would stay for ever, so the rendered exabgp.env says respawn = true.
    """
    no_respawn = {"exabgp.api.respawn": "false"}
    with terminating_or_not(installed, tmp_path, PRELUDE + MORTAL + LINGER, no_respawn) as both:
        for terminate, running in both.items():
            os.kill(int(wait_for(tmp_path / str(terminate), "first", running)), signal.SIGKILL)
        for terminate, running in both.items():
            ended = partial(has_logged, running, "process helper ended")
            assert eventually(ended), running.logged()
            assert running.status_within(1) is None, terminate
            assert not (tmp_path / str(terminate) / "second").exists()


def test_e5_a_helper_that_keeps_dying_ends_exabgp(installed: Installed, tmp_path: Path) -> None:
    """With status 0, after more than five deaths in 64 s, whatever exabgp.api.terminate says."""
    with terminating_or_not(installed, tmp_path, COUNT) as both:
        for terminate, running in both.items():
            # The 64 s begin anew with every 64th second of the clock: it can be twice as many.
            assert running.status_within(150) == 0, running.logged()
            # The sixth start is the one too many: that one may be ended before it has counted.
            assert 5 <= len((tmp_path / str(terminate) / "starts").read_text()) <= 12


def test_e5_terminate_is_about_a_helper_that_cannot_be_started(
    installed: Installed, tmp_path: Path
) -> None:
    """Without it ExaBGP then goes on, and ends its sessions.

    With it 5.0.15 ends in an orderly way, and 4.2.25 by a mistake of its own.
    """
    helper = PRELUDE + 'note("first")\n(out / "python").unlink()\n'
    with terminating_or_not(installed, tmp_path, helper) as both:
        status = both[True].status_within(20)
        assert status == (1 if installed.is_4 else 0), both[True].logged()
        assert ("AttributeError" in both[True].log.read_text()) == installed.is_4
        assert eventually(partial(has_logged, both[False], "lost the helper process"))
        assert both[False].status_within(1) is None


# Says so when it is told to end, and does not.
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, lambda *_: note("term"))
note("up", str(os.getpid()))
while True:
    time.sleep(60)
"""


def test_e6_a_helper_that_does_not_end(installed: Installed, tmp_path: Path) -> None:
    """5.0.15 kills it two seconds after SIGTERM; 4.2.25 waits for it for ever."""
    with exabgp(installed, tmp_path, PRELUDE + STUBBORN) as running:
        helper = int(wait_for(tmp_path, "up", running))
        try:
            running.process.terminate()
            wait_for(tmp_path, "term", running)
            if installed.is_4:
                assert running.status_within(5) is None
                os.kill(helper, signal.SIGKILL)
            assert running.status_within(10) is not None
            assert not Path(f"/proc/{helper}").exists()
        finally:
            if Path(f"/proc/{helper}").exists():
                os.kill(helper, signal.SIGKILL)


def test_e6_a_helper_that_ends_at_sigterm(installed: Installed, tmp_path: Path) -> None:
    helper = PRELUDE + 'note("up", str(os.getpid()))\n' + LINGER
    with exabgp(installed, tmp_path, helper) as running:
        wait_for(tmp_path, "up", running)
        running.process.terminate()
        assert running.status_within(10) == 0
