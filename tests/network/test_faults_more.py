"""Faults that last, and what must not happen meanwhile."""

from __future__ import annotations

import json

import pytest

from lab import convergence, experiment, faults, results
from lab.namespaces import NamespaceDriver


@pytest.mark.parametrize("name", ["flap", "exabgp-stop"])
def test_a_fault_that_lasts(lab: NamespaceDriver, name: str) -> None:
    found = results.result(experiment.run(lab, faults.FAULTS[name], lambda _: None))

    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps(found["timeline"], indent=2)
    convergence.wait_converged(lab)
