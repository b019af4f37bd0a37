"""docs/matrix.md is what `python -m lab matrix --output docs/matrix/NAME.json` measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import catalogue, matrix_page
from lab.matrix import TOPOLOGIES, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = "../../docs/matrix.md"
FILES = sorted((Path(__file__).parents[2] / "docs" / "matrix").glob("*.json"))
INTRO = """\
<!-- Made from docs/matrix/*.json: pytest tests/golden/test_matrix.py --update-golden -->

# Every fault, on every topology

What the [laboratory](../lab/README.md) measures when it makes each fault on each topology: outage
in both directions, recovery, what was announced meanwhile. This page is made from the JSON that the
runs wrote (`docs/matrix/`); no figure in it is typed.

```sh
.venv/bin/python -m lab matrix                        # all of it, as root; see --help
.venv/bin/python -m lab matrix --topology dual-tor --fault flap --fault tor-crash
.venv/bin/python -m lab matrix --output docs/matrix/namespaces.json && make docs-update
```

`--output FILE` writes the JSON, after each topology anew, and at the end `FILE.html` with colours
beside it. Exit status 1 when anything did not hold; Ctrl-C ends it with what there is, and
`--resume` goes on with it: topologies on which all held are not measured again.

- **Outages** are the longest time without answers of the worst flow, IPv4 / IPv6, in seconds; there
  are 16 flows of IPv4 and 4 of IPv6 in each direction, each with 100 datagrams a second. A fault is
  healed some seconds after everything that it should move has moved: where nothing can be moved
  (`both-uplinks`, `service-down` without another server), the outage is as long as that. With
  `frr-restart`, *new connections* are flows out that choose their source with each datagram, where
  the links have addresses to choose.
- **Recovery**: from the healing, or from the fault where it mends itself, until the last route was
  as before. `helper-kill`, `exabgp-kill`, `bgpd-kill`, `frr-restart` and `fallback-deleted` mend
  themselves.
- **Announced meanwhile**, in seconds from the fault: what the ToRs were told by the server, as it
  came over the wire, and the defaults that its own bgpd was told by ExaBGP. What is lost with a
  session is told to nobody: *sessions ended*. What is used last, or drained, is announced with
  other attributes: *announced*, too.
- **held**: everything that must hold did. The routes of server and core went where the fault says,
  and came back. **No announcement was stale**: held by a bgpd although verdict, service or
  announcer were gone, or withdrawn later after the verdict than the hold time, 9 s (while all
  uplinks are down, all are kept). What a session took with it when it ended is not looked at: with
  `bgpd-kill` and `frr-restart` that is all, and only that it came back is known. **Every bgpd said
  what it holds**, but those that the fault had killed. **Nothing else was announced**: no prefix
  that is not in the file, no default to a ToR. **What was withdrawn stayed so until the healing**,
  where the fault lasts. **All was announced again.** **No foreign route of the server changed**, of
  those that were there and of six that the measurement plants. Each of these checks fails in
  `tests/network/test_stale.py` or `tests/unit/test_lab_announced.py`, where it must.

"""


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in FILES]


def test_page(golden: Callable[[str, str], None], runs: list[dict[str, Any]]) -> None:
    golden(PAGE, INTRO + "\n".join(matrix_page.markdown(runs)) + "\n")


def test_the_record_is_whole(runs: list[dict[str, Any]]) -> None:
    """Nothing that the page should have is missing from it, and nothing did not hold."""
    assert {run["version"] for run in runs} == {VERSION}
    for run in runs:
        assert run["passed"], run["at"]
        for topology in run["topologies"]:
            measured = [cell["fault"] for cell in topology["cells"]]
            assert measured == list(catalogue.made_on(topology["topology"]))
            rounds = [each for cell in topology["cells"] for each in cell["rounds"]]
            assert all(each["recovery_s"] is not None for each in rounds)
            assert all(each["stale"] == [] and each["foreign_untouched"] for each in rounds)
    assert {t["topology"] for run in runs for t in run["topologies"]} == set(TOPOLOGIES)
