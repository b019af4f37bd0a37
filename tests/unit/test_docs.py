"""The documentation names what there is, quotes what is printed, and links to what exists."""

from __future__ import annotations

import ast
import re
import shlex
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import pytest
from click.testing import CliRunner

from bgphealth.cli.app import app
from bgphealth.config import load
from bgphealth.config.local import LocalFile
from bgphealth.config.model import File
from bgphealth.config.scenario import Changes, Expect, Flap, ScenarioFile, Step
from bgphealth.core.quality import patient_fall
from bgphealth.core.scenario import Behaviour
from bgphealth.core.settings import ProbeKind
from lab import catalogue, topology
from lab.cli import main as lab
from tests.support.command_line import command_lines, lab_command_lines, parse
from tests.support.keys import PLACES, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOGS = (DOCS / "logs.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
PROBES = (DOCS / "probes.md").read_text(encoding="utf-8")
SIMULATE = (DOCS / "simulate.md").read_text(encoding="utf-8")
EXEC = (ROOT / "bgphealth" / "probes" / "exec.py").read_text(encoding="utf-8")

LABORATORY = [ROOT / "lab" / "README.md", *sorted((ROOT / "lab").glob("*/README.md"))]
ELSEWHERE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *LABORATORY]
PAGES = [*sorted(DOCS.rglob("*.md")), *ELSEWHERE]

LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)


class Block(NamedTuple):
    page: str
    language: str
    text: str


def names_of_events(source: str) -> Iterator[str]:
    """Yield what is logged: the first argument of a logging method or of `_transition`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in LEVELS | {"_transition"} or not node.args:
            continue
        names = list(literals(node.args[0], tree))
        assert names, f"line {node.lineno}: an event's name is a literal, or one of two"
        yield from names


def literals(name: ast.expr, tree: ast.Module) -> Iterator[str]:
    """Yield what an event's name can be: a literal, or a variable that is one of two literals."""
    match name:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*literals(body, tree), *literals(orelse, tree))
        case ast.Name(id=variable):
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and variable in map(ast.unparse, node.targets):
                    yield from literals(node.value, tree)


def events() -> set[str]:
    files = (ROOT / "bgphealth" / "daemon").glob("*.py")
    return {name for file in files for name in names_of_events(file.read_text(encoding="utf-8"))}


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page.name, *found) for found in FENCE.findall(text)]


def every_block() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def mentioned(text: str) -> list[str]:
    """Return the arguments of what a text says to call, as in `bgphealth check`."""
    found: list[str] = re.findall(r"`bgphealth\s+([^`]+)`", text)
    return [" ".join(line.split()) for line in found if "COMMAND" not in line]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_events_are_found() -> None:
    assert {"started", "path_changed", "exabgp_refused", "kernel_changed"} <= events()
    assert {"path_suspect", "path_not_suspect"} <= events()


@pytest.mark.parametrize("event", sorted(events()))
def test_every_event_has_its_heading(event: str) -> None:
    assert f"\n### `{event}`\n" in LOGS


def test_no_heading_without_an_event() -> None:
    assert events() == set(re.findall(r"^### `(\w+)`$", LOGS, re.MULTILINE))


@pytest.mark.parametrize("key", sorted({*keys_of(File), *keys_of(LocalFile)}))
def test_every_key_is_explained(key: str) -> None:
    assert re.search(rf"^\| `{re.escape(key)}` \|", CONFIGURATION, re.MULTILINE)


def test_keys_are_found_recursively() -> None:
    keys = set(keys_of(File))
    assert {"host.source.ipv6", "uplinks.NAME.next_hop.ipv4", "paths.beyond.need"} <= keys
    assert {"services.NAME.on_down", "fallback.rule_priority"} <= keys
    assert {"paths.gateway", "paths.degraded.latency.enter"} <= keys


@pytest.mark.parametrize("key", sorted({k for place in PLACES.values() for k in keys_of(place)}))
def test_every_key_of_a_probe_is_explained(key: str) -> None:
    assert re.search(rf"^\| `{re.escape(key)}` \|", CONFIGURATION, re.MULTILINE)


def test_keys_of_probes_are_found() -> None:
    keys = {key for place in PLACES.values() for key in keys_of(place)}
    assert {"link", "http.min_valid", "dns.answers", "exec.command"} <= keys
    assert {"http.url.port", "dns.server.ipv4"}.isdisjoint(keys)


@pytest.mark.parametrize("kind", list(ProbeKind))
def test_every_kind_is_explained(kind: ProbeKind) -> None:
    """Each kind has its section, and its row says truly where it may stand."""
    assert f"\n### `{kind}`\n" in PROBES
    row = re.search(rf"^\| `{kind}` \|(.+)\|$", PROBES, re.MULTILINE)
    assert row is not None
    places = [cell.strip() for cell in row[1].split("|")][-3:]
    assert places == ["yes" if kind in p.model_fields else "–" for p in PLACES.values()]


def test_everything_a_program_is_told_is_explained() -> None:
    told = set(re.findall(r"BGPHEALTH_\w+", EXEC)) - {"BGPHEALTH_TARGET"}  # exec has no target.
    assert told == set(re.findall(r"^\| `(BGPHEALTH_\w+)`", PROBES, re.MULTILINE))


