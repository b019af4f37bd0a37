from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgphealth import config
from bgphealth.core.settings import Mode, Prefix, Settings
from lab import fleet, fleet_page
from lab.cli import main
from lab.cli_fleet import HOST
from lab.errors import LabError
from lab.fleet_faults import FAULTS, Fabric, Variant, beyond

DARK = FAULTS["spine-dark"]
OWN_TIME = Variant(damping=True, jitter=True)
IN_STEP = Variant(damping=True, jitter=False)
DOCS = Path(__file__).parents[2] / "docs"
FEW = Fabric(hosts=24, rack=6)

A, B = ip_network("192.0.2.1/32"), ip_network("192.0.2.2/32")
SIX = ip_network("2001:db8::1/128")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return config.load(HOST)


def without_times(run: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in run.items() if key not in ("took_s", "played")}


def test_a_situation_played_once_stands_for_every_host_in_it(settings: Settings) -> None:
    once = fleet.run(FEW, settings, DARK, OWN_TIME, jobs=1)
    each = fleet.run(FEW, settings, DARK, OWN_TIME, jobs=1, each=True)
    assert once["played"] < each["played"] == FEW.hosts
    assert once["updates"] > 0
    assert without_times(once) == without_times(each)


def test_processes_change_nothing(settings: Settings) -> None:
    alone = fleet.run(FEW, settings, FAULTS["tor-dark"], IN_STEP, jobs=1)
    assert without_times(alone) == without_times(
        fleet.run(FEW, settings, FAULTS["tor-dark"], IN_STEP, jobs=2)
    )


def test_the_seed_decides(settings: Settings) -> None:
    other = FEW._replace(seed=2)
    first, again, differs = (
        fleet.run(fabric, settings, DARK, IN_STEP, jobs=1) for fabric in (FEW, FEW, other)
    )
    assert without_times(first) == without_times(again)
    assert without_times(first) != without_times(differs)


