"""The pytest plugin, with stand-ins for containerlab and docker: options, errors and reports.

What it does with real nodes is tested in tests/containerlab.
"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bgphealth.testing import ClabError, Doctor, Event, Fault, Lab, Node, Status
from bgphealth.testing.labs import Labs
from bgphealth.testing.programs import Programs

pytest_plugins = ["pytester"]

CONTAINERLAB = """\
#!/bin/sh
echo "containerlab $*" >>"$HERE/calls"
case $1 in
deploy)
    touch "$HERE/up"
    [ ! -e "$HERE/refused" ] || { echo "ERROR no image of that name" >&2; exit 1; }
    ;;
inspect) if [ -e "$HERE/up" ]; then cat "$HERE/inspect.json"; else echo '{}'; fi ;;
destroy) [ -e "$HERE/stays" ] || /bin/rm -f "$HERE/up" ;;
esac
"""
DOCKER = """\
#!/bin/sh
verb=$1
shift
echo "$*" >>"$HERE/calls"
[ "$verb" != rm ] || /bin/rm -f "$HERE/up"
shift
case $* in
*"date +"*) echo 1000.5 ;;
"bgphealth status --json") [ ! -e "$HERE/status.json" ] || exec cat "$HERE/status.json"
    echo "nothing listens" >&2; exit 75 ;;
