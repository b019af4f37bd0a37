"""lab/docker.py: which daemon is used, and where the lab's own never runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from lab import docker
from lab.errors import LabError, NotPermittedError, UnavailableError
from lab.processes import ProcessName
from lab.state import boot_id


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have no daemon of this clone's, and no programs but those that a test adds."""
    monkeypatch.setattr(docker, "PLACE", tmp_path)
    monkeypatch.setattr(docker, "_STATE", tmp_path / "dockerd.json")
    monkeypatch.setattr(docker, "path", lambda: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "dockerd.json"


def add_docker(directory: Path, status: int) -> None:
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
    program.chmod(0o755)


def test_a_daemon_that_answers_is_used_as_it_is(tmp_path: Path) -> None:
    add_docker(tmp_path, 0)

    assert docker.answers()
    assert docker.beside() == []
    assert "DOCKER_HOST" not in docker.environment()
    assert not docker.down()
    assert [file.name for file in tmp_path.iterdir()] == ["docker"], "nothing is made"


def test_its_end_waits_for_no_container(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is not removed in time must not keep the daemon up."""
    hangs = tmp_path / "docker"
    hangs.write_text('#!/bin/sh\n[ "$1" = rm ] && exec /bin/sleep 60\necho container\n')
    hangs.chmod(0o755)
    monkeypatch.setattr(docker, "_enter", lambda _: [])
    monkeypatch.setattr(docker, "_REMOVE_TIMEOUT_S", 0.1)
    with subprocess.Popen(["/bin/sleep", "60"]) as daemon:
        name = asdict(ProcessName.of(daemon.pid))
        state.write_text(json.dumps({"boot": boot_id(), **name}), encoding="utf-8")
        assert docker.down()
        assert daemon.wait() == -signal.SIGTERM
    assert not state.exists()


def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"lab/setup\.sh containerlab installs it"):
        docker.beside()
    add_docker(tmp_path, 1)
    assert not docker.answers()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermittedError, match="needs root"):
        docker.beside()


def test_a_daemon_of_another_boot_is_not_ours(tmp_path: Path, state: Path) -> None:
    add_docker(tmp_path, 1)
    daemon = asdict(ProcessName.of(os.getpid()))

    state.write_text(json.dumps({"boot": "another", **daemon}), encoding="utf-8")
    assert not docker.answers()
    state.write_text(json.dumps({"boot": boot_id(), **daemon, "start": 1}), encoding="utf-8")
    assert not docker.answers()
    # The right process in the wrong place: nothing enters it.
    state.write_text(json.dumps({"boot": boot_id(), **daemon}), encoding="utf-8")
    assert docker.answers()
    with pytest.raises(NotPermittedError, match="host's own network namespace"):
        docker.beside()


def test_a_state_file_that_makes_no_sense_is_said(state: Path) -> None:
    state.write_text("{}", encoding="utf-8")
    with pytest.raises(LabError, match="is not what the lab wrote"):
        docker.answers()


def test_never_in_the_namespace_of_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    script = Path(docker.__file__).with_name("dockerd.sh")
    own = str(Path("/proc/self/ns/net").readlink())

    done = subprocess.run([script, tmp_path, own], capture_output=True, text=True, check=False)

    assert done.returncode == 77
    assert "host's own network namespace" in done.stderr
    assert list(tmp_path.iterdir()) == []