def test_a_thousand_stand_for_all_where_each_has_its_own_luck(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOST_BY_LUCK", 3)
    lossy = FAULTS["spine-loss"]._replace(spells=((0.0, 1.0),), tail_s=0.1)
    assert fleet.run(FEW, settings, lossy, OWN_TIME, jobs=1)["hosts"] == 3
    few = FEW._replace(hosts=5)
    assert fleet.run(few, settings, lossy, OWN_TIME, jobs=1, each=True)["hosts"] == 5


def test_a_tor_moves_its_rack_and_nobody_else(settings: Settings) -> None:
    run = fleet.run(FEW, settings, FAULTS["tor-dark"], IN_STEP, jobs=1)
    assert run["hosts_moved"] == FEW.rack
    assert run["updates"] == run["tor_updates"] == 2 * FEW.rack
    assert run["routes"] == 2 * run["updates"]


@pytest.mark.parametrize("name", ["target-dead", "targets-dead"])
def test_targets_that_die_move_nobody(settings: Settings, name: str) -> None:
    run = fleet.run(FEW, settings, FAULTS[name], OWN_TIME, jobs=1)
    assert (run["updates"], run["hosts_moved"], run["fewest_uplinks"]) == (0, 0, 2)
    assert run["hosts_kept"] == (FEW.hosts if name == "targets-dead" else 0)
    usual = FEW.hosts * len(settings.uplinks) / settings.path_timing.interval_s
    assert run["probes_peak_pps"] > 3 * usual  # Those of the target that answers as well.


def test_all_targets_withdrawn_by_hosts_that_are_told_to(settings: Settings) -> None:
    told = replace(settings, all_down=type(settings.all_down)("withdraw"))
    run = fleet.run(FEW, told, FAULTS["targets-dead"], IN_STEP, jobs=1)
    assert run["hosts_moved"] == FEW.hosts
    assert run["fewest_uplinks"] == 0


def test_damping_bounds_what_flaps(settings: Settings) -> None:
    flaps = FAULTS["spine-flaps"]
    one = fleet.Part(FAULTS["tor-dark"].hits(FEW, settings, 0), 0, 0)
    damped = fleet.live(settings, flaps, one).sent
    undamped = fleet.live(replace(settings, damping=None), flaps, one).sent
    assert len(undamped) == 2 * len(flaps.spells)
    assert len(damped) == 6  # Three falls, with what follows each.
    assert damped[-1].at > flaps.heals_s + 60


def test_flows_are_spread_over_the_spines(settings: Settings) -> None:
    fabric = Fabric(hosts=4000)
    asked = beyond(settings)
    clean = sum(not fabric.crossings(host, each) for host in range(4000) for each in asked)
    assert clean / (4000 * len(asked)) == pytest.approx((3 / 4) ** 2, abs=0.02)
    assert all(Fabric(spines=1).crossings(host, asked[0]) == 2 for host in range(9))


@pytest.mark.parametrize(
    ("before", "after", "messages", "routes"),
    [
        ({}, {A: (1,)}, 1, 1),
        ({}, {A: (1,), B: (1,)}, 1, 2),
        ({}, {A: (1,), B: (2,)}, 2, 2),
        ({A: (1,), B: (1,)}, {}, 1, 2),
        ({A: (1,)}, {A: (1,)}, 0, 0),
        ({A: (1,)}, {A: (2,)}, 1, 1),
        ({A: (1,), SIX: (1,)}, {}, 2, 2),
        ({A: (1,)}, {B: (1,)}, 2, 2),
    ],
)
def test_updates(
    before: dict[Prefix, tuple[object, ...]],
    after: dict[Prefix, tuple[object, ...]],
    messages: int,
    routes: int,
) -> None:
    assert fleet.updates(before, after) == (messages, routes)


def test_a_target_that_falls_short_is_asked_more(settings: Settings) -> None:
    well, lossy = (fleet.appetite(FEW, settings, loss, hosts=2) for loss in (0.0, 0.3))
    assert well["asked_pps"] == well["others_pps"] == 1 / settings.path_timing.interval_s
    assert lossy["asked_pps"] > 1.5 * well["asked_pps"]
    assert lossy["others_pps"] > 1.5 * well["others_pps"]
    patient = replace(settings, suspect_interval_s=None)
    assert fleet.appetite(FEW, patient, 0.3, hosts=2)["asked_pps"] == well["asked_pps"]


def test_where_a_policed_target_settles() -> None:
    appetite = [{"loss": 0.0, "asked_pps": 5.0}, {"loss": 1.0, "asked_pps": 25.0}]
    assert fleet_page.settles(appetite, 6.0) == (0.0, 5.0)
    loss, asked = fleet_page.settles(appetite, 4.0)
    assert asked == pytest.approx(5 + 20 * loss)
    assert asked * (1 - loss) == pytest.approx(4.0)
    assert loss > 0.5  # Not the fifth that is missing at first.


def test_what_falls_and_comes_back_later_is_no_burst() -> None:
    found = json.loads((DOCS / "fleet.json").read_text(encoding="utf-8"))
    run = fleet_page.of(found, "spine-dark", damping=True, jitter=True)
    run |= {"updates": 6000, "peak_1s": 3000, "tor_updates": 30, "tor_peak_1s": 15}
    cells = [row.split(" | ") for row in fleet_page.blocks(found)["heard"].splitlines()]
    (spine,) = (row for row in cells if row[0].startswith("| each spine, and"))
    assert spine[1:] == ["6,000", "3,000", "12,000", "2.0 s |"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"mode": Mode.LOCAL}, "speaks no BGP"), ({"uplinks": ()}, "no paths.beyond")],
)
def test_files_that_cannot_be_played(
    settings: Settings, change: dict[str, object], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        fleet.run(FEW, replace(settings, **change), DARK, IN_STEP, jobs=1)  # type: ignore[arg-type]


def test_the_command(tmp_path: Path) -> None:
    picture = tmp_path / "fleet.svg"
    arguments = ["fleet", "tor-dark", "--hosts", "30", "--rack", "10", "--jobs", "1"]
    result = CliRunner().invoke(main, [*arguments, "--json", "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["hosts"], found["racks"], found["uplinks"], found["targets"]) == (30, 3, 2, 2)
    assert [run["hosts_moved"] for run in found["runs"]] == [10, 10]
    assert "tor-dark" in picture.read_text(encoding="utf-8")
    table = CliRunner().invoke(main, arguments)
    assert "30 hosts, 3 racks, 4 spines" in table.stdout


def test_a_file_that_is_wrong_is_said(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("version: 2\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["fleet", "--config", str(file)])
    assert result.exit_code == 78
    assert "wrong.yaml:1" in result.stderr
