from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bgphealth import config
from bgphealth.core.events import ServiceChecked, Verdict
from bgphealth.core.health import ServiceHealth
from bgphealth.core.hysteresis import Level
from bgphealth.core.reasons import Reason
from bgphealth.core.settings import InjectorLoss, ProbeKind, ProbeSettings, ServiceSettings, Timing

CHECKS = tuple(ProbeSettings(ProbeKind.TCP, ip_address("192.0.2.53"), port) for port in (1, 2, 3))


def health(need: int, verdicts: str) -> ServiceHealth:
    """Return the health of a service after a round of answers: + ok, - failed, ? none yet."""
    settings = ServiceSettings(
        "dns",
        (ip_network("192.0.2.53/32"),),
        CHECKS,
        need,
        Timing(1.0, 1.0, fall=1, rise=1),
        None,
        InjectorLoss.WITHDRAW,
    )
    found = ServiceHealth.initial(settings)
    for check, said in zip(CHECKS, verdicts, strict=True):
        if said != "?":
            verdict = Verdict.OK if said == "+" else Verdict.FAILED
            detail = "" if said == "+" else "refused"
            found = found.after_check(ServiceChecked(0.0, "dns", check, verdict, detail))
    return found


@pytest.mark.parametrize(
    ("need", "verdicts", "level"),
    [
        (3, "+++", Level.UP),
        (3, "++-", Level.DOWN),
        (3, "++?", Level.INIT),
        (3, "-??", Level.DOWN),
        (2, "++-", Level.UP),
        (2, "++?", Level.UP),
        (2, "+-?", Level.INIT),
        (2, "+--", Level.DOWN),
        (1, "+--", Level.UP),
        (1, "+??", Level.UP),
        (1, "--?", Level.INIT),
        (1, "---", Level.DOWN),
    ],
)
def test_as_many_checks_must_be_up_as_are_needed(need: int, verdicts: str, level: Level) -> None:
    assert health(need, verdicts).judge().level is level


def test_what_failed_is_named_even_where_it_was_not_needed() -> None:
    judgement = health(2, "+-+").judge()
    assert (judgement.reason, judgement.evidence) == (
        Reason.CHECKS_OK,
        "tcp 192.0.2.53:2: refused",
    )


@pytest.mark.parametrize(("given", "need"), [("", 2), ("all", 2), ("any", 1), ("1", 1), ("2", 2)])
def test_need_is_a_word_or_a_number(tmp_path: Path, given: str, need: int) -> None:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(f"""\
version: 1
mode: frr
host: {{asn: 65101, router_id: 10.255.10.1, source: {{ipv4: 10.255.10.1}}}}
uplinks:
  tor1: {{interface: eth1, neighbor: {{ipv4: 10.0.1.0}}, neighbor_asn: 65001}}
services:
  dns:
    prefixes: [192.0.2.53/32]
    checks: [{{tcp: "192.0.2.53:53"}}, {{tcp: "192.0.2.53:54"}}]
{f"    need: {given}" if given else ""}
""")
    (service,) = (s for s in config.load(file).services if s.name == "dns")
    assert service.need == need
