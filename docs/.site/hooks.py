"""Lets mkdocs read pages written for a code host: navigation, links, anchors, lists."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"lab/README.md": "lab.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the site that are not below docs/."""

LINK = re.compile(r"(\]\()([^)\s#:]+)(?=[)#])")
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
ENTRY = re.compile(r"^- +(\d+: )?\[([^\]]+)\]\(([^)#]+)", re.MULTILINE)
WITHIN = re.compile(r"\[([^\]]+)\]\(([^)#/:]+\.md)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation from docs/README.md, and anchors as a code host makes them."""
    _, *parts = SECTION.split(text_of("README.md"))
    nav: list[dict[str, object]] = [{"Home": "README.md"}]
    folders: list[dict[str, object]] = []
    taken: set[str] = set()
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        pages: list[dict[str, str]] = []
        for number, words, link in ENTRY.findall(text):
            page, name = in_site(f"docs/{link}"), " ".join(words.replace("`", "").split())
            if page in taken:
                continue
            taken.add(page)
            if page.endswith("/README.md"):
                folders.append({name: list(folder(page))})
            else:
                pages.append({number + name: page})
        nav += [{title: pages}] if pages else []
    config.nav = [*nav, *folders]
    config.mdx_configs["toc"]["slugify"] = slug
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are elsewhere in the repository."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Let links lead into the site, or else into the repository; indent lists by four."""
    places = {page: source for source, page in ELSEWHERE.items()}
    source = places.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        if target in ELSEWHERE or (target.startswith("docs/") and (ROOT / target).is_file()):
            here = posixpath.dirname(page.file.src_uri) or "."
            return match[1] + posixpath.relpath(in_site(target), here)
        if not (ROOT / target).exists():
            return match[0]  # mkdocs says that it is not there.
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{match[1]}{config.repo_url}/{kind}/main/{target}"

    return "\n".join(indented(LINK.sub(lead, markdown)))


def text_of(page: str) -> str:
    """Return a page below docs/."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def folder(index: str) -> Iterator[dict[str, str]]:
    """Yield the index of a folder of pages, and those that it names."""
    yield {"All": index}
    for name, link in WITHIN.findall(text_of(index)):
        yield {name: posixpath.join(posixpath.dirname(index), link)}


def in_site(path: str) -> str:
    """Return the page of the site that a path in the repository is."""
    path = posixpath.normpath(path)
    return ELSEWHERE.get(path, path.removeprefix("docs/"))


def indented(markdown: str) -> Iterator[str]:
    """Yield the lines, what is in a list indented as Python-Markdown reads it: by four.

    A fence in a list becomes indented code, and an item after one that has paragraphs gets an empty
    line before it.
    """
    fence: str | None = None
    before, has_paragraphs = "", False
    for line in markdown.split("\n"):
        text = line.lstrip(" ")
        spaces = " " * (len(line) - len(text))
        if text.startswith("```") and fence in (None, spaces):
            yield "" if spaces else line
            fence = spaces if fence is None else None
        elif fence is not None:
            yield f"{2 * fence}    {line[len(fence) :]}" if fence else line
        else:
            has_paragraphs = has_paragraphs or (bool(spaces) and not before)
            if has_paragraphs and line.startswith("- "):
                yield ""
            has_paragraphs = has_paragraphs and (bool(spaces) or not line)
            yield spaces + line
        before = line


def slug(heading: str, _: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
