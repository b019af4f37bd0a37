"""Nothing from the file becomes a second line, command or word anywhere (design E4)."""

from __future__ import annotations

import copy
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bgphealth import templating
from bgphealth.config import load
from bgphealth.core.errors import BgphealthError, ConfigurationError
from bgphealth.core.settings import Mode
from bgphealth.exabgp.render import render_conf, render_env
from bgphealth.frr.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[1] / "golden"
FULL: dict[str, dict[str, Any]] = {
    host: YAML(typ="safe").load(GOLDEN / host / "bgphealth.yaml")
    for host in ("three-uplinks", "direct")
}
FILE = Path("/etc/bgphealth/bgphealth.yaml")
MARK = "evil"

HOSTILE = [
    f"\n{MARK}",
    f"\r\n{MARK}",
    f"\u2028{MARK}",
    f"\x85{MARK}",
    f"\x00{MARK}",
    f"; run /bin/{MARK}",
    f" {{ {MARK} }}",
    f"%{MARK}",
    f"%\n{MARK}",
    f" community [ {MARK} ]",
    f"{{{{ {MARK} }}}}",
    f"! {MARK}",
    f"# {MARK}",
]


def places(node: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every text of the file is; a key is marked by None at the end of its path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key, None)
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from places(value, (*path, index))
    else:
        yield path


def with_hostile(host: str, path: tuple[Any, ...], hostile: str) -> str:
    data = copy.deepcopy(FULL[host])
    *way, last = path
    node: Any = data
    if last is None:
        *way, last = way
        for step in way:
            node = node[step]
        renamed = {f"{k}{hostile}" if k == last else k: v for k, v in node.items()}
        node.clear()
        node.update(renamed)
        return json.dumps(data)
    for step in way:
        node = node[step]
    node[last] = f"{node[last]}{hostile}"
    return json.dumps(data)


def rendered(text: str) -> str:
    """Load and render; the empty text when the file is refused, as it should be.

    JSON is YAML as well, and written in no time.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bgphealth.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            settings = load(file)
        except ConfigurationError:
            return ""
        out = render_conf(settings, FILE, ["/x"]) + render_env(FILE)
        return out + render(settings, FILE) if settings.mode is Mode.FRR else out


PLACES = [(host, path) for host in FULL for path in sorted(places(FULL[host]), key=str)]


def test_the_files_are_right_as_they_stand() -> None:
    assert "neighbor 10.0.1.0 remote-as 4200000001" in rendered(json.dumps(FULL["three-uplinks"]))
    assert "peer-as 65002;" in rendered(json.dumps(FULL["direct"]))
    assert len(PLACES) > 90


@pytest.mark.parametrize(("host", "path"), PLACES, ids=str)
def test_no_place_lets_anything_through(host: str, path: tuple[Any, ...]) -> None:
    for hostile in HOSTILE:
        assert MARK not in rendered(with_hostile(host, path, hostile)), hostile


@given(st.sampled_from(PLACES), st.text(min_size=1, max_size=12))
def test_whatever_is_typed_the_lines_stay_the_same(
    place: tuple[str, tuple[Any, ...]], text: str
) -> None:
    host, path = place
    out = rendered(with_hostile(host, path, text))
    assert len(out.splitlines()) in {0, len(rendered(json.dumps(FULL[host])).splitlines())}


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
WORDS = st.sampled_from([str(step) for _, path in PLACES for step in path if isinstance(step, str)])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(WORDS, TREES, max_size=8))
def test_any_file_is_read_or_refused(data: dict[str, object]) -> None:
    text = io.StringIO()
    YAML(typ="safe").dump(data, text)
    rendered(text.getvalue())  # Raises for anything but ConfigurationError.


@pytest.mark.parametrize(("host", "path"), PLACES, ids=str)
def test_any_type_anywhere_is_read_or_refused(host: str, path: tuple[Any, ...]) -> None:
    for value in (None, True, -1, 1.5, "", "x", [], ["x"], {}, {"x": "x"}, 2**70):
        data = copy.deepcopy(FULL[host])
        node: Any = data
        *way, last = [step for step in path if step is not None]
        for step in way:
            node = node[step]
        node[last] = value
        rendered(json.dumps(data))


@pytest.mark.parametrize(
    "file", ["/etc/x y.yaml", "/etc/x;y.yaml", "/etc/x\ny", "/etc/{x}", '/etc/"x"', "/etc/#x", "x"]
)
def test_exabgp_conf_refuses_a_path_that_is_more_than_a_word(file: str) -> None:
    settings = load(GOLDEN / "ipv4-only" / "bgphealth.yaml")
    with pytest.raises(ConfigurationError):
        render_conf(settings, Path(file), ["/usr/bin/bgphealth"])
    with pytest.raises(ConfigurationError):
        render_conf(settings, FILE, [file])


@pytest.mark.parametrize("password", ["x y", "x;y", 'x"y', "x\ny", "{x}", "#x", "x\\y", ""])
def test_exabgp_conf_refuses_a_password_that_is_more_than_a_word(password: str) -> None:
    settings = load(GOLDEN / "direct" / "bgphealth.yaml")
    with pytest.raises(ConfigurationError) as caught:
        render_conf(settings, FILE, ["/x"], {"tor1": password})
    assert not password or password not in str(caught.value)


def test_templates_refuse_a_second_line_by_themselves() -> None:
    settings = load(GOLDEN / "ipv4-only" / "bgphealth.yaml")
    with pytest.raises(BgphealthError, match="cannot be written"):
        render(settings, Path("/etc/x\nneighbor 10.9.9.9 remote-as 1"))
    with pytest.raises(BgphealthError, match="cannot be written"):
        templating.render("exabgp.env.j2", file="x\ny")
