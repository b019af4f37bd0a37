"""Two spines, two racks with two ToRs each, four servers, each service in both racks."""

from __future__ import annotations

import json
import re

from lab import convergence, dual_tor, experiment, racks, results
from lab.catalogue import find
from lab.namespaces import NamespaceDriver


def test_the_client_is_answered_by_a_server_of_each_rack(fabric_lab: NamespaceDriver) -> None:
    asked = ["/etc/lab/who.py", "--seconds", "2", "192.0.2.53", "2001:db8::54"]
    lines = fabric_lab.run(dual_tor.CORE, asked).stdout.splitlines()

    seen = {line.split()[1]: set(re.findall(r"server\d", line)) for line in lines}
    assert seen == {
        "192.0.2.53": {"server1", "server3"},
        "2001:db8::54": {"server2", "server4"},
    }, lines


def test_a_service_that_dies_goes_on_in_the_other_rack(fabric_lab: NamespaceDriver) -> None:
    convergence.wait_converged(fabric_lab)  # over all four ToRs

    fault = find("service-down", racks.FABRIC)
    found = results.result(experiment.run(fabric_lab, fault, lambda _: None))

    failed = [check for check in found["checks"] if not check["held"]]
    assert failed == [], json.dumps({"failed": failed, "timeline": found["timeline"]}, indent=2)
    during = found["routes"]["during"]["core_service"]
    assert [during[family]["uplinks"] for family in dual_tor.FAMILIES] == [("tor3", "tor4")] * 2
    assert 0 < found["direction"]["in"]["flows_hit"] < found["direction"]["in"]["flows"]
