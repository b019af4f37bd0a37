"""The file is read by a child, whose libraries the program does not keep."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bgphealth
from bgphealth import config
from bgphealth.core.errors import ConfigurationError
from bgphealth.core.settings import ProbeSettings
from bgphealth.daemon import loading, places
from tests.support.hosts import CHECK
from tests.support.neighbors import configuration

OTHER_HASHES = {**os.environ, "PYTHONHASHSEED": "17"}


def test_a_child_reads_what_would_be_read_here(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    assert loading.load(file) == config.load(file)


def test_what_is_wrong_with_a_file_is_said_as_it_is_here(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    file.write_text(file.read_text().replace("interval", "intervall"))
    with pytest.raises(ConfigurationError) as here:
        config.load(file)
    with pytest.raises(ConfigurationError) as there:
        loading.load(file)
    assert str(there.value) == str(here.value)


def test_a_missing_file_is_one_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        loading.load(tmp_path / "none.yaml")


def test_where_there_can_be_no_child_it_is_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configuration(tmp_path)
    for python in ("/nonexistent", "/bin/false", "/bin/true"):
        monkeypatch.setattr(sys, "executable", python)
        assert loading.load(file).services[1].name == "dns"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    text, pipe = configuration(tmp_path).read_text(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert loading.load(pipe).services[1].name == "dns"
    writer.join()


def test_a_file_behind_a_descriptor_is_read(tmp_path: Path) -> None:
    file, link = configuration(tmp_path), tmp_path / "link.yaml"
    with file.open() as stream:
        own = Path(f"/dev/fd/{stream.fileno()}")
        assert loading.load(own) == loading.load(file)
        link.symlink_to(own)
        assert loading.load(link) == loading.load(file)


def test_a_name_that_cannot_be_looked_at_is_a_wrong_one(tmp_path: Path) -> None:
    file = tmp_path / f"{'x' * 300}.yaml"
    with pytest.raises(OSError, match="too long"):
        file.is_file()  # As it raises PermissionError below a directory that is not for us.
    with pytest.raises(ConfigurationError):
        loading.load(file)


@pytest.mark.parametrize(
    ("module", "was", "became"),
    [
        (
            "core/settings.py",
            "interval_s: float\n    timeout_s:",
            "timeout_s: float\n    interval_s:",
        ),
        (
            "core/settings.py",
            "    interval_s: float\n",
            "    jitter_s: float\n    interval_s: float\n",
        ),
        ("core/settings.py", 'GUARDED = "guarded"', 'GUARDED = "protected"'),
        ("__init__.py", f'"{bgphealth.__version__}"', '"999.0"'),
    ],
)
def test_settings_of_another_version_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, was: str, became: str
) -> None:
    file, installed = configuration(tmp_path), tmp_path / "bgphealth"
    shutil.copytree(Path(bgphealth.__file__).parent, installed)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    loading.load(file)  # The same, elsewhere.
    text = (installed / module).read_text()
    assert was in text
    (installed / module).write_text(text.replace(was, became, 1))
    with pytest.raises(ConfigurationError, match="another one has been installed since: 'kill"):
        loading.load(file)


def test_what_cannot_be_understood_is_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, python = configuration(tmp_path), tmp_path / "python"
    for answer in (r"cbgphealth.core.settings\nNoSuch\n.", r"(I1\n.", ""):
        python.write_text(f"#!/bin/sh\nprintf '{loading.form()}\\n{answer}'\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        assert loading.load(file).services[1].name == "dns"


def test_a_child_imports_nothing_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configuration(tmp_path)
    (tmp_path / "pickle.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    loading.load(file)
    assert not (tmp_path / "ran").exists()


def test_a_child_imports_nothing_from_where_we_would_not(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    (tmp_path / "pickle.py").write_text("open('ran', 'w')\n")
    code = (
        "import pathlib, sys; from bgphealth.daemon import loading;"
        "loading.load(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-E", "-P", "-c", code, str(file)]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(command, env=env, cwd=tmp_path, check=True)
    assert not (tmp_path / "ran").exists()


def test_a_probe_from_another_process_is_found_by_its_hash() -> None:
    code = (
        "import pickle, sys; from tests.support.hosts import CHECK;"
        "sys.stdout.buffer.write(pickle.dumps(CHECK))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=OTHER_HASHES, stdout=subprocess.PIPE, check=True)
    found: ProbeSettings = pickle.loads(done.stdout)  # noqa: S301 - our own
    assert {CHECK: "here"}[found] == "here"


def printed_by(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_program_does_not_import_what_reads_files() -> None:
    code = (
        "from bgphealth.__main__ import travel_light; travel_light();"
        "import sys, bgphealth.cli.run;"
        "print({'pydantic', 'ruamel', 'jinja2', 'rich.console', 'pyroute2.ndb'} & {*sys.modules})"
    )
    assert printed_by(code) == "set()\n"


def test_who_asks_a_running_program_does_not_either() -> None:
    code = (
        "import sys, bgphealth.cli.status, bgphealth.cli.explain, bgphealth.cli.drain;"
        "print({'pydantic', 'ruamel', 'asyncio', 'rich', 'structlog', 'importlib.metadata'}"
        " & {*sys.modules})"
    )
    assert printed_by(code) == "set()\n"


def test_where_a_program_listens_is_known_for_its_own_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    file, other = tmp_path / "a" / "bgphealth.yaml", tmp_path / "b" / "bgphealth.yaml"
    socket = tmp_path / "socket"
    assert places.noted_socket(file) is None
    places.note_socket(file, socket)
    assert places.noted_socket(file) is None  # Nothing is there.
    os.mknod(socket, 0o140600)
    assert places.noted_socket(file) == socket
    assert places.noted_socket(other) is None
    noted = tmp_path / "bgphealth.control.json"
    assert noted.stat().st_mode & 0o777 == 0o644
    for text in ("", "[]", "{}", '{"file": 1}', '"x"', "\xff"):
        noted.write_text(text, encoding="latin-1")
        assert places.noted_socket(file) is None
