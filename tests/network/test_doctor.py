"""Each finding of the doctor in a lab that is broken in just that way; none in one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab import convergence, dual_tor
from lab.namespaces import NamespaceDriver
from tests.support.broken_host import BROKEN
from tests.support.doctor import Broken, Doctor, Found, doctor
from tests.support.laboratory import FILE, edited

_STOP = "kill -STOP $(cat /run/bgphealth/bgphealth.pid)"
_CONTINUE = "kill -CONT $(cat /run/bgphealth/bgphealth.pid)"


@pytest.fixture(scope="module")
def there(lab: NamespaceDriver) -> Iterator[Doctor]:
    with doctor(lab, areas=("the host", "the process")) as it:
        wait_found(it, frozenset())
        yield it


def shell(lab: NamespaceDriver, script: str) -> None:
    lab.run(dual_tor.SERVER, ["sh", "-c", script])


def kernel(lab: NamespaceDriver) -> str:
    """Return all that the doctor must not change."""
    script = """
        ip -4 rule; ip -6 rule; ip addr; ip -4 route show table all; ip -6 route show table all
        sysctl -a --pattern '^net' 2>/dev/null
    """
    said = lab.run(dual_tor.SERVER, ["sh", "-c", script]).stdout
    # How long it will still do, and what the kernel counts.
    return re.sub(r"(expires|age|valid_lft|preferred_lft) \S+|.*nf_conntrack_count.*", "", said)


def wait_found(there: Doctor, words: frozenset[str], also: frozenset[str] = frozenset()) -> Found:
    """Wait until all these words are found, and nothing else that is not foreseen."""
    last: Found = []

    def missing() -> list[str]:
        last[:] = there.look()
        seen = {finding["word"] for finding in last}
        return [] if words <= seen <= words | also else [str(last)]

    convergence.wait_until(f"exactly {sorted(words) or 'nothing'}", missing, 30)
    return last


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_it_finds_what_is_broken(lab: NamespaceDriver, there: Doctor, broken: Broken) -> None:
    """It is found, nothing else is, and what mends it by its own word does."""
    with ExitStack() as stack:
        if broken.file:
            stack.enter_context(edited(lab, broken.file))
        if broken.is_stopped:
            shell(lab, _STOP)
            stack.callback(shell, lab, _CONTINUE)
        stack.callback(lab.run, dual_tor.SERVER, ["sh", "-c", broken.undo], check=False)
        shell(lab, broken.how)
        found = wait_found(there, broken.words, broken.also)
        if broken.is_mended:
            for finding in found:
                if finding["word"] in broken.words:
                    shell(lab, finding["mend"])
            wait_found(there, frozenset(), broken.also)
    if broken.disturbs:
        convergence.wait_converged(lab)
    wait_found(there, frozenset())


@pytest.mark.parametrize(
    ("wrapper", "options"),
    [
        ((), ()),
        (
            ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all"),
            # FRR's sockets and ExaBGP's environment are not for everybody.
            ("--ignore", "frr_not_asked", "--ignore", "exabgp_not_read"),
        ),
    ],
    ids=["root", "bare"],
)
def test_it_finds_nothing_and_changes_nothing(
    lab: NamespaceDriver, there: Doctor, wrapper: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """It needs no capability to look at the kernel."""
    wait_found(there, frozenset())
    # Whole, so that no route of bgphealth's or FRR's comes back meanwhile.
    convergence.wait_converged(lab)
    before = kernel(lab)
    command = ["bgphealth", "-c", FILE, "doctor", *options]
    done = lab.run(dual_tor.SERVER, [*wrapper, *command], check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("nothing found\n", "", 0)
    assert kernel(lab) == before