"bgphealth doctor --json") cat "$HERE/doctor.json"; exit 1 ;;
"bgphealth events --json"*) cat "$HERE/events" ;;
*"bgphealth status") echo "in words" ;;
"bgphealth explain"*) echo "OCI runtime exec failed" >&2; exit 127 ;;
*"broken"*) echo "no such thing" >&2; exit 3 ;;
esac
"""
RM = """\
#!/bin/sh
echo "rm $*" >>"$HERE/calls"
exit 1
"""
BREAK = "with clab['tor2'].fault('make it', 'heal it'):"


class Stand:
    """A directory with a topology, and programs that are called like containerlab and docker."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self.here = pytester, pytester.path
        programs = self.here / "bin"
        programs.mkdir()
        for name, text in (("containerlab", CONTAINERLAB), ("docker", DOCKER), ("rm", RM)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("HERE", str(self.here))
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        (self.here / "my.clab.yml").write_text("# Mine\nname: mine\ntopology: {}\n")
        self.nodes("server1", "tor2")
        self.write("status.json", status())
        self.write("doctor.json", {"ok": False, "findings": [FINDING]})

    def nodes(self, *names: str, state: str = "running") -> None:
        found = [
            {
                "Names": [f"clab-mine-{name}"],
                "State": state,
                "Labels": {
                    "containerlab": "mine",
                    "clab-node-name": name,
                    "clab-node-lab-dir": f"/labs/clab-mine/{name}",
                },
            }
            for name in names
        ]
        other = {"Names": ["x"], "Labels": {"containerlab": "other", "clab-node-name": "tor9"}}
        self.write("inspect.json", {"mine": found, "other": [other]})

    def write(self, name: str, data: object) -> None:
        (self.here / name).write_text(json.dumps(data))

    def run(
        self,
        *lines: str,
        options: tuple[str, ...] = (),
        mark: str = "'my.clab.yml'",
        modules: int = 1,
        more: str = "",
    ) -> pytest.RunResult:
        body = "\n    ".join(lines)
        for number in range(modules):
            (self.here / f"test_{number}.py").write_text(
                f"import pytest\npytestmark = pytest.mark.clab({mark})\n"
                f"def test_it(clab):\n    {body}\n{more}\n"
            )
        return self.pytester.runpytest_inprocess("-p", "no:asyncio", "--strict-markers", *options)

    @property
    def calls(self) -> list[str]:
        file = self.here / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def verbs(self) -> list[str]:
        verbs = [line.split()[1] for line in self.calls if line.startswith("containerlab ")]
        return [verb for verb in verbs if verb != "inspect"]


FINDING = {
    "word": "rp_filter",
    "severity": "warning",
    "subject": "eth1",
    "found": "rp_filter is 1",
    "why": "…",
    "mend": "sysctl",
}


def status(verdict: str = "up") -> dict[str, Any]:
    """Return the fields that are read, as docs/status.md has them."""
    probe = {"probe": "icmp 192.0.2.1", "level": verdict, "last": "ok", "unknown": None}
    path = {
        "uplink": "tor2",
        "interface": "eth2",
        "family": "ipv4",
        "verdict": verdict,
        "reason": "probes_ok",
        "since": "2026-01-01T00:00:00.000+00:00",
        "probes": [{**probe, "detail": "no answer" if verdict == "down" else ""}],
    }
    return {
        "healthy": verdict == "up",
        "settled": True,
        "mode": "frr",
        "summary": "a summary",
        "problems": [],
        "paths": [path],
        "services": [],
        "routes": [],
        "drifts": [],
        "defaults": [{"family": "ipv4", "tier": "injected"}],
        "exabgp": {"waiting": 0},
    }


@pytest.fixture
def stand(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(pytester, monkeypatch)


def said(result: pytest.RunResult) -> str:
    return result.stdout.str()


def test_a_lab_is_deployed_and_destroyed(stand: Stand) -> None:
    result = stand.run("assert list(clab) == ['server1', 'tor2']", "clab['server1'].wait_whole()")
    result.assert_outcomes(passed=1)
    assert stand.verbs() == ["deploy", "destroy"]
    topology = f"--topo {stand.here}/my.clab.yml"
    assert f"containerlab deploy {topology} --name mine" in stand.calls
    assert f"containerlab destroy {topology} --cleanup" in stand.calls


def test_the_file_is_named_as_containerlab_finds_it_again(stand: Stand) -> None:
    stand.run("pass", mark="'below/../my.clab.yml'").assert_outcomes(passed=1)
    assert f"containerlab destroy --topo {stand.here}/my.clab.yml --cleanup" in stand.calls


def test_what_destroy_leaves_is_said(stand: Stand) -> None:
    (stand.here / "stays").touch()
    result = stand.run("pass")
    result.assert_outcomes(passed=1, errors=1)
    assert "ended well, but left clab-mine-server1, clab-mine-tor2" in said(result)


def test_each_module_has_its_own(stand: Stand) -> None:
    stand.run("pass", modules=2).assert_outcomes(passed=2)
    assert stand.verbs() == ["deploy", "destroy"] * 2


def test_a_lab_of_the_session_is_shared(stand: Stand) -> None:
    result = stand.run("pass", modules=2, mark="'my.clab.yml', scope='session'")
    result.assert_outcomes(passed=2)
    assert stand.verbs() == ["deploy", "destroy"]


def test_a_name_of_its_own(stand: Stand) -> None:
    """containerlab would end the lab of the name that is in the file."""
    (stand.here / "my.clab.yml").write_text("name: another\n")
    stand.run("pass", mark="'my.clab.yml', name='mine'").assert_outcomes(passed=1)
    assert any(line.endswith("--name mine") for line in stand.calls)
    assert "--force --volumes clab-mine-server1 clab-mine-tor2" in stand.calls
    assert stand.verbs() == ["deploy"]
    (removed,) = [line for line in stand.calls if line.startswith("rm ")]
    assert set(removed.split()) == {
        *("rm", "-rf", "/labs/clab-mine", "/etc/ssh/ssh_config.d/clab-mine.conf"),
        *("/run/netns/clab-mine-server1", "/run/netns/clab-mine-tor2"),
    }


def test_only_what_every_shell_reads_alike_is_removed(stand: Stand) -> None:
    (stand.here / "my.clab.yml").write_text("name: another\n")
    inspected = stand.here / "inspect.json"
    inspected.write_text(inspected.read_text().replace("/labs/", "/my labs/"))
    stand.run("pass", mark="'my.clab.yml', name='mine'").assert_outcomes(passed=1)
    (removed,) = [line for line in stand.calls if line.startswith("rm ")]
    assert "labs" not in removed
    assert "/run/netns/clab-mine-tor2" in removed


def test_one_that_does_not_end_keeps_no_other_up(stand: Stand) -> None:
    (stand.here / "your.clab.yml").write_text("name: mine\n")
    labs = Labs((), {})
    for file in ("my.clab.yml", "your.clab.yml"):
        wanted = labs.wanted(stand.here, file, scope="session")
        labs.up(wanted)
        (stand.here / "up").unlink()
    (stand.here / "up").touch()
    (stand.here / "stays").touch()
    with pytest.raises(ClabError) as raised:
        labs.close()
    assert str(raised.value).count("ended well, but left clab-mine-server1") == 2


def test_what_may_not_be_killed_still_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with sudo."""

    def kill(_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(subprocess.Popen, "kill", kill)
    with pytest.raises(subprocess.TimeoutExpired):
        Programs().run("sleep", "0.2", timeout_s=0.01)


def test_nothing_came_up(stand: Stand) -> None:
    stand.write("inspect.json", {})
    assert "lab mine: not running: all" in said(stand.run("pass"))


def test_a_lab_that_is_up_is_not_touched(stand: Stand) -> None:
    (stand.here / "up").touch()
    result = stand.run("pass")
    result.assert_outcomes(errors=1)
    assert "lab mine is up already. --clab-reuse uses it" in said(result)
    assert stand.verbs() == []


def test_reused(stand: Stand) -> None:
    (stand.here / "up").touch()
    stand.run("clab['tor2'].run('x')", options=("--clab-reuse",)).assert_outcomes(passed=1)
    assert stand.verbs() == []


def test_reuse_deploys_what_is_not_up(stand: Stand) -> None:
    stand.run("pass", options=("--clab-reuse",)).assert_outcomes(passed=1)
    assert stand.verbs() == ["deploy", "destroy"]


def test_kept(stand: Stand) -> None:
    result = stand.run("pass", options=("--clab-keep",))
    result.assert_outcomes(passed=1)
    assert stand.verbs() == ["deploy"]
    assert "lab mine is still up: containerlab destroy --topo " in said(result)


@pytest.mark.parametrize("command", ["prefix --word", "prefix --word containerlab"])
def test_command(stand: Stand, command: str) -> None:
    prefix = stand.here / "bin" / "prefix"
    prefix.write_text('#!/bin/sh\necho "prefix $1 $2" >>"$HERE/calls"\nshift\nexec "$@"\n')
    prefix.chmod(0o755)
    result = stand.run("clab['tor2'].run('x')", options=(f"--clab-command={command}",))
    result.assert_outcomes(passed=1)
    assert {"prefix --word containerlab", "prefix --word docker"} <= set(stand.calls)


def test_command_of_the_file(stand: Stand) -> None:
    stand.pytester.makeini("[pytest]\nclab_command = env containerlab\n")
    stand.run("pass").assert_outcomes(passed=1)


def test_fixtures_may_say_how(stand: Stand) -> None:
    stand.pytester.makeconftest(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def clab_command(): return ['env', 'MARK=1']\n"
        "@pytest.fixture(scope='session')\n"
        "def clab_environment(): return {'HERE': '" + str(stand.here) + "'}\n"
    )
    stand.run("pass").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ("'other.clab.yml'", "other.clab.yml: No such file or directory"),
        ("'nameless.clab.yml'", "the topology has no `name:`"),
        ("'my.clab.yml', scope='class'", "scope is 'module' or 'session', not 'class'"),
        ("", "missing 1 required positional argument: 'topology'"),
        ("'my.clab.yml', topo=1", "unexpected keyword argument 'topo'"),
    ],
)
def test_a_wrong_mark(stand: Stand, mark: str, says: str) -> None:
    (stand.here / "nameless.clab.yml").write_text("topology: {}\n")
    result = stand.run("pass", mark=mark)
    result.assert_outcomes(errors=1)
    assert says in said(result)
    assert "Traceback" not in said(result)
    assert stand.verbs() == []


def test_no_mark(stand: Stand) -> None:
    stand.pytester.makepyfile("def test_it(clab): pass")
    result = stand.pytester.runpytest_inprocess("-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    assert "pytestmark = pytest.mark.clab('my.clab.yml')" in said(result)


def test_containerlab_is_missing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(stand.here / "nothing"))
    result = stand.run("pass")
    result.assert_outcomes(errors=1)
    assert "containerlab is not installed, or not in PATH: https://containerlab" in said(result)
    assert "another exception" not in said(result)


def test_deploy_failed(stand: Stand) -> None:
    (stand.here / "refused").touch()
    result = stand.run("pass")
    result.assert_outcomes(errors=1)
    assert "ended with status 1:\n  ERROR no image of that name" in said(result)
    assert stand.verbs() == ["deploy", "destroy"], "nothing is left in the way of the next run"


def test_who_is_not_root_gets_a_hint(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    (stand.here / "refused").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "--clab-command 'sudo containerlab' may be needed" in said(stand.run("pass"))


def test_a_node_that_has_ended(stand: Stand) -> None:
    stand.nodes("server1", state="exited")
    result = stand.run("pass")
    result.assert_outcomes(errors=1)
    assert "not running: server1\ndocker logs clab-mine-server1" in said(result)
    assert stand.verbs() == ["deploy", "destroy"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("clab['server9']", "lab mine has no node 'server9'; there are server1, tor2"),
        ("clab['tor2'].explain('x')", "tor2 has no bgphealth in its PATH"),
        (
            "clab['tor2'].run('broken it')",
            "tor2: sh -c 'broken it': status 3\nE             no such thing",
        ),
        ("clab['server1'].assert_path('tor8', 'up')", "no path tor8; there are tor2 ipv4"),
        ("clab['server1'].wait_service('dns', 'up')", "no service 'dns'; there are none"),
        ("clab['tor2'].stopped('x').__enter__()", "tor2: no process is called x (pgrep -x"),
    ],
)
def test_a_wrong_test(stand: Stand, line: str, says: str) -> None:
    result = stand.run(line)
    result.assert_outcomes(failed=1)
    assert says in "\n".join(each.rstrip() for each in said(result).splitlines())


def test_what_was_there_instead(stand: Stand) -> None:
    stand.write("status.json", status("down"))
    result = stand.run("clab['server1'].wait_path('tor2', 'up', within=0.1)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *server1: tor2 is up: not within 0.1 s, but",
            "E *tor2 ipv4: down, probes_ok, since *; icmp 192.0.2.1 is down (no answer)",
            "*mine: server1: bgphealth status*",
            "in words",
        ]
    )
    assert "def until" not in said(result), "it ends at the test's own line"


def test_one_that_does_not_run_yet_is_waited_for(stand: Stand) -> None:
    (stand.here / "status.json").unlink()
    result = stand.run("clab['server1'].wait_whole(within=0.1)")
    result.assert_outcomes(failed=1)
    assert "server1 is whole: not within 0.1 s, but" in said(result)
    assert "server1: bgphealth status: nothing listens" in said(result)


def test_the_doctor_in_an_assertion(stand: Stand) -> None:
    result = stand.run("assert clab['server1'].doctor().ok")
    result.assert_outcomes(failed=1)
    assert "where False = Doctor(rp_filter).ok" in said(result)


def events(*to: str) -> str:
    """Return lines of the log, a second after the other; docker's stand-in says 1000.5."""
    return "\n".join(
        json.dumps(
            {
                "timestamp": f"1970-01-01T00:16:{41 + second}.000000Z",
                "event": "path_changed",
                "uplink": "tor2",
                "family": "ipv4",
                "to": verdict,
            }
        )
        for second, verdict in enumerate(to)
    )


def test_the_time_to_a_verdict(stand: Stand) -> None:
    (stand.here / "events").write_text(events("up", "down", "up", "down"))
    time_to = "clab['server1'].time_to('tor2', 'down', since={})"
    result = stand.run(
        "with clab['tor2'].fault('a', 'b') as fault: pass",
        f"assert {time_to.format('fault')} == 1.5",
        f"assert {time_to.format('1003.0')} == 1.0",
        "assert [it.name for it in clab['server1'].events(since=1003)] == ['path_changed'] * 2",
        "assert fault.healed == 1000.5",
    )
    result.assert_outcomes(passed=1)


def test_a_verdict_that_never_came(stand: Stand) -> None:
    (stand.here / "events").write_text(events("up"))
    result = stand.run("clab['server1'].time_to('tor2', 'down', since=1000.5)")
    result.assert_outcomes(failed=1)
    assert "server1: never down since then:" in said(result)


@pytest.mark.parametrize(
    "failure", ["assert not clab", "pytest.fail('no')", "raise KeyboardInterrupt", "pass"]
)
def test_faults_heal_whatever_happens(stand: Stand, failure: str) -> None:
    if failure == "raise KeyboardInterrupt":
        with pytest.raises(KeyboardInterrupt):
            stand.run(BREAK, f"    {failure}")
    else:
        stand.run(BREAK, f"    {failure}")
    calls = stand.calls
    assert calls.index("clab-mine-tor2 sh -c make it") < calls.index("clab-mine-tor2 sh -c heal it")
    assert stand.verbs() == ["deploy", "destroy"]


def test_what_is_half_made_heals(stand: Stand) -> None:
    stand.run("with clab['tor2'].fault('broken', 'heal it'): pass").assert_outcomes(failed=1)
    assert "clab-mine-tor2 sh -c heal it" in stand.calls


def test_the_report_is_of_before_the_healing(stand: Stand) -> None:
    result = stand.run(BREAK, "    assert not clab")
    calls = [line.partition(" ")[2] for line in stand.calls]
    asked = [at for at, line in enumerate(calls) if line == "sh -c bgphealth status"]
    assert asked
    assert max(asked) < calls.index("sh -c heal it")
    result.stdout.fnmatch_lines(["*mine: faults that last*", "tor2: make it"])


def test_what_one_test_saw_is_not_in_the_report_of_the_next(stand: Stand) -> None:
    result = stand.run(
        "with pytest.raises(ZeroDivisionError):",
        f"    {BREAK}",
        "        1 / 0",
        more="def test_next(clab): assert not clab",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert "faults that last" not in said(result)


def test_what_cannot_be_healed_is_said(stand: Stand) -> None:
    lab = stand.here / "up"
    lab.touch()
    broken = BREAK.replace("heal it", "broken")
    result = stand.run(broken, "    pass", options=("--clab-reuse",))
    result.assert_outcomes(failed=1, errors=1)
    assert "tor2: make it is not healed: tor2: sh -c broken: status 3" in said(result)


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    ours = {name for name in sys.modules if name.startswith('bgphealth')}\n"
        "    assert ours == {'bgphealth', 'bgphealth.pytest_plugin'}\n"
    )
    lone = ("-p", "no:asyncio", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:anyio")
    pytester.runpytest_subprocess(*lone).assert_outcomes(passed=1)


def test_what_it_is_made_of_is_light() -> None:
    code = "import sys, bgphealth.testing as t; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"pytest", "pydantic", "click", "asyncio", "pyroute2"} & set(done.stdout.split())


@pytest.mark.parametrize("of", [Doctor, Event, Fault, Lab, Node, Status])
def test_everything_public_is_explained(of: type) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    own = [base for base in of.__mro__ if base.__module__.startswith("bgphealth")]
    names = {name for base in own for name in (*vars(base), *getattr(base, "__slots__", ()))}
    public = {name for name in names if not name.startswith("_")}
    assert public
    assert not [name for name in public if not re.search(rf"`(with )?{name}\b", page)]


def test_the_options(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "--help")
    result.stdout.fnmatch_lines(["*--clab-command=COMMAND*", "*--clab-keep*", "*--clab-reuse*"])