def test_patience_is_as_explained() -> None:
    rows = re.findall(r"^\| (\d+) % \| (\d+) \|$", PROBES, re.MULTILINE)
    assert len(rows) >= 5
    assert [patient_fall(3, int(loss) / 100) for loss, _ in rows] == [int(n) for _, n in rows]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


FILES = [
    block
    for block in every_block()
    if block.language == "yaml" and block.text.startswith("version:")
]


@pytest.mark.parametrize("page", ["exabgp.md", "when-x-dies.md"])
def test_tests_that_are_named_exist(page: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (DOCS / page).read_text(encoding="utf-8"))
    assert named
    for path, name in named:
        text = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), (path, name)


def test_there_are_examples() -> None:
    pages = {block.page for block in FILES}
    assert {"README.md", "configuration.md", "direct.md", "dual-wan.md", "host.md"} <= pages


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.page)
def test_examples_are_valid(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(block.text, encoding="utf-8")
    load(file)


def quoted() -> list[tuple[str, str]]:
    """Return each file in these pages with the output of `check` that is quoted after it."""
    return [
        (file.text, output.text)
        for page in ("configuration.md", "direct.md", "dual-wan.md")
        for file, output in pairwise(blocks(DOCS / page))
        if (file.language, output.language) == ("yaml", "text")
    ]


def test_output_is_quoted() -> None:
    assert len(quoted()) == 6


@pytest.mark.parametrize(
    ("file", "output"),
    quoted(),
    ids=["complete", "minimal", "kinds", "wrong", "direct", "dual-wan"],
)
def test_quoted_output_is_what_check_prints(
    file: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bgphealth.yaml").write_text(file, encoding="utf-8")
    assert CliRunner().invoke(app, ["-c", "bgphealth.yaml", "check"]).output == output


COMMANDS = sorted(
    {
        shlex.join(line)
        for block in every_block()
        for line in command_lines(block.language, block.text)
    }
)


def test_commands_are_found() -> None:
    assert {"check", "drain host", "render frr -o /etc/frr", "probe --tables"} <= set(COMMANDS)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_those_that_there_are(line: str) -> None:
    parse(shlex.split(line))


LAB_COMMANDS = sorted(
    {
        shlex.join(line)
        for block in every_block()
        for line in lab_command_lines(block.language, block.text)
    }
)


def test_commands_of_the_laboratory_are_found() -> None:
    assert {"demo", "up fabric", "anycast", "fault service-down anycast"} <= set(LAB_COMMANDS)


@pytest.mark.parametrize("line", LAB_COMMANDS)
def test_commands_of_the_laboratory_are_those_that_there_are(line: str) -> None:
    given = parse(shlex.split(line), lab)
    where = topology.find(given["name"]) if given.get("name") else None
    if where and "node" in given:
        assert given["node"] in topology.load(where).nodes
    if "fault_name" in given:
        catalogue.find(given["fault_name"], given.get("name", "dual-tor"))


MENTIONED = sorted({line for page in PAGES for line in mentioned(prose(page))})


def test_mentions_are_found() -> None:
    assert {"doctor", "probe --tables", "drain host", "source DEST"} <= set(MENTIONED)


@pytest.mark.parametrize("line", MENTIONED)
def test_commands_that_are_mentioned_are_there(line: str) -> None:
    """In prose the arguments may be left out."""
    usual = (click.BadParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError)
    with suppress(*usual):
        parse(shlex.split(line))


SIMULATED = re.compile(r"\$ bgphealth simulate (\S+\.yaml)(?: \| tail -(\d+))?\n(.*)", re.DOTALL)


def test_scenarios_play_as_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = blocks(DOCS / "simulate.md")
    (configuration,) = (each for each in page if each.text.startswith("version:"))
    Path("bgphealth.yaml").write_text(configuration.text, encoding="utf-8")
    played = []
    for scenario, output in pairwise(page):
        if scenario.text.startswith("scenario:"):
            match = SIMULATED.fullmatch(output.text)
            assert match is not None
            name, last, said = match.groups()
            Path(name).write_text(scenario.text, encoding="utf-8")
            lines = CliRunner().invoke(app, ["simulate", name]).output.splitlines(keepends=True)
            assert said == "".join(lines[-int(last or len(lines)) :])
            played.append(name)
    assert played == ["blackhole.yaml", "hasty.yaml"]
    arguments = ["simulate", "blackhole.yaml", "--picture", "picture.svg"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    drawn = Path("picture.svg").read_text(encoding="utf-8")
    assert drawn == (DOCS / "simulate.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [Step, Expect, Flap, Changes, ScenarioFile])
def test_every_key_of_a_scenario_is_explained(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert re.search(rf"\b{field.alias or name}\b", SIMULATE), name


@pytest.mark.parametrize("behaviour", list(Behaviour))
def test_every_way_to_answer_is_explained(behaviour: Behaviour) -> None:
    assert f"\n| `{behaviour}` | " in SIMULATE
