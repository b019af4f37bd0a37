"""What the import believes of ``exabgp healthcheck`` and of exabgp.conf, asked of the real ones."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import pytest

from bgphealth.config import loads
from bgphealth.core.events import ServiceChecked, Verdict
from bgphealth.core.health import ServiceHealth
from bgphealth.core.hysteresis import Level
from bgphealth.core.settings import ServiceSettings
from bgphealth.imports import exabgp_conf, exabgp_healthcheck, healthcheck_options
from bgphealth.imports.draft import Input, Known
from bgphealth.imports.healthcheck_options import Options
from tests.support.exabgp import ROOT, Installed, versions
from tests.support.imports import SAMPLES

pytestmark = pytest.mark.contract

_ASK_PARSER = """
import argparse, json, sys

def dump(self, *arguments, **keywords):
    print(json.dumps([
        {
            "strings": action.option_strings,
            "takes": action.nargs != 0,
            "adds_up": type(action).__name__ == "_AppendAction",
            "default": action.default,
        }
        for action in self._actions
        if "--help" not in action.option_strings
    ]))
    sys.exit()

argparse.ArgumentParser.parse_args = dump
from exabgp.application import healthcheck
healthcheck.parse()
"""

_ASK_TOKENS = """
import json, sys
from exabgp.configuration.core.format import tokens

def lines(name):
    with open(name) as file:
        begun = ""
        for line in file:
            line = line.rstrip()
            begun += line
            if not line.endswith(chr(92)):
                yield begun
                begun = ""

found = {}
for name in sys.argv[1:]:
    statements = [[word for _, _, word in parsed] for parsed in tokens(lines(name))]
    found[name] = [words[1:-1] for words in statements if words[0] == "run"]
