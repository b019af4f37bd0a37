"""docs/reasons.md is what bgphealth/core/reasons.py says; --update-golden writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bgphealth.core.reasons import About, Meaning, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "../../docs/reasons.md"
INTRO = """\
<!-- Made from bgphealth/core/reasons.py: pytest tests/golden/test_reasons.py --update-golden -->

# Reasons

Why a path, a service or an announcement is as it is, and why a drain is over: one word, the same
in the [log](logs.md), in the status for the service manager and in [simulations](simulate.md). The
words are an interface: none is given another meaning.

*Do* is for whoever is called at night; where there is none, nothing is to be done. What each
failure looks like as a whole is in [failure-modes.md](failure-modes.md); what to do when there is
no verdict at all, in [logs.md](logs.md#no-verdict).

- A path and a service have a reason for their verdict (`path_changed`, `service_changed`).
- An announcement has one for what is done with it: announced (`announce`), withdrawn (`withdraw`,
  or `not_announced` where it was not announced before), or left as it is (`not_announced`). Of a
  service with [`uplinks`](configuration.md#servicesname), "no path" is none of these uplinks'.
- In mode `local`, a default has one for being in use (`default_in_use`), spare (`default_spare`),
  or left as it is.
- A [drain](drain.md) has one for its end (`drain_ended`).

"""
OF = {
    About.PATH: "A path",
    About.SERVICE: "A service",
    About.ANNOUNCEMENT: "An announcement",
    About.DEFAULT: "A default in mode local",
    About.DRAIN: "A drain",
}


def outcome(meaning: Meaning) -> str:
    is_verdict = meaning.about in (About.PATH, About.SERVICE)
    return f"`{meaning.outcome}`" if is_verdict else meaning.outcome


def table() -> Iterator[str]:
    yield f"| reason | {' | '.join(About)} |\n|---|{'---|' * len(About)}\n"
    for reason in Reason:
        cells = {meaning.about: outcome(meaning) for meaning in reason.meanings}
        of_each = " | ".join(cells.get(about, "–") for about in About)
        yield f"| [`{reason}`](#{reason}) | {of_each} |\n"


def section(reason: Reason) -> Iterator[str]:
    yield f"\n## `{reason}`\n\n"
    for meaning in reason.meanings:
        yield f"- **{OF[meaning.about]}**, {outcome(meaning)}: {meaning.means}.\n"
        if meaning.do != "nothing":
            yield f"  *Do:* {meaning.do}.\n"


def test_page(golden: Callable[[str, str], None]) -> None:
    golden(PAGE, INTRO + "".join([*table(), *(t for reason in Reason for t in section(reason))]))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_it_means(reason: Reason) -> None:
    assert reason.meanings
    abouts = [meaning.about for meaning in reason.meanings]
    assert len(set(abouts)) == len(abouts)
    for meaning in reason.meanings:
        for text in (meaning.outcome, meaning.means, meaning.do):
            assert text == text.strip(" .\n") != ""


def test_a_reason_is_its_word() -> None:
    assert [str(reason) for reason in Reason] == [reason.value for reason in Reason]
    assert Reason("loss") is Reason.LOSS
    assert f"{Reason.LOSS}" == "loss"
