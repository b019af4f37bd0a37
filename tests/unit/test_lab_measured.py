"""What every measurement of the lab has around it."""

from __future__ import annotations

import pytest

from lab import convergence, dual_tor, topology
from lab.errors import LabError
from lab.measured import lab_up, machine
from lab.namespaces import NamespaceDriver


class Made(NamespaceDriver):
    """Notes what would be made and taken down."""

    def __init__(self) -> None:
        super().__init__(topology.load(topology.find(dual_tor.NAME)))
        self.done: list[str] = []

    def up(self) -> None:
        self.done.append("up")

    def down(self) -> bool:
        self.done.append("down")
        return True


def test_what_fails_is_taken_down_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_converged(_: object) -> None:
        raise LabError("it does not")

    driver, said = Made(), list[str]()
    with pytest.raises(ZeroDivisionError), lab_up(driver, said.append, converges=False):
        driver.done.append(str(1 / 0))
    assert driver.done == ["up", "down"]
    assert said == ["up: dual-tor", "down: dual-tor"]
    monkeypatch.setattr(convergence, "wait_converged", wait_converged)
    with pytest.raises(LabError), lab_up(driver, said.append):
        driver.done.append("measured")
    assert driver.done == ["up", "down"] * 2


def test_the_machine_is_described() -> None:
    assert machine().keys() == {"cpus", "load_before"}
