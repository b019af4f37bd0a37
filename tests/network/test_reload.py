"""A reload of the shipped topology under traffic, with the real FRR and ExaBGP."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from lab import convergence, dual_tor, experiment, results
from lab.faults import Expected, Fault, shell
from lab.namespaces import NamespaceDriver
from tests.support.laboratory import FILE

OTHER = "/run/other.yaml"
WEB = "192.0.2.80/32"
EDITS = (
    "s/interval: 200ms/interval: 300ms/",
    f"/^services:/a\\  web: {{prefixes: [{WEB}], address: ignore}}",
    "/^  tor2:/d",
)
_SED = " ".join(f"-e '{edit}'" for edit in EDITS)
EDIT = f"sed {_SED} {FILE} >{OTHER} && mount --bind {OTHER} {FILE}"
TOR1 = frozenset({"tor1"})
RELOADS = Fault(
    "reload",
    "another interval, one service more, one uplink less",
    inject=(shell(dual_tor.SERVER, f"{EDIT} && bgphealth reload >/run/said.txt"),),
    heal=(shell(dual_tor.SERVER, f"umount {FILE} && bgphealth reload >/run/said-back.txt"),),
    expected=Expected(default=TOR1, service=TOR1, loopback=TOR1),
    lossless=True,
)


def since(lab: NamespaceDriver) -> dict[str, float]:
    """Return since when each path and service has its verdict."""
    answer = lab.run(dual_tor.SERVER, ["sh", "-c", "bgphealth status --json || true"]).stdout
    found: dict[str, Any] = json.loads(answer)
    paths = {f"{path['uplink']} {path['family']}": path["since"] for path in found["paths"]}
    services = {service["name"]: service["since"] for service in found["services"]}
    return {name: datetime.fromisoformat(at).timestamp() for name, at in (paths | services).items()}


@pytest.mark.alone
def test_a_reload_under_traffic_loses_nothing(lab: NamespaceDriver) -> None:
    convergence.wait_converged(lab)
    before = since(lab)
    found = results.result(experiment.run(lab, RELOADS, lambda _: None))
    failed = [check for check in found["checks"] if not check["held"]]
    # frr.conf was not rendered again: what was added comes to bgpd, and no further.
    added = {"what": "nothing else is announced", "held": False, "saw": f"server1: {WEB}"}
    assert failed == [added], json.dumps([found["timeline"], found["loss"]], indent=1)
    # What was asked as before has its verdict since before; tor2 came anew.
    changed = {(t["uplink"], t["from"]) for t in found["transitions"]}
    assert changed == {("tor2", "init")}
    after = since(lab)
    kept = [name for name in before if not name.startswith("tor2")]
    assert [after[name] for name in kept] == pytest.approx([before[name] for name in kept], abs=0.1)
    said = lab.run(dual_tor.SERVER, ["cat", "/run/said.txt"]).stdout.splitlines()
    assert said[-1] == "applied"
    assert {"uplinks.tor2: removed", "services.web: added"} <= set(said)
    assert "paths.interval: 0.2 s became 0.3 s" in said
    # What was added was announced, and withdrawn when it had left.
    about = lab.run(dual_tor.SERVER, ["bgphealth", "events", WEB, "--json"]).stdout
    events = [json.loads(line) for line in about.splitlines()]
    said_of_it = [e["event"] for e in events if e["event"] in ("announce", "withdraw")]
    assert said_of_it == ["announce", "withdraw"]
