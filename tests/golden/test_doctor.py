"""docs/doctor.md is what the doctor's kinds of findings say; --update-golden writes it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from bgphealth.cli.doctor import lines
from bgphealth.core.settings import Family
from bgphealth.core.truth import KernelDefault, Leg
from bgphealth.doctor.examine import KINDS
from bgphealth.doctor.host import judge
from tests.support.healthy import SETTINGS, healthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgphealth.doctor.finding import Kind

PAGE = "../../docs/doctor.md"
INTRO = """\
<!-- Made from bgphealth/doctor: pytest tests/golden/test_doctor.py --update-golden -->

# Doctor

`bgphealth doctor` compares this host, its kernel, FRR and ExaBGP with what the file needs. It
changes nothing and sends nothing; a running bgphealth is not disturbed.

```console
# bgphealth doctor
EXAMPLE
```

- **`error`**: something is broken now. **`warning`**: it will be when something fails. **`note`**:
  worth knowing, or what could not be looked at.
- **`mend`** is a command for this host, or a line of the file; behind `#` stands what keeps it over
  a reboot. Look at what is listed before you take away what somebody else has made.
- **Exit status**: 0 when nothing was found, or notes only; 1 otherwise; 78 when the file is wrong.
  So it can stand at the end of a deployment, in CI, and in containerlab's `exec`.
- `--ignore WORD` leaves out what is meant to be so (`--ignore forwarding` on a host of containers),
  and may be repeated. `--json` prints the same for programs: `schema_version`, `ok`, `counts`, and
  `findings` with `word`, `severity`, `subject`, `found`, `why` and `mend`.
- Run it as root, where bgphealth runs: in the same network namespace, and with its
  `RUNTIME_DIRECTORY` or `control.socket` if that is not `/run/bgphealth`. The program's permissions
  are those of the process that listens at the control socket.
- **FRR** is asked by vtysh. Its running configuration is compared with what `bgphealth render frr`
  writes: each line that is missing is found, and each line in a list or route-map `bgphealth-…`
  that was not rendered. What else the host has in FRR is its own affair. `mend` enters the very
  lines. Where FRR has [a configuration of its own](existing-frr.md), with the part that is
  bgphealth's.
- **ExaBGP** is looked at from outside: its process, its environment, its two files. In mode
  `direct` a session is there when its TCP connection is.
- A path that is down or degraded by its probes is no finding, nor is a drain: that is what
  bgphealth is for. What the probes get for an answer says
  [`bgphealth probe`](host.md#5-ask-everything-once).

The words are an interface: none is given another meaning.

| word | severity | what is found | why it matters |
|---|---|---|---|
"""


def example() -> str:
    """Return what is printed of a DHCP client's default and a strict filter."""
    default = KernelDefault("dhcp", 100, None, (Leg("eth1", ip_address("10.0.1.0")),))
    view = replace(healthy(), defaults={**healthy().defaults, Family.IPV4: (default,)})
    path = "ipv4/conf/eth1/rp_filter"
    view = replace(view, sysctls={**view.sysctls, path: "1"})
    return "\n".join(lines(judge(SETTINGS, view)))


def row(kind: Kind) -> str:
    return f"| `{kind.word}` | {kind.severity} | {kind.means} | {kind.why} |\n"


def test_page(golden: Callable[[str, str], None]) -> None:
    golden(PAGE, INTRO.replace("EXAMPLE", example()) + "".join(map(row, KINDS)))


def test_every_word_is_of_one_kind() -> None:
    words = [kind.word for kind in KINDS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_every_kind_says_what_it_means(kind: Kind) -> None:
    for text in (kind.word, kind.means, kind.why):
        assert text == text.strip(" .\n") != ""
        assert "|" not in text
