"""The picture of a topology: everything of the file is in it, where containerlab's labels say."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from lab import graph, racks, scene, topology
from lab.cli import main
from lab.topology import Topology

SHIPPED = tuple(scene.MEASURED)
SVG = "{http://www.w3.org/2000/svg}"


def shipped(name: str) -> Topology:
    return topology.load(topology.find(name))


def elements(drawn: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(drawn).iter(f"{SVG}{name}"))  # noqa: S314 - our own


def texts(drawn: str) -> list[str]:
    return [each.text or "" for each in elements(drawn, "text")]


def names_by_height(drawn: str) -> list[str]:
    """Return the nodes from top to bottom, and from left to right."""
    found = [
        (float(each.attrib["y"]), float(each.attrib["x"]), each.text or "")
        for each in elements(drawn, "text")
        if each.attrib["class"] == "name"
    ]
    return [name for _, _, name in sorted(found)]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_node_link_and_address_is_drawn(name: str) -> None:
    lab = shipped(name)
    drawn = graph.svg(lab)
    shown = " ".join(texts(drawn)).split()
    given = {
        words[words.index("add") + 1].removesuffix("/32").removesuffix("/128")
        for node in lab.nodes.values()
        for words in node.commands
        if words[:3] == ["ip", "addr", "add"]
    }

    assert set(lab.nodes) | given <= set(shown)
    titles = [each.text for each in elements(drawn, "title")]
    assert titles == [" – ".join(map(str, link.ends)) for link in lab.links]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_node_has_its_layer(name: str) -> None:
    lab = shipped(name)
    levels = [int(lab.nodes[each].labels[graph.LEVEL]) for each in names_by_height(graph.svg(lab))]

    assert levels == sorted(levels)
    assert levels[0] == 1


def test_who_is_in_which_as() -> None:
    shown = texts(graph.svg(shipped(racks.FABRIC)))

    for asn in (65000, 65010, *range(65001, 65005)):
        assert f"AS {asn} · FRR" in shown
    for asn in range(65101, 65105):
        assert f"AS {asn} · FRR, ExaBGP, bgphealth" in shown
    assert not any("AS" in text for text in texts(graph.svg(shipped("dual-wan"))))


def test_nothing_is_drawn_over_anything_else() -> None:
    boxes = [
        tuple(float(each.attrib[key]) for key in ("x", "y", "width", "height"))
        for each in elements(graph.svg(shipped(racks.FABRIC)), "rect")
        if each.attrib.get("class", "").startswith("node")
    ]
    assert len(boxes) == 11
    for (x, y, width, height), other in permutations(boxes, 2):
        beside = other[0] >= x + width or other[0] + other[2] <= x
        assert beside or other[1] >= y + height or other[1] + other[3] <= y


def test_it_is_written_to_a_file_or_printed(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["graph", "anycast"])
    written = tmp_path / "anycast.svg"

    assert CliRunner().invoke(main, ["graph", "anycast", "-o", str(written)]).output == ""
    assert printed.output == written.read_text(encoding="utf-8")
    assert re.match(r'<svg xmlns="http://www\.w3\.org/2000/svg" width="\d+"', printed.output)


def test_what_is_not_there_is_refused_in_words() -> None:
    result = CliRunner().invoke(main, ["graph", "nowhere"])

    assert result.exit_code == 78
    assert "there is no topology 'nowhere'" in result.output
