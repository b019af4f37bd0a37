"""The drivers by name, and what the one for containerlab makes of what it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab import containerlab, docker, drivers, dual_tor, state, topology
from lab.containerlab import ContainerlabDriver
from lab.errors import LabError, UnavailableError
from lab.namespaces import NamespaceDriver


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "state"))
    monkeypatch.delenv(drivers.ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture
def shipped() -> topology.Topology:
    return topology.load(topology.find(dual_tor.NAME))


def test_the_option_counts_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drivers.chosen() == "namespaces"
    monkeypatch.setenv(drivers.ENVIRONMENT_VARIABLE, "containerlab")
    assert drivers.chosen() == "containerlab"
    assert drivers.chosen("namespaces") == "namespaces"
    assert isinstance(drivers.of(dual_tor.NAME), ContainerlabDriver)
    assert isinstance(drivers.of(dual_tor.NAME, "namespaces"), NamespaceDriver)


def test_an_unknown_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(drivers.ENVIRONMENT_VARIABLE, "podman")
    with pytest.raises(LabError, match=r"no driver 'podman' \(there is namespaces, containerlab\)"):
        drivers.chosen()


def test_a_lab_is_left_to_the_driver_that_made_it() -> None:
    state.check_driver("dual-tor", "namespaces")  # nobody did
    state.LabState("dual-tor", "dual-tor.clab.yml", "containerlab").save()
    state.check_driver("dual-tor", "containerlab")
    with pytest.raises(LabError, match="lab down --driver containerlab ends it"):
        state.check_driver("dual-tor", "namespaces")


def test_labs_of_other_state_directories_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    own = containerlab.lab_name("dual-tor")
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, "/run/another")
    another = containerlab.lab_name("dual-tor")
    monkeypatch.delenv(state.ENVIRONMENT_VARIABLE)

    assert containerlab.lab_name("dual-tor") == "dual-tor"
    assert len({own, another, "dual-tor"}) == 3
    assert own.startswith("dual-tor-")


_INSPECTED = {
    "small": [
        {"name": "clab-small-a", "state": "running", "status": "Up 2 seconds"},
        {"name": "clab-small-b", "state": "exited", "status": "Exited (137) 1 second ago"},
    ],
    "other": [{"name": "clab-other-a", "state": "running"}],
}


def test_what_inspect_prints() -> None:
    found = containerlab.parse_nodes(json.dumps(_INSPECTED), "small")
    assert found == {"clab-small-a": True, "clab-small-b": False}
    assert containerlab.parse_nodes("{}", "small") == {}
    assert containerlab.parse_nodes("", "small") == {}


@pytest.mark.parametrize("text", ["[]", "no JSON", '{"small": [{}]}', '{"small": [1]}', "1"])
def test_what_inspect_should_not_print(text: str) -> None:
    with pytest.raises(LabError, match="printed something else"):
        containerlab.parse_nodes(text, "small")


_LOG = """\
22:03:15 ERRO something that is none of ours
22:03:15 ERRO Failed to execute command command="sh -c echo one; echo two >&2; exit 3" node=a rc=3
  stdout=
  │ one

  stderr=
  │ two

22:03:15 WARN failed to write state file
22:03:16 ERRO failed to run exec commands for b: no such node
"""
"""As containerlab 0.79 has it."""


def test_exec_lines_that_failed_are_found_in_the_log() -> None:
    assert containerlab.failed_exec_lines("") == []
    lines = _LOG.splitlines()
    assert containerlab.failed_exec_lines(_LOG) == [*lines[1:8], lines[9]]


def test_down_starts_no_daemon(shipped: topology.Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(docker, "answers", lambda: False)
    monkeypatch.setattr(docker, "beside", lambda: pytest.fail("a daemon is started"))
    known = state.LabState(shipped.name, "", "containerlab")
    known.save()
    driver = ContainerlabDriver(shipped)
    (known.path.parent / f"clab-{containerlab.lab_name(shipped.name)}").mkdir()

    assert not driver.down()
    assert not state.directory().exists()


def test_without_containerlab_no_daemon_is_started(
    shipped: topology.Topology, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(docker, "path", lambda: str(tmp_path))
    monkeypatch.setattr(docker, "beside", lambda: pytest.fail("a daemon is started"))
    with pytest.raises(UnavailableError, match="make setup-containerlab"):
        ContainerlabDriver(shipped).up()


def test_a_node_that_is_none(shipped: topology.Topology) -> None:
    with pytest.raises(LabError, match="has no node 'tor9'"):
        ContainerlabDriver(shipped).run("tor9", ["true"])
