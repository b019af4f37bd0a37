"""The example for Ansible: its files are YAML, its template makes files that `check` accepts.

Ansible itself is too large for what `ansible-playbook --syntax-check` would say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, StrictUndefined
from ruamel.yaml import YAML

from bgphealth.config import loads
from bgphealth.core.settings import Mode

EXAMPLE = Path(__file__).parents[2] / "docs" / "ansible"
ROLE = EXAMPLE / "roles" / "bgphealth"
HOSTS = sorted((EXAMPLE / "host_vars").glob("*.yaml"))


def read(file: Path) -> Any:  # noqa: ANN401 -- Whatever is in it.
    return YAML(typ="safe").load(file)


@pytest.mark.parametrize("file", HOSTS, ids=lambda file: file.stem)
def test_what_is_rendered_is_accepted(file: Path) -> None:
    environment = Environment(undefined=StrictUndefined)  # noqa: S701 -- Not HTML.
    environment.filters["to_json"] = json.dumps
    source = (ROLE / "templates" / "bgphealth.yaml.j2").read_text(encoding="utf-8")
    given = read(ROLE / "defaults" / "main.yaml") | read(file)
    settings = loads("bgphealth.yaml", environment.from_string(source).render(given).encode())
    assert (settings.mode, len(settings.uplinks)) == (Mode.FRR, 2)
    assert {service.name for service in settings.services} == {"loopback", "dns"}


def test_every_host_has_its_variables() -> None:
    assert {file.stem for file in HOSTS} == set(
        read(EXAMPLE / "inventory.yaml")["anycast"]["hosts"]
    )


def test_every_handler_is_there() -> None:
    tasks = read(ROLE / "tasks" / "main.yaml")
    notified = {task["notify"] for task in tasks if "notify" in task}
    assert notified == {handler["name"] for handler in read(ROLE / "handlers" / "main.yaml")}
