"""The pytest plugin for topologies of containerlab: the fixture `clab` (docs/testing.md).

pytest loads this module wherever bgphealth is installed beside it. So it imports next to nothing:
what does the work is imported with the first lab.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from bgphealth.testing import Lab
    from bgphealth.testing.labs import Labs

_MARK = "clab(topology, name=None, scope='module'): the containerlab topology of a module's tests"
_LABS = pytest.StashKey["Labs"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of them `--clab-…`."""
    group = parser.getgroup("clab", "containerlab topologies with bgphealth in them")
    group.addoption(
        "--clab-command",
        metavar="COMMAND",
        help="how containerlab and docker are run: 'sudo containerlab', or what stands before both",
    )
    group.addoption(
        "--clab-keep",
        action="store_true",
        help="do not destroy what was deployed, so that it can be looked at",
    )
    group.addoption(
        "--clab-reuse",
        action="store_true",
        help="use a lab that is up already, and leave it up",
    )
    parser.addini("clab_command", "the same as --clab-command", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture(scope="session")
def clab_command(pytestconfig: pytest.Config) -> Sequence[str]:
    """Return what stands before `containerlab` and `docker`; override it where that must be found.

    It is what `--clab-command` says, or `clab_command` of the configuration file; nothing else.
    """
    said = pytestconfig.getoption("--clab-command") or pytestconfig.getini("clab_command")
    words = shlex.split(said)
    return words[:-1] if words and os.path.basename(words[-1]) == "containerlab" else words  # noqa: PTH119 - no import more


@pytest.fixture(scope="session")
def clab_environment() -> Mapping[str, str]:
    """Return what containerlab and docker have in their environment besides ours; to be overridden.

    A topology may use it: `image: ${MY_IMAGE}`.
    """
    return {}


@pytest.fixture(scope="session")
def _clab_labs(
    pytestconfig: pytest.Config,
    clab_command: Sequence[str],
    clab_environment: Mapping[str, str],
) -> Iterator[Labs]:
    from bgphealth.testing.labs import Labs  # noqa: PLC0415 - only with a lab

    labs = Labs(
        clab_command,
        clab_environment,
        keep=pytestconfig.getoption("--clab-keep"),
        reuse=pytestconfig.getoption("--clab-reuse"),
    )
    pytestconfig.stash[_LABS] = labs
    try:
        yield labs
    finally:
        labs.close()


@pytest.fixture(scope="module")
def clab(request: pytest.FixtureRequest, _clab_labs: Labs) -> Iterator[Lab]:
    """Deploy the topology that the module is marked with; its nodes by name.

    With `scope="session"` in the mark it stays up for other modules that have the same.
    """
    from bgphealth.testing import ClabError  # noqa: PLC0415 - only with a lab

    mark = request.node.get_closest_marker("clab")
    if mark is None:
        pytest.fail(
            f"{request.node.name} says no topology: pytestmark = pytest.mark.clab('my.clab.yml')",
            pytrace=False,
        )
    try:
        wanted = _clab_labs.wanted(request.path.parent, *mark.args, **mark.kwargs)
        lab = _clab_labs.up(wanted)
    except (ClabError, TypeError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    try:
        yield lab
    finally:
        _clab_labs.release(wanted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test how the nodes were: before its faults were healed."""
    report = yield
    lab: Lab | None = getattr(item, "funcargs", {}).get("clab")
    if lab is not None and report.when != "teardown":
        seen = lab.take_seen()
        if report.failed:
            report.sections.extend(seen or lab.seen())
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which labs are still there."""
    labs = config.stash.get(_LABS, None)
    for line in () if labs is None else labs.left:
        terminalreporter.write_line(line)
