from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import state
from lab.errors import LabError
from lab.processes import ProcessName
from lab.state import LabState


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "labs"))
    return tmp_path / "labs"


def test_kills_the_process_it_names(sleeper: subprocess.Popen[bytes]) -> None:
    name = ProcessName.of(sleeper.pid)
    assert name.is_alive()

    assert name.kill()

    assert sleeper.wait(10) == -9
    assert not name.is_alive()
    assert name.kill()


def test_spares_another_process_with_the_same_pid(sleeper: subprocess.Popen[bytes]) -> None:
    name = ProcessName.of(sleeper.pid)
    other = ProcessName(name.pid, name.start - 1)

    assert not other.is_alive()
    assert other.kill()

    assert sleeper.poll() is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    name = ProcessName.of(sleeper.pid)
    assert name.kill()

    assert Path(f"/proc/{sleeper.pid}").exists()
    assert not name.is_alive()


@pytest.mark.usefixtures("state_directory")
def test_state_is_read_as_it_was_saved() -> None:
    saved = LabState("x", "/x.clab.yml", "namespaces", {"a": ProcessName(12, 345)})

    saved.save()

    assert state.read("x") == saved
    assert state.read("y") is None


@pytest.mark.usefixtures("state_directory")
def test_state_of_another_boot_names_nothing() -> None:
    saved = LabState("x", "/x.clab.yml", "namespaces", {"a": ProcessName(12, 345)})
    saved.save()
    text = saved.path.read_text(encoding="utf-8")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    assert boot in text
    saved.path.write_text(text.replace(boot, "another"), encoding="utf-8")

    found = state.read("x")

    assert found is not None
    assert found.nodes == {}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nodes": {"a": {"pid": 1}}}'])
def test_a_broken_state_file_is_an_error(state_directory: Path, text: str) -> None:
    (state_directory / "x").mkdir(parents=True)
    (state_directory / "x" / "state.json").write_text(text, encoding="utf-8")

    with pytest.raises(LabError, match="not a state file"):
        state.read("x")


def test_forgetting_leaves_no_directory(state_directory: Path) -> None:
    saved = LabState("x", "/x.clab.yml", "namespaces")
    saved.save()
    assert state_directory.is_dir()

    saved.forget()

    assert not state_directory.exists()


@pytest.mark.usefixtures("state_directory")
def test_only_one_command_at_a_time() -> None:
    with state.lock("x"), pytest.raises(LabError, match="another lab command"), state.lock("x"):
        pass
    with state.lock("x"):
        pass