print(json.dumps(found))
"""

BASE = "command = /bin/check\nip = 192.0.2.1/32\nip = 192.0.2.0/31\n"


class Action(TypedDict):
    """An option, as argparse has it."""

    strings: list[str]
    takes: bool
    adds_up: bool
    default: object


def ask(installed: Installed, script: str, *arguments: str) -> str:
    python = installed.directory / "bin" / "python"
    return subprocess.run(
        [python, "-c", script, *arguments], check=True, capture_output=True, text=True
    ).stdout


def real_options(installed: Installed) -> list[Action]:
    found: list[Action] = json.loads(ask(installed, _ASK_PARSER))
    return found


def convert(options: str) -> str:
    return exabgp_healthcheck.convert([Input("o.conf", options)], Known(), lambda _: None)


def test_every_option_is_known_and_no_other(installed: Installed) -> None:
    ours = healthcheck_options.option_strings()
    real = {tuple(action["strings"]) for action in real_options(installed)}
    assert real <= set(ours.values())
    if installed == list(versions())[-1]:
        assert set(ours.values()) == real


def test_every_default_is_theirs(installed: Installed) -> None:
    ours = {strings: name for name, strings in healthcheck_options.option_strings().items()}
    defaults = Options()
    for action in real_options(installed):
        value = getattr(defaults, ours[tuple(action["strings"])])
        if action["adds_up"]:
            assert (value, action["default"]) == ((), None)
        elif action["takes"]:
            assert value == action["default"], action
        else:
            # Written, it turns this around.
            assert value is False


def test_every_option_changes_a_key_or_a_comment(installed: Installed) -> None:
    ours = {strings: name for name, strings in healthcheck_options.option_strings().items()}
    without = convert(BASE)
    for action in real_options(installed):
        name = ours[tuple(action["strings"])]
        if name == "config":
            continue
        written = name.replace("_", "-")
        line = f"{written} = {SAMPLES[name]}" if action["takes"] else written
        assert convert(f"{BASE}{line}\n") != without, f"--{written} is passed over in silence"


def test_exabgp_conf_is_split_into_the_same_words(installed: Installed) -> None:
    shipped = sorted((ROOT / ".exabgp").glob("*/etc/exabgp/examples/*.conf"))
    files = [*shipped, *sorted((ROOT / "tests/golden/import").glob("*/exabgp.conf"))]
    assert len(files) > 50
    real = json.loads(ask(installed, _ASK_TOKENS, *map(str, files)))
    for file in files:
        text = file.read_text()
        if file.name == "conf-split.conf":  # One } is missing; ExaBGP does not mind, we say it.
            continue
        assert exabgp_conf.is_exabgp_conf(text), file
        runs = [list(process.words) for process in exabgp_conf.processes(Input("x", text))]
        assert runs == real[str(file)], file


# ---- the same verdicts ---------------------------------------------------------------------------


def real_verdicts(
    installed: Installed, directory: Path, answers: str, rise: int, fall: int
) -> list[tuple[int, str]]:
    """Return after how many answers exabgp healthcheck changed its mind, and to what."""
    (directory / "answers").write_text(answers)
    runs, changes = directory / "runs", directory / "changes"
    runs.touch()
    changes.touch()
    check = directory / "check"
    check.write_text(
        f"n=$(wc -c < {runs}); printf x >> {runs}\n"
        f"exit $(tail -c +$((n + 1)) {directory}/answers | head -c 1)\n"
    )
    python = str(installed.directory / "bin" / "python")
    options = (
        f"--cmd 'sh {check}' --rise {rise} --fall {fall} --interval 0.01 --fast-interval 0.01 "
        "--ip 192.0.2.1/32 --no-ip-setup --no-ack --no-syslog"
    )
    told = f'echo "$STATE $(wc -c < {runs})" >> {changes}'
    process = subprocess.Popen(
        ["sh", "-c", f"exec {python} -m exabgp healthcheck {options} --execute '{told}'"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while runs.stat().st_size <= len(answers):  # One more: the last one has been judged.
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    found: list[tuple[int, str]] = []
    for line in changes.read_text().splitlines():
        state, number = line.split()
        if state in ("UP", "DOWN") and int(number) <= len(answers):
            found.append((int(number), state))
    # UP again after a single failure is said again.
    return [each for before, each in pairwise([(0, ""), *found]) if each[1] != before[1]]


def our_verdicts(settings: ServiceSettings, answers: str) -> list[tuple[int, str]]:
    """Return the same of the service that was imported."""
    health = ServiceHealth.initial(settings)
    (check,) = settings.checks
    level = Level.INIT
    found = []
    for number, answer in enumerate(answers, 1):
        verdict = Verdict.OK if answer == "0" else Verdict.FAILED
        health = health.after_check(ServiceChecked(float(number), settings.name, check, verdict))
        if (now := health.judge().level) is not level:
            level = now
            found.append((number, level.value.upper()))
    return found


@pytest.mark.parametrize(("rise", "fall"), [(3, 3), (1, 2)])
def test_a_flapping_service_gets_the_same_verdicts_after_the_same_answers(
    installed: Installed, tmp_path: Path, rise: int, fall: int
) -> None:
    chance = random.Random(rise * 10 + fall)  # noqa: S311 - not a secret
    answers = "".join(chance.choice("0001") * chance.randint(1, 5) for _ in range(20))
    text = exabgp_healthcheck.convert(
        [
            Input(
                "exabgp.conf",
                "neighbor 10.0.1.0 { local-as 65101; peer-as 65001; router-id 10.255.10.1; "
                "local-address 10.0.1.1; source-interface eth1; }\nprocess p { run exabgp "
                f"healthcheck --ip 192.0.2.1/32 --cmd true --rise {rise} --fall {fall}; }}",
            )
        ],
        Known(),
        lambda _: None,
    )
    settings = loads("x", text.replace("source: FILL IN", "source: 10.255.10.1").encode())
    (service,) = (each for each in settings.services if each.checks)
    real = real_verdicts(installed, tmp_path, answers, rise, fall)
    assert len(real) > 2
    assert our_verdicts(service, answers) == real
