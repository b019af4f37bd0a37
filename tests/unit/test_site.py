"""The documentation becomes a site, strictly: pages, links and anchors; nothing is left unread."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Text(HTMLParser):
    """Collects the text of a page that is not code, and what the page takes from elsewhere."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.code = 0
        self.text = ""
        self.loaded: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code += tag in ("pre", "code", "script")
        name = {"link": "href", "script": "src", "img": "src"}.get(tag)
        self.loaded += [str(value) for key, value in attrs if key == name]

    def handle_endtag(self, tag: str) -> None:
        self.code -= tag in ("pre", "code", "script")

    def handle_data(self, data: str) -> None:
        self.text += "" if self.code else data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    # Not --quiet: what is not printed is not counted by `strict` either.
    command = [sys.executable, "-m", "mkdocs", "build", "-f", ".mkdocs.yml"]
    done = subprocess.run(
        [*command, "-d", str(made)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"{done.stderr}\nA page that is not in the navigation: name it in docs/README.md."
    )
    assert "WARNING" not in done.stderr
    return made


def pages(site: Path) -> list[Path]:
    return [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]


def test_every_page_is_there(site: Path) -> None:
    """Those below docs/, the laboratory's and the changes."""
    made = {page.relative_to(site).with_suffix("").as_posix() for page in pages(site)}
    docs = {p.relative_to(ROOT / "docs").with_suffix("") for p in (ROOT / "docs").rglob("*.md")}
    wanted = {path.as_posix().replace("README", "index") for path in docs}
    assert made == {*wanted, "lab", "changelog", "search"}


def test_lists_tables_and_fences_are_what_they_are_on_a_code_host(site: Path) -> None:
    for page in pages(site):
        left = re.findall(r"^ *(?:[-*] .*|\|.*\|$|```.*)", Text(page).text, re.MULTILINE)
        assert left == [], page.name


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        assert [each for each in Text(page).loaded if "//" in each] == [], page.name


def test_links_lead_into_the_site_or_into_the_repository(site: Path) -> None:
    host = (site / "host.html").read_text(encoding="utf-8")
    repository = "https://github.com/bgphealth/bgphealth"
    assert 'href="lab.html"' in host
    assert f'href="{repository}/blob/main/lab/dual-tor/tor1/frr.conf"' in host
    assert f'href="{repository}/tree/main/examples/scenarios"' in (
        site / "simulate.html"
    ).read_text(encoding="utf-8")
    lab = (site / "lab.html").read_text("utf-8")
    assert 'href="topologies.html"' in lab
    assert f'href="{repository}/blob/main/lab/dual-wan/README.md#what-to-try"' in lab
