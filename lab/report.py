"""The demo's report: one HTML file that holds everything, and the same picture as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lab import pages, picture, story

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def html(result: Mapping[str, Any]) -> str:
    """Return the report as one self-contained page."""
    directions = result["direction"]
    return pages.render(
        "report.html.j2",
        result=result,
        headline=[
            ("longest outage of any flow, in", story.seconds(directions["in"]["outage_s"])),
            ("longest outage of any flow, out", story.seconds(directions["out"]["outage_s"])),
            ("until the verdict", story.seconds(result["detect_s"])),
            ("until the server's kernel", story.seconds(result["kernel_s"])),
            ("until the core", story.seconds(result["core_s"])),
        ],
        phases=story.PHASES,
        rows=[row for f in ("ipv4", "ipv6") for row in story.route_rows(result, f)],
        figures=story.figure_rows(result),
        svg=Markup(picture.svg(result)),  # noqa: S704 - its text is escaped where it is made
    )


def write(result: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write ``demo.html`` and ``demo.png`` and return their paths."""
    page, image = directory / "demo.html", directory / "demo.png"
    page.write_text(html(result), encoding="utf-8")
    picture.png(result, image)
    return [page, image]
