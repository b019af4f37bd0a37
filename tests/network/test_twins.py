"""With and without bgphealth, side by side: what it must not make worse, and harm that is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import convergence, dual_tor, twins
from tests.support.laboratory import edited, reload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespaces import NamespaceDriver

SECONDS = twins.MIN_SECONDS
CASE = twins.CASES["both-uplinks"]


@pytest.fixture
def withdrawing(lab: NamespaceDriver) -> Iterator[NamespaceDriver]:
    """Have bgphealth do harm: it takes the last paths away."""
    with edited(lab, "s/all_down: keep_last/all_down: withdraw/"):
        reload(lab)
        yield lab
    reload(lab)
    convergence.wait_converged(lab)


@pytest.fixture(scope="module")
def without(plain_lab: NamespaceDriver) -> twins.Measured:
    """Return what the fault does to a server that has no bgphealth."""
    return twins.measure(plain_lab, CASE, SECONDS)


def words(with_it: twins.Measured, without: twins.Measured) -> dict[tuple[str, str], str]:
    rows = twins.rows(dual_tor.NAME, CASE, [with_it], [without])
    return {(row["direction"], row["family"]): row["verdict"] for row in rows}


def test_nothing_is_worse_while_no_path_works(
    lab: NamespaceDriver, without: twins.Measured
) -> None:
    assert all(figures["lost_s"] > SECONDS / 2 for figures in without.values())

    with_it = twins.measure(lab, CASE, SECONDS)

    assert set(words(with_it, without).values()) == {"same"}, (with_it, without)


def test_harm_is_found(withdrawing: NamespaceDriver, without: twins.Measured) -> None:
    with_it = twins.measure(withdrawing, CASE, SECONDS)

    assert set(words(with_it, without).values()) == {"worse"}, (with_it, without)
