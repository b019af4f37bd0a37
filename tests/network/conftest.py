from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import convergence, dual_tor, dual_wan, racks, state, topology
from lab.errors import LabError
from lab.namespaces import NamespaceDriver, check_machine

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this directory, so that nobody can forget to.

    Side by side run modules, and not the tests of one: they share what took long to bring up.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.network)
            shares_lab = "lab" in getattr(item, "fixturenames", ())
            group = str(item.path.parent if shares_lab else item.path)
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def _machine() -> None:
    """Skip, or fail in CI, where the lab cannot run."""
    try:
        check_machine()
    except LabError as error:
        if "CI" in os.environ:
            pytest.fail(f"network tests must run in CI: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lab(_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceDriver]:
    """Bring dual-tor up once, apart from a lab that the user may have up."""
    with _brought_up(dual_tor.NAME, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@pytest.fixture(scope="module")
def unnumbered_lab(
    _machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceDriver]:
    """Bring dual-tor-unnumbered up for one module."""
    with _brought_up(dual_tor.UNNUMBERED, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@pytest.fixture(scope="module")
def plain_lab(
    _machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceDriver]:
    """Bring dual-tor without bgphealth up for one module."""
    plain = dual_tor.PLAIN[dual_tor.NAME]
    with _brought_up(plain, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@pytest.fixture(scope="module")
def direct_lab(
    _machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceDriver]:
    """Bring dual-tor-direct up for one module."""
    with _brought_up(dual_tor.DIRECT, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@pytest.fixture(scope="module")
def wan_lab(_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceDriver]:
    """Bring dual-wan up for one module."""
    with _brought_up(dual_wan.NAME, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@pytest.fixture(scope="module")
def fabric_lab(
    _machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NamespaceDriver]:
    """Bring the small fabric up for one module."""
    with _brought_up(racks.FABRIC, tmp_path_factory.mktemp("lab-state")) as driver:
        yield driver


@contextmanager
def _brought_up(name: str, state_directory: Path) -> Iterator[NamespaceDriver]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(state.ENVIRONMENT_VARIABLE, str(state_directory))
        driver = NamespaceDriver(topology.load(topology.find(name)))
        driver.up()
        try:
            convergence.wait_converged(driver)
            yield driver
        finally:
            driver.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add logs and state of every node to the report of a test that failed on the lab."""
    report = yield
    for driver in getattr(item, "funcargs", {}).values():
        if report.when == "call" and report.failed and isinstance(driver, NamespaceDriver):
            report.sections.append(("the lab", convergence.diagnosis(driver)))
    return report
