from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from lab import dual_tor, scene, topology
from lab.errors import TopologyError

SHIPPED = (*scene.MEASURED, dual_tor.DIRECT)

GOOD = """\
name: small
topology:
  nodes:
    a:
      kind: linux
      binds: ["file:/etc/file:ro"]
      exec: ["ip link set lo up"]
    b: {kind: linux}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""


def load(directory: Path, text: str) -> topology.Topology:
    (directory / "file").touch()
    path = directory / "small.clab.yml"
    path.write_text(text, encoding="utf-8")
    return topology.load(path)


def test_reads_nodes_links_and_binds(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)

    assert list(found.nodes) == ["a", "b"]
    assert [str(end) for end in found.links[0].ends] == ["a:eth1", "b:eth1"]
    assert found.nodes["a"].commands == [["ip", "link", "set", "lo", "up"]]
    (bind,) = found.binds("a")
    assert bind.source == tmp_path / "file"
    assert bind.target == Path("/etc/file")
    assert bind.read_only


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("b: {kind: linux}", "b: {kind: nokia_srlinux}", 8, "the lab knows only 'linux'"),
        ("b: {kind: linux}", "b: {startup-config: x}", 8, "does not know this key"),
        ("name: small", "name: small\nmgmt: {network: x}", 2, "does not know this key"),
        ("topology:", "topology:\n  defaults: {privileged: true}", 3, "the lab knows only False"),
        ("b: {kind: linux}", "b: {image: $NOT_SET}", 8, "no NOT_SET in the environment"),
        ("b: {kind: linux}", "b: {image: '${A+b}'}", 8, "a dollar is written $$"),
        ('"b:eth1"', '"c:eth1"', 10, "there is no node 'c'"),
        ('"b:eth1"', '"a:eth1"', 10, "a:eth1 is the end of more than one link"),
        ('"b:eth1"', '"b"', 10, "is not NODE:INTERFACE"),
        ("file:/etc/file:ro", "gone:/etc/file", 6, "does not exist"),
        ("file:/etc/file:ro", "file:etc/file", 6, "must be an absolute path"),
        ("file:/etc/file:ro", "file:/etc/../file", 6, "must be an absolute path"),
        ("file:/etc/file:ro", "/etc/file", 6, "is not SOURCE:TARGET"),
        ("ip link set lo up", "ip 'link", 7, "cannot be split into words"),
        ("name: small", "name: [", 3, "expected"),
    ],
)
def test_says_what_is_wrong_and_where(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, GOOD.replace(old, new))

    assert message in str(caught.value)
    assert f"small.clab.yml:{line}:" in str(caught.value)
    assert caught.value.exit_status == 78


@pytest.mark.parametrize(
    ("written", "inherited", "image"),
    [
        ("x:${OURS:=1}", None, "x:1"),
        ("x:${OURS:=1}", "", "x:1"),
        ("x:${OURS:-1}", "2", "x:2"),
        ("x:${OURS-1}", "", "x:"),
        ("x:${OURS=1}", None, "x:1"),
        ("x:$OURS", "3", "x:3"),
        ("x:${OURS}", "4", "x:4"),
        ("x:$$OURS", "5", "x:$OURS"),
    ],
)
def test_the_environment_is_put_in_as_containerlab_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, inherited: str | None, image: str
) -> None:
    monkeypatch.delenv("OURS", raising=False)
    if inherited is not None:
        monkeypatch.setenv("OURS", inherited)

    found = load(
        tmp_path, GOOD.replace("topology:", f"topology:\n  defaults: {{image: '{written}'}}")
    )

    assert {node.image for node in found.nodes.values()} == {image}


def test_a_node_may_have_an_image_of_its_own(tmp_path: Path) -> None:
    text = GOOD.replace("topology:", "topology:\n  defaults: {image: one}")

    found = load(tmp_path, text.replace("b: {kind: linux}", "b: {image: other}"))

    assert [node.image for node in found.nodes.values()] == ["one", "other"]


def test_reports_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, GOOD.replace("kind: linux", "kind: bridge"))

    assert len(str(caught.value).splitlines()) == 2


def test_knows_the_shipped_topologies_by_name() -> None:
    with pytest.raises(TopologyError, match=r"there is no topology 'nowhere' \(known: .*dual-tor"):
        topology.find("nowhere")

    for name in SHIPPED:
        assert topology.load(topology.find(name)).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_topologies_are_valid_for_containerlab(name: str) -> None:
    place = os.environ.get("CLAB_SCHEMA")
    if place is None or not Path(place).is_file():
        reason = "containerlab's JSON schema is not here: CLAB_SCHEMA does not name it"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    schema = json.loads(Path(place).read_text(encoding="utf-8"))
    data = YAML(typ="safe").load(topology.find(name))

    # Not check_schema(): containerlab's has patterns of Go's that Python cannot read.
    validator = jsonschema.validators.validator_for(schema)(schema)

    assert [error.message for error in validator.iter_errors(data)] == []
    data["topology"]["nodes"]["core"]["unknown-key"] = 1
    assert [error.message for error in validator.iter_errors(data)] != []
